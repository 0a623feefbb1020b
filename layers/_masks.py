"""What layers do with masks: booleans of (batch, positions, ...), True where a position is valid."""

import keras


def all_valid(masks):
    """Where every mask of a list that is not None is True; None where all are None."""
    given = [mask for mask in masks or () if mask is not None]
    if not given:
        return None
    valid = given[0]
    for mask in given[1:]:
        valid = keras.ops.logical_and(valid, mask)
    return valid
