from typing import Any

import keras
import numpy as np

from zoo.layers import _checks
from zoo.layers._typing import Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class RotaryPositions(keras.layers.Layer):
    """Rotates queries or keys by angles that grow with the position: their products tell how far apart they are.

    (y[p, i], y[p, i + dim / 2]) = (x[p, i], x[p, i + dim / 2]) rotated by p / base^(2i / dim), for i below dim / 2

    A query at m and a key at n have a product that depends on m - n alone. Features are paired across the two halves,
    as in Llama and in Hugging Face's models; the paper pairs neighbours, which is the same up to the order of features.
    Angles and rotation are computed in float32 at least.

    Args:
        base: Float above 0. The wavelengths grow from 2 pi at the first pair to nearly 2 pi times `base` at the last.
            Defaults to 10000.

    Call arguments:
        inputs: Tensor of the queries or keys of each head.
        start: Integer or integer tensor, scalar or (batch,): the position of the first element of `inputs`, where a
            decoder that keeps a cache stands. Defaults to 0.

    Input shape: (batch, heads, time, dim), dim even.
    Output shape: as the input's.

    Example:

    >>> RotaryPositions()(keras.ops.ones((1, 2, 3, 4))).shape == (1, 2, 3, 4)
    True

    Reference: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", section 3.2.
    """

    def __init__(self, base: float = 10000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base: float = _checks.real("base", base, 0, above=True)

    def build(self, input_shape: Shape) -> None:
        _checks.rank("RotaryPositions", input_shape, "batch, heads, time, dim")
        dim = _checks.known("RotaryPositions", input_shape, -1)
        if dim % 2:
            raise ValueError(f"RotaryPositions rotates pairs of features: dim must be even. Received: dim={dim}")

    def call(self, inputs: Tensor, start: int | Tensor = 0) -> Tensor:
        dim = inputs.shape[-1]
        rates = keras.ops.convert_to_tensor(np.power(self.base, -np.arange(0, dim, 2) / dim), "float32")  # (dim / 2,)
        start = keras.ops.reshape(keras.ops.cast(start, "int32"), (-1, 1, 1, 1))
        place = keras.ops.reshape(keras.ops.arange(keras.ops.shape(inputs)[2], dtype="int32"), (1, 1, -1, 1))
        angles = keras.ops.cast(start + place, "float32") * rates  # (1 or batch, 1, time, dim / 2)
        wide = keras.backend.result_type(inputs.dtype, "float32")  # half precision knows few angles
        cosines, sines = (keras.ops.cast(wave(angles), wide) for wave in (keras.ops.cos, keras.ops.sin))
        first, second = keras.ops.split(keras.ops.cast(inputs, wide), 2, axis=-1)
        rotated = [first * cosines - second * sines, second * cosines + first * sines]
        return keras.ops.cast(keras.ops.concatenate(rotated, axis=-1), inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "base": self.base}
