"""One column of a `TableReader`: what its cells are read as, and what is said of a cell that is none of it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.table_source import GAPS, TableSource, as_text, is_number
from zoo.errors import InputError
from zoo.readers.notation import Notation, read_dates

WHOLE = r"-?[0-9]+\.0+"
"""A whole number as pandas writes it into a column with gaps."""


def is_text(column: Mapping[str, Any]) -> bool:
    """Whether the cells of a column are read as text: categories, dates, and numbers of a `Notation`."""
    return any(key in column for key in ("values", "cycles", "notation"))


def dtype_of(column: Mapping[str, Any]) -> str:
    """Of the numbers of a column, as they are read."""
    return "float64" if is_text(column) else column.get("dtype", "float32")


def read_written(cells: Tensor, column: Mapping[str, Any]) -> Tensor:
    """Strings (n,) of a column of dates, or of numbers of a `Notation`, to float64 (n,), NaN where they are none."""
    return read_dates(cells) if "cycles" in column else Notation(**column["notation"]).read(cells)


def find_cells(values: Sequence[Any] | np.ndarray, column: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(text (n,), the indices of what is neither missing nor what the column is of)."""
    tf = tensorflow()

    write = Notation(**column["notation"]).write if "notation" in column else as_text
    cells = [write(value) if is_number(value) else as_text(value) for value in values]
    found = np.array(["" if cell.lower() in GAPS else cell for cell in cells], object)
    with tf.device("CPU:0"):
        known = np.isfinite(read_written(tf.constant(cells), column).numpy())
    return found, np.flatnonzero(~known & (found != ""))


def oddities(source: TableSource, columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines that count the cells of `columns` that are missing, no number or date, or of an unknown category."""
    said = {
        "Missing cells, read as the mean": {},
        "Cells that are no number or date, read as missing": {},
        "Empty cells, read as a category": {},
        "Cells of categories that no training row has, read as none": {},
    }
    missing, unread, empty, unseen = said.values()
    for column in columns:
        name = column["name"]
        values = source.columns[name]
        if "values" in column:
            known = set(column["values"])
            texts = [as_text(value) for value in values]
            empty[name] = texts.count("")
            unseen[name] = sum((whole_text(text) if column.get("whole") else text) not in known for text in texts)
        elif is_text(column):
            cells, bad = find_cells(values, column)
            missing[name], unread[name] = int((cells == "").sum()), len(bad)
        else:
            found, bad = source.numbers(name)
            missing[name], unread[name] = int(np.isnan(found).sum()) - len(bad), len(bad)
    lines = []
    for what, counts in said.items():
        some = [f"{name} {count:,}" for name, count in counts.items() if count]
        if some:
            lines.append(f"{what}: {first(some)}.")
    return lines


def first(names: Sequence[str], most: int = 8) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def whole_text(text: str) -> str:
    """A category without the `.0` that pandas writes behind whole numbers in a column with gaps."""
    return text.partition(".")[0] if re.fullmatch(WHOLE, text) else text


def width_of(column: Mapping[str, Any]) -> int:
    """How many inputs a column is."""
    if "values" in column:
        return len(column["values"])
    return 1 + column["gaps"] + 2 * len(column.get("cycles", ()))


def no_number(
    values: Sequence[Any] | np.ndarray,
    bad: Sequence[int] | np.ndarray,
    column: Mapping[str, Any],
    where: Callable[[int], str],
) -> InputError:
    """The `InputError` for `values` of a column, of which those at `bad` are no numbers."""
    more = f" ({len(bad) - 1:,} more cells are like it)" if len(bad) > 1 else ""
    value, name = str(values[bad[0]])[:40], column["name"]
    kinds = "dates" if "cycles" in column else "numbers"
    said = Notation(**column["notation"]).describe() if "notation" in column else ""
    how = f"{kinds}{' with ' + said if said else ''}"
    return InputError(
        f"{where(bad[0])}, column {name!r}: {value!r} is text where training has {how}{more}. "
        f"Correct it, let --skip-bad read it as missing, or train with categorical={name}."
    )
