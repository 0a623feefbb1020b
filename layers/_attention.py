"""What attention layers share: masks, the softmax that honours them, and a cache of static length."""

from collections.abc import Callable

import keras

from zoo.layers import _checks
from zoo.layers._typing import Shape, Tensor


def softmax(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Softmax over the last axis, in the dtype of `scores`; where `allowed` is False it is exactly 0.

    A row where nothing is allowed has no softmax: it is finite and means nothing, and the caller replaces it.
    """
    dtype = keras.backend.standardize_dtype(scores.dtype)
    wide = keras.backend.result_type(dtype, "float32")  # half precision sums too few digits
    scores = keras.ops.cast(scores, wide)
    if allowed is not None:
        # adding costs less than `where`, whose gradient is another `where`; exp(-1e9) is 0
        scores = scores + (1.0 - keras.ops.cast(allowed, wide)) * -1e9
    # of one position the weight is 1, with a gradient of 0; Keras's softmax warns there
    weights = scores - scores + 1.0 if scores.shape[-1] == 1 else keras.ops.softmax(scores, axis=-1)
    return keras.ops.cast(weights, dtype)


def product(rows: Tensor, shared: Tensor) -> Tensor:
    """`rows` (batch, heads, time, n) times `shared` (batch, groups, n, m): (batch, heads, time, m).

    Each matrix of `shared` serves as many consecutive heads as there are heads in a group; it is not repeated.
    """
    heads, groups = rows.shape[1], shared.shape[1]
    if heads == groups:
        return keras.ops.matmul(rows, shared)
    time, depth = keras.ops.shape(rows)[2], keras.ops.shape(rows)[3]
    folded = keras.ops.reshape(rows, (-1, groups, heads // groups * time, depth))
    return keras.ops.reshape(keras.ops.matmul(folded, shared), (-1, heads, time, keras.ops.shape(shared)[3]))


def repeated(shared: Tensor, heads: int) -> Tensor:
    """`shared` (batch, groups, ...), each group repeated for its consecutive heads: (batch, heads, ...)."""
    groups = shared.shape[1]
    return shared if groups == heads else keras.ops.repeat(shared, heads // groups, axis=1)


SMALL = 2**16
"""Products in the scores of a batch, up to which `of_few` adds them up."""


def of_few(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    allowed: Tensor | None,
    otherwise: Callable[[], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """(context, weights) of few queries, (batch, heads, time, dim), already scaled; in float32 on TensorFlow.

    Keys and values may have fewer heads, as for `product`.

    A call of its matrix product or of its softmax costs more on a CPU than the few numbers in a step of decoding, which
    are added up instead. Of more than `SMALL` products the answer is that of `otherwise()`.
    """

    def summed():
        every = [repeated(part, queries.shape[1])[:, :, None] for part in (keys, values)]
        scores = keras.ops.sum(queries[:, :, :, None] * every[0], axis=-1)  # (batch, heads, time, positions)
        if allowed is not None:
            scores = keras.ops.where(allowed, scores, -1e9)
        odds = keras.ops.exp(scores - keras.ops.max(scores, axis=-1, keepdims=True))
        weights = odds / keras.ops.sum(odds, axis=-1, keepdims=True)
        return keras.ops.sum(weights[..., None] * every[1], axis=3), weights

    products = keras.ops.size(queries) * keras.ops.shape(keys)[2]
    return keras.ops.cond(products <= SMALL, summed, otherwise)


def causal(queries: int | Tensor, keys: int | Tensor, start: int | Tensor | None = None) -> Tensor:
    """(1 or batch, 1, queries, keys): whether a query may attend to a key, its own position being the last it may.

    Args:
        queries, keys: how many; numbers or scalar tensors.
        start: the position of the first query, a number or a tensor, scalar or (batch,); 0 where None.
    """
    position = keras.ops.reshape(keras.ops.arange(queries), (1, 1, -1, 1))
    if start is not None:
        position = position + keras.ops.reshape(keras.ops.cast(start, "int32"), (-1, 1, 1, 1))
    return keras.ops.arange(keys) <= position  # (1 or batch, 1, queries, keys)


def write(cache: Tensor, new: Tensor, index: int | Tensor) -> Tensor:
    """`cache` (batch, heads, length, dim) with `new` (batch, heads, n, dim) at positions `index` to `index + n - 1`.

    Written with `where`, which exports everywhere; a slice update has no gradient on TensorFlow and no converter.
    """
    length, count = cache.shape[2], new.shape[2]
    if isinstance(index, int) and None not in (length, count) and not 0 <= index <= length - count:
        raise ValueError(
            f"cache_index must leave room for what is written, {count} positions of a cache of {length}. "
            f"Received: cache_index={index}"
        )
    index = keras.ops.reshape(keras.ops.cast(index, "int32"), (-1, 1, 1, 1))
    place = keras.ops.reshape(keras.ops.arange(keras.ops.shape(cache)[2]), (1, 1, -1, 1))  # (1, 1, length, 1)
    if count == 1:
        return keras.ops.where(place == index, new, cache)
    hit = place == index + keras.ops.arange(keras.ops.shape(new)[2])  # (1 or batch, 1, length, n)
    moved = keras.ops.matmul(keras.ops.cast(hit, new.dtype), new)  # (batch, heads, length, dim)
    return keras.ops.where(keras.ops.any(hit, axis=-1, keepdims=True), moved, cache)


def check_shapes(query_shape: Shape, value_shape: Shape | None, key_shape: Shape | None) -> int:
    """The query's width; `ValueError` for shapes that a multi-head attention does not take."""
    shapes = {"query_shape": query_shape, "value_shape": value_shape, "key_shape": key_shape}
    for name, shape in shapes.items():
        if shape is not None:
            _checks.rank("MultiHeadAttention", shape, "batch, time, dim", name)
            _checks.known("MultiHeadAttention", shape, -1, name)
    if key_shape is None:
        return query_shape[-1]
    if value_shape is None:
        raise ValueError("MultiHeadAttention takes a key only with a value. Received: value=None")
    if not _checks.agree(value_shape[:2], key_shape[:2]):
        raise ValueError(
            "value and key must be of one length. "
            f"Received: value_shape={tuple(value_shape)}, key_shape={tuple(key_shape)}"
        )
    return query_shape[-1]
