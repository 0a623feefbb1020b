from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Initializer, InitializerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class ClassToken(keras.layers.Layer):
    """Puts a trained vector in front of a sequence, whose answer then stands for the whole.

    y[0] = w,  y[p] = x[p - 1]

    Args:
        initializer: Initializer for w. Defaults to "zeros".

    Call arguments:
        inputs: Tensor, the sequence. Its mask, if it has one, is extended: w is never masked.

    Input shape: (batch, time, dim).
    Output shape: (batch, time + 1, dim).

    Example:

    >>> ClassToken()(keras.ops.ones((1, 3, 4))).shape == (1, 4, 4)
    True

    Reference: Devlin et al. 2019, "BERT", section 3; Dosovitskiy et al. 2020, "An Image Is Worth 16x16 Words",
    equation 1.
    """

    def __init__(self, initializer: Initializer = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initializer: InitializerFunction = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        _checks.rank("ClassToken", input_shape, "batch, time, dim")
        dim = _checks.known("ClassToken", input_shape, -1)
        self.token: keras.Variable = self.add_weight(name="token", shape=(dim,), initializer=self.initializer)

    def call(self, inputs: Tensor) -> Tensor:
        token = keras.ops.cast(keras.ops.convert_to_tensor(self.token), inputs.dtype)
        first = keras.ops.broadcast_to(token, (keras.ops.shape(inputs)[0], 1, inputs.shape[-1]))  # (batch, 1, dim)
        return keras.ops.concatenate([first, inputs], axis=1)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        if previous_mask is None:
            return None
        return keras.ops.pad(keras.ops.cast(previous_mask, "bool"), [(0, 0), (1, 0)], constant_values=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, time, dim = input_shape
        return (batch, None if time is None else time + 1, dim)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initializer": keras.initializers.serialize(self.initializer)}
