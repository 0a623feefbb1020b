from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class PadToGrid(keras.layers.Layer):
    """Mirrors images at the bottom and on the right until both sides are of a size that a network can halve.

    A side of n pixels becomes the smallest size of at least n that is `offset` beyond a multiple of `step`; pixel n is
    pixel n - 2 again. Images that fit already are left alone.

    Args:
        step: Integer, at least 1, such as 2^depth.
        offset: Integer, at least 0 and below `step`. Defaults to 0.

    Call arguments:
        inputs: Tensor of images.

    Input shape: (batch, height, width, channels); height and width may be unknown.
    Output shape: (batch, padded height, padded width, channels).

    Example:

    >>> PadToGrid(16)(keras.ops.ones((1, 37, 48, 3))).shape == (1, 48, 48, 3)
    True

    Reference: Ronneberger, Fischer & Brox 2015, "U-Net", section 2 (what is missing is extrapolated by mirroring).
    """

    def __init__(self, step: int, offset: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step: int = _checks.whole("step", step)
        self.offset: int = _checks.whole("offset", offset, 0)
        if offset >= step:
            raise ValueError(f"offset must be below step. Received: offset={offset}, step={step}")

    def build(self, input_shape: Shape) -> None:
        _checks.rank("PadToGrid", input_shape, "batch, height, width, channels")

    def call(self, inputs: Tensor) -> Tensor:
        x = inputs
        for axis in (1, 2):
            size = keras.ops.shape(inputs)[axis]
            padded = self._padded(size)
            if not (isinstance(size, int) and size == padded):
                x = keras.ops.take(x, self._mirrored(size, padded), axis=axis)
        return x  # (batch, padded height, padded width, channels)

    def _padded(self, size):
        """The size, a number or a tensor, that a side of `size` gets."""
        return (size - self.offset + self.step - 1) // self.step * self.step + self.offset

    @staticmethod
    def _mirrored(size, padded):
        """For each of `padded` pixels the one of `size` that it shows: 0, 1, 2, 3, 2, 1, 0, 1 of 4."""
        last = keras.ops.maximum(size - 1, 0)
        period = keras.ops.maximum(2 * last, 1)
        place = keras.ops.arange(padded) % period
        return keras.ops.minimum(place, period - place)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *sizes, channels = input_shape
        return (batch, *(None if size is None else self._padded(size) for size in sizes), channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "step": self.step, "offset": self.offset}
