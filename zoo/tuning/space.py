"""`Space`: the recipes that a study may try.

A trial's choice of values takes five forms on its way from the oracle to the network; `Space` converts between the
first three:

- *kept*: what keras-tuner chose and keeps, numbers and JSON text. `Space.read` turns it into values, `Space.write`
  turns values into it. The oracle knows only this form.
- *values*: {field: Python value} of the searched fields that are active. People see this form, as `Trial.values`.
- the *recipe*: values completed by fixed fields and defaults. `Space.recipe` makes it. As JSON text (`ledger.form`) it
  is the key by which the study recognises a trial that it has run already.
- the values as JSON in `study.sqlite`, where tuples are lists; `zoo.fields.from_json` makes them tuples again.
- the *saved recipe* (`registry.saved`) in a `workers.trial.Job`, from which the trial's process rebuilds the recipe.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError, unknown
from zoo.fields import Origin, show
from zoo.tuning.ranges import VARIANT, Range, declared, variants

if TYPE_CHECKING:
    from keras_tuner import HyperParameters

    from zoo.base.recipe import Recipe


PATIENCE = "patience"
"""The field of early stopping, whose default a study leaves out: pruners and rungs decide how long trials train."""


def unstopped(base: "Recipe") -> "Recipe":
    """Returns a recipe without the early stopping that is its default; one that somebody asked for stays."""
    if PATIENCE in base.origin.given:
        return base
    return base.restored(base.origin, base.normal(base.values() | {PATIENCE: None}))


class Space:
    """The recipes that a study may try: `base` with `fixed` values, and one value from the range of each active field.

    Args:
        base: the recipe that is tuned.
        ranges: {field: `Range`}, with the key `variant` where variants are searched.
        fixed: {field: value}.
        named: whether a person asked for these ranges. If so, a field that can never be active is an `InputError`;
            otherwise it is left out.

    Attributes:
        ranges: {field: `Range`} of what is searched, parents before the fields that depend on them.
        conditions: {field: {searched field: values under which the former may be active}}.
        fixed: {field: value}.
    """

    ranges: dict[str, Range]
    conditions: dict[str, dict[str, list[Any]]]
    fixed: dict[str, Any]

    def __init__(self, base: "Recipe", ranges: Mapping[str, Range], fixed: Mapping[str, Any], named: bool = True):
        self._base = base
        self._cls = type(base)
        self._variant = ranges[VARIANT].values[0] if VARIANT in ranges else base.variant
        self._searched = dict(ranges)
        self.fixed = dict(fixed)
        self._check_fixed()
        self.ranges, self.conditions = {}, {}
        for name in [VARIANT, *self._cls.fields()]:
            if name in ranges:
                self._add(name, named)
        if not self.ranges:
            raise InputError(f"There is nothing to search: {base.name} has no field with a range that is not fixed.")

    def _check_fixed(self):
        """Raises for a fixed field that can never be active."""
        for name in self.fixed:
            if self._allowed(name) is None:
                why = self._cls.inactive(name, self._values({}))
                raise InputError(f"{name}={show(self.fixed[name])} has no effect: it counts only with {why}.")

    def _add(self, name, named):
        conditions = {} if name == VARIANT else self._allowed(name)
        if conditions is not None:
            self.ranges[name], self.conditions[name] = self._searched[name], conditions
        elif named:
            why = self._cls.inactive(name, self._values({}))
            raise InputError(f"The space of {name} has no effect: it counts only with {why}.")
        else:
            del self._searched[name]

    def _allowed(self, name):
        """Returns {searched field: values under which the field `name` may be active}, or None if it never is.

        Numeric ranges are not listed: where only some numbers activate the field, `normal` resets it for the others.
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
        """Returns (searched field that decides `condition` on `other`, or None; its values that hold; if all do)."""
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
        """Returns every field's value, before inactive fields revert to their defaults."""
        variant = values.get(VARIANT, self._variant)
        if VARIANT in self._searched:
            base = {name: field.default for name, field in self._cls.fields().items()}
            base |= self._cls.variants.get(variant, {})
            base |= {name: getattr(self._base, name) for name in self._base.origin.given}
        else:
            base = self._base.values()
        if PATIENCE not in self._base.origin.given:
            base[PATIENCE] = None
        return base | self.fixed | {name: value for name, value in values.items() if name != VARIANT}

    def recipe(self, values: Mapping[str, Any]) -> "Recipe":
        """Returns the recipe for {field: value}; other fields are those of `base`.

        Raises: `InputError` for values that the recipe refuses together.
        """
        normal = self._cls.normal(self._values(values))
        given = {name for name in (*self._base.origin.given, *self.fixed, *values) if name != VARIANT}
        given = frozenset(name for name in given if not self._cls.inactive(name, normal))
        return self._cls.restored(Origin(self._base.name, values.get(VARIANT, self._variant), given), normal)

    def default(self) -> dict[str, Any]:
        """Returns the active part of `defaults`: the recipe as it is, or the nearest point of the space."""
        return self.active(self.defaults())

    def defaults(self) -> dict[str, Any]:
        """Returns {field: value} for every range: the recipe's own value, or the nearest one in a given range."""
        values = {VARIANT: self._variant} if VARIANT in self.ranges else {}
        base = self._values(values)
        native = {name: declared(field) for name, field in self._cls.fields().items()}
        for name, range in self.ranges.items():
            if name != VARIANT:
                values[name] = base[name] if range == native[name] else range.nearest(base[name])
        return values

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the part of {field: value} whose fields are active beside one another."""
        normal = self._cls.normal(self._values(values))
        return {name: v for name, v in values.items() if name == VARIANT or not self._cls.inactive(name, normal)}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a person's own {field: value}, parsed.

        Raises: `InputError` for a field that is not searched, or a value that its field refuses.
        """
        found = {}
        for name, value in values.items():
            if name not in self.ranges:
                raise unknown("field of this study's space", name, self.ranges)
            if name == VARIANT:
                found[name] = variants(self._base, [value]).values[0]
                continue
            field = self._cls.field(name)
            found[name] = field.parse(name, value) if isinstance(value, str) else field.check(name, value)
        return found

    # keras-tuner ----------------------------------------------------------------------------------------------------

    def declare(self, hp: "HyperParameters") -> None:
        """Adds the ranges to `hp`, parents before the fields that depend on them."""
        from keras_tuner.src.engine import conditions  # nowhere public, and scopes cannot say two parents at once

        default = {**{name: self._values({}).get(name) for name in self.ranges}, **self.default()}
        added = set()

        def add(name):
            if name not in added:
                added.add(name)
                parents = self.conditions[name]
                for parent in parents:
                    add(parent)
                told = [
                    conditions.Parent(parent, [self.ranges[parent].write(value) for value in values])
                    for parent, values in parents.items()
                ]
                hp.merge([self.ranges[name].parameter(name, default[name], told)], overwrite=False)

        for name in self.ranges:
            add(name)

    def parameters(self) -> "HyperParameters":
        """Returns the ranges as `keras_tuner.HyperParameters`, with nothing chosen."""
        import keras_tuner

        hp = keras_tuner.HyperParameters()
        self.declare(hp)
        return hp

    def read(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the active {field: value} that keras-tuner chose, without its own entries (`tuner/...`)."""
        values = {name: self.ranges[name].read(value) for name, value in kept.items() if name in self.ranges}
        return self.active(values)

    def write(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns {field: value} in the form that keras-tuner keeps, each value moved into its range."""
        return {name: self.ranges[name].write(value) for name, value in values.items() if name in self.ranges}
