from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Initializer, InitializerFunction, Regularizer, RegularizerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class Maxout(keras.layers.Layer):
    """The largest of several linear functions: a convex activation that is learned.

    y_i = max_j (x . w_ij + b_ij), over j = 1 ... pieces

    Args:
        units: Integer, the number of output features.
        pieces: Integer, the number of linear functions in a unit; 1 is a dense layer. Defaults to 2.
        use_bias: Boolean, whether b is there. Defaults to True.
        kernel_initializer: Initializer for w. Defaults to "glorot_uniform".
        bias_initializer: Initializer for b. Defaults to "zeros".
        kernel_regularizer: Regularizer or None, for w. Defaults to None.

    Call arguments:
        inputs: Tensor of (batch, ..., features).

    Input shape: (batch, ..., features).
    Output shape: (batch, ..., units).

    Example:

    >>> Maxout(4, pieces=3)(keras.ops.ones((2, 5))).shape == (2, 4)
    True

    Reference: Goodfellow, Warde-Farley, Mirza, Courville & Bengio 2013, "Maxout Networks", section 3.
    """

    def __init__(
        self,
        units: int,
        pieces: int = 2,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units: int = _checks.whole("units", units)
        self.pieces: int = _checks.whole("pieces", pieces)
        self.use_bias: bool = _checks.flag("use_bias", use_bias)
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.bias_initializer: InitializerFunction = keras.initializers.get(bias_initializer)
        self.kernel_regularizer: RegularizerFunction | None = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        features = _checks.known("Maxout", input_shape, -1)
        self.kernel: keras.Variable = self.add_weight(
            name="kernel",
            shape=(features, self.units * self.pieces),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            self.bias: keras.Variable = self.add_weight(
                name="bias", shape=(self.units * self.pieces,), initializer=self.bias_initializer
            )

    def call(self, inputs: Tensor) -> Tensor:
        lines = keras.ops.matmul(inputs, self.kernel)  # (batch, ..., units * pieces)
        if self.use_bias:
            lines = lines + self.bias
        # one slice of `units` a piece: a maximum of slices is quicker than one over a short last axis
        pieces = keras.ops.split(lines, self.pieces, axis=-1)  # (batch, ..., units) each
        largest = pieces[0]
        for piece in pieces[1:]:
            largest = keras.ops.maximum(largest, piece)
        return largest

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "pieces": self.pieces,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
