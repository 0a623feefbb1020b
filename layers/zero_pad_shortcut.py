from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class ZeroPadShortcut(keras.layers.Layer):
    """The identity for a residual block that halves its image: every other pixel, and zeros for new channels.

    It has no parameters: option A of the paper.

    Args:
        filters: Integer, the number of output channels, at least that of the input.
        strides: Integer, the step between the pixels that stay, at least 1. Defaults to 1.

    Call arguments:
        inputs: Tensor of images.

    Input shape: (batch, height, width, channels).
    Output shape: (batch, height / strides, width / strides, filters), rounded up.

    Example:

    >>> ZeroPadShortcut(4, strides=2)(keras.ops.ones((1, 5, 4, 3))).shape == (1, 3, 2, 4)
    True

    Reference: He, Zhang, Ren & Sun 2016, "Deep Residual Learning for Image Recognition", section 3.3.
    """

    def __init__(self, filters: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters: int = _checks.whole("filters", filters)
        self.strides: int = _checks.whole("strides", strides)

    def build(self, input_shape: Shape) -> None:
        _checks.rank("ZeroPadShortcut", input_shape, "batch, height, width, channels")
        channels = _checks.known("ZeroPadShortcut", input_shape, -1)
        if channels > self.filters:
            raise ValueError(
                "ZeroPadShortcut adds channels and takes none away. "
                f"Received: filters={self.filters} for an input of {channels} channels"
            )

    def call(self, inputs: Tensor) -> Tensor:
        kept = inputs[:, :: self.strides, :: self.strides]  # (batch, height / strides, width / strides, channels)
        return keras.ops.pad(kept, [(0, 0), (0, 0), (0, 0), (0, self.filters - inputs.shape[-1])])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *sizes, _ = input_shape
        return (batch, *(None if size is None else -(-size // self.strides) for size in sizes), self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}
