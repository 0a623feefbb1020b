"""Windows of running text: in training they lie end to end, in evaluation each token is answered once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf


def seed_pair(seed: Tensor, epoch: Tensor) -> Tensor:
    """The integer pair of (seed, epoch)."""
    tf = tensorflow()

    return tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])


class Windows:
    """Windows of running text, which lie end to end; where the first begins is another place in each epoch.

    Attributes:
        steps: batches of an epoch.

    Args:
        stream: int32 (tokens,).
        window: tokens that a network sees at once; one more is read, the last answer.
        name: of the data, for a person.
    """

    def __init__(self, stream: np.ndarray, window: int, batch_size: int, name: str) -> None:
        self._stream = stream
        self._window = window
        if len(stream) <= window:
            raise InputError(
                f"dataset={name} has {len(stream):,} tokens to train on, but a window has {window:,} and one behind. "
                "Give more text, or a shorter window."
            )
        self._count = max(1, len(stream) // window - 1)
        self._size = min(batch_size, self._count)
        self.steps: int = self._count // self._size

    def epoch(self, seed: Tensor, epoch: Tensor) -> "tf.data.Dataset[Any]":
        """(epoch, step, where a batch's windows begin) in the order of the epoch."""
        tf = tensorflow()

        pair = seed_pair(seed, epoch)
        room = min(self._window, len(self._stream) - self._count * self._window)
        first = tf.random.experimental.stateless_fold_in(pair, 0)
        offset = tf.random.stateless_uniform([], first, maxval=room, dtype=tf.int64)
        starts = offset + self._window * tf.range(self._count, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(starts, seed=pair)
        order = tf.reshape(order[: self.steps * self._size], (self.steps, self._size))
        steps = tf.range(self.steps, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((tf.fill([self.steps], epoch), steps, order))

    def batch(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """A function from where windows begin (batch,) to the batch: see `SequencePreparation.finish`."""
        tf = tensorflow()

        with tf.device("CPU:0"):
            stream = tf.constant(self._stream)

        def cut(starts):
            windows = tf.gather(stream, starts[:, None] + tf.range(self._window + 1, dtype=tf.int64))
            return windows, tf.ones_like(windows[:, 1:], tf.float32)

        return cut


def answered_once(stream: np.ndarray, window: int, context: int, batch_size: int) -> "tf.data.Dataset[Any]":
    """Windows that advance by `window - context`, a `tf.data.Dataset` of batches: see `SequencePreparation.finish`."""
    tf = tensorflow()

    advance = window - context
    count = max(1, -(-(len(stream) - 1 - context) // advance))
    places = advance * np.arange(count)[:, None] + np.arange(window + 1)  # (count, window + 1)
    there = places < len(stream)
    windows = np.where(there, stream[np.where(there, places, 0)], 0)
    answered = there[:, 1:].astype(np.float32)
    answered[1:, :context] = 0
    return tf.data.Dataset.from_tensor_slices((windows.astype(np.int32), answered)).batch(batch_size)
