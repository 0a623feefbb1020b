"""`sweep`: other values of every field, for tests that hold a law over all of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.fields.conditions import Condition
from zoo.fields.declared import Declared


def sweep(
    cls: type[Declared], values: Mapping[str, Any], samples: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, values in which the field counts, the same with another value of it), a few for every field of `cls`.

    For tests that hold a law over all fields, such as "an override that counts changes something".

    Args:
        values: of all fields.
        samples: {field: another value} for fields that cannot tell one themselves, such as those of text; fields that
            count only beside such a one are left out without it.
    """
    samples = samples or {}
    for name, field in cls.fields().items():
        active = _activated(cls, name, dict(values), samples)
        if active is None:
            continue
        found = [samples[name]] if name in samples else field.others(active[name])
        for value in found[:4]:
            yield name, active, {**active, name: value}


def _activated(
    cls: type[Declared], name: str, values: dict[str, Any], samples: Mapping[str, Any]
) -> dict[str, Any] | None:
    """`values` in which the field `name` counts; None where that needs a sample that is not given."""
    for other, condition in _ancestors(cls, name):
        if not condition.holds(values[other]):
            candidates = [samples[other]] if other in samples else cls.field(other).others(values[other])
            candidates += [condition.reach(values[other])] if condition.reach else []
            holding = [value for value in candidates if condition.holds(value)]
            if not holding:
                return None
            values[other] = holding[0]
    return values


def _ancestors(cls: type[Declared], name: str) -> Iterator[tuple[str, Condition]]:
    for other, condition in cls.field(name).conditions():
        yield from _ancestors(cls, other)
        yield other, condition
