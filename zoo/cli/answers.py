"""`--json`: what a verb answers, as one document on stdout. docs/json.md has the schema."""

import contextlib
import functools
import json
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from zoo.errors import RunError

SCHEMA = 1
"""The version of the envelope and of the results in it. Keys may be added within a version."""

_ASKED = "zoo.cli.answers.json"


class Failed(RunError):
    """A verb that has an answer, and fails all the same: with `--json` the answer is printed before the error."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result


def answers(verb: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Returns a decorator that gives a verb the option `--json`.

    The verb prints through `say` and `print_table`, and returns its result, of which `document` makes JSON. With
    `--json` those print nothing, and whatever else is printed meanwhile goes to stderr.

    Args:
        verb: how the envelope names it, such as "data list".
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON document (docs/json.md).")
        @functools.wraps(function)
        def run(*arguments: Any, as_json: bool, **options: Any) -> None:
            if not as_json:
                function(*arguments, **options)
                return
            click.get_current_context().meta[_ASKED] = True
            try:
                with _on_stderr():
                    result = function(*arguments, **options)
            except Failed as error:
                click.echo(document(verb, error.result))
                raise
            click.echo(document(verb, result))

        return run

    return decorate


def wanted() -> bool:
    """Returns whether the verb that runs was asked for JSON."""
    context = click.get_current_context(silent=True)
    return context is not None and context.meta.get(_ASKED, False)


def say(text: object = "", **options: Any) -> None:
    """Prints what a person reads, as `click.echo` does; nothing where JSON was asked for."""
    if not wanted():
        click.echo(text, **options)


def document(verb: str, result: Any) -> str:
    """Returns the envelope as JSON text: {"schema": 1, "verb": ..., "result": ...}.

    Tuples become lists, paths texts, and numbers that are not finite null: JSON has neither NaN nor infinity.
    """
    envelope = {"schema": SCHEMA, "verb": verb, "result": _plain(result)}
    return json.dumps(envelope, indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return str(pathlib.Path(value))
    if hasattr(value, "tolist"):  # of NumPy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextlib.contextmanager
def _on_stderr() -> Iterator[None]:
    """Sends what is printed meanwhile to stderr, by processes that are started too."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
