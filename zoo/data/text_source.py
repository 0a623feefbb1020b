"""Texts: `text:PATH`, tables whose columns are texts, and lists of texts handed over in memory."""

import codecs
import collections
import hashlib
import pathlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data._tensorflow import tensorflow
from zoo.data.csv_file import not_utf8
from zoo.data.folder_source import visible_files
from zoo.data.memory_source import check_splits, part_of
from zoo.data.source import SPLITS, Feature, Label, Source, Text, beside, own_splits
from zoo.data.table_source import TableSource, hashed
from zoo.errors import InputError, counted

if TYPE_CHECKING:
    import tensorflow as tf

FORMS = (("source", "target"), ("text", "label"), ("text",))
"""Columns of a table of texts, the first that is there."""


class TextSource(Source):
    """Texts in memory.

    Attributes:
        columns: {feature: a str for each row, or for `label` a class number}.
        rows: {split: indices}.
    """

    columns: dict[str, list[Any]]
    rows: dict[str, np.ndarray]

    def _fill(
        self,
        name: str,
        features: Mapping[str, Feature],
        columns: dict[str, list[Any]],
        rows: Mapping[str, np.ndarray],
    ) -> None:
        self.name: str = name
        self.features: Mapping[str, Feature] = features
        self.columns = columns
        self.rows = {split: indices for split, indices in rows.items() if len(indices)}
        if "train" not in self.rows:
            raise InputError(f"dataset={name} has no text to train on: give more.")
        self.sizes: Mapping[str, int] = {split: len(indices) for split, indices in self.rows.items()}

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        """Elements {feature: UTF-8, or a class number}."""
        chosen = {name: [values[row] for row in self.rows[split]] for name, values in self.columns.items()}
        return tensorflow().data.Dataset.from_tensor_slices(
            {name: np.array(values, np.int64) if name == "label" else values for name, values in chosen.items()}
        )

    def verify(self) -> int:
        """The number of texts; all were read when it was opened."""
        return sum(self.sizes.values())


def as_texts(source: Source) -> Source:
    """`source` with a table of it read as texts: columns source and target, text and label, or text alone.

    Any other source is returned as it is.

    Raises: `InputError` for a table of other columns, and for an empty text or label, with the line.
    """
    return TextTable(source) if isinstance(source, TableSource) else source


class TextTable(TextSource):
    """A table whose columns are texts; its rows keep their splits."""

    fingerprint: str
    notes: tuple[str, ...]

    def __init__(self, table: TableSource) -> None:
        form = next((form for form in FORMS if set(form) <= set(table.columns)), None)
        if form is None:
            raise InputError(
                f"dataset={table.name} must have the columns source and target, text and label, or text. It has: "
                f"{', '.join(table.columns)}."
            )
        self.fingerprint, self.notes = table.fingerprint, table.notes
        others = [name for name in table.columns if name not in form]
        if others:
            self.notes += (f"left out the column{'s' if len(others) > 1 else ''} {', '.join(others)}",)
        columns = {name: [str(value) for value in table.columns[name]] for name in form}
        empty = [row for row in range(len(columns[form[0]])) if not all(columns[name][row] for name in form)]
        if empty and not table.skip_bad:
            name = next(name for name in form if not columns[name][empty[0]])
            more = f" (and {len(empty) - 1:,} more)" if len(empty) > 1 else ""
            raise InputError(
                f"{table.where(empty[0])}{more}: the {name} is empty. Fill it, delete the row, or leave such rows out "
                "with --skip-bad."
            )
        if empty:
            self.notes += (f"{len(empty)} row{'s' if len(empty) > 1 else ''} with an empty cell left out",)
        rows = {split: np.setdiff1d(indices, empty) for split, indices in table.rows.items()}
        self.notes += _repeated(
            zip(
                *([column[row] for row in np.concatenate(list(rows.values()))] for column in columns.values()),
                strict=True,
            )
        )
        features = {name: Text() for name in form}
        if "label" in form:
            names = sorted({columns["label"][row] for row in rows.get("train", ())})
            features["label"] = Label(tuple(names))
            numbers = {name: number for number, name in enumerate(names)}
            for row in np.concatenate(list(rows.values())):
                if columns["label"][row] not in numbers:
                    raise InputError(f"{table.where(row)}: no training text has the label {columns['label'][row]!r}.")
            columns["label"] = [numbers.get(label) for label in columns["label"]]  # None in a row that is left out
        self._fill(table.name, features, columns, rows)


class TextFile(TextSource):
    """`text:PATH`: running text, UTF-8.

    A file: its first 70 % are of training, the next 15 of validation, the last 15 of test, cut where a line ends. A
    folder with train.txt and, where there are, validation.txt and test.txt: those. Any other folder: each of its
    .txt files is a text, of a split by a hash of its path.
    """

    def __init__(self, spec: str) -> None:
        path = pathlib.Path(spec.partition(":")[2]).expanduser()
        own = own_splits(spec, path, ".txt")
        marks = collections.Counter()
        self.notes: tuple[str, ...] = ()
        if own:
            texts = {split: [_read(one, marks)] for split, one in own.items()}
            self.notes += beside(path, own.values(), "the splits")
        elif path.is_dir():
            texts = {split: [] for split in SPLITS}
            others = []
            for one in visible_files(path):
                if one.suffix == ".txt":
                    texts[part_of(one.relative_to(path).as_posix())].append(_read(one, marks))
                else:
                    others.append(one.relative_to(path).as_posix())
            if others:
                some = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
                self.notes += (f"left out {counted(len(others), 'file')} of another kind than .txt: {some}",)
        else:
            texts = {split: [text] for split, text in zip(SPLITS, _parts(_read(path, marks)), strict=True)}
            marks.pop(_EMPTY, None)
        self.notes += tuple(f"{counted(count, 'file')} {what}" for what, count in marks.items() if count)
        texts = {split: [text for text in found if text.strip()] for split, found in texts.items()}
        if not texts.get("validation"):
            self.notes += ("no validation split: training goes without",)
        digest = hashlib.sha256()
        for split, found in texts.items():
            for text in found:
                digest.update(f"{split}{len(text)}".encode() + text.encode())
        self.fingerprint: str = digest.hexdigest()
        ends = np.cumsum([len(found) for found in texts.values()])
        rows = dict(zip(texts, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
        columns = {"text": [text for found in texts.values() for text in found]}
        self._fill(spec, {"text": Text()}, columns, rows)


class TextLists(TextSource):
    """{split: (texts, texts)} or {split: (texts, class numbers)}, lists of one length.

    Where `train` is all there is, validation and test take 15 % of it each, by a hash of the row.
    """

    def __init__(self, splits: Mapping[str, tuple[list[str], list[str] | list[int]]]) -> None:
        check_splits(splits)
        for split, (first, second) in splits.items():
            if len(first) != len(second):
                lone = min(len(first), len(second)) + 1
                raise InputError(
                    f"The {split} split has {len(first):,} texts and {len(second):,} answers: the one of number "
                    f"{lone:,} is missing."
                )
        first, second = ([one for pair in splits.values() for one in pair[part]] for part in (0, 1))
        labelled = not all(isinstance(one, str) for one in second)
        whole = all(isinstance(one, (int, np.integer)) and one >= 0 for one in second)
        if not all(isinstance(one, str) for one in first) or (labelled and not whole):
            raise InputError("dataset must be lists of texts, or of texts and whole numbers from 0, their classes.")
        names = ("text", "label") if labelled else ("source", "target")
        features = {name: Text() for name in names}
        if labelled:
            features["label"] = Label(tuple(str(number) for number in range(max(second) + 1)))
        digest = hashlib.sha256(str(list(splits)).encode())
        for pair in zip(first, second, strict=True):
            digest.update("\x1f".join(map(str, pair)).encode() + b"\x1e")
        self.fingerprint: str = digest.hexdigest()
        if len(splits) == 1:
            rows = hashed(zip(first, second, strict=True))
        else:
            ends = np.cumsum([len(pair[0]) for pair in splits.values()])
            rows = dict(zip(splits, np.split(np.arange(len(first)), ends[:-1]), strict=True))
        columns = dict(zip(names, (first, second), strict=True))
        empty = sum(not text for name in names if name != "label" for text in columns[name])
        if empty:
            self.notes: tuple[str, ...] = (f"{counted(empty, 'empty text')}",)
        self.notes += _repeated(zip(first, second, strict=True))
        self._fill(f"arrays:{self.fingerprint[:12]}", features, columns, rows)


def of_texts(pair: object) -> bool:
    """Whether `pair` is of two lists, of which the first is of texts."""
    return (
        isinstance(pair, tuple)
        and len(pair) == 2
        and all(isinstance(part, list) for part in pair)
        and any(isinstance(one, str) for one in pair[0][:1])
    )


_MARK = "with a byte order mark in front, which is left out"
_ENDS = "with carriage returns at the ends of lines, which are read as line feeds"
_EMPTY = "without a text left out"


def _read(path: pathlib.Path, marks: collections.Counter[str]) -> str:
    """The text of a file, its lines ended by a line feed; `marks` counts what is not read as it stands there."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
        marks.update({_MARK: data.startswith(codecs.BOM_UTF8), _ENDS: "\r" in text, _EMPTY: not text.strip()})
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from None


def _repeated(rows: Iterable[tuple[Any, ...]]) -> tuple[str, ...]:
    """The note about rows that are like another, of which one is not counted; none where all differ."""
    rows = list(rows)
    count = len(rows) - len(set(rows))
    return (f"{counted(count, 'row')} like another",) if count else ()


def _parts(text: str) -> list[str]:
    """A text in three, cut behind the first line that ends at or behind 70 % and 85 % of it."""
    cuts = [0]
    for part in (0.70, 0.85):
        end = text.find("\n", max(int(part * len(text)), cuts[-1]))
        cuts.append(len(text) if end < 0 else end + 1)
    return [text[start:end] for start, end in zip(cuts, [*cuts[1:], None], strict=True)]
