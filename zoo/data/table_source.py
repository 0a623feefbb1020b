"""Tables: `csv:PATH`, arrays of numbers handed over in memory, and those that come with the package."""

import functools
import hashlib
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data._tensorflow import tensorflow
from zoo.data.csv_file import CsvFile, read_csv
from zoo.data.memory_source import check_splits, part_of, stratified
from zoo.data.source import SPLITS, Column, Feature, Source, beside, own_splits
from zoo.errors import InputError, counted, nearest

if TYPE_CHECKING:
    import tensorflow as tf

GAPS = ("", "?", "na", "n/a", "nan", "nat", "none", "null")
"""What stands for a missing number, in any case; in a column of categories only the empty cell is missing."""

LARGEST = float(np.finfo("float32").max)


class TableSource(Source):
    """Columns of one length, and which row is of which split.

    Attributes:
        columns: {name: array (rows,)} of numbers, or of the text that stands in the file.
        rows: {split: indices}.
        target: the column that is usually predicted, or None.
        skip_bad: whether a cell that cannot be read counts as missing.
        delimiter: what stands between cells in the file; None of what is no file.
        numbers: a function that reads a column as `numbers` does, once.
        learned: what readers learned of columns, which is asked for several times; its keys are theirs.
    """

    columns: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]
    target: str | None = None
    skip_bad: bool = False
    delimiter: str | None = None
    numbers: Callable[[str], tuple[np.ndarray, list[int]]]

    def _fill(
        self,
        name: str,
        columns: dict[str, np.ndarray],
        rows: Mapping[str, np.ndarray],
        cells: np.ndarray | None = None,
    ) -> None:
        self.name: str = name
        self.columns = columns
        self.rows = {split: indices for split, indices in rows.items() if len(indices)}
        if "train" not in self.rows:
            raise InputError(f"dataset={name} has no training row: give more.")
        self.features: Mapping[str, Feature] = {column: Column() for column in columns}
        self.sizes: Mapping[str, int] = {split: len(indices) for split, indices in self.rows.items()}
        self.numbers = numbers_of(columns, cells)
        self.learned: dict[Any, Any] = {}

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        """Elements {"row": its number}."""
        return tensorflow().data.Dataset.from_tensor_slices({"row": self.rows[split]})

    def samples(self, split: str, count: int) -> list[dict[str, Any]]:
        """The first `count` rows, {"columns": {name: value}} each."""
        rows = self.rows[split][:count]
        return [{"columns": {name: values[row] for name, values in self.columns.items()}} for row in rows]

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
        cells = first.cells
        if len(files) > 1:
            cells = np.concatenate([_ordered(file, first.header) for file in files.values()])
        self._lines = [(paths[split], line) for split, file in files.items() for line in file.lines]
        if own:
            ends = np.cumsum([len(file.lines) for file in files.values()])
            rows = dict(zip(files, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
        else:
            rows = hashed(row.tolist() for row in first.cells)
        dropped = sum(file.dropped for file in files.values())
        self.notes: tuple[str, ...] = (
            (f"{dropped} unreadable row{'s' if dropped > 1 else ''} left out",) if dropped else ()
        )
        empty = sum(file.empty for file in files.values())
        if empty:
            self.notes += (f"{counted(empty, 'empty line')} skipped",)
        self.notes += tuple(dict.fromkeys(note for file in files.values() for note in file.notes))
        if own:
            self.notes += beside(path, paths.values(), "the splits")
        self.delimiter: str = first.delimiter
        if own and "validation" not in own:
            self.notes += ("no validation split: training goes without",)
        digest = hashlib.sha256()
        for split, one in paths.items():
            digest.update(f"{split}".encode() + one.read_bytes())
        self.fingerprint: str = digest.hexdigest()
        self._fill(spec, dict(zip(first.header, cells.T, strict=True)), rows, cells)

    def where(self, row: int) -> str:
        path, line = self._lines[row]
        return f"{path}, line {line}"


def _ordered(file: CsvFile, header: Sequence[str]) -> np.ndarray:
    """The cells of a file, its columns in the order of `header`."""
    return file.cells if file.header == header else file.cells[:, [file.header.index(name) for name in header]]


def numbers(values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, list[int]]:
    """(float64 (n,), NaN where a value is missing; the indices of those that are no number) of numbers or text."""
    found = _numbers_at_once(values)
    if found is not None:
        return found, []
    found = np.empty(len(values), "float64")
    bad = []
    for row, value in enumerate(values):
        number = _number(value)
        if number is None:
            bad.append(row)
        found[row] = math.nan if number is None else number
    return found, bad


def numbers_of(
    columns: Mapping[str, np.ndarray], cells: np.ndarray | None = None
) -> Callable[[str], tuple[np.ndarray, list[int]]]:
    """A function from a column's name to `numbers` of it, which reads each column once.

    Args:
        columns: those of a table.
        cells: text (rows, columns), the same columns in their order; those of plain numbers are then read as one block.
            Defaults to `None`: each is read alone.
    """
    block = functools.cache(lambda: dict(zip(columns, _read_block(cells), strict=True)))

    @functools.cache
    def read(name: str) -> tuple[np.ndarray, list[int]]:
        found = None if cells is None else block()[name]
        return numbers(columns[name]) if found is None else (found, [])

    return read


def _read_block(cells: np.ndarray) -> list[np.ndarray | None]:
    """What `_numbers_at_once` returns of each column of text (rows, columns), all read together, row by row.

    Rows lie side by side in memory as they stand in the file; columns do not.
    """
    found = np.empty(cells.shape, "float64", order="F")
    plain = np.array([index for index, cell in enumerate(cells[0]) if _floats([cell or "nan"]) is not None], int)
    for start in range(0, len(cells), _BLOCK):
        rows = slice(start, start + _BLOCK)
        part = cells[rows][:, plain]
        values = _block_of(part)
        if values is None:
            part[part == ""] = "nan"
            values = _block_of(part)
        if values is None:
            columns = [_numbers_at_once(column) for column in part.T]
            good = [index for index, column in enumerate(columns) if column is not None]
            plain = plain[good]
            values = np.array([columns[index] for index in good], "float64").reshape(len(good), len(part)).T
        found[rows, plain] = values
    kept = set(plain.tolist())
    return [found[:, index] if index in kept else None for index in range(cells.shape[1])]


_BLOCK = 1024


def _block_of(cells: np.ndarray) -> np.ndarray | None:
    """float64 (rows, columns) of text that is all numbers, none beyond `LARGEST`; else None."""
    try:
        found = cells.astype("float64")
    except ValueError:
        return None
    odd = (np.abs(found) > LARGEST).any() or "_" in "".join(cells.ravel().tolist())  # which Python allows
    return None if odd else found


def _numbers_at_once(values: Sequence[Any] | np.ndarray) -> np.ndarray | None:
    """`numbers` of values of which all are numbers, and gaps empty; None where it takes a look at each."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        found = values.astype("float64") if values.dtype.kind in "biuf" else None
    else:
        found = _floats(values)
        if found is None:
            found = _floats(["nan" if isinstance(value, str) and not value else value for value in values])
    return None if found is None or (np.abs(found) > LARGEST).any() else found


def _floats(values: Sequence[Any] | np.ndarray) -> np.ndarray | None:
    """float64 (n,) of what Python reads as numbers; None where a value is none."""
    try:
        found = np.fromiter(map(float, values), "float64", len(values))
    except (TypeError, ValueError, OverflowError):
        return None
    try:
        odd = "_" in "".join(values)  # which Python allows
    except TypeError:
        odd = any(isinstance(value, str) and "_" in value for value in values)
    return None if odd else found


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
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isnan(number) or abs(number) <= LARGEST else None


def is_number(value: Any) -> bool:
    """Whether a cell is a number, not text, and there."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and not math.isnan(value)


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
