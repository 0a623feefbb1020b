"""Values as text, and as JSON gives them back."""

from collections.abc import Mapping
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
