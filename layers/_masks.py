"""What layers do with masks: booleans, True where a position is valid."""

import keras

from zoo.layers._typing import Tensor


def of_heads(mask: Tensor) -> Tensor:
    """`mask` of (batch, heads, time, positions), from one that lacks heads, or batch and heads."""
    while len(mask.shape) < 4:
        mask = keras.ops.expand_dims(mask, -3)
    return mask


def every(*masks: Tensor | None) -> Tensor | None:
    """The conjunction of boolean `masks` that broadcast, those that are None left out; None where all are."""
    merged = None
    for mask in masks:
        if mask is not None:
            mask = keras.ops.cast(mask, "bool")
            merged = mask if merged is None else keras.ops.logical_and(merged, mask)
    return merged
