import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zoo.layers import _backend
from zoo.layers._typing import Tensor

_SILENT = contextvars.ContextVar("silent", default=False)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """No layer records inside: a solver evaluates its layers many times, in loops that may change no state."""
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


class Readings(keras.layers.Layer):
    """What a layer tells about itself: function evaluations, an expert's load, an entropy.

    A layer holds one as a sublayer and calls `record` in its `call`; `zoo.LayerReadings` puts the mean over an epoch
    of every layer's readings into `History`. The state stands in `variables`, so that a compiled step on JAX can
    change it, but not in `weights`: a reading is no parameter, is not counted as one, and is not saved.

    Args:
        sizes: Dictionary {name: how many numbers}, such as {"entropy": 1, "load": 8}.
    """

    def __init__(self, sizes: dict[str, int], **kwargs: Any) -> None:
        super().__init__(dtype="float32", autocast=False, trainable=False, **kwargs)
        self.sizes: dict[str, int] = dict(sizes)
        self.build()

    def build(self) -> None:
        width = sum(self.sizes.values()) + 1  # the last counts the records
        self._state = self.add_weight(
            name="readings", shape=(2, width), initializer="zeros", trainable=False, autocast=False
        )
        self.built = True

    def wanted(self, inputs: Tensor, training: bool | None) -> bool:
        """Whether a call records: in training, and where its values are at hand. A traced inference stays pure.

        Args:
            inputs: Tensor of the call.
            training: Boolean, whether it trains.
        """
        return not _SILENT.get() and (bool(training) or not _backend.traced(inputs))

    def record(self, training: bool | None, **values: float | Tensor) -> None:
        """Sets the last readings, one tensor or number for each name; in training adds them to the epoch's."""
        if set(values) != set(self.sizes):
            raise ValueError(f"These are the readings: {sorted(self.sizes)}. Received: {sorted(values)}")
        parts = [keras.ops.reshape(keras.ops.cast(values[name], "float32"), (-1,)) for name in self.sizes]
        row = keras.ops.concatenate([*parts, keras.ops.ones((1,), "float32")])  # (width,)
        row = keras.ops.stop_gradient(row)
        total = self._state[1] + row if training else self._state[1]
        self._state.assign(keras.ops.stack([row, total]))  # (2, width)

    def reset(self) -> None:
        """Begins an epoch."""
        self._state.assign(np.zeros(self._state.shape, "float32"))

    def last(self, name: str) -> Tensor:
        """The last values of `name`: a tensor of no axis, or of one where the reading is several numbers."""
        start, size = self._place(name)
        return self._state[0, start] if size == 1 else self._state[0, start : start + size]

    def means(self) -> dict[str, float]:
        """{name, or name_0, name_1, ...: mean since `reset`}; empty where nothing was recorded."""
        total = np.array(keras.ops.convert_to_numpy(self._state.value))[1]
        if total[-1] == 0:
            return {}
        return dict(zip(self.names, map(float, total[:-1] / total[-1]), strict=True))

    @property
    def names(self) -> dict[str, str]:
        """{name of one number, such as `load_3`: the reading that it is of}, in the order of `sizes`."""
        return {
            name if size == 1 else f"{name}_{index}": name for name, size in self.sizes.items() for index in range(size)
        }

    def _place(self, name: str) -> tuple[int, int]:
        """(where `name` starts, how many numbers it is)"""
        start = 0
        for other, size in self.sizes.items():
            if other == name:
                return start, size
            start += size
        raise KeyError(name)

    @property
    def weights(self) -> list[keras.Variable]:
        return []

    @property
    def variables(self) -> list[keras.Variable]:
        # torch runs eagerly and needs no list; Keras counts its parameters there from this one
        return [] if keras.backend.backend() == "torch" else [self._state]

    def save_own_variables(self, store: Any) -> None:
        """Readings are not saved."""

    def load_own_variables(self, store: Any) -> None:
        """Readings are not saved."""
