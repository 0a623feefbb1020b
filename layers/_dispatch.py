"""Tokens to their experts and back, by gathers both ways.

A layout gives each expert runs of slots in a table. `dispatch` fills the table with tokens, the experts compute on
their runs, and `combine` sums for each token what came out at its slots. Three layouts:

    packed   a run is as long as the expert's load: no row too many, but shapes are known at run time alone.
    slotted  all runs are as long as the capacity; what comes later is dropped.
    spilled  as slotted, with a little more than the mean load, and what comes later goes into blocks of one expert
             each, of which a loop computes those that are used: shapes are static and nothing is dropped.

Where shapes must be static (XLA, JAX) it is slotted or spilled, else packed, with a capacity or without.
"""

import fractions
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from zoo.layers import _backend, _checks
from zoo.layers._readings import Readings
from zoo.layers._typing import Tensor
from zoo.layers.routing import Routing

BLOCK = 64
"""Rows of a spilled block at most: larger ones are emptier, smaller ones read weights more often."""

ROOM = 1.125
"""Length of a spilled layout's runs by the mean load."""


class Layout(NamedTuple):
    """Where n tokens with k choices each go.

    Fields:
        slots: int32, (n, k), the slot of each choice; one past the last where it has none.
        choices: int32, (slots,), the choice in each slot, token * k + rank; n * k where it is empty.
        drop_rate: the part of the choices that capacity dropped, a scalar.
    """

    slots: Tensor
    choices: Tensor
    drop_rate: float | Tensor


def packed(
    experts: Tensor, num_experts: int, capacity: "Capacity | None" = None, least: int = 0
) -> tuple[Layout, Tensor]:
    """The layout of runs as long as loads, or at least `least`; `capacity` is a `Capacity` or None."""
    counts, places = _queue(experts, num_experts)
    n, k = keras.ops.shape(experts)
    kept, drop_rate = _kept(counts, k, capacity)
    sizes = keras.ops.maximum(kept, least)
    starts, end = keras.ops.cumsum(sizes) - sizes, keras.ops.sum(sizes)
    slots = keras.ops.where(places < _of(kept, experts), _of(starts, experts) + places, end)
    slots = keras.ops.where(places < 0, end, slots)
    return _filled(slots, n * k + least * num_experts, drop_rate), sizes


def slotted(experts: Tensor, num_experts: int, capacity: "Capacity") -> tuple[Layout, int | Tensor]:
    """(layout, length of a run)"""
    counts, places = _queue(experts, num_experts)
    n, k = keras.ops.shape(experts)
    kept, drop_rate = _kept(counts, k, capacity)
    run = capacity.of(n)
    size = num_experts * run
    slots = keras.ops.where((places >= 0) & (places < _of(kept, experts)), experts * run + places, size)
    return _filled(slots, size, drop_rate), run


class Spill(NamedTuple):
    """Where a spilled layout has what. The runs come first, then the blocks.

    Fields:
        run: length of an expert's run.
        block: length of a block.
        owners: int32, (blocks,), the expert of each block.
        used: how many blocks there are tokens in; these are the first.
    """

    run: int | Tensor
    block: int
    owners: Tensor
    used: Tensor


def spilled(experts: Tensor, num_experts: int, room: float = ROOM) -> tuple[Layout, Spill]:
    """(layout, its `Spill`); without `room` there are blocks alone."""
    counts, places = _queue(experts, num_experts)
    n, k = keras.ops.shape(experts)
    run, block, owning = Capacity(room, k, num_experts).of(n), BLOCK, num_experts
    if isinstance(n, int):
        if n * k < num_experts:
            run = 0  # the few experts in use cost less than a row for each
        block = min(BLOCK, 1 << max(n * k // num_experts - 1, 0).bit_length())
        owning = min(num_experts, n * k)
    over = keras.ops.maximum(counts - run, 0)  # (experts,)
    blocks = (over + block - 1) // block  # (experts,)
    ends = keras.ops.cumsum(blocks)
    total = (n * k + owning * (block - 1)) // block  # at most: each owner has one block that is not full
    owners = keras.ops.expand_dims(keras.ops.arange(total), -1) >= ends  # (blocks, experts)
    owners = keras.ops.minimum(keras.ops.sum(keras.ops.cast(owners, "int32"), axis=-1), num_experts - 1)  # (blocks,)

    numbers = keras.ops.arange(num_experts)
    starts = num_experts * run + (ends - blocks) * block - run  # of a place that is over
    size = num_experts * run + total * block
    slots = keras.ops.where(places < run, _of(numbers * run, experts), _of(starts, experts)) + places
    layout = _filled(keras.ops.where(places < 0, size, slots), size, 0.0)
    return layout, Spill(run, block, owners, keras.ops.sum(blocks))


def feed_spilled(
    feed_all: Callable[[Tensor, Any], Tensor],
    feed_one: Callable[[Tensor, Any], Tensor],
    rows: Tensor,
    spill: Spill,
    weights: Sequence[Tensor],
) -> Tensor:
    """What experts make of the rows that `dispatch` laid out, (slots, ...).

    Args:
        feed_all: (rows (experts, run, ...), tuple of weights (experts, ...)) -> outputs (experts, run, ...).
        feed_one: (rows (block, ...), tuple of weights of one expert) -> outputs (block, ...).
        rows: (slots, ...).
        spill: the layout's `Spill`.
        weights: tensors (experts, ...).
    """
    num_experts, edge = weights[0].shape[0], weights[0].shape[0] * spill.run

    def forward(rows, owners, used, *weights):
        runs, blocks = parts(rows)
        outputs = feed_all(runs, weights)  # (experts, run, ...)
        inner = tuple(outputs.shape)[2:]

        def body(i, results):
            owned = tuple(at(weight, at(owners, i)) for weight in weights)
            return put(results, i, feed_one(at(blocks, i), owned))

        results = keras.ops.zeros((*keras.ops.shape(blocks)[:2], *inner), outputs.dtype)
        results = keras.ops.fori_loop(0, used, body, results)  # (blocks, block, ...)
        outputs = [keras.ops.reshape(one, (-1, *inner)) for one in (outputs, results)]
        return keras.ops.concatenate(outputs, axis=0), (rows, owners, used, *weights)

    def backward(kept, upstream):
        rows, owners, used, *weights = kept
        (runs, blocks), (run_bars, block_bars) = parts(rows), parts(upstream)
        # the compiler finds that the forward pass has computed most of this
        _, (run_bars, weight_bars) = _backend.vjp(feed_all, (runs, tuple(weights)), run_bars)

        def body(i, carry):
            row_bars, weight_bars = carry
            owner = at(owners, i)
            owned = tuple(at(weight, owner) for weight in weights)
            _, (bar, owned) = _backend.vjp(feed_one, (at(blocks, i), owned), at(block_bars, i))
            summed = [put(all, owner, at(all, owner) + one) for all, one in zip(weight_bars, owned, strict=True)]
            return put(row_bars, i, bar), tuple(summed)

        carry = keras.ops.zeros_like(blocks), tuple(weight_bars)
        block_bars, weight_bars = keras.ops.fori_loop(0, used, body, carry)
        row_bars = [keras.ops.reshape(bars, (-1, *rows.shape[1:])) for bars in (run_bars, block_bars)]
        return keras.ops.concatenate(row_bars, axis=0), None, None, *weight_bars

    def parts(rows):
        inner = tuple(rows.shape)[1:]
        runs = keras.ops.reshape(rows[:edge], (num_experts, spill.run, *inner))
        return runs, keras.ops.reshape(rows[edge:], (-1, spill.block, *inner))

    # not in training alone: a loop of unknown length has no gradient of its own
    return _backend.custom_gradient(forward, backward)(rows, spill.owners, spill.used, *weights)


def dispatch(tokens: Tensor, layout: Layout, training: bool | None) -> Tensor:
    """(slots, ...): the token in each slot, zeros where it is empty."""
    k = layout.slots.shape[1]

    def forward(tokens, slots, choices):
        return keras.ops.take(_with_zeros(tokens), choices // k, axis=0), (slots,)

    def backward(kept, upstream):
        (slots,) = kept
        return keras.ops.sum(keras.ops.take(_with_zeros(upstream), slots, axis=0), axis=1), None, None

    return _gathered(forward, backward, training)(tokens, layout.slots, layout.choices)


def combine(outputs: Tensor, weights: Tensor, layout: Layout, training: bool | None) -> Tensor:
    """(n, ...): the sum over each token's choices of weight times output; 0 for a choice that has no slot."""
    k = layout.slots.shape[1]

    def forward(outputs, weights, slots, choices):
        found = keras.ops.take(_with_zeros(outputs), slots, axis=0)  # (n, k, ...)
        # in float32, else weights do not sum to 1
        summed = keras.ops.sum(_over(weights, found) * keras.ops.cast(found, weights.dtype), axis=1)  # (n, ...)
        return keras.ops.cast(summed, outputs.dtype), (outputs, weights, slots, choices)

    def backward(kept, upstream):
        outputs, weights, slots, choices = kept
        choices = choices[: keras.ops.shape(outputs)[0]]
        flat = _with_zeros(keras.ops.reshape(weights, (-1,)))  # (n * k + 1,)
        theirs = keras.ops.take(_with_zeros(upstream), choices // k, axis=0)  # (slots, ...)
        scale = keras.ops.cast(keras.ops.take(flat, choices), upstream.dtype)  # (slots,)
        found = keras.ops.take(_with_zeros(outputs), slots, axis=0)  # (n, k, ...)
        products = keras.ops.cast(found * keras.ops.expand_dims(upstream, 1), weights.dtype)
        axes = tuple(range(2, len(found.shape)))
        return _over(scale, theirs) * theirs, keras.ops.sum(products, axis=axes), None, None

    return _gathered(forward, backward, training)(outputs, weights, layout.slots, layout.choices)


def at(tensor: Tensor, index: Tensor) -> Tensor:
    """tensor[index], for an index that is a tensor."""
    # no slice: XLA on TensorFlow wants its start constant, and would compile anew for whatever values it comes from
    return keras.ops.take(tensor, index, axis=0)


def put(tensor: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """`tensor` with `value` at `index`."""
    return keras.ops.slice_update(tensor, (index, *[0] * len(value.shape)), keras.ops.expand_dims(value, 0))


class Capacity:
    """How many tokens an expert takes at most: ceil(factor k tokens / experts).

    In whole numbers, because the number of tokens may be a tensor; `factor` counts to two decimals.
    """

    def __init__(self, factor: float, top_k: int, num_experts: int) -> None:
        share = fractions.Fraction(factor).limit_denominator(100)
        self.numerator: int = share.numerator * top_k
        self.denominator: int = share.denominator * num_experts

    def of(self, tokens: int | Tensor) -> int | Tensor:
        return (tokens * self.numerator + self.denominator - 1) // self.denominator


def check_top_k(top_k: int | None, num_experts: int) -> int | None:
    """`top_k`, None or a whole number of at most `num_experts`; else `ValueError`."""
    if top_k is not None and _checks.whole("top_k", top_k) > num_experts:
        raise ValueError(f"top_k must be at most the number of experts, {num_experts}. Received: top_k={top_k}")
    return top_k


def check_capacity_factor(factor: float | None, top_k: int | None) -> float | None:
    """`factor`, None or a number above 0 beside a `top_k`; else `ValueError`."""
    if factor is None:
        return None
    if top_k is None:
        raise ValueError(
            "capacity_factor bounds what each expert takes of the positions that chose it, and top_k=None sends all "
            f"to all. Give top_k. Received: capacity_factor={factor!r}"
        )
    return _checks.real("capacity_factor", factor, 0, above=True)


def record(readings: Readings, routing: Routing, drop_rate: float | Tensor, training: bool | None) -> None:
    """Keeps what a mixture tells about itself."""
    if readings.wanted(routing.logits, training):
        readings.record(training, load=routing.load(), entropy=routing.entropy(), drop_rate=drop_rate)


def flat(mask: Tensor | None, inputs: Tensor) -> Tensor | None:
    """The mask of (batch, ...) as one of the positions of (batch, ..., features): (positions,)."""
    if mask is None:
        return None
    lead = keras.ops.shape(inputs)[:-1]
    return keras.ops.reshape(keras.ops.broadcast_to(spread(mask, len(lead)), lead), (-1,))


def spread(mask: Tensor, rank: int) -> Tensor:
    """`mask` with axes of size 1 at its end, up to `rank`."""
    return keras.ops.reshape(mask, (*keras.ops.shape(mask), *[1] * (rank - len(mask.shape))))


def _queue(experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor]:
    """(each expert's load, (experts,); the place of each choice among those of its expert, (n, k), -1 for no expert).

    First choices stand before second ones, and so get the slots where capacity is short.
    """
    n, k = keras.ops.shape(experts)
    queue = keras.ops.reshape(keras.ops.transpose(experts), (-1, 1))  # (k * n, 1)
    chosen = keras.ops.cast(queue == keras.ops.arange(num_experts), "int32")  # (k * n, experts)
    places = keras.ops.sum(chosen * keras.ops.cumsum(chosen, axis=0), axis=-1) - 1  # (k * n,)
    return keras.ops.sum(chosen, axis=0), keras.ops.transpose(keras.ops.reshape(places, (k, n)))


def _kept(counts: Tensor, k: int, capacity: Capacity | None) -> tuple[Tensor, float | Tensor]:
    """(how many of each expert's choices it takes, (experts,); the part of all that it does not)"""
    if capacity is None:
        return counts, 0.0
    routed = keras.ops.sum(counts)
    kept = keras.ops.minimum(counts, capacity.of(routed // k))
    routed = keras.ops.cast(keras.ops.maximum(routed, 1), "float32")
    return kept, keras.ops.cast(keras.ops.sum(counts - kept), "float32") / routed


def _of(values: Tensor, experts: Tensor) -> Tensor:
    """(n, k): each choice's entry of `values`, (experts,); 0 for no expert."""
    return keras.ops.take(_with_zeros(values), experts, axis=0)


def _filled(slots: Tensor, size: int | Tensor, drop_rate: float | Tensor) -> Layout:
    n, k = keras.ops.shape(slots)
    empty = keras.ops.zeros((size + 1,), "int32") + n * k
    choices = keras.ops.scatter_update(empty, keras.ops.reshape(slots, (-1, 1)), keras.ops.arange(n * k))
    return Layout(slots, choices[:size], drop_rate)


def _gathered(
    forward: Callable[..., Any], backward: Callable[..., Any], training: bool | None
) -> Callable[..., Tensor]:
    """`forward`, in training with its gradient by gathers too; that of TensorFlow's own gather is a slow scatter.

    Not in inference, because such a gradient keeps graphs from being exported.
    """
    if training:
        return _backend.custom_gradient(forward, backward)
    return lambda *tensors: forward(*tensors)[0]


def _with_zeros(rows: Tensor) -> Tensor:
    """`rows` and one of zeros, for those who look for a row that is not there."""
    return keras.ops.pad(rows, [[0, 1]] + [[0, 0]] * (len(rows.shape) - 1))


def _over(scale: Tensor, rows: Tensor) -> Tensor:
    """`scale` with axes at its end, to multiply `rows`."""
    return spread(scale, len(rows.shape))
