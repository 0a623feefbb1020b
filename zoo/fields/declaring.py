"""The functions that declare a field in the body of a recipe class: `integer`, `real`, `choice`, and more.

Each returns what `dataclasses.field` returns. The annotation is `Any`, so that a type checker takes the type of a field
from its annotation in the class: `width: int = integer(...)`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from zoo.fields.kinds import KEY, Bounds, Choice, Field, Flag, Integer, Real, Sequence, Text


def _declare(kind: type[Field], default: object, **properties: Any) -> Any:
    field = kind(default=default, **properties)
    if isinstance(default, list):
        raise TypeError(f"The default of a field must be immutable. Received: default={default!r}")
    return dataclasses.field(default=default, metadata={KEY: field})


def integer(
    *,
    default: int | None,
    legal: Bounds,
    help: str,
    search: tuple[int, int] | None = None,
    step: int = 1,
    log: bool = False,
    optional: bool = False,
    when: Mapping[str, object] | None = None,
) -> Any:
    """Declares a whole number within `legal` (inclusive; None is unbounded), searched in steps of `step`."""
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


def real(
    *,
    default: float | None,
    legal: Bounds,
    help: str,
    search: tuple[float, float] | None = None,
    log: bool = False,
    optional: bool = False,
    when: Mapping[str, object] | None = None,
) -> Any:
    """Declares a finite number within `legal` (inclusive; None is unbounded)."""
    return _declare(Real, default, legal=legal, help=help, search=search, log=log, optional=optional, when=when or {})


def choice(
    *choices: object,
    default: object,
    help: str,
    search: tuple[object, ...] | None = None,
    optional: bool = False,
    when: Mapping[str, object] | None = None,
) -> Any:
    """Declares one of `choices`."""
    return _declare(Choice, default, choices=choices, help=help, search=search, optional=optional, when=when or {})


def flag(
    *, default: bool, help: str, search: tuple[bool, ...] | None = None, when: Mapping[str, object] | None = None
) -> Any:
    """Declares true or false."""
    return _declare(Flag, default, help=help, search=search, when=when or {})


def text(
    *,
    default: str | None,
    help: str,
    examples: tuple[str, ...] = (),
    search: tuple[str | None, ...] | None = None,
    optional: bool = False,
    when: Mapping[str, object] | None = None,
) -> Any:
    """Declares text; an error about a value shows `examples`."""
    return _declare(Text, default, examples=examples, help=help, search=search, optional=optional, when=when or {})


def integers(
    *,
    default: tuple[int, ...] | None,
    legal: Bounds,
    help: str,
    length: int | None = None,
    search: tuple[tuple[int, ...], ...] | None = None,
    optional: bool = False,
    when: Mapping[str, object] | None = None,
) -> Any:
    """Declares whole numbers, as many as the default has unless `length` says otherwise (0: any number)."""
    return _sequence(Integer, default, legal, help, length, search, when, optional)


def reals(
    *,
    default: tuple[float, ...],
    legal: Bounds,
    help: str,
    length: int | None = None,
    search: tuple[tuple[float, ...], ...] | None = None,
    when: Mapping[str, object] | None = None,
) -> Any:
    """Declares numbers, as many as the default has unless `length` says otherwise (0: any number)."""
    return _sequence(Real, default, legal, help, length, search, when)


def _sequence(
    kind: type[Integer] | type[Real],
    default: tuple[float, ...] | None,
    legal: Bounds,
    help: str,
    length: int | None,
    search: tuple[tuple[float, ...], ...] | None,
    when: Mapping[str, object] | None,
    optional: bool = False,
) -> Any:
    length = len(default or ()) if length is None else (length or None)
    item = kind(default=None, legal=legal, help=help)
    return _declare(
        Sequence, default, item=item, length=length, help=help, search=search, when=when or {}, optional=optional
    )
