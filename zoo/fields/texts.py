"""Values and names as text, and as JSON gives them back."""

import math
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


def short(value: object) -> str:
    """Returns a field's value as a person reads it: as `show` does, numbers that are not whole to four digits."""
    if isinstance(value, tuple):
        return ",".join(map(short, value))
    return f"{value:.4g}" if isinstance(value, float) else show(value)


def rounded(value: object) -> str:
    """Returns a measured value as a person reads it.

    Whole numbers have commas. Others have four significant digits, and an exponent below 0.001 and from a million on.
    None is no text, and text stays as it is.
    """
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    near = float(f"{value:.4g}")
    if near == 0 or not math.isfinite(near):
        return f"{near:g}"
    if not 1e-3 <= abs(near) < 1e6:
        return f"{value:.3e}"
    return f"{value:,.{max(0, 3 - math.floor(math.log10(abs(near))))}f}"


_WRITTEN = {"iou": "IoU", "r2": "R²", "bleu": "BLEU", "chrf": "chrF", "nfe": "NFE", "f1": "F1"}
"""Words of metrics that are no plain words."""


def spoken(name: str) -> str:
    """Returns a metric, a key of a history, as a person says it: `validation mean IoU` for `val_mean_iou`."""
    plain = name.removeprefix("val_")
    words = [_WRITTEN.get(word, word) for word in plain.split("_")]
    return " ".join(["validation", *words] if plain != name else words)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a line for each row, in columns; the last may be as long as it likes."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
