"""The search space of a study: which fields of a recipe are searched, and where.

A range is text, `1e-4..1e-1:log`, `8..64:step=8` or `batch,group` (numbers of one value are joined by x:
`6x16,12x32`), or a list of values; a single value pins its field.
"""

import dataclasses
import json
import math

from zoo.errors import InputError, unknown
from zoo.fields import Flag, Integer, Origin, Real, Sequence, show

VARIANT = "variant"
"""The name under which a study searches the recipe's variants."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Where one field is searched: one of `values`, or else the numbers from `low` to `high`.

    Attributes:
        log: whether each octave counts as much as another.
        step: the distance of neighbouring numbers; None where there is none.
    """

    values: tuple = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None

    @property
    def text(self):
        """The range as it is typed."""
        if self.values:
            return ",".join("x".join(map(show, v)) if isinstance(v, tuple) else show(v) for v in self.values)
        step = "" if self.step is None else f":step={show(self.step)}"
        return f"{show(self.low)}..{show(self.high)}{':log' if self.log else step}"

    @property
    def whole(self):
        return isinstance(self.low, int)

    def nearest(self, value):
        """The value of the range that is `value`, or next to it: the first of a list, a bound of numbers."""
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

    def parameter(self, name, default, conditions):
        """keras-tuner's hyperparameter; what its Choice refuses (none, tuples) it gets as JSON."""
        from keras_tuner.engine import hyperparameters

        shared = {"name": name, "default": self.write(default), "conditions": conditions}
        if self.values:
            return hyperparameters.Choice(values=[json.dumps(value) for value in self.values], **shared)
        kind = hyperparameters.Int if self.whole else hyperparameters.Float
        sampling = "log" if self.log else "linear"
        high = self.high if self.step is None or self.whole else self.high + 1e-9 * self.step  # a step is not exact
        return kind(min_value=self.low, max_value=high, step=self.step, sampling=sampling, **shared)

    def write(self, value):
        """`value`, or what is next to it in the range, as keras-tuner keeps it."""
        value = self.nearest(value)
        return json.dumps(value) if self.values else value

    def read(self, kept):
        """The field's value of what keras-tuner keeps."""
        if not self.values:
            return int(kept) if self.whole else float(kept) if self.step is None else self.nearest(float(kept))
        value = json.loads(kept)
        return tuple(value) if isinstance(value, list) else value

    def facts(self):
        """The range as JSON; `restored` reads it."""
        kept = dataclasses.asdict(self)
        return {"values": kept["values"]} if self.values else {k: v for k, v in kept.items() if k != "values"}

    @classmethod
    def restored(cls, facts):
        values = tuple(tuple(value) if isinstance(value, list) else value for value in facts.get("values", ()))
        return cls(**{**facts, "values": values})


# Reading ranges -------------------------------------------------------------------------------------------------


def parse(name, field, given):
    """The `Range` that `given` means for `field`: a range's text, a list of values, or a single value."""
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


def _is_one(given):
    """Whether a list is one value of several numbers, not several such values."""
    return all(isinstance(item, int | float) for item in given)


def _value(name, field, text):
    if isinstance(field, Flag) and text.lower() not in ("true", "false"):
        raise InputError(f"The space of {name} must be true,false. Received: {text}.")
    return field.parse(name, text)


def _numbers(name, field, text):
    """The `Range` of `low..high`, `low..high:log` or `low..high:step=n`."""
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


def _own(field):
    """The `Range` that stands on a field, or None."""
    if field.search is None:
        return None
    if not isinstance(field, Integer | Real):
        return Range(values=field.search)
    number = int if isinstance(field, Integer) else float
    step = field.step if isinstance(field, Integer) and not field.log and field.step != 1 else None
    return Range(low=number(field.search[0]), high=number(field.search[1]), log=field.log, step=step)


def read(recipe, space, fixed):
    """({field: `Range`}, {field: value that is fixed}) of what a study was asked to search.

    Args:
        recipe: the `Recipe` that is tuned.
        space: {field: text, list or value}, of which single values become fixed; None is every field's own range.
        fixed: {field: value}.
    Raises: `InputError` for a field that is not there, or a value that it refuses.
    """
    cls = type(recipe)
    fixed = {
        name: cls.field(name).parse(name, value) if isinstance(value, str) else cls.field(name).check(name, value)
        for name, value in fixed.items()
    }
    if space is None:
        found = {name: _own(field) for name, field in cls.fields().items() if name not in fixed}
        return {name: range for name, range in found.items() if range is not None}, fixed
    ranges = {}
    for name, given in space.items():
        if name in fixed:
            raise InputError(f"{name} is searched and fixed: leave one out.")
        found = _variants(recipe, given) if name == VARIANT else parse(name, cls.field(name), given)
        if len(found.values) == 1 and name != VARIANT:
            fixed[name] = found.values[0]
        else:
            ranges[name] = found
    return ranges, fixed


def _variants(recipe, given):
    if recipe.variant is not None:
        raise InputError(f"The space searches variants: name the recipe {recipe.name}, without /{recipe.variant}.")
    names = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
    names = [None if name is None else str(name).strip() for name in names]
    names = tuple(None if name == "none" else name for name in names)
    if not names:
        raise InputError(f"The space of variant is empty. There are: {', '.join(recipe.variants)}.")
    for name in names:
        if name is not None and name not in recipe.variants:
            raise unknown(f"variant of {recipe.name}", name, recipe.variants)
    return Range(values=names)


# The space ------------------------------------------------------------------------------------------------------


class Space:
    """The recipes that a study may try: `base` with `fixed` values, and one value of each range that counts.

    Args:
        base: a `Recipe`.
        ranges: {field: `Range`}, and `variant` where variants are searched.
        fixed: {field: value}.
        named: whether somebody asked for these ranges: one that can never count is then an `InputError`, not left out.
    """

    def __init__(self, base, ranges, fixed, named=True):
        self._base = base
        self._cls = type(base)
        self._variant = ranges[VARIANT].values[0] if VARIANT in ranges else base.variant
        self._searched = dict(ranges)
        self.fixed = dict(fixed)
        self._check_fixed()
        self.ranges, self._conditions = {}, {}
        for name in [VARIANT, *self._cls.fields()]:
            if name in ranges:
                self._add(name, named)
        if not self.ranges:
            raise InputError(f"There is nothing to search: {base.name} has no field with a range that is not fixed.")

    def _check_fixed(self):
        """Raises where a fixed field can never count."""
        for name in self.fixed:
            if self._allowed(name) is None:
                why = self._cls.inactive(name, self._values({}))
                raise InputError(f"{name}={show(self.fixed[name])} has no effect: it counts only with {why}.")

    def _add(self, name, named):
        conditions = {} if name == VARIANT else self._allowed(name)
        if conditions is not None:
            self.ranges[name], self._conditions[name] = self._searched[name], conditions
        elif named:
            why = self._cls.inactive(name, self._values({}))
            raise InputError(f"The space of {name} has no effect: it counts only with {why}.")
        else:
            del self._searched[name]

    def _allowed(self, name):
        """{searched field: values under which the field `name` may count}, or None where it never does.

        A range of numbers of which some let it count is not in there: `normal` then sees to what does not.
        """
        found = {}
        for other, condition in self._cls.field(name).conditions():
            above = self._allowed(other)
            if above is None:
                return None
            for parent, values in above.items():
                found[parent] = [value for value in found.get(parent, values) if value in values]
            decider, holding, every = self._decider(other, condition)
            if not holding:
                return None
            if decider is not None and not every:
                found[decider] = [value for value in found.get(decider, holding) if value in holding]
        return None if any(not values for values in found.values()) else found

    def _decider(self, other, condition):
        """(searched field that decides `condition` on `other` or None, its values that hold, whether all do)."""
        range = self._searched.get(other)
        if range is not None and not range.values:
            holding = [value for value in (range.low, range.high) if condition.holds(value)]
            return None, holding, True
        if range is not None:
            holding = [value for value in range.values if condition.holds(value)]
            return other, holding, len(holding) == len(range.values)
        if VARIANT in self._searched:
            variants = self._searched[VARIANT].values
            holding = [one for one in variants if condition.holds(self._values({VARIANT: one})[other])]
            return VARIANT, holding, len(holding) == len(variants)
        return None, [True] if condition.holds(self._values({})[other]) else [], True

    def _values(self, values):
        """Every field's value, before those that do not count fall back to their defaults."""
        variant = values.get(VARIANT, self._variant)
        if VARIANT in self._searched:
            base = {name: field.default for name, field in self._cls.fields().items()}
            base |= self._cls.variants.get(variant, {})
            base |= {name: getattr(self._base, name) for name in self._base.origin.given}
        else:
            base = self._base.values()
        return base | self.fixed | {name: value for name, value in values.items() if name != VARIANT}

    def recipe(self, values):
        """The recipe of {field: value}; the rest is the base's. An impossible combination is an `InputError`."""
        normal = self._cls.normal(self._values(values))
        given = {name for name in (*self._base.origin.given, *self.fixed, *values) if name != VARIANT}
        given = frozenset(name for name in given if not self._cls.inactive(name, normal))
        return self._cls.restored(Origin(self._base.name, values.get(VARIANT, self._variant), given), normal)

    def default(self):
        """Those of `defaults` that count: the recipe as it is, or next to it."""
        return self.active(self.defaults())

    def defaults(self):
        """{field: value} of every range: the recipe's own; of a range that does not hold it, what is next to it."""
        values = {VARIANT: self._variant} if VARIANT in self.ranges else {}
        base = self._values(values)
        own = {name: _own(field) for name, field in self._cls.fields().items()}
        for name, range in self.ranges.items():
            if name != VARIANT:
                values[name] = base[name] if range == own[name] else range.nearest(base[name])
        return values

    def active(self, values):
        """Those of {field: value} that are searched and count."""
        normal = self._cls.normal(self._values(values))
        return {name: v for name, v in values.items() if name == VARIANT or not self._cls.inactive(name, normal)}

    def check(self, values):
        """{field: value} of somebody's own, checked: fields that are searched, values that they may have."""
        found = {}
        for name, value in values.items():
            if name not in self.ranges:
                raise unknown("field of this study's space", name, self.ranges)
            if name == VARIANT:
                found[name] = _variants(self._base, [value]).values[0]
                continue
            field = self._cls.field(name)
            found[name] = field.parse(name, value) if isinstance(value, str) else field.check(name, value)
        return found

    # keras-tuner ----------------------------------------------------------------------------------------------------

    def declare(self, hp):
        """Adds the ranges to `hp` (`keras_tuner.HyperParameters`), parents before what depends on them."""
        from keras_tuner.src.engine import conditions  # nowhere public, and scopes cannot say two parents at once

        default = {**{name: self._values({}).get(name) for name in self.ranges}, **self.default()}
        added = set()

        def add(name):
            if name not in added:
                added.add(name)
                parents = self._conditions[name]
                for parent in parents:
                    add(parent)
                told = [
                    conditions.Parent(parent, [self.ranges[parent].write(value) for value in values])
                    for parent, values in parents.items()
                ]
                hp.merge([self.ranges[name].parameter(name, default[name], told)], overwrite=False)

        for name in self.ranges:
            add(name)

    def parameters(self):
        """A `keras_tuner.HyperParameters` of the ranges, with nothing chosen."""
        import keras_tuner

        hp = keras_tuner.HyperParameters()
        self.declare(hp)
        return hp

    def read(self, kept):
        """{field: value} of what keras-tuner chose; its own entries (`tuner/...`) are left out."""
        values = {name: self.ranges[name].read(value) for name, value in kept.items() if name in self.ranges}
        return self.active(values)

    def write(self, values):
        """What keras-tuner keeps of {field: value}: each in its range, or next to it."""
        return {name: self.ranges[name].write(value) for name, value in values.items() if name in self.ranges}
