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
        samples: {field: another value} for fields that cannot tell one themselves, such as those of text.
    """
    for name, field in cls.fields().items():
        active = dict(values)
        for other, condition in _ancestors(cls, name):
            if not condition.holds(active[other]):
                candidates = cls.field(other).others(active[other])
                candidates += [condition.reach(active[other])] if condition.reach else []
                active[other] = next(value for value in candidates if condition.holds(value))
        found = [samples[name]] if name in (samples or {}) else field.others(active[name])
        for value in found[:4]:
            yield name, active, {**active, name: value}


def _ancestors(cls: type[Declared], name: str) -> Iterator[tuple[str, Condition]]:
    for other, condition in cls.field(name).conditions():
        yield from _ancestors(cls, other)
        yield other, condition
