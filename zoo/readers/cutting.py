"""What cuts texts into pieces with stock TensorFlow operations: a mark between pieces, and lookup tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow

BREAK = b"\xff"
"""Stands between pieces for a moment: a byte that UTF-8 lacks, so no text has it and no expression matches it."""


def split_at_breaks(texts: Tensor) -> Tensor:
    """Strings (batch,) to what stands between each `BREAK`, but for nothing: a `tf.RaggedTensor` (batch, parts)."""
    tf = tensorflow()

    parts = tf.strings.split(texts, BREAK)
    return tf.ragged.boolean_mask(parts, parts != "")


def lookup_table(
    keys: Sequence[str] | Sequence[bytes] | np.ndarray, values: Sequence[Any] | np.ndarray, default: int | bytes
) -> Tensor:
    """A table from strings, or an array of whole numbers, to int64, or to strings where `default` is one.

    What is not among `keys` has the value `default`.
    """
    tf = tensorflow()

    with tf.init_scope(), tf.device("CPU:0"):
        kind = tf.int64 if isinstance(keys, np.ndarray) else tf.string
        given = tf.constant(values, tf.string if isinstance(default, bytes) else tf.int64)
        return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(keys, kind), given), default)
