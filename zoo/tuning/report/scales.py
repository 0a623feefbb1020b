"""Where the values of a field lie on an axis: numbers, logarithms of numbers, or names one after another."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

from zoo.fields import show
from zoo.fields.texts import short
from zoo.figures import cut, drawable
from zoo.tuning.report.leaderboard import differing
from zoo.tuning.report.snapshot import Snapshot

NAMED = 8
"""How many names an axis shows at most."""

_END = re.compile(r"(?:^|\.\.)\s*([-+]?\d*\.?\d+(?:e[-+]?\d+)?)")


@dataclasses.dataclass(frozen=True)
class Scale:
    """The axis of one field.

    Attributes:
        field: its name.
        names: the values in order where they are names, as a person types them; empty where they are numbers.
        log: whether numbers lie by their logarithm.
        whole: whether numbers are whole.
        low, high: its ends, as places.
        zero: whether 0 is on a logarithmic scale too, half a decade below the least positive number.
    """

    field: str
    names: tuple[str, ...]
    log: bool
    whole: bool
    low: float
    high: float
    zero: bool = False

    @classmethod
    def of(cls, field: str, text: str, values: Sequence[Any]) -> "Scale":
        """Returns the scale of a field.

        Args:
            text: its range in the space: `1e-4..1e-1:log`, `8..64:step=8`, `a,b`.
            values: the values that it had in trials, at least one.
        """
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values) or ".." not in text:
            known = {show(value): value for value in values}
            names = tuple(sorted(known, key=lambda name: _order(name, known[name], text)))
            return cls(field, names, False, False, 0.0, float(max(len(names) - 1, 1)))
        ends = map(float, _END.findall(text)[:2])
        return cls.of_numbers(field, [*values, *ends], text.endswith("log"), all(isinstance(v, int) for v in values))

    @classmethod
    def of_numbers(cls, field: str, numbers: Sequence[float], log: bool, whole: bool = False) -> "Scale":
        """Returns the scale from the least to the largest of `numbers`; logarithmic if `log` and none is below 0."""
        positive = [number for number in numbers if number > 0]
        log = log and min(numbers) >= 0 and bool(positive)
        ends = (min(positive), max(positive)) if log else (min(numbers), max(numbers))
        low, high = (math.log10(end) if log else float(end) for end in ends)
        zero = log and min(numbers) == 0
        low -= 0.5 if zero else 0
        return cls(field, (), log, whole, low, high if high > low else low + 1, zero)

    def at(self, value: Any) -> float:
        """Returns the place of a value."""
        if self.names:
            return float(self.names.index(show(value)))
        if self.log:
            return math.log10(value) if value else self.low
        return float(value)

    def part(self, value: Any) -> float:
        """Returns where a value lies between the ends, from 0 to 1."""
        return self.part_of(self.at(value))

    def part_of(self, place: float) -> float:
        """Returns where a place lies between the ends, from 0 to 1; a single name is in the middle."""
        return 0.5 if len(self.names) == 1 else (place - self.low) / (self.high - self.low)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Returns (place, text) of about `most` marks, or of at most `NAMED` names."""
        if self.names:
            every = math.ceil(len(self.names) / NAMED)
            named = list(enumerate(self.names))[::every]
            return [(float(place), cut(drawable(name, place), 12)) for place, name in named]
        if self.log:
            least = self.low + 0.5 * self.zero
            zero = [(self.low, "0")] if self.zero else []
            powers = range(math.ceil(least - 1e-9), math.floor(self.high + 1e-9) + 1)
            if len(powers) >= 2:
                return zero + [(float(power), f"{10.0**power:g}") for power in powers[:: math.ceil(len(powers) / most)]]
            numbers = [10 ** (least + (self.high - least) / 2 * mark) for mark in range(3)]
            texts = [str(round(number)) if self.whole else f"{float(f'{number:.2g}'):g}" for number in numbers]
            return zero + [(math.log10(number), text) for number, text in zip(numbers, texts, strict=True)]
        from matplotlib.ticker import MaxNLocator

        marks = MaxNLocator(most - 1, steps=[1, 2, 2.5, 5, 10], integer=self.whole).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return [(float(m), short(round(float(m), 12))) for m in marks if self.low - slack <= m <= self.high + slack]


def _order(name, value, text):
    """Numbers and tuples of them by size, then names as the space lists them, none last."""
    numbers = value if isinstance(value, tuple) else (value,)
    if all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return (0, numbers, name)
    listed = re.split(r"\s*,\s*|\s+or\s+", text)
    return (2 if value is None else 1, (listed.index(name) if name in listed else len(listed),), name)


def scales(study: Snapshot) -> dict[str, Scale]:
    """Returns {field: `Scale`} of the fields that differ between trials and are active in a trial with a score."""
    found = {}
    for field in differing(study):
        values = [trial.values[field] for trial in study.ranked if field in trial.values]
        if values:
            found[field] = Scale.of(field, study.space.get(field, ""), values)
    return found
