from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from zoo.layers import _checks
from zoo.layers._typing import Shape, Tensor

Scaling: TypeAlias = Sequence[float]
"""One number, or factor, low, high and length: what slows rotations."""


@keras.saving.register_keras_serializable("zoo")
class RotaryPositions(keras.layers.Layer):
    """Rotates queries or keys by angles that grow with the position: their products tell how far apart they are.

    (y[p, i], y[p, i + dim / 2]) = (x[p, i], x[p, i + dim / 2]) rotated by p / base^(2i / dim), for i below dim / 2

    A query at m and a key at n have a product that depends on m - n alone. Features are paired across the two halves,
    as in Llama and in Hugging Face's models; the paper pairs neighbours, which is the same up to the order of features.
    Angles and rotation are computed in float32 at least.

    `scaling` slows the rotations of a network that was trained on shorter texts, for longer ones. One number divides
    all rates. Four, (factor, low, high, length), divide by `factor` those of pairs that turn less than `low` times in
    `length` positions, leave those that turn more than `high` times, and pass from one to the other in between.

    Args:
        base: Float above 0. The wavelengths grow from 2 pi at the first pair to nearly 2 pi times `base` at the last.
            Defaults to 10000.
        scaling: Sequence of one or four floats above 0; of four, `low` is below `high`. Llama 3.1 has
            (8, 1, 4, 8192). Defaults to (1,), which leaves all rates.

    Call arguments:
        inputs: Tensor of the queries or keys of each head.
        start: Integer or integer tensor, scalar or (batch,): the position of the first element of `inputs`, where a
            decoder that keeps a cache stands. Defaults to 0.

    Input shape: (batch, heads, time, dim), dim even.
    Output shape: as the input's.

    Example:

    >>> RotaryPositions()(keras.ops.ones((1, 2, 3, 4))).shape == (1, 2, 3, 4)
    True

    Reference: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", section 3.2; Chen et al.
    2023, "Extending Context Window of Large Language Models via Positional Interpolation", for one number; the code of
    Llama 3.1 for four.
    """

    def __init__(self, base: float = 10000, scaling: Scaling = (1.0,), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base: float = _checks.real("base", base, 0, above=True)
        self.scaling: tuple[float, ...] = check_scaling("scaling", scaling)

    def build(self, input_shape: Shape) -> None:
        _checks.rank("RotaryPositions", input_shape, "batch, heads, time, dim")
        dim = _checks.known("RotaryPositions", input_shape, -1)
        if dim % 2:
            raise ValueError(f"RotaryPositions rotates pairs of features: dim must be even. Received: dim={dim}")

    def call(self, inputs: Tensor, start: int | Tensor = 0) -> Tensor:
        dim = inputs.shape[-1]
        rates = keras.ops.convert_to_tensor(rotary_rates(dim, self.base, self.scaling), "float32")  # (dim / 2,)
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
        return {**super().get_config(), "base": self.base, "scaling": list(self.scaling)}


def rotary_rates(dim: int, base: float, scaling: Scaling = (1.0,)) -> np.ndarray:
    """Radians a position of each pair of features, (dim / 2,)."""
    rates = np.power(float(base), -np.arange(0, dim, 2) / dim)
    if len(scaling) == 1:
        return rates / scaling[0]
    factor, low, high, length = scaling
    kept = np.clip((length * rates / (2 * np.pi) - low) / (high - low), 0, 1)
    return rates * (kept + (1 - kept) / factor)


def check_scaling(name: str, scaling: Scaling) -> tuple[float, ...]:
    """`scaling`, one or four numbers above 0 of which the second is below the third; else `ValueError`."""
    values = tuple(_checks.real(name, one, 0, above=True) for one in scaling)
    if len(values) not in (1, 4) or (len(values) == 4 and values[1] >= values[2]):
        raise ValueError(
            f"{name} must be one number, or factor, low, high and length with low below high. "
            f"Received: {name}={tuple(scaling)}"
        )
    return values
