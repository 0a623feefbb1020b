"""The history of a run as CSV: one row an epoch."""

import csv
import io
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

UNREADABLE = (OSError, ValueError, TypeError, KeyError, csv.Error)
"""What `read` raises for a file that is damaged."""


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Returns mappings as CSV text; columns that are not given stand in the order in which they first come."""
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of `history.csv` in the folder of a run: the epoch as an int from 1, everything else as a float.

    What a row leaves out is not in it. A run that has finished no epoch has no rows. No lock is taken, and no
    checkpoint is read: a run that is being trained replaces the file as a whole.

    Raises: one of `UNREADABLE` where the file is damaged.
    """
    try:
        with open(folder / "history.csv", newline="") as file:
            found = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    return [
        {name: int(text) if name == "epoch" else float(text) for name, text in row.items() if name == "epoch" or text}
        for row in found
    ]


def best(folder: pathlib.Path, rows: Sequence[Mapping[str, Any]], monitor: object) -> tuple[int, float] | None:
    """Returns (epoch of the best weights, its value of `monitor`); None where nothing was monitored, or is finite.

    Args:
        folder: that of the run, whose file `best` names the epoch.
        rows: what `read` returned.
        monitor: the field of the recipe.
    """
    try:
        epoch = int((folder / "best").read_text())
    except (OSError, ValueError):
        return None
    score = next((row.get(monitor) for row in rows if row["epoch"] == epoch), None)
    return (epoch, score) if score is not None and math.isfinite(score) else None
