"""The kinds of field: what a value may be, how it is read from text, shown, searched and sampled."""

import dataclasses
import json
import math
import numbers
from collections.abc import Mapping

from zoo.errors import InputError, nearest
from zoo.fields.conditions import Condition
from zoo.fields.texts import show

KEY = "zoo.field"


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
