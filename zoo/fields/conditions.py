"""When a field is active: conditions on the value of another field, for `when=`."""

import dataclasses
import typing
from collections.abc import Callable

from zoo.fields.texts import show


@dataclasses.dataclass(frozen=True)
class Condition:
    """When a field counts: `holds(value of the other field)`; `text` goes behind the other field's name."""

    text: str
    holds: Callable[[typing.Any], bool]
    reach: Callable[[typing.Any], object] | None = None
    """From a value of the other field to one that holds, where trying its other values finds none."""

    @classmethod
    def of(cls, allowed: object) -> typing.Self:
        """The condition that the other field has the value `allowed`, or one of such a tuple."""
        if isinstance(allowed, cls):
            return allowed
        values = allowed if isinstance(allowed, tuple) else (allowed,)
        return cls(f"={' or '.join(map(show, values))}", lambda value: value in values)


def above(bound: float) -> Condition:
    """Condition: the other field is above `bound`."""
    return Condition(f" above {bound}", lambda value: value is not None and value > bound)


def given() -> Condition:
    """Condition: the other field is not none."""
    return Condition(" given", lambda value: value is not None)


def channels(count: int) -> Condition:
    """Condition: the other field, a shape (height, width, channels), has `count` channels."""
    return Condition(f" of {count} channels", lambda shape: shape[-1] == count, lambda shape: (*shape[:-1], count))
