"""`fit`: how the columns of a table are read, learned from its training rows."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from zoo.data._tensorflow import tensorflow
from zoo.data.table_source import GAPS, TableSource, as_text, named, numbers
from zoo.errors import InputError
from zoo.readers import notation
from zoo.readers.notation import Notation
from zoo.readers.table_columns import find_cells, read_written, whole_text
from zoo.readers.tables import TableReader

EXACT = 2.0**53
"""Whole numbers up to which float64 tells all apart."""

FEW_TEXTS = 20
"""Texts in a column up to which it is of categories, however few its rows are."""


def fit(
    source: TableSource,
    target: str,
    *,
    regression: bool,
    categorical: Collection[str] = (),
    ignore: Collection[str] = (),
) -> TableReader:
    """The `TableReader` of a `TableSource`: what reading learns is learned of the training rows, but for the labels.

    How cells are written is learned of all rows. A column is of numbers where more than half of its cells that are not
    empty are; or nine of ten, where they have a decimal comma, separated thousands or percent signs. It is of dates
    where nine of ten are as ISO 8601 has them, or else of categories. A column of categories is left out where more
    than half of the training rows, and more than `FEW_TEXTS`, have a text of their own.

    Args:
        target: the column to predict.
        regression: whether it is of numbers.
        categorical: columns of categories, whatever they look like.
        ignore: columns that are left out.
    Raises: `InputError` for columns that are not there, and for those that cannot be used.
    """
    named(target, list(source.columns), f"target={target}")
    for field, names in (("categorical", categorical), ("ignore", ignore)):
        for name in names:
            named(name, [column for column in source.columns if column != target], f"{field}={','.join(names)}")
    used = [name for name in source.columns if name != target and name not in ignore]
    if not used:
        raise InputError(f"dataset={source.name} has no column beside the target {target!r}.")
    columns, left_out = [], {}
    for name in used:
        column = _learned(source, ("column", name, name in categorical), _fit_column)
        if isinstance(column, str):
            left_out[name] = column
        else:
            columns.append(column)
    if not columns:
        (name, why), *_ = left_out.items()
        raise InputError(
            f"dataset={source.name} has no column to learn from: {name!r} is left out, with {why}. "
            f"categorical={name} keeps it."
        )
    if not regression:
        return TableReader(columns, target, labels=_labels(source, target), left_out=left_out)
    values = target_numbers(source, target)[source.rows["train"]]
    if np.ptp(values) == 0:
        raise _one_value(source, target, "the target")
    written = notation_of(source, target)
    fields = None if written is None else dataclasses.asdict(written)
    return TableReader(columns, target, scale=(values.mean(), values.std()), target_notation=fields, left_out=left_out)


def _learned(source: TableSource, key: tuple[Any, ...], learn: Callable[..., Any]) -> Any:
    """`learn(source, ...)` of the rest of `key`, once for each source."""
    if key not in source.learned:
        source.learned[key] = learn(source, *key[1:])
    return source.learned[key]


def _fit_column(source: TableSource, name: str, categorical: bool) -> dict[str, Any] | str:
    """What a `TableReader` knows of a column; why it is left out."""
    rows = source.rows["train"]
    texts = None
    if not categorical:
        written = notation_of(source, name)
        if written is not None:
            return _fit_text(source, name, {"name": name, "notation": dataclasses.asdict(written)})
        found, bad = source.numbers(name)
        known = np.isfinite(found[rows])
        if known.sum() > (np.isin(bad, rows).sum() if bad else 0):
            values = found[rows][known]
            texts = _codes(source, name, values)
            if texts is None:
                return {"name": name, **_scale(source, name, values, not known.all()), **_dtype(values)}
        elif notation.are_dates(_written_cells(source, name)):
            return _fit_text(source, name, {"name": name, "cycles": []})
    texts = [as_text(value) for value in source.columns[name][rows]]
    whole = not numbers(texts)[1]
    values = sorted({whole_text(text) if whole else text for text in texts})
    if len(values) == 1:
        raise _one_value(source, name, "column")
    if not categorical and len(values) > max(FEW_TEXTS, len(rows) / 2):
        return f"{len(values):,} different texts in {len(rows):,} training rows"
    return {"name": name, "values": values} | ({"whole": True} if whole else {})


def _codes(source: TableSource, name: str, values: np.ndarray) -> list[str] | None:
    """The cells of the training rows as text, where they are whole numbers that float64 does not tell apart."""
    if np.abs(values).max() < EXACT:
        return None
    texts = [as_text(value) for value in source.columns[name][source.rows["train"]]]
    whole = all(text.lstrip("+-").isdigit() for text in texts if text)
    return texts if whole and len(set(texts) - {""}) > len(np.unique(values)) else None


def _fit_text(source: TableSource, name: str, column: dict[str, Any]) -> dict[str, Any]:
    """`column`, of dates or of numbers of a `Notation`, with what its training rows say."""
    rows = source.rows["train"]
    cells, _ = find_cells(source.columns[name][rows], column)
    with tensorflow().device("CPU:0"):
        found = read_written(tensorflow().constant(cells.tolist()), column).numpy()
    known = np.isfinite(found)
    column = column | _scale(source, name, found[known], not known.all())
    return column | ({"cycles": _cycles(found[known])} if "cycles" in column else {})


def _cycles(days: np.ndarray) -> list[float]:
    """The cycles that training dates show: of more than one time of day, of two weeks, of a year."""
    whole, span = np.floor(days), np.ptp(np.floor(days))
    return [
        *([notation.DAY] if len(np.unique(days - whole)) > 1 else []),
        *([notation.WEEK] if span >= 14 and len(np.unique(whole % 7)) > 1 else []),
        *([notation.YEAR] if span >= 365 else []),
    ]


def _scale(source: TableSource, name: str, values: np.ndarray, gaps: bool) -> dict[str, Any]:
    """Mean, deviation and gaps of the `values` of a column that are there, float64."""
    if not len(values) or (np.ptp(values) == 0 and not gaps):
        raise _one_value(source, name, "column")
    return {"mean": float(values.mean()), "deviation": float(values.std()) or 1.0, "gaps": bool(gaps)}


def _dtype(values: np.ndarray) -> dict[str, str]:
    """{"dtype": "float64"} where float32 moves a value by more than a ten thousandth of the deviation."""
    moved = np.abs(values.astype("float32").astype("float64") - values).max()
    return {"dtype": "float64"} if moved > 1e-4 * (values.std() or np.inf) else {}


def _one_value(source: TableSource, name: str, what: str) -> InputError:
    count, value = len(source.rows["train"]), as_text(source.columns[name][source.rows["train"][0]])
    cure = "Give more rows." if what != "column" else f"It tells nothing: leave it out with ignore={name}."
    return InputError(f"dataset={source.name}: {what} {name!r} is {value!r} in all {count:,} training rows. {cure}")


# How numbers are written ----------------------------------------------------------------------------------------------


def notation_of(source: TableSource, name: str) -> Notation | None:
    """The `Notation` of a column of numbers; None where they are plain, and for other columns."""
    return _learned(source, ("notation", name), _notation_of)


def _notation_of(source: TableSource, name: str) -> Notation | None:
    found, bad = source.numbers(name)
    if not bad:  # plain numbers, unless the file has decimal commas and the points are between thousands
        if source.columns[name].dtype != object or not _decimal_commas(source):
            return None
        cells = _written_cells(source, name)
        return Notation(",", ".") if notation.groups_by_points(cells) else None
    cells = _written_cells(source, name)
    written = notation.find(cells, _decimal_commas(source) or _semicolons(source))
    if written is None or written == notation.PLAIN:
        return None
    plain = np.isfinite(found).sum() > len(bad)  # then cells that are not would be errors: only all make a notation
    return None if plain and notation.count(written, cells) < len(cells) else written


def _written_cells(source: TableSource, name: str) -> list[str]:
    """The cells of a column that are not missing, as text."""
    return [text for text in map(as_text, source.columns[name]) if text.lower() not in GAPS]


def _decimal_commas(source: TableSource) -> bool:
    """Whether a column of the table has commas that can be nothing but decimal ones."""

    def found(source: TableSource) -> bool:
        return any(
            source.numbers(name)[1] and notation.has_decimal_comma(_written_cells(source, name))
            for name, values in source.columns.items()
            if values.dtype == object
        )

    return _learned(source, ("decimal commas",), found)


def _semicolons(source: TableSource) -> bool:
    """Whether cells are separated by semicolons, and no plain number of the table has a decimal point."""

    def found(source: TableSource) -> bool:
        return source.delimiter == ";" and not any(
            "." in cell
            for name in source.columns
            if not source.numbers(name)[1]
            for cell in map(str, source.columns[name])
        )

    return _learned(source, ("semicolons",), found)


# The target -----------------------------------------------------------------------------------------------------------


def target_texts(source: TableSource, target: str) -> np.ndarray:
    """The target as labels, text (rows,); an empty one is an `InputError`."""
    texts = np.array([as_text(value) for value in source.columns[target]], object)
    _refuse_gaps(source, target, np.flatnonzero(texts == ""))
    return texts


def target_numbers(source: TableSource, target: str, written: Notation | None = None) -> np.ndarray:
    """The target as numbers, float64 (rows,); one that is missing, or no number, is an `InputError`.

    Args:
        written: how it is written. Defaults to `None`: as the table itself tells.
    """
    written = written or notation_of(source, target)
    if written is None:
        found, bad = source.numbers(target)
    else:
        column = {"name": target, "notation": dataclasses.asdict(written)}
        cells, bad = find_cells(source.columns[target], column)
        with tensorflow().device("CPU:0"):
            found = read_written(tensorflow().constant(cells.tolist()), column).numpy()
    if len(bad):
        value = str(source.columns[target][bad[0]])[:40]
        raise InputError(
            f"{source.where(bad[0])}: the target {target!r} is {value!r}, no number. Correct it, or predict classes "
            "with loss=cross_entropy."
        )
    _refuse_gaps(source, target, np.flatnonzero(np.isnan(found)))
    return found


def _refuse_gaps(source: TableSource, target: str, rows: np.ndarray | Sequence[int]) -> None:
    if len(rows):
        more = f" (and {len(rows) - 1:,} more)" if len(rows) > 1 else ""
        raise InputError(
            f"{source.where(rows[0])}{more}: the target {target!r} is missing. Fill it, or delete the row."
        )


def _labels(source: TableSource, target: str) -> list[str]:
    """The classes, by value where all are numbers."""
    labels = sorted(set(target_texts(source, target)))
    if len(labels) == 1:
        raise _one_value(source, target, "the target")
    found, bad = numbers(labels)
    return labels if bad or np.isnan(found).any() else [labels[index] for index in np.argsort(found, kind="stable")]
