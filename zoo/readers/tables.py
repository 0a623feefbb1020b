"""`TableReader`: rows of a table, numbers and categories, to the numbers that a network takes."""

import functools
import keyword
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.csv_file import read_csv
from zoo.data.table_source import as_text, named, numbers, numbers_of
from zoo.errors import InputError
from zoo.readers.images import Signatures, class_answers
from zoo.readers.notation import CYCLES, Notation, read_cycle
from zoo.readers.table_columns import WHOLE, dtype_of, find_cells, first, is_text, no_number, read_written, width_of


@keras.saving.register_keras_serializable("zoo")
class TableReader(keras.layers.Layer):
    """Reads rows: numbers are scaled to mean 0 and deviation 1, categories are one-hot, dates are numbers of days.

    What is missing: a number or date that is not there is read as the mean of training; where training had such gaps
    too, a further input is 1 for a gap and 0 else. An empty cell of a column of categories is a category like others.
    A category that training did not have is read as all zeros.

    Args:
        columns: for each column a mapping with its `name`. Of categories it has `values`, and `whole`, whether `1.0` is
            read as `1` (default False). Of numbers and dates it has `mean`, `deviation` and `gaps`, whether training
            had some; of numbers that are text in an export also `notation`, the fields of a `Notation`, of other
            numbers `dtype` (default "float32"); of dates `cycles`, the periods in days that are inputs too, each as
            sine and cosine.
        target: the name of the column that is predicted.
        labels: the classes, in the order of the network's outputs; none in regression.
        scale: [mean, deviation] of the target in regression, whose networks predict (target - mean) / deviation.
        target_notation: the fields of the target's `Notation` in regression. Defaults to `None`: plain numbers.
        left_out: {column: why} of those that are not read. Defaults to none.
    """

    def __init__(
        self,
        columns: Iterable[Mapping[str, Any]],
        target: str,
        labels: Iterable[str] = (),
        scale: Sequence[float] | None = None,
        target_notation: Mapping[str, Any] | None = None,
        left_out: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.columns: list[dict[str, Any]] = [dict(column) for column in columns]
        self.target = target
        self.labels: tuple[str, ...] = tuple(labels)
        self.scale: tuple[float, ...] | None = None if scale is None else tuple(scale)
        self.target_notation: dict[str, Any] | None = None if target_notation is None else dict(target_notation)
        self.left_out: dict[str, str] = dict(left_out or {})
        self.built = True  # it has no weights
        self._plain = [column for column in self.columns if not is_text(column)]
        self._written = [column for column in self.columns if is_text(column) and "values" not in column]
        self._categories = [column for column in self.columns if "values" in column]
        self._order = self._places()
        self._in_order = bool((self._order == np.arange(len(self._order))).all())

    @property
    def width(self) -> int:
        """How many numbers the network takes."""
        return len(self._order)

    @property
    def input_names(self) -> dict[str, str]:
        """{column: its name among the inputs of an export, which TensorFlow wants plain}."""
        return _plain_names([column["name"] for column in self.columns])

    @property
    def row_names(self) -> dict[str, list[str]]:
        """{"numbers": columns, "texts": columns}, which an export takes as two blocks; neither is empty."""
        kinds = {
            "numbers": [column["name"] for column in self._plain],
            "texts": [column["name"] for column in self.columns if is_text(column)],
        }
        return {kind: names for kind, names in kinds.items() if names}

    # From raw to tensors ----------------------------------------------------------------------------------------

    def parse(
        self,
        table: Mapping[str, Sequence[Any] | np.ndarray],
        where: Callable[[int], str],
        skip_bad: bool = False,
        read: Callable[[str], tuple[np.ndarray, list[int]]] | None = None,
    ) -> dict[str, np.ndarray]:
        """{column: array} of what is in `table` {column: values}: float32, float64 or text.

        Args:
            table: its numbers may be text; columns that training had not are left aside.
            where: from a row's number to how a person finds it.
            skip_bad: read what is no number as missing. Defaults to False.
            read: `zoo.data.table_source.numbers` of a column of `table`, where that is known already.
        Raises: `InputError` for a column that is not there, and for text where a number stood in training.
        """
        found = {}
        for column in self.columns:
            name = named(column["name"], list(table), "The network was trained on other columns")
            if "values" in column:
                found[name] = np.array([as_text(value) for value in table[name]], object)
                continue
            if is_text(column):
                found[name], bad = find_cells(table[name], column)
            else:
                found[name], bad = numbers(table[name]) if read is None else read(name)
                found[name] = found[name].astype(dtype_of(column))
            if len(bad) and not skip_bad:
                raise no_number(table[name], bad, column, where)
        return found

    def read_columns(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Tensors {column: (batch,)}, numbers or strings, to float32 (batch, width)."""
        tf = tensorflow()

        kinds: dict[Any, list[int]] = {}
        for place, column in enumerate(self._plain):
            kinds.setdefault(columns[column["name"]].dtype, []).append(place)
        blocks = [
            tf.cast(tf.stack([columns[self._plain[place]["name"]] for place in places], axis=1), tf.float64)
            for places in kinds.values()
        ]
        texts = {column["name"]: columns[column["name"]] for column in self.columns if is_text(column)}
        if not blocks:
            return self._read_blocks(tf.zeros([tf.size(next(iter(texts.values()))), 0], tf.float64), texts)
        numbers = tf.concat(blocks, axis=1)
        if len(blocks) > 1:
            numbers = tf.gather(numbers, np.argsort([place for places in kinds.values() for place in places]), axis=1)
        return self._read_blocks(numbers, texts)

    def read_rows(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """{"numbers": float64 (batch, columns), "texts": strings}, as `row_names` orders them, to (batch, width)."""
        tf = tensorflow()

        texts = {}
        if "texts" in blocks:
            texts = dict(zip(self.row_names["texts"], tf.unstack(blocks["texts"], axis=1), strict=True))
        if "numbers" not in blocks:
            return self._read_blocks(tf.zeros([tf.shape(blocks["texts"])[0], 0], tf.float64), texts)
        numbers = blocks["numbers"]
        single = np.array([dtype_of(column) == "float32" for column in self._plain])
        if single.any():
            rounded = tf.cast(tf.cast(numbers, tf.float32), tf.float64)
            numbers = rounded if single.all() else tf.where(single, rounded, numbers)
        return self._read_blocks(numbers, texts)

    def _read_blocks(self, numbers: Tensor, texts: Mapping[str, Tensor]) -> Tensor:
        """Plain numbers, float64 (batch, plain columns), and {other column: strings (batch,)} to (batch, width)."""
        tf = tensorflow()

        written = [read_written(texts[column["name"]], column) for column in self._written]
        scaled = [*self._plain, *self._written]
        mean = np.array([np.array(column["mean"], dtype_of(column)) for column in scaled], "float64")
        deviation = np.array([column["deviation"] for column in scaled], "float64")
        values = tf.concat([numbers, *(days_or_number[:, None] for days_or_number in written)], axis=1)
        there = tf.math.is_finite(values)
        parts = [tf.where(there, (values - mean) / deviation, 0.0)]
        gaps = [index for index, column in enumerate(scaled) if column["gaps"]]
        if gaps:
            parts.append(tf.cast(~tf.gather(there, gaps, axis=1), tf.float64))
        for column, days in zip(self._written, written, strict=True):
            known = tf.math.is_finite(days)
            for cycle in column.get("cycles", ()):
                waves = tf.stack(read_cycle(tf.where(known, days, 0.0), cycle), axis=1)
                parts.append(tf.where(known[:, None], waves, 0.0))
        parts = [tf.cast(part, tf.float32) for part in parts]
        for column in self._categories:
            cells = texts[column["name"]]
            if column.get("whole"):
                cells = tf.where(
                    tf.strings.regex_full_match(cells, WHOLE), tf.strings.regex_replace(cells, r"\.0+$", ""), cells
                )
            parts.append(tf.cast(cells[:, None] == tf.constant(column["values"]), tf.float32))
        found = tf.concat(parts, axis=1)
        return found if self._in_order else tf.gather(found, self._order, axis=1)

    def _places(self) -> np.ndarray:
        """(width,): where each input of the network is among what `_read_blocks` puts together."""
        scaled = [*self._plain, *self._written]
        parts = [column["name"] for column in scaled]
        parts += [column["name"] for column in scaled if column["gaps"]]
        parts += [column["name"] for column in self._written for _ in range(2 * len(column.get("cycles", ())))]
        parts += [column["name"] for column in self._categories for _ in column["values"]]
        rank = {column["name"]: number for number, column in enumerate(self.columns)}
        return np.argsort([rank[name] for name in parts], kind="stable")

    def describe(self) -> list[str]:
        """Lines that say how each column is read, which are left out, and how many inputs that makes."""
        kinds: dict[str, list[str]] = {"numbers": [], "dates": [], "categories": []}
        for column in self.columns:
            name, said = column["name"], ""
            if "values" in column:
                kinds["categories"].append(f"{name} ({len(column['values']):,})")
            elif "cycles" in column:
                said = ", ".join(CYCLES[cycle] for cycle in column["cycles"])
                kinds["dates"].append(f"{name} ({said})" if said else name)
            else:
                said = Notation(**column["notation"]).describe() if "notation" in column else ""
                kinds["numbers"].append(f"{name} ({said})" if said else name)
        parts = [f"{kind} {first(names)}" for kind, names in kinds.items() if names]
        lines = [f"Columns: {'; '.join(parts)}. {self.width:,} input{'s' if self.width > 1 else ''}."]
        if self.left_out:
            left = first([f"{name} ({why})" for name, why in self.left_out.items()])
            one = next(iter(self.left_out))
            lines.append(f"Left out: {left}. To read such a column: categorical={one}.")
        return lines

    def unseen(self, rows: np.ndarray) -> dict[str, int]:
        """{column: how many of `rows`, float32 (n, width), have a category that training did not have}."""
        owner = np.concatenate([np.full(width_of(column), index) for index, column in enumerate(self.columns)])
        found = {
            column["name"]: int((~rows[:, owner == index].any(axis=1)).sum())
            for index, column in enumerate(self.columns)
            if "values" in column
        }
        return {name: count for name, count in found.items() if count}

    def read(self, parsed: Mapping[str, np.ndarray]) -> np.ndarray:
        """What `parse` returned, as a NumPy array (n, width)."""
        tf = tensorflow()

        with tf.device("CPU:0"):
            rows = len(next(iter(parsed.values())))
            plain = np.empty((rows, len(self._plain)), "float64")
            for place, column in enumerate(self._plain):
                plain[:, place] = parsed[column["name"]]
            texts = {name: tf.constant(values.tolist()) for name, values in parsed.items() if values.dtype == object}
            return self._read_now(tf.constant(plain), texts).numpy()

    @functools.cached_property
    def _read_now(self) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
        """`_read_blocks` as a graph; not a `tf.Function`, which TensorFlow would save with a model."""
        tf = tensorflow()

        numbers = tf.TensorSpec([None, len(self._plain)], tf.float64)
        texts = {column["name"]: tf.TensorSpec([None], tf.string) for column in self.columns if is_text(column)}
        graph = tf.function(self._read_blocks, input_signature=[numbers, texts], autograph=False)
        return lambda numbers, texts: graph(numbers, texts)

    def read_raw(self, inputs: Iterable[Any], skip_bad: bool = False) -> tuple[list[str], np.ndarray]:
        """(names, float32 (n, width)) of CSV files, and of mappings {column: value or values}; a name is of one row.

        Raises: `InputError` for what cannot be read; with `skip_bad` such rows are left out, such numbers missing.
        """
        names, parts = [], []
        for number, one in enumerate(inputs):
            if isinstance(one, (str, os.PathLike)):
                file = read_csv(one, skip_bad)
                table = file.columns()
                read = numbers_of(table, file.cells)
                rows = [f"{one}:{line}" for line in file.lines]
            else:
                table, read = _table(one), None
                count = len(next(iter(table.values())))
                rows = [f"#{number}" if count == 1 else f"#{number}:{row}" for row in range(count)]
            parts.append(self.read(self.parse(table, rows.__getitem__, skip_bad, read)))
            names += rows
        return names, np.concatenate(parts) if parts else np.empty((0, self.width), "float32")

    # For the export ---------------------------------------------------------------------------------------------

    def raw_probe(self, parsed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{signature/input: array}: rows as `parse` returned them, as the raw inputs that an export is verified on."""
        plain = self.input_names
        raw = {
            name: values if values.dtype != object else np.char.encode(values.astype(str))
            for name, values in parsed.items()
        }
        blocks = {
            f"serve_rows/{kind}": np.stack([raw[name] for name in names], axis=1)
            for kind, names in self.row_names.items()
        }
        return {**{f"serving_default/{plain[name]}": values for name, values in raw.items()}, **blocks}

    def signatures(self) -> Signatures:
        """{signature name: (function to network inputs, input specs by name)}, for the export."""
        tf = tensorflow()

        plain = self.input_names
        kinds = {
            column["name"]: tf.string if is_text(column) else tf.as_dtype(dtype_of(column)) for column in self.columns
        }
        return {
            "serving_default": (
                lambda *columns: self.read_columns(dict(zip(plain, columns, strict=True))),
                {plain[name]: tf.TensorSpec([None], kind) for name, kind in kinds.items()},
            ),
            "serve_rows": (
                lambda *blocks: self.read_rows(dict(zip(self.row_names, blocks, strict=True))),
                {
                    kind: tf.TensorSpec([None, len(names)], tf.float64 if kind == "numbers" else tf.string)
                    for kind, names in self.row_names.items()
                },
            ),
            "serve_tensors": (tf.identity, {"table": tf.TensorSpec([None, self.width], tf.float32)}),
        }

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """{output name: tensor} of the network's outputs, all float32 but `label`, for the export."""
        tf = tensorflow()

        if self.scale is None:
            return class_answers(outputs, self.labels)
        outputs = tf.cast(outputs, tf.float32)
        return {"value": self.unscale(outputs), "scaled": outputs}

    def unscale(self, outputs: Tensor) -> Any:
        """Values of the target (n,) of what a network predicts (n, 1)."""
        mean, deviation = self.scale
        return outputs[:, 0] * deviation + mean

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "columns": self.columns,
            "target": self.target,
            "labels": list(self.labels),
            "scale": None if self.scale is None else list(self.scale),
            "target_notation": self.target_notation,
            "left_out": self.left_out,
        }


def _table(one: Any) -> dict[str, list[Any]]:
    """{column: list} of a mapping or a data frame; a lone value is a column of one row."""
    try:
        table = {str(name): np.atleast_1d(np.asarray(values, object)).tolist() for name, values in dict(one).items()}
    except (TypeError, ValueError):
        table = {}
    if not table or len({len(values) for values in table.values()}) > 1:
        raise InputError(
            "A table must be a CSV file, or a mapping from its columns to a value, or to lists of one length. "
            f"Received: {type(one).__name__}."
        )
    return table


def _plain_names(names: Iterable[str]) -> dict[str, str]:
    """{name: one of ASCII letters, digits and underscores that begins with a letter, no two alike}."""
    plain, taken = {}, set()
    for number, name in enumerate(names):
        letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        word = re.sub(r"\W+", "_", letters).strip("_") or str(number)
        if not word[0].isalpha() or keyword.iskeyword(word) or word == "self":
            word = f"column_{word}"
        while word.lower() in taken:
            word = f"{word}_{number}"
        plain[name] = word
        taken.add(word.lower())
    return plain
