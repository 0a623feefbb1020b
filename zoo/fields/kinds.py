"""The kinds of field: what a value may be, how it is read from text, shown, searched and sampled."""

import dataclasses
import json
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.errors import InputError, nearest
from zoo.fields.conditions import Condition
from zoo.fields.texts import show

if TYPE_CHECKING:
    import keras_tuner

KEY = "zoo.field"

Bounds = tuple[float | None, float | None]
"""The lowest and the highest legal number; None is unbounded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One hyperparameter. Subclasses say what a value may be (`check`) and how text becomes one (`read`)."""

    default: Any
    help: str
    optional: bool = False
    when: Mapping[str, object] = dataclasses.field(default_factory=dict)
    search: tuple[Any, ...] | None = None

    @property
    def legal_text(self) -> str:
        """What a value may be, for an error: "a whole number of at least 1"."""
        return self._legal_text() + (", or none" if self.optional else "")

    @property
    def range(self) -> str:
        """The legal range in a few characters, for a table."""
        return self._range() + (" or none" if self.optional else "")

    @property
    def search_text(self) -> str:
        """The search range as a person reads it; empty where there is none."""
        return "" if self.search is None else ", ".join(map(show, self.search))

    def check(self, name: str, value: object) -> Any:
        """Returns `value` in its normal form, or raises an `InputError` that names field, value and what is allowed."""
        if value is None and self.optional:
            return None
        try:
            return self._check(value)
        except (TypeError, ValueError):
            hint = nearest(value, self._near()) if isinstance(value, str) else ""
            raise InputError(f"{name} must be {self.legal_text}. Received: {name}={value!r}.{hint}") from None

    def parse(self, name: str, text: str) -> Any:
        """Returns the value that `name=text` on the command line means."""
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

    def conditions(self) -> list[tuple[str, Condition]]:
        """Returns (other field, `Condition`) for each entry of `when`."""
        return [(other, Condition.of(allowed)) for other, allowed in self.when.items()]

    def suggest(self, name: str, hp: "keras_tuner.HyperParameters", default: Any) -> Any:
        """Returns a value from keras-tuner's `hp`; `default` where nothing was chosen."""
        raise NotImplementedError

    def others(self, value: Any) -> list[Any]:
        """Returns a few legal values other than `value`; sweeps over all fields in tests draw from them."""
        raise NotImplementedError

    def _near(self) -> Iterable[str]:
        return ()

    def _legal_text(self) -> str:
        raise NotImplementedError

    def _range(self) -> str:
        raise NotImplementedError

    def _check(self, value: Any) -> Any:
        """Returns `value` in its normal form; raises TypeError or ValueError where it is not legal."""
        raise NotImplementedError

    def _read(self, text: str) -> Any:
        """Returns the value that `text` means, which `check` then judges."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Number(Field):
    legal: Bounds = (None, None)
    log: bool = False

    _noun: ClassVar[str]
    _round: ClassVar[Callable[[Any], float]]

    def _legal_text(self) -> str:
        low, high = self.legal
        if low is None and high is None:
            return self._noun
        if high is None:
            return f"{self._noun} of at least {low}"
        return f"{self._noun} between {low} and {high}"

    def _range(self) -> str:
        low, high = ("" if bound is None else f"{bound:.10g}" for bound in self.legal)
        return f"{low}..{high}"

    @property
    def search_text(self) -> str:
        if self.search is None:
            return ""
        return f"{self.search[0]:g}..{self.search[1]:g}{' log' if self.log else ''}"

    def _bounded(self, value: Any) -> Any:
        low, high = self.legal
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError
        return value

    def others(self, value: Any) -> list[Any]:
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

    def _check(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError
        return self._bounded(int(value))

    def _read(self, text: str) -> Any:
        return int(_plain(text))

    def suggest(self, name: str, hp: "keras_tuner.HyperParameters", default: Any) -> Any:
        if self.log:
            return min(hp.Int(name, *self.search, default=default, sampling="log"), self.search[1])  # it may be 1 above
        return hp.Int(name, *self.search, default=default, step=self.step)

    def others(self, value: Any) -> list[Any]:
        stepped = [] if value is None or self.step == 1 else [value + self.step, value - self.step]
        return [other for other in stepped if other in range(*self.legal)] or super().others(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Real(_Number):
    _noun = "a number"
    _round = staticmethod(float)

    def _check(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise TypeError
        return self._bounded(float(value))

    def _read(self, text: str) -> Any:
        return float(_plain(text))

    def suggest(self, name: str, hp: "keras_tuner.HyperParameters", default: Any) -> Any:
        return hp.Float(name, *self.search, default=default, sampling="log" if self.log else None)


def _plain(text: str) -> str:
    """Returns the text of a number; Python's own readers take underscores, spaces and the digits of all scripts too."""
    if "_" in text or text != text.strip() or not text.isascii():
        raise ValueError
    return text


class _Listed(Field):
    """Fields searched over a list; keras-tuner's Choice takes neither none nor tuples, so it gets their JSON."""

    def suggest(self, name: str, hp: "keras_tuner.HyperParameters", default: Any) -> Any:
        values = list(dict.fromkeys([*self.search, default]))
        text = {json.dumps(value): value for value in values}
        return text[hp.Choice(name, list(text), default=json.dumps(default))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice(_Listed):
    choices: tuple[Any, ...] = ()

    def _legal_text(self) -> str:
        return "one of " + self._range()

    def _range(self) -> str:
        return ", ".join(map(show, self.choices))

    def _check(self, value: Any) -> Any:
        for choice in self.choices:
            if type(choice) is type(value) and choice == value:
                return choice
        raise ValueError

    def _read(self, text: str) -> Any:
        named = {show(choice): choice for choice in self.choices}
        return named.get(text.lower(), text)

    def _near(self) -> list[str]:
        return [show(choice) for choice in self.choices]

    def others(self, value: Any) -> list[Any]:
        return [choice for choice in self.choices if choice != value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag(_Listed):
    _words: ClassVar = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
        ("false", "no", "off", "0"), False
    )

    def _legal_text(self) -> str:
        return self._range()

    def _range(self) -> str:
        return "true or false"

    def _check(self, value: Any) -> Any:
        if not isinstance(value, bool):
            raise TypeError
        return value

    def _read(self, text: str) -> Any:
        return self._words.get(text.lower(), text)

    def others(self, value: Any) -> list[Any]:
        return [not value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text(_Listed):
    examples: tuple[str, ...] = ()

    def _legal_text(self) -> str:
        return "text" + (f" such as {', '.join(self.examples)}" if self.examples else "")

    def _range(self) -> str:
        return "text"

    def _check(self, value: Any) -> Any:
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str) or not value or "\0" in value:
            raise TypeError
        return value

    def _read(self, text: str) -> Any:
        return text

    def others(self, value: Any) -> list[Any]:
        return [example for example in self.examples if example != value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequence(_Listed):
    """Several numbers, `length` of them where it is given; `item` says what each may be."""

    item: Field = None  # pyright: ignore[reportAssignmentType]  # `fields.integers` always gives one
    length: int | None = None

    def _legal_text(self) -> str:
        count = f"{self.length} values" if self.length else "values"
        return f"{count}, each {self.item.legal_text}"

    def _range(self) -> str:
        return f"{self.item.range} ({self.length or 'any'} of them)"

    @property
    def search_text(self) -> str:
        return "" if self.search is None else " or ".join(map(show, self.search))

    def _check(self, value: Any) -> Any:
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise TypeError
        value = tuple(self.item._check(item) for item in value)
        if self.length is not None and len(value) != self.length:
            raise ValueError
        return value

    def _read(self, text: str) -> Any:
        return tuple(self.item._read(part.strip()) for part in text.replace("x", ",").strip("()").split(","))

    def others(self, value: Any) -> list[Any]:
        found = []
        for position, item in enumerate(value or ()):
            for other in self.item.others(item)[:1]:
                found.append((*value[:position], other, *value[position + 1 :]))
        return found
