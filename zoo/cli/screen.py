"""What reaches the screen: tables, warnings as lines, and silence while libraries are loaded."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

import click

from zoo._hook import lean_imports
from zoo.cli.answers import say
from zoo.data import progress
from zoo.errors import InputError, install_line
from zoo.fields import aligned

NARROWEST = 8
"""Characters of a column that `fitted` does not cut."""


def print_table(rows: Sequence[Sequence[str]], fit: bool = False) -> None:
    """Prints rows in columns; the last may be as long as it likes.

    Args:
        fit: in a terminal, cut the widest columns so that a row is a line. What goes to a file is whole.
    """
    if fit and (width := progress.line_width()) is not None:
        rows = fitted(rows, width)
    for line in aligned(rows):
        say(line)


def fitted(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Returns rows whose widest cells are cut, so that they are at most `width` characters wide in columns.

    The first column, which is a name or a path, keeps the end of its cells, the others their beginning. Every column
    keeps eight characters, so a table of very many columns is wider.
    """
    from zoo.figures import cut

    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = width - 2 * (len(widths) - 1)
    most = max([*widths, NARROWEST])
    while most > NARROWEST and sum(min(one, most) for one in widths) > room:
        most -= 1
    return [[cut(row[0][::-1], most)[::-1], *(cut(cell, most) for cell in row[1:])] for row in rows]


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Drops what TensorFlow's libraries write to stderr while they are loaded; an exception says what matters."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def load_backend() -> None:
    """Imports Keras and what reads the data: seconds that only a verb in need of them pays."""
    try:
        with hushed(), lean_imports():
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        raise InputError(
            f"KERAS_BACKEND={backend} cannot be loaded: {error}. There are tensorflow, jax and torch. For jax, "
            f"{install_line('jax')}; for torch, {install_line('torch')}."
        ) from error


@contextlib.contextmanager
def worded_warnings() -> Iterator[None]:
    """Prints what is meant for the user as a line, not as a place in our code."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message, category, *where, **options):
            if category is UserWarning:
                click.echo(f"Warning: {message}", err=True)
            else:
                shown(message, category, *where, **options)

        warnings.showwarning = show
        yield
