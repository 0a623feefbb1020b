"""The cells of a CSV file, as people and programs write one."""

import csv
import dataclasses
import io
import os
from typing import TextIO

import numpy as np

from zoo.errors import InputError

DELIMITERS = ",;\t|"


@dataclasses.dataclass(frozen=True)
class CsvFile:
    """The cells of a CSV file as text, without the blanks around them.

    Attributes:
        header: the names of the columns.
        cells: rows of text.
        lines: the line of the file in which each row ends.
        dropped: how many rows were left out.
        delimiter: what stands between cells.
        notes: what was left out of every row, such as an index.
    """

    header: list[str]
    cells: list[list[str]]
    lines: list[int]
    dropped: int
    delimiter: str
    notes: tuple[str, ...]

    def columns(self) -> dict[str, np.ndarray]:
        """{name: text (rows,)}."""
        columns = zip(*self.cells, strict=True)
        return {name: np.array(column, object) for name, column in zip(self.header, columns, strict=True)}


def read_csv(path: str | os.PathLike[str], skip_bad: bool = False) -> CsvFile:
    """The `CsvFile` at `path`: UTF-8, a header line, cells separated by commas, semicolons, tabs or bars.

    A first line `sep=;`, as Excel writes it, names the delimiter. A first column without a name, as pandas writes its
    index, is left out; so is a last one without a name that is empty in every row.

    Raises: `InputError` for a file that is none; for a row with more or fewer cells than the header, unless `skip_bad`.
    """
    cells, lines, dropped = [], [], 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = io.StringIO(file.read(), newline="")
        delimiter, above = _delimiter(text)
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
        header = [name.strip() for name in next(reader, ())]
        for row in reader:
            if len(row) == len(header):
                cells.append([cell.strip() for cell in row])
                lines.append(above + reader.line_num)
            elif row and not skip_bad:
                count = "1 cell" if len(row) == 1 else f"{len(row)} cells"
                raise InputError(
                    f"{path}, line {above + reader.line_num}: {count}, but the header has {len(header)}. "
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
    kept, notes = _kept(header, cells)
    if notes:
        header, cells = header[kept], [row[kept] for row in cells]
    if not header or not all(header) or len(set(header)) < len(header):
        raise InputError(f"{path}: every column needs a name of its own. Received: {', '.join(header) or 'no header'}.")
    if not cells:
        raise InputError(f"{path} has no row below its header.")
    return CsvFile(header, cells, lines, dropped, delimiter, notes)


def _delimiter(text: TextIO) -> tuple[str, int]:
    """(the delimiter, how many lines stand above the header, which is what is read next)."""
    first = text.readline()
    named = first.strip().strip('"').lower()
    if (len(named) == 5 and named.startswith("sep=") and named[-1] in DELIMITERS) or first.rstrip("\r\n") == "sep=\t":
        return first.rstrip("\r\n").strip('"')[-1], 1
    text.seek(0)
    return max(DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), ()))), 0


def _kept(header: list[str], cells: list[list[str]]) -> tuple[slice, tuple[str, ...]]:
    """(the columns that are kept, a note for each that is not)."""
    start, stop, notes = 0, len(header), ()
    if len(header) > 1 and not header[-1] and not any(row[-1] for row in cells):
        stop, notes = stop - 1, ("the last column, which has no name and no values, is left out",)
    if stop > 1 and not header[0]:
        start, notes = 1, (*notes, "the first column, which has no name, is taken as the index and left out")
    return slice(start, stop), notes


def not_utf8(path: str | os.PathLike[str], error: UnicodeDecodeError) -> InputError:
    """The `InputError` for a file that was read at once, with the line of the `UnicodeDecodeError`."""
    line = error.object[: error.start].count(b"\n") + 1
    return InputError(f"{path}, line {line:,}: this is not UTF-8 text (byte {error.start:,}). Save it as UTF-8.")
