"""Pruners: functions that say when a trial is not worth its remaining epochs, from its curve and the others'.

A curve is {epoch: value of the objective}, epochs from 1. What counts at an epoch is the best value up to it.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping

Curve = Mapping[int, float]

STARTUP = 4
"""How many other trials must have reached an epoch before its median counts."""

FACTOR = 3
"""One in so many goes on from each rung of successive halving; the rungs are epochs 1, 3, 9, ..."""


def best(curve: Curve, direction: str, until: int | None = None) -> tuple[float, int] | tuple[None, None]:
    """Returns (best finite value of a curve up to epoch `until`, its epoch), or (None, None) if there is none."""
    values = [(value, epoch) for epoch, value in curve.items() if until is None or epoch <= until]
    values = [(value, epoch) for value, epoch in values if math.isfinite(value)]
    if not values:
        return None, None
    sign = 1 if direction == "min" else -1
    return min(values, key=lambda one: (sign * one[0], one[1]))


def median(curve: Curve, others: Iterable[Curve], epoch: int, direction: str) -> str | None:
    """Returns why a trial is pruned that is worse at `epoch` than the median of the others, or None."""
    theirs = [best(other, direction, epoch)[0] for other in others if epoch in other]
    theirs = [value for value in theirs if value is not None]
    if len(theirs) < STARTUP:
        return None
    bound = statistics.median(theirs)
    if _worse(best(curve, direction, epoch)[0], bound, direction):
        return f"worse than the median {bound:.6g} of {len(theirs)} trials at epoch {epoch}"
    return None


def halving(curve: Curve, others: Iterable[Curve], epoch: int, direction: str) -> str | None:
    """Asynchronous successive halving: at a rung, only the best third of the trials there go on.

    Returns: why the trial is pruned, or None.
    """
    if epoch not in _rungs(epoch):
        return None
    values = [best(other, direction, epoch)[0] for other in [*others, curve] if epoch in other]
    values = sorted((value for value in values if value is not None), reverse=direction == "max")
    if not values:
        return f"no finite value up to epoch {epoch}"
    going_on = max(len(values) // FACTOR, 1)
    if _worse(best(curve, direction, epoch)[0], values[going_on - 1], direction):
        return f"not among the best {going_on} of {len(values)} trials at epoch {epoch}"
    return None


PRUNERS: dict[str, Callable[[Curve, Iterable[Curve], int, str], str | None]] = {"median": median, "halving": halving}


def _rungs(last):
    rung = 1
    while rung <= last:
        yield rung
        rung *= FACTOR


def _worse(value, bound, direction):
    if value is None:
        return True
    return value > bound if direction == "min" else value < bound
