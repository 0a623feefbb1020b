"""Values as text, and as JSON gives them back."""

from collections.abc import Mapping, Sequence
from typing import Any


def from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {field: value} as it was before JSON made lists of tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def show(value: object) -> str:
    """Returns a value as a person types it on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(show, value))
    return repr(value) if isinstance(value, float) else str(value)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a line for each row, in columns; the last may be as long as it likes."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
