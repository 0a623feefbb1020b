"""The functions that declare a field in the body of a recipe class: `integer`, `real`, `choice`, and more."""

import dataclasses
import typing

from zoo.fields.kinds import KEY, Choice, Flag, Integer, Real, Sequence, Text


def _declare(kind, default, **properties):
    field = kind(default=default, **properties)
    if isinstance(default, list):
        raise TypeError(f"The default of a field must be immutable. Received: default={default!r}")
    return dataclasses.field(default=default, metadata={KEY: field})


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
