from collections.abc import Sequence
from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class CropLike(keras.layers.Layer):
    """Cuts off what an image has, at the bottom and on the right, beyond the size of another.

    Args:
        margin: Integer, the number of pixels by which the result is smaller than the other on each side, at least 0.
            Defaults to 0.

    Call arguments:
        inputs: List `[x, like]` of two tensors, images. Of `like` only height and width count.

    Input shape: (batch, height, width, channels) each; heights and widths may be unknown.
    Output shape: (batch, height of like - 2 margin, width of like - 2 margin, channels of x).

    Example:

    >>> x, like = keras.ops.ones((1, 48, 64, 2)), keras.ops.ones((1, 37, 53, 3))
    >>> CropLike()([x, like]).shape == (1, 37, 53, 2)
    True
    """

    def __init__(self, margin: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin: int = _checks.whole("margin", margin, 0)

    def build(self, input_shape: Sequence[Shape]) -> None:
        for shape in _checks.several("CropLike", input_shape, (2,), "[x, like]"):
            _checks.rank("CropLike", shape, "batch, height, width, channels")
        self._check_size(input_shape[1])

    def _check_size(self, like):
        least = 2 * self.margin + 1
        if any(isinstance(size, int) and size < least for size in like[1:3]):
            raise ValueError(
                f"CropLike leaves nothing of images below {least} x {least}. Received: margin={self.margin}, "
                f"like of {tuple(like)}"
            )

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, like = inputs
        self._check_size(like.shape)
        _, height, width, _ = keras.ops.shape(like)
        return x[:, : height - 2 * self.margin, : width - 2 * self.margin]  # (batch, height, width, channels of x)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        x, like = input_shape
        sizes = (None if size is None else size - 2 * self.margin for size in like[1:3])
        return (x[0], *sizes, x[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}
