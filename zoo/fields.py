"""Fields: what a hyperparameter may be, declared once.

A recipe is a frozen dataclass whose fields are made by the functions at the end of this module (`integer`, `real`,
`choice`, ...). Each carries its default, its legal range, its search range, the condition under which it counts and
one line of help; validation, the command line, `zoo show` and the search space all read it from here.
"""

import dataclasses
import inspect
import json
import math
import numbers
import typing
from collections.abc import Callable, Mapping

from zoo.errors import InputError, nearest, unknown

_KEY = "zoo.field"


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a recipe came from: its name in the registry, its variant, and the names its caller gave."""

    name: str
    variant: str | None = None
    given: frozenset = frozenset()


@dataclasses.dataclass(frozen=True)
class Condition:
    """When a field counts: `holds(value of the other field)`; `text` goes behind the other field's name."""

    text: str
    holds: Callable[[object], bool]
    reach: Callable[[object], object] | None = None
    """From a value of the other field to one that holds, where trying its other values finds none."""

    @classmethod
    def of(cls, allowed):
        """The condition that the other field has the value `allowed`, or one of such a tuple."""
        if isinstance(allowed, cls):
            return allowed
        values = allowed if isinstance(allowed, tuple) else (allowed,)
        return cls(f"={' or '.join(map(show, values))}", lambda value: value in values)


def above(bound):
    """Condition: the other field is above `bound`."""
    return Condition(f" above {bound}", lambda value: value is not None and value > bound)


def given():
    """Condition: the other field is not none."""
    return Condition(" given", lambda value: value is not None)


def channels(count):
    """Condition: the other field, a shape (height, width, channels), has `count` channels."""
    return Condition(f" of {count} channels", lambda shape: shape[-1] == count, lambda shape: (*shape[:-1], count))


def from_json(values):
    """{field: value} as it was before JSON made lists of tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def show(value):
    """A value as a person types it on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(show, value))
    return repr(value) if isinstance(value, float) else str(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One hyperparameter. Subclasses say what a value may be (`check`) and how text becomes one (`read`)."""

    default: object
    help: str
    optional: bool = False
    when: Mapping[str, object] = dataclasses.field(default_factory=dict)
    search: tuple | None = None

    @property
    def legal_text(self):
        return self._legal_text() + (", or none" if self.optional else "")

    @property
    def range(self):
        """The legal range in a few characters, for a table."""
        return self._range() + (" or none" if self.optional else "")

    @property
    def search_text(self):
        """The search range as a person reads it; empty where there is none."""
        return "" if self.search is None else ", ".join(map(show, self.search))

    def check(self, name, value):
        """`value` in its normal form, or an `InputError` that names the field, the value and what is allowed."""
        if value is None and self.optional:
            return None
        try:
            return self._check(value)
        except (TypeError, ValueError):
            hint = nearest(value, self._near()) if isinstance(value, str) else ""
            raise InputError(f"{name} must be {self.legal_text}. Received: {name}={value!r}.{hint}") from None

    def parse(self, name, text):
        """The value that `name=text` on the command line means."""
        if self.optional and text.lower() == "none":
            return None
        try:
            if not text.strip():
                raise ValueError
            return self.check(name, self._read(text))
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} must be {self.legal_text}. Received: {name}={text}.") from None

    def conditions(self):
        """(other field, `Condition`) for each entry of `when`."""
        return [(other, Condition.of(allowed)) for other, allowed in self.when.items()]

    def suggest(self, name, hp, default):
        """A value from keras-tuner's `hp` (`keras_tuner.HyperParameters`); `default` where nothing was chosen."""
        raise NotImplementedError

    def others(self, value):
        """A few legal values other than `value`; sweeps over all fields in tests draw from them."""
        raise NotImplementedError

    def _near(self):
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Number(Field):
    legal: tuple = (None, None)
    log: bool = False

    def _legal_text(self):
        low, high = self.legal
        if low is None and high is None:
            return self._noun
        if high is None:
            return f"{self._noun} of at least {low}"
        return f"{self._noun} between {low} and {high}"

    def _range(self):
        low, high = ("" if bound is None else f"{bound:.10g}" for bound in self.legal)
        return f"{low}..{high}"

    @property
    def search_text(self):
        if self.search is None:
            return ""
        return f"{self.search[0]:g}..{self.search[1]:g}{' log' if self.log else ''}"

    def _bounded(self, value):
        low, high = self.legal
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError
        return value

    def others(self, value):
        candidates = [*(self.search or ()), *(bound for bound in self.legal if bound is not None)]
        if value is not None:
            candidates = [value * 2, value + 1, value / 2, *candidates]
        legal = []
        for candidate in candidates:
            try:
                legal.append(self._check(self._round(candidate)))
            except (TypeError, ValueError):
                continue
        return [candidate for candidate in dict.fromkeys(legal) if candidate != value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Integer(_Number):
    step: int = 1

    _noun = "a whole number"
    _round = staticmethod(int)

    def _check(self, value):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError
        return self._bounded(int(value))

    def _read(self, text):
        return int(text)

    def suggest(self, name, hp, default):
        if self.log:
            return hp.Int(name, *self.search, default=default, sampling="log")
        return hp.Int(name, *self.search, default=default, step=self.step)

    def others(self, value):
        stepped = [] if value is None or self.step == 1 else [value + self.step, value - self.step]
        return [other for other in stepped if other in range(*self.legal)] or super().others(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Real(_Number):
    _noun = "a number"
    _round = staticmethod(float)

    def _check(self, value):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise TypeError
        return self._bounded(float(value))

    def _read(self, text):
        return float(text)

    def suggest(self, name, hp, default):
        return hp.Float(name, *self.search, default=default, sampling="log" if self.log else None)


class _Listed(Field):
    """Fields searched over a list; keras-tuner's Choice takes neither none nor tuples, so it gets their JSON."""

    def suggest(self, name, hp, default):
        values = list(dict.fromkeys([*self.search, default]))
        text = {json.dumps(value): value for value in values}
        return text[hp.Choice(name, list(text), default=json.dumps(default))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice(_Listed):
    choices: tuple = ()

    def _legal_text(self):
        return "one of " + self._range()

    def _range(self):
        return ", ".join(map(show, self.choices))

    def _check(self, value):
        for choice in self.choices:
            if type(choice) is type(value) and choice == value:
                return choice
        raise ValueError

    def _read(self, text):
        named = {show(choice): choice for choice in self.choices}
        return named.get(text.lower(), text)

    def _near(self):
        return [show(choice) for choice in self.choices]

    def others(self, value):
        return [choice for choice in self.choices if choice != value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag(_Listed):
    _words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

    def _legal_text(self):
        return self._range()

    def _range(self):
        return "true or false"

    def _check(self, value):
        if not isinstance(value, bool):
            raise TypeError
        return value

    def _read(self, text):
        return self._words.get(text.lower(), text)

    def others(self, value):
        return [not value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text(_Listed):
    examples: tuple = ()

    def _legal_text(self):
        return "text" + (f" such as {', '.join(self.examples)}" if self.examples else "")

    def _range(self):
        return "text"

    def _check(self, value):
        if not isinstance(value, str) or not value:
            raise TypeError
        return value

    def _read(self, text):
        return text

    def others(self, value):
        return [example for example in self.examples if example != value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequence(_Listed):
    """Several numbers, `length` of them where it is given; `item` says what each may be."""

    item: Field = None
    length: int | None = None

    def _legal_text(self):
        count = f"{self.length} values" if self.length else "values"
        return f"{count}, each {self.item.legal_text}"

    def _range(self):
        return f"{self.item.range} ({self.length or 'any'} of them)"

    @property
    def search_text(self):
        return "" if self.search is None else " or ".join(map(show, self.search))

    def _check(self, value):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise TypeError
        value = tuple(self.item._check(item) for item in value)
        if self.length is not None and len(value) != self.length:
            raise ValueError
        return value

    def _read(self, text):
        return tuple(self.item._read(part) for part in text.replace("x", ",").strip("()").split(","))

    def others(self, value):
        found = []
        for position, item in enumerate(value or ()):
            for other in self.item.others(item)[:1]:
                found.append((*value[:position], other, *value[position + 1 :]))
        return found


def _declare(kind, default, **properties):
    field = kind(default=default, **properties)
    if isinstance(default, list):
        raise TypeError(f"The default of a field must be immutable. Received: default={default!r}")
    return dataclasses.field(default=default, metadata={_KEY: field})


def integer(*, default, legal, help, search=None, step=1, log=False, optional=False, when=None) -> typing.Any:
    """A whole number within `legal` (inclusive; None is unbounded), searched in steps of `step`."""
    return _declare(
        Integer,
        default,
        legal=legal,
        help=help,
        search=search,
        step=step,
        log=log,
        optional=optional,
        when=when or {},
    )


def real(*, default, legal, help, search=None, log=False, optional=False, when=None) -> typing.Any:
    """A finite number within `legal` (inclusive; None is unbounded)."""
    return _declare(Real, default, legal=legal, help=help, search=search, log=log, optional=optional, when=when or {})


def choice(*choices, default, help, search=None, optional=False, when=None) -> typing.Any:
    """One of `choices`."""
    return _declare(Choice, default, choices=choices, help=help, search=search, optional=optional, when=when or {})


def flag(*, default, help, search=None, when=None) -> typing.Any:
    """True or false."""
    return _declare(Flag, default, help=help, search=search, when=when or {})


def text(*, default, help, examples=(), search=None, optional=False, when=None) -> typing.Any:
    """Text; `examples` are shown where a value is refused."""
    return _declare(Text, default, examples=examples, help=help, search=search, optional=optional, when=when or {})


def integers(*, default, legal, help, length=None, search=None, when=None) -> typing.Any:
    """Whole numbers, as many as the default has unless `length` says otherwise (0: any number)."""
    return _sequence(Integer, default, legal, help, length, search, when)


def reals(*, default, legal, help, length=None, search=None, when=None) -> typing.Any:
    """Numbers, as many as the default has unless `length` says otherwise (0: any number)."""
    return _sequence(Real, default, legal, help, length, search, when)


def _sequence(kind, default, legal, help, length, search, when):
    length = len(default) if length is None else (length or None)
    item = kind(default=None, legal=legal, help=help)
    return _declare(Sequence, default, item=item, length=length, help=help, search=search, when=when or {})


@typing.dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(integer, real, choice, flag, text, integers, reals)
)
class Declared:
    """Root of classes whose body declares fields: each subclass becomes a frozen, keyword-only dataclass.

    A class keyword changes the default of an inherited field and nothing else:
    `class LeNet(ImageClassification, epochs=40)`.
    """

    def __init_subclass__(cls, **defaults):
        super().__init_subclass__()
        annotations = inspect.get_annotations(cls)
        inherited = {}
        for base in reversed(cls.__mro__[1:]):
            inherited |= base.fields() if "__dataclass_fields__" in vars(base) else {}
        for name, value in list(vars(cls).items()):
            if isinstance(value, dataclasses.Field):
                if any(callable(getattr(base, name, None)) for base in cls.__mro__[1:]):
                    raise TypeError(f"{cls.__name__}.{name} is a field, and a method of a base class has its name.")
                if name not in annotations:
                    raise TypeError(f"{cls.__name__}.{name} is a field without an annotation.")
            elif name in inherited:
                raise TypeError(f"{cls.__name__}.{name} would hide the inherited field {name!r}; use a class keyword.")
        for name in annotations:
            if name not in vars(cls) and "ClassVar" not in str(annotations[name]):
                raise TypeError(f"{cls.__name__}.{name} is not declared by a function of zoo.fields.")
        for name, default in defaults.items():
            if name not in inherited:
                raise TypeError(f"{cls.__name__}: no inherited field {name!r}.{nearest(name, inherited)}")
            field = inherited[name]
            default = field.check(name, default)
            annotations = {**annotations, name: type(default)}
            setattr(cls, name, dataclasses.field(default=default, metadata={_KEY: _with_default(field, default)}))
        cls.__annotations__ = annotations
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self):
        fields = self.fields()
        for name, field in fields.items():
            object.__setattr__(self, name, field.check(name, getattr(self, name)))
        for name in fields:
            failing = self.inactive(name, self.values())
            if failing and getattr(self, name) != fields[name].default:
                raise InputError(f"{name}={show(getattr(self, name))} has no effect: it counts only with {failing}.")

    @classmethod
    def fields(cls):
        """{name: `Field`}, in the order of declaration, base classes first."""
        return {field.name: field.metadata[_KEY] for field in dataclasses.fields(cls)}

    @classmethod
    def field(cls, name):
        """The `Field` called `name`; an unknown name raises with the nearest."""
        try:
            return cls.fields()[name]
        except KeyError:
            raise unknown(f"field of {cls.__name__}", name, cls.fields()) from None

    @classmethod
    def inactive(cls, name, values):
        """Why the field `name` does not count under `values`: `schedule=step, now cosine`; '' where it counts."""
        failing = []
        for other, condition in cls.field(name).conditions():
            if cls.inactive(other, values) or not condition.holds(values[other]):
                failing.append(f"{other}{condition.text} (now {other}={show(values[other])})")
        return " and ".join(failing)

    @classmethod
    def normal(cls, values, given=()):
        """`values` (complete or not) checked and completed, what does not count at its default.

        A name in `given` that does not count raises: it was asked for and would do nothing.
        """
        fields = cls.fields()
        full = {name: field.default for name, field in fields.items()}
        for name, value in values.items():
            full[name] = cls.field(name).check(name, value)
        for name in fields:
            failing = cls.inactive(name, full)
            if failing and name in given:
                raise InputError(f"{name}={show(full[name])} has no effect: it counts only with {failing}.")
            if failing:
                full[name] = fields[name].default
        return full

    def values(self):
        """{name: value} of every field."""
        return {name: getattr(self, name) for name in self.fields()}


def _with_default(field, default):
    return dataclasses.replace(field, default=default)


def sweep(cls, values, samples=None):
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


def _ancestors(cls, name):
    for other, condition in cls.field(name).conditions():
        yield from _ancestors(cls, other)
        yield other, condition
