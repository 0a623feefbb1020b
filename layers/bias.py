from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Initializer, InitializerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class Bias(keras.layers.Layer):
    """Adds a trained number to each feature: what a dense layer has beside its kernel.

    y = x + b

    Behind logits that reuse the matrix of an embedding, it is the bias that this matrix lacks.

    Args:
        initializer: Initializer for b. Defaults to "zeros".

    Call arguments:
        inputs: Tensor of (batch, ..., features).

    Input shape: (batch, ..., features).
    Output shape: as the input's.

    Example:

    >>> Bias("ones")(keras.ops.zeros((1, 2))).shape == (1, 2)
    True

    Reference: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
    whose released code has it behind the tied output matrix.
    """

    def __init__(self, initializer: Initializer = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initializer: InitializerFunction = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        features = _checks.known("Bias", input_shape, -1)
        self.bias: keras.Variable = self.add_weight(name="bias", shape=(features,), initializer=self.initializer)

    def call(self, inputs: Tensor) -> Tensor:
        return inputs + self.bias

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initializer": keras.initializers.serialize(self.initializer)}
