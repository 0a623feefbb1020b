"""TensorFlow as the reader of data, on every backend."""

import contextlib
import types
import typing
from collections.abc import Callable

Tensor: typing.TypeAlias = typing.Any
"""A tensor of TensorFlow, ragged or not; `Any`, because TensorFlow's own modules name no types for what they return."""


def tensorflow() -> types.ModuleType:
    """The module; under JAX and torch it sees no GPU, or it would take the memory from them."""
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        with contextlib.suppress(RuntimeError):  # whoever used TensorFlow before us has given it the GPU already
            tf.config.set_visible_devices([], "GPU")
    return tf


def plain(function: Callable[..., typing.Any]) -> Callable[..., typing.Any]:
    """`function`, for `tf.data`, which would rewrite its Python first (AutoGraph): a third of a second for each.

    Its branches and loops over tensors are `tf.cond` and `tf.map_fn`; an `if` on a tensor is an error.
    """
    return tensorflow().autograph.experimental.do_not_convert(function)
