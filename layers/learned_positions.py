from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Initializer, InitializerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class LearnedPositions(keras.layers.Layer):
    """Adds to each position of a sequence a trained vector that tells where it is.

    y[p] = x[p] + w[p]

    Args:
        length: Integer, the number of positions, at least 1. A sequence may not reach beyond it.
        initializer: Initializer for w. Defaults to "uniform".

    Call arguments:
        inputs: Tensor of at most `length` positions.
        start: Integer or integer tensor, scalar or (batch,): the position of the first element of `inputs`, where a
            decoder that keeps a cache stands. Defaults to 0.

    Input shape: (batch, time, dim).
    Output shape: as the input's.

    Example:

    >>> LearnedPositions(8)(keras.ops.zeros((1, 3, 4))).shape == (1, 3, 4)
    True

    Reference: Gehring et al. 2017, "Convolutional Sequence to Sequence Learning", section 3.1; Vaswani et al. 2017,
    table 3, row E.
    """

    def __init__(self, length: int, initializer: Initializer = "uniform", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length: int = _checks.whole("length", length)
        self.initializer: InitializerFunction = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        _checks.rank("LearnedPositions", input_shape, "batch, time, dim")
        dim = _checks.known("LearnedPositions", input_shape, -1)
        self.table: keras.Variable = self.add_weight(
            name="table", shape=(self.length, dim), initializer=self.initializer
        )

    def call(self, inputs: Tensor, start: int | Tensor = 0) -> Tensor:
        count = keras.ops.shape(inputs)[1]
        if isinstance(count, int) and isinstance(start, int) and not 0 <= start <= self.length - count:
            raise ValueError(
                f"LearnedPositions has {self.length} positions. Received: {count} from start={start} on. "
                "Give a shorter sequence, or a larger length."
            )
        start = keras.ops.reshape(keras.ops.cast(start, "int32"), (-1, 1))  # (1 or batch, 1)
        place = start + keras.ops.arange(count, dtype="int32")  # (1 or batch, time)
        return inputs + keras.ops.take(self.table, place, axis=0)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "length": self.length,
            "initializer": keras.initializers.serialize(self.initializer),
        }
