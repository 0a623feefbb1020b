"""What layers do with masks: booleans, True where a position is valid."""

import keras

from zoo.layers._typing import Tensor


def every(*masks: Tensor | None) -> Tensor | None:
    """The conjunction of boolean `masks` that broadcast, those that are None left out; None where all are."""
    merged = None
    for mask in masks:
        if mask is not None:
            mask = keras.ops.cast(mask, "bool")
            merged = mask if merged is None else keras.ops.logical_and(merged, mask)
    return merged
