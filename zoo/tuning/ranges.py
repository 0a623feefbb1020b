"""`Range`: where one field is searched, and how what a person gives becomes one.

A range is text: `1e-4..1e-1:log`, `8..64:step=8`, or alternatives such as `batch,group` (a value of several numbers
joins them by x: `6x16,12x32`). A list of values means the same as alternatives, and a single value pins its field.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError, unknown
from zoo.fields import Flag, Integer, Real, Sequence, show

if TYPE_CHECKING:
    from keras_tuner.engine.hyperparameters import HyperParameter

    from zoo.base.recipe import Recipe
    from zoo.fields import Declared

VARIANT = "variant"
"""The name under which a study searches the recipe's variants."""

ALL = "all"
"""The space of every field that declares a range."""

FIRST = ("learning_rate", "batch_size", "weight_decay")
"""Fields that matter most in every recipe. `Recipe.tuned` names those of a recipe beside them."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Where one field is searched: one of `values`, or else the numbers from `low` to `high`.

    Attributes:
        values: the alternatives; empty where the range is numeric.
        low, high: the bounds of a numeric range, both included. They are ints for a field of whole numbers.
        log: whether numbers are drawn uniformly on a logarithmic scale.
        step: the distance between neighbouring numbers; None where any number in between is allowed.
    """

    values: tuple = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None

    @property
    def text(self) -> str:
        """The range as a person types it."""
        if self.values:
            return ",".join("x".join(map(show, v)) if isinstance(v, tuple) else show(v) for v in self.values)
        step = "" if self.step is None else f":step={show(self.step)}"
        return f"{show(self.low)}..{show(self.high)}{':log' if self.log else step}"

    @property
    def whole(self) -> bool:
        """Whether the numbers of the range are whole."""
        return isinstance(self.low, int)

    def nearest(self, value: Any) -> Any:
        """Returns `value` if the range holds it, else the nearest: the first alternative, or a number in bounds."""
        if self.values:
            return value if value in self.values else self.values[0]
        if value is None:
            return self.low
        value = min(max(value, self.low), self.high)
        if self.step is None:
            return value
        last = math.floor((self.high - self.low) / self.step + 1e-9)
        found = self.low + min(round((value - self.low) / self.step), last) * self.step
        return found if self.whole else float(f"{found:.12g}")

    @property
    def ordered(self) -> bool:
        """Whether its values lie between one another: numbers do, and alternatives that are numbers."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    def place(self, value: Any) -> float:
        """Returns where a value of an ordered range, or the one nearest to it, lies on its scale, from 0 to 1."""
        value = self.nearest(value)
        if self.values:
            return (sorted(self.values).index(value) + 0.5) / len(self.values)
        low, high, value = self._scaled(self.low, self.high + self.whole, value + 0.5 * self.whole)
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def at(self, place: float) -> Any:
        """Returns the value that lies at a place from 0 to 1, or next to it: the inverse of `place`.

        Uniform places give every whole number, and every alternative, the same share of the scale.
        """
        place = min(max(float(place), 0.0), 1.0)
        if self.values:
            values = sorted(self.values) if self.ordered else self.values
            return values[min(int(place * len(values)), len(values) - 1)]
        low, high = self._scaled(self.low, self.high + self.whole)
        value = low + place * (high - low)
        value = math.exp(value) if self.log else value
        return self.nearest(math.floor(value) if self.whole else value)

    def _scaled(self, *numbers):
        return [math.log(number) for number in numbers] if self.log else list(map(float, numbers))

    def parameter(self, name: str, default: Any, conditions: list) -> "HyperParameter":
        """Returns keras-tuner's hyperparameter. Its Choice refuses None and tuples, so it gets values as JSON."""
        from keras_tuner.engine import hyperparameters

        shared = {"name": name, "default": self.write(default), "conditions": conditions}
        if self.values:
            return hyperparameters.Choice(values=[json.dumps(value) for value in self.values], **shared)
        kind = hyperparameters.Int if self.whole else hyperparameters.Float
        sampling = "log" if self.log else "linear"
        high = self.high if self.step is None or self.whole else self.high + 1e-9 * self.step  # a step is not exact
        return kind(min_value=self.low, max_value=high, step=self.step, sampling=sampling, **shared)

    def write(self, value: Any) -> Any:
        """Returns `value`, moved into the range, in the form that keras-tuner keeps."""
        value = self.nearest(value)
        return json.dumps(value) if self.values else value

    def read(self, kept: Any) -> Any:
        """Returns the field's value, one of the range, for what keras-tuner keeps: the inverse of `write`."""
        if not self.values:
            return self.nearest(int(kept) if self.whole else float(kept))  # its logarithmic Int returns high + 1 too
        value = json.loads(kept)
        return tuple(value) if isinstance(value, list) else value

    def facts(self) -> dict[str, Any]:
        """Returns the range as JSON, which `restored` reads."""
        kept = dataclasses.asdict(self)
        return {"values": kept["values"]} if self.values else {k: v for k, v in kept.items() if k != "values"}

    @classmethod
    def restored(cls, facts: Mapping[str, Any]) -> "Range":
        """Returns the range that `facts` describes."""
        values = tuple(tuple(value) if isinstance(value, list) else value for value in facts.get("values", ()))
        return cls(**{**facts, "values": values})


# Reading ranges -------------------------------------------------------------------------------------------------


def read(
    recipe: "Recipe", space: Mapping[str, Any] | str | None, fixed: Mapping[str, Any]
) -> tuple[dict[str, Range], dict[str, Any]]:
    """Reads what a study was asked to search; `read_of` of the recipe that is tuned."""
    return read_of(type(recipe), recipe.name, recipe.variant, space, fixed)


def read_of(
    cls: "type[Declared] | type[Recipe]",
    base: str,
    variant: str | None,
    space: Mapping[str, Any] | str | None,
    fixed: Mapping[str, Any],
) -> tuple[dict[str, Range], dict[str, Any]]:
    """Reads what a study was asked to search.

    Args:
        cls: the class of the recipe that is tuned; where `space` is a mapping, its sketch will do.
        base, variant: the name of the recipe, and of its variant or None.
        space: {field: text, list or value}; a single value fixes its field. "all" searches every field that declares
            a range of its own; None searches `FIRST` and `Recipe.tuned` of them.
        fixed: {field: value}.

    Returns: ({field: `Range`}, {field: fixed value}).
    Raises: `InputError` for an unknown field, or a value that its field refuses.
    """
    fixed = {
        name: cls.field(name).parse(name, value) if isinstance(value, str) else cls.field(name).check(name, value)
        for name, value in fixed.items()
    }
    if space is None or isinstance(space, str):
        if space not in (None, ALL):
            raise InputError(f"A space is {ALL}, or ranges of fields by name. Received: space={space!r}.")
        names = (*FIRST, *cls.tuned) if space is None else cls.fields()
        found = {name: declared(cls.field(name)) for name in names if name not in fixed}
        return {name: range for name, range in found.items() if range is not None}, fixed
    ranges = {}
    for name, given in space.items():
        if name in fixed:
            raise InputError(f"{name} is searched and fixed: leave one out.")
        found = _variants(cls, base, variant, given) if name == VARIANT else parse(name, cls.field(name), given)
        if len(found.values) == 1 and name != VARIANT:
            fixed[name] = found.values[0]
        else:
            ranges[name] = found
    return ranges, fixed


def parse(name: str, field: Any, given: Any) -> Range:
    """Returns the `Range` that `given` means for a field of `zoo.fields`: text, a list of values, or one value."""
    if isinstance(field, Sequence) and isinstance(given, int | float):
        given = (given,)
    if isinstance(given, str) and ".." in given and isinstance(field, Integer | Real):
        return _numbers(name, field, given)
    if isinstance(given, str):
        values = [_value(name, field, part.strip()) for part in given.split(",")]
    elif isinstance(given, list | tuple) and not (isinstance(field, Sequence) and _is_one(given)):
        values = [field.parse(name, one) if isinstance(one, str) else field.check(name, one) for one in given]
    else:
        values = [field.check(name, given)]
    if not values:
        raise InputError(f"The space of {name} is empty. {name} must be {field.legal_text}.")
    return Range(values=tuple(dict.fromkeys(values)))


def declared(field: Any) -> Range | None:
    """Returns the `Range` that a field declares itself (`search=`), or None."""
    if field.search is None:
        return None
    if not isinstance(field, Integer | Real):
        return Range(values=field.search)
    number = int if isinstance(field, Integer) else float
    step = field.step if isinstance(field, Integer) and not field.log and field.step != 1 else None
    return Range(low=number(field.search[0]), high=number(field.search[1]), log=field.log, step=step)


def variants(recipe: "Recipe", given: Any) -> Range:
    """Returns the `Range` of variants that `given` names; None, or the text none, is the recipe without a variant."""
    return _variants(type(recipe), recipe.name, recipe.variant, given)


def _variants(cls: Any, base: str, variant: str | None, given: Any) -> Range:
    if variant is not None:
        raise InputError(f"The space searches variants: name the recipe {base}, without /{variant}.")
    names = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
    names = [None if name is None else str(name).strip() for name in names]
    names = tuple(None if name == "none" else name for name in names)
    if not names:
        raise InputError(f"The space of variant is empty. There are: {', '.join(cls.variants)}.")
    for name in names:
        if name is not None and name not in cls.variants:
            raise unknown(f"variant of {base}", name, cls.variants)
    return Range(values=names)


def _is_one(given):
    """Whether a list is one value of several numbers, not several such values."""
    return all(isinstance(item, int | float) for item in given)


def _value(name, field, text):
    if isinstance(field, Flag) and text.lower() not in ("true", "false"):
        raise InputError(f"The space of {name} must be true,false. Received: {text}.")
    return field.parse(name, text)


def _numbers(name, field, text):
    """Reads `low..high`, `low..high:log` or `low..high:step=n`."""
    bounds, _, how = text.partition(":")
    low, _, high = bounds.partition("..")
    low, high = field.parse(name, low.strip()), field.parse(name, high.strip())
    word, _, number = how.partition("=")
    if low is None or high is None:
        raise InputError(f"The space of {name} goes from a number to a number. Received: {name}={text}.")
    if how not in ("", "log") and word != "step":
        raise InputError(f"The space of {name} ends in :log or :step=N. Received: {name}={text}.")
    if low >= high:
        raise InputError(f"The space of {name} must go from the lower to the higher. Received: {name}={text}.")
    if how == "log" and low <= 0:
        raise InputError(f"The space of {name} is logarithmic and must begin above 0. Received: {name}={text}.")
    step = field.step if isinstance(field, Integer) and how != "log" and field.step != 1 else None
    if word == "step":
        try:
            step = int(number) if isinstance(field, Integer) else float(number)
        except ValueError:
            step = math.nan
        if not 0 < step <= high - low:
            raise InputError(f"The step of {name} must be above 0 and within its range. Received: {name}={text}.")
    return Range(low=low, high=high, log=how == "log", step=step)
