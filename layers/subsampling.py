from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class Subsampling2D(keras.layers.Layer):
    """Average pooling whose result each map scales and shifts: the trainable pooling of LeNet-5.

    y_c = coefficient_c mean(x_c over a window) + bias_c

    The paper adds the four inputs of a window instead of averaging them; its coefficient is a quarter of ours.

    Args:
        pool_size: Integer, the height and width of a window, and the step between windows, at least 1. Defaults to 2.

    Call arguments:
        inputs: Tensor of at least one window.

    Input shape: (batch, height, width, channels).
    Output shape: (batch, height // pool_size, width // pool_size, channels).

    Example:

    >>> x = keras.ops.ones((1, 4, 4, 3))
    >>> Subsampling2D(pool_size=2)(x).shape == (1, 2, 2, 3)
    True

    Reference: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-Based Learning Applied to Document Recognition",
    section II.B, layers S2 and S4.
    """

    def __init__(self, pool_size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size: int = _checks.whole("pool_size", pool_size)

    def build(self, input_shape: Shape) -> None:
        _checks.rank("Subsampling2D", input_shape, "batch, height, width, channels")
        maps = (_checks.known("Subsampling2D", input_shape, -1),)
        self.coefficient: keras.Variable = self.add_weight(name="coefficient", shape=maps, initializer="ones")
        self.bias: keras.Variable = self.add_weight(name="bias", shape=maps, initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        window = (self.pool_size, self.pool_size)
        pooled = keras.ops.average_pool(inputs, window, window, data_format="channels_last")  # (batch, h/p, w/p, c)
        return pooled * self.coefficient + self.bias

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        return (
            batch,
            None if height is None else height // self.pool_size,
            None if width is None else width // self.pool_size,
            channels,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_size": self.pool_size}
