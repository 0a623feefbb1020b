"""The cells of a CSV file, as people and programs write one."""

import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Iterator
from typing import TextIO

import numpy as np

from zoo.errors import InputError

DELIMITERS = ",;\t|"


@dataclasses.dataclass(frozen=True)
class CsvFile:
    """The cells of a CSV file as text, without the blanks around them.

    Attributes:
        header: the names of the columns.
        cells: text (rows, columns).
        lines: the line of the file in which each row ends.
        dropped: how many rows were left out.
        empty: how many lines have nothing in them.
        delimiter: what stands between cells.
        notes: what was left out of every row, such as an index.
    """

    header: list[str]
    cells: np.ndarray
    lines: list[int]
    dropped: int
    empty: int
    delimiter: str
    notes: tuple[str, ...]

    def columns(self) -> dict[str, np.ndarray]:
        """{name: text (rows,)}."""
        return dict(zip(self.header, self.cells.T, strict=True))


def read_csv(path: str | os.PathLike[str], skip_bad: bool = False) -> CsvFile:
    """The `CsvFile` at `path`: UTF-8, a header line, cells separated by commas, semicolons, tabs or bars.

    A first line `sep=;`, as Excel writes it, names the delimiter. A first column without a name, as pandas writes its
    index, is left out; so is a last one without a name that is empty in every row.

    Raises: `InputError` for a file that is none; for a row with more or fewer cells than the header, unless `skip_bad`.
    """
    rows, lines, dropped, empty = _Rows(), [], 0, 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            content = file.read()
        text = io.StringIO(content, newline="")
        delimiter, above = _delimiter(text)
        split = (_quoted if '"' in content else _unquoted)(text, delimiter)
        header = next(split, ([], 0))[0]
        for row, line in split:
            if len(row) == len(header):
                rows.append(row)
                lines.append(above + line)
            elif row and not skip_bad:
                count = "1 cell" if len(row) == 1 else f"{len(row)} cells"
                raise InputError(
                    f"{path}, line {above + line}: {count}, but the header has {len(header)}. "
                    "Correct the row, or leave such rows out with --skip-bad."
                )
            else:
                dropped += bool(row)
                empty += not row
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from None
    except csv.Error as error:
        last = lines[-1] if lines else 0
        raise InputError(f"{path} is not CSV behind line {last}: {error}. Is a quote missing?") from None
    cells = rows.array()
    kept, notes = _kept(header, cells)
    header, cells = header[kept], cells[:, kept]
    if not header or not all(header) or len(set(header)) < len(header):
        raise InputError(f"{path}: every column needs a name of its own. Received: {', '.join(header) or 'no header'}.")
    if not len(cells):
        raise InputError(f"{path} has no row below its header.")
    return CsvFile(header, cells, lines, dropped, empty, delimiter, notes)


def _delimiter(text: TextIO) -> tuple[str, int]:
    """(the delimiter, how many lines stand above the header, which is what is read next)."""
    first = text.readline()
    named = first.strip().strip('"').lower()
    if (len(named) == 5 and named.startswith("sep=") and named[-1] in DELIMITERS) or first.rstrip("\r\n") == "sep=\t":
        return first.rstrip("\r\n").strip('"')[-1], 1
    text.seek(0)
    return max(DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), ()))), 0


def _quoted(text: Iterable[str], delimiter: str) -> Iterator[tuple[list[str], int]]:
    """(cells without the blanks around them, the line in which they end) of each row."""
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
    for row in reader:
        yield [cell.strip() for cell in row], reader.line_num


def _unquoted(text: Iterable[str], delimiter: str) -> Iterator[tuple[list[str], int]]:
    """As `_quoted`, of a file without quotes: in a third of the time."""
    longest = csv.field_size_limit()
    for number, line in enumerate(text, 1):
        if len(line) > longest and any(len(cell) > longest for cell in line.split(delimiter)):
            raise csv.Error(f"field larger than field limit ({longest})")  # as the reader of `csv` says it
        line = line.rstrip("\r\n")
        row = line.split(delimiter) if line else []
        yield (row if line.split(None, 1) == [line] else [cell.strip() for cell in row]), number


class _Rows:
    """Rows of cells, which are kept in blocks: lists of so many would be visited by every garbage collection."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._open: list[list[str]] = []

    def append(self, row: list[str]) -> None:
        self._open.append(row)
        if len(self._open) == _BLOCK:
            self._close()

    def _close(self) -> None:
        if self._open:
            self._blocks.append(np.array(self._open, object))
            self._open = []

    def array(self) -> np.ndarray:
        """Text (rows, columns); (0, 0) where there is none."""
        self._close()
        return np.concatenate(self._blocks) if self._blocks else np.empty((0, 0), object)


_BLOCK = 1024


def _kept(header: list[str], cells: np.ndarray) -> tuple[slice, tuple[str, ...]]:
    """(the columns that are kept, a note for each that is not)."""
    start, stop, notes = 0, len(header), ()
    if len(header) > 1 and not header[-1] and not any(cells[:, -1:].ravel()):
        stop, notes = stop - 1, ("the last column, which has no name and no values, is left out",)
    if stop > 1 and not header[0]:
        start, notes = 1, (*notes, "the first column, which has no name, is taken as the index and left out")
    return slice(start, stop), notes


def not_utf8(path: str | os.PathLike[str], error: UnicodeDecodeError) -> InputError:
    """The `InputError` for a file that was read at once, with the line of the `UnicodeDecodeError`."""
    line = error.object[: error.start].count(b"\n") + 1
    return InputError(f"{path}, line {line:,}: this is not UTF-8 text (byte {error.start:,}). Save it as UTF-8.")
