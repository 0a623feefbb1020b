from typing import Any

import keras
import numpy as np

from zoo.layers import _checks
from zoo.layers._typing import Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class SinusoidalPositions(keras.layers.Layer):
    """Adds to each position of a sequence sines and cosines that tell where it is.

    y[p, 2i] = x[p, 2i] + sin(p / wavelength^(2i / dim)),  y[p, 2i + 1] = x[p, 2i + 1] + cos(p / wavelength^(2i / dim))

    Sines and cosines alternate, as in the paper; Tensor2Tensor and others put all sines first.

    Args:
        max_wavelength: Float above 0. The wavelengths grow from 2 pi at the first features to nearly 2 pi times
            `max_wavelength` at the last. Defaults to 10000.

    Call arguments:
        inputs: Tensor of any length.
        start: Integer or integer tensor, scalar or (batch,): the position of the first element of `inputs`, where a
            decoder that keeps a cache stands. Defaults to 0.

    Input shape: (batch, time, dim), dim even.
    Output shape: as the input's.

    Example:

    >>> SinusoidalPositions()(keras.ops.zeros((1, 3, 4))).shape == (1, 3, 4)
    True

    Reference: Vaswani et al. 2017, "Attention Is All You Need", section 3.5.
    """

    def __init__(self, max_wavelength: float = 10000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _checks.real("max_wavelength", max_wavelength, 0, above=True)
        self.max_wavelength: float = max_wavelength
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        _checks.rank("SinusoidalPositions", input_shape, "batch, time, dim")
        dim = _checks.known("SinusoidalPositions", input_shape, -1)
        if dim % 2:
            raise ValueError(
                f"SinusoidalPositions takes an even number of features, a sine and a cosine each. Received: dim={dim}"
            )

    def call(self, inputs: Tensor, start: int | Tensor = 0) -> Tensor:
        length, dim = keras.ops.shape(inputs)[1], inputs.shape[-1]
        rates = np.power(float(self.max_wavelength), -np.arange(0, dim, 2) / dim)
        rates = keras.ops.convert_to_tensor(rates, "float32")  # (dim / 2,)
        start = keras.ops.reshape(keras.ops.cast(start, "int32"), (-1, 1))  # (1 or batch, 1)
        place = keras.ops.cast(start + keras.ops.arange(length), "float32")  # half precision cannot count to 3000
        angles = keras.ops.expand_dims(place, -1) * rates  # (1 or batch, time, dim / 2)
        waves = keras.ops.stack([keras.ops.sin(angles), keras.ops.cos(angles)], axis=-1)  # (..., dim / 2, 2)
        waves = keras.ops.reshape(waves, (-1, length, dim))  # (1 or batch, time, dim)
        return inputs + keras.ops.cast(waves, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_wavelength": self.max_wavelength}
