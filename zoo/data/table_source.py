"""Tables: `csv:PATH`, arrays of numbers handed over in memory, and those that come with the package."""

import csv
import functools
import hashlib
import io
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data._tensorflow import tensorflow
from zoo.data.memory_source import check_splits, part_of, stratified
from zoo.data.source import SPLITS, Column, Feature, Source, own_splits
from zoo.errors import InputError, nearest

if TYPE_CHECKING:
    import tensorflow as tf

GAPS = ("", "?", "na", "n/a", "nan", "none", "null")
"""What stands for a missing number, in any case; in a column of categories only the empty cell is missing."""

DELIMITERS = ",;\t|"

LARGEST = float(np.finfo("float32").max)


class TableSource(Source):
    """Columns of one length, and which row is of which split.

    Attributes:
        columns: {name: array (rows,)} of numbers, or of the text that stands in the file.
        rows: {split: indices}.
        target: the column that is usually predicted, or None.
        skip_bad: whether a cell that cannot be read counts as missing.
        numbers: a function that reads a column as `numbers` does, once.
    """

    columns: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]
    target: str | None = None
    skip_bad: bool = False
    numbers: Callable[[str], tuple[np.ndarray, list[int]]]

    def _fill(self, name: str, columns: dict[str, np.ndarray], rows: Mapping[str, np.ndarray]) -> None:
        self.name: str = name
        self.columns = columns
        self.rows = {split: indices for split, indices in rows.items() if len(indices)}
        if "train" not in self.rows:
            raise InputError(f"dataset={name} has no training row: give more.")
        self.features: Mapping[str, Feature] = {column: Column() for column in columns}
        self.sizes: Mapping[str, int] = {split: len(indices) for split, indices in self.rows.items()}
        self.numbers = functools.cache(lambda column: numbers(self.columns[column]))

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        """Elements {"row": its number, "columns": {name: value}}."""
        rows = self.rows[split]
        columns = {name: list(values[rows]) for name, values in self.columns.items()}
        return tensorflow().data.Dataset.from_tensor_slices({"row": rows, "columns": columns})

    def where(self, row: int) -> str:
        """How a person finds a row."""
        return f"dataset={self.name}, row {row + 1}"

    def verify(self) -> int:
        """The number of rows; all were read when it was opened."""
        return sum(self.sizes.values())


class BuiltInTable(TableSource):
    """A table of `zoo.data.tables`; every fifth row of a class is of the test split, the next of validation."""

    def __init__(self, name: str) -> None:
        from zoo.data.tables import TABLES

        table = TABLES[name]()
        self.target: str | None = table.target
        self.fingerprint: str = _digest(table.columns)
        self._fill(name, table.columns, stratified(table.columns[table.target]))


class ArrayTable(TableSource):
    """{split: (x, y)}: numbers (n, features) and (n,); the columns are x0, x1, ... and y.

    Where `train` is all there is, validation and test take 15 % of it each, by a hash of the row.
    """

    target: str | None = "y"

    def __init__(self, splits: Mapping[str, tuple[Any, Any]]) -> None:
        check_splits(splits)
        arrays = {split: self._checked(split, *pair) for split, pair in splits.items()}
        widths = {x.shape[1] for x, _ in arrays.values()}
        if len(widths) > 1:
            raise InputError(f"The splits must have one number of columns. Received: {sorted(widths)}.")
        x, y = (np.concatenate(parts) for parts in zip(*arrays.values(), strict=True))
        columns = {**{f"x{index}": x[:, index] for index in range(x.shape[1])}, "y": y}
        self.fingerprint: str = _digest(
            {**columns, "splits": np.array([f"{s}{len(y)}" for s, (_, y) in arrays.items()])}
        )
        if len(arrays) == 1:
            rows = hashed(zip(*columns.values(), strict=True))
        else:
            ends = np.cumsum([len(y) for _, y in arrays.values()])
            rows = dict(zip(arrays, np.split(np.arange(len(y)), ends[:-1]), strict=True))
        self._fill(f"arrays:{self.fingerprint[:12]}", columns, rows)

    @staticmethod
    def _checked(split: str, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.asarray(x), np.asarray(y)
        if x.ndim != 2 or x.dtype.kind not in "biuf" or y.shape != x.shape[:1]:
            raise InputError(
                f"A table of {split} must be numbers (n, features) and n targets. "
                f"Received: {x.dtype} {x.shape} and {y.shape}."
            )
        return x, np.array([as_text(value) for value in y.tolist()], object)


class CsvSource(TableSource):
    """`csv:PATH`: a file with a header line, or a folder with train.csv and, where there are, validation.csv, test.csv.

    The split of a row of a single file is a hash of its text: the same for ever, and equal rows are together.
    """

    def __init__(self, spec: str, skip_bad: bool = False) -> None:
        path = pathlib.Path(spec.partition(":")[2]).expanduser()
        self.skip_bad: bool = skip_bad
        own = own_splits(spec, path, ".csv")
        if path.is_dir() and not own:
            raise InputError(f"dataset={spec}: the folder {path} has no train.csv.")
        paths = own or {None: path}
        files = {split: read_csv(path, skip_bad) for split, path in paths.items()}
        first = next(iter(files.values()))
        for split, file in files.items():
            if set(file.header) != set(first.header):
                odd = sorted(set(file.header) ^ set(first.header))
                raise InputError(f"dataset={spec}: {paths[split]} has other columns than train.csv: {', '.join(odd)}.")
        columns = {name: np.concatenate([file.column(name) for file in files.values()]) for name in first.header}
        self._lines = [(paths[split], line) for split, file in files.items() for line in file.lines]
        if own:
            ends = np.cumsum([len(file.lines) for file in files.values()])
            rows = dict(zip(files, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
        else:
            rows = hashed(first.cells)
        dropped = sum(file.dropped for file in files.values())
        self.notes: tuple[str, ...] = (
            (f"{dropped} unreadable row{'s' if dropped > 1 else ''} left out",) if dropped else ()
        )
        if own and "validation" not in own:
            self.notes += ("no validation split: training goes without",)
        digest = hashlib.sha256()
        for split, one in paths.items():
            digest.update(f"{split}".encode() + one.read_bytes())
        self.fingerprint: str = digest.hexdigest()
        self._fill(spec, columns, rows)

    def where(self, row: int) -> str:
        path, line = self._lines[row]
        return f"{path}, line {line}"


class CsvFile:
    """The cells of a CSV file as text, without the blanks around them.

    Attributes:
        header: the names of the columns.
        cells: rows of text.
        lines: the line of the file in which each row ends.
        dropped: how many rows were left out.
    """

    def __init__(self, header: list[str], cells: list[list[str]], lines: list[int], dropped: int) -> None:
        self.header = header
        self.cells = cells
        self.lines = lines
        self.dropped = dropped

    def column(self, name: str) -> np.ndarray:
        index = self.header.index(name)
        return np.array([row[index] for row in self.cells], object)


def read_csv(path: str | os.PathLike[str], skip_bad: bool = False) -> CsvFile:
    """The `CsvFile` at `path`: UTF-8, a header line, cells apart by a comma, semicolon, tab or bar.

    Raises: `InputError` for a file that is none; for a row with more or fewer cells than the header, unless `skip_bad`.
    """
    cells, lines, dropped = [], [], 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = io.StringIO(file.read(), newline="")
        first = text.readline()
        text.seek(0)
        delimiter = max(DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), ())))
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
        header = [name.strip() for name in next(reader, ())]
        for row in reader:
            if len(row) == len(header):
                cells.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
            elif row and not skip_bad:
                cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
                raise InputError(
                    f"{path}, line {reader.line_num}: {cells}, but the header has {len(header)}. "
                    "Mend the row, or leave such rows out with --skip-bad."
                )
            else:
                dropped += bool(row)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from None
    except csv.Error as error:
        last = lines[-1] if lines else 0
        raise InputError(f"{path} is not CSV behind line {last}: {error}. Is a quote missing?") from None
    if not header or not all(header) or len(set(header)) < len(header):
        raise InputError(f"{path}: every column needs a name of its own. Received: {', '.join(header) or 'no header'}.")
    if not cells:
        raise InputError(f"{path} has no row below its header.")
    return CsvFile(header, cells, lines, dropped)


def not_utf8(path: str | os.PathLike[str], error: UnicodeDecodeError) -> InputError:
    """The `InputError` for a file that was read at once, with the line of the `UnicodeDecodeError`."""
    line = error.object[: error.start].count(b"\n") + 1
    return InputError(f"{path}, line {line:,}: this is not UTF-8 text (byte {error.start:,}). Save it as UTF-8.")


def numbers(values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, list[int]]:
    """(float32 (n,), NaN where a value is missing; the indices of those that are no number) of numbers or text."""
    found = np.empty(len(values), "float32")
    bad = []
    for row, value in enumerate(values):
        number = _number(value)
        if number is None:
            bad.append(row)
        found[row] = math.nan if number is None else number
    return found, bad


def _number(value: Any) -> float | None:
    """The number that a value means, NaN where it is missing, None where it is none."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        if value.strip().lower() in GAPS:
            return math.nan
        if "_" in value:  # which Python allows
            return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isnan(number) or abs(number) <= LARGEST else None


def as_text(value: Any) -> str:
    """A cell of a column of categories as text: whole numbers without a point, what is missing as ''."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def named(name: str, columns: Iterable[str], why: str) -> str:
    """`name`, which must be one of `columns`; `why` names the field that asks for it."""
    if name not in columns:
        raise InputError(
            f"{why}: there is no column {name!r}.{nearest(name, columns)} There are: {', '.join(columns)}."
        )
    return name


def hashed(rows: Iterable[Iterable[Any]]) -> dict[str, np.ndarray]:
    """{split: indices} of rows, each an iterable of cells, by a hash of their text."""
    parts = np.array([part_of("\x1f".join(map(str, row))) for row in rows])
    return {split: np.flatnonzero(parts == split) for split in SPLITS}


def _digest(columns: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, values in columns.items():
        digest.update(f"{name}\x1f".encode())
        digest.update("\x1f".join(map(str, values)).encode() if values.dtype == object else values.tobytes())
    return digest.hexdigest()
