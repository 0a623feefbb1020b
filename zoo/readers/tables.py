"""`TableReader`: rows of a table, numbers and categories, to the numbers that a network takes."""

import functools
import keyword
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.table_source import TableSource, as_text, named, numbers, read_csv
from zoo.errors import InputError
from zoo.readers.images import Signatures, class_answers


@keras.saving.register_keras_serializable("zoo")
class TableReader(keras.layers.Layer):
    """Reads rows by `keras.utils.FeatureSpace`: numbers are scaled to mean 0 and deviation 1, categories are one-hot.

    What is missing: a number that is not there is read as the mean of training; where training had such gaps too, a
    further input is 1 for a gap and 0 else. An empty cell of a column of categories is a category like others. A
    category that training had not is read as all zeros.

    Args:
        columns: for each column a mapping with its `name`, and `mean`, `deviation`, `gaps` (whether training had
            some) where it is of numbers, or `values` where it is of categories.
        target: the name of the column that is predicted.
        labels: the classes, in the order of the network's outputs; none in regression.
        scale: [mean, deviation] of the target in regression, whose networks predict (target - mean) / deviation.
    """

    def __init__(
        self,
        columns: Iterable[Mapping[str, Any]],
        target: str,
        labels: Iterable[str] = (),
        scale: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.columns: list[dict[str, Any]] = [dict(column) for column in columns]
        self.target = target
        self.labels: tuple[str, ...] = tuple(labels)
        self.scale: tuple[float, ...] | None = None if scale is None else tuple(scale)
        self.built = True  # it has no weights
        self._space, self._kept = _feature_space(self.columns)

    @property
    def width(self) -> int:
        """How many numbers the network takes."""
        return len(self._kept)

    @property
    def input_names(self) -> dict[str, str]:
        """{column: its name among the inputs of an export, which TensorFlow wants plain}."""
        return _plain_names([column["name"] for column in self.columns])

    # From raw to tensors ----------------------------------------------------------------------------------------

    def parse(
        self, table: Mapping[str, Sequence[Any] | np.ndarray], where: Callable[[int], str], skip_bad: bool = False
    ) -> dict[str, np.ndarray]:
        """{column: array}, float32 or text, of what is in `table` {column: values}.

        Args:
            table: its numbers may be text; columns that training had not are left aside.
            where: from a row's number to how a person finds it.
            skip_bad: read what is no number as missing.
        Raises: `InputError` for a column that is not there, and for text where a number stood in training.
        """
        found = {}
        for column in self.columns:
            name = named(column["name"], list(table), "The network was trained on other columns")
            if "values" in column:
                found[name] = np.array([as_text(value) for value in table[name]], object)
                continue
            found[name], bad = numbers(table[name])
            if bad and not skip_bad:
                raise no_number(table[name], bad, name, where)
        return found

    def read_columns(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Tensors {column: (batch,)}, float32 or strings, to float32 (batch, width)."""
        tf = tensorflow()

        features = {}
        for index, column in enumerate(self.columns):
            values, key = columns[column["name"]], _key(index)
            if "values" in column:
                features[key] = values
                continue
            there = tf.math.is_finite(values)
            features[key] = tf.where(there, values - column["mean"], 0.0)
            if column["gaps"]:
                features[f"{key}_gap"] = tf.cast(~there, tf.float32)
        return tf.gather(self._space(features), self._kept, axis=-1)

    def read(self, parsed: Mapping[str, np.ndarray]) -> np.ndarray:
        """What `parse` returned, as a NumPy array (n, width)."""
        tf = tensorflow()

        with tf.device("CPU:0"):
            columns = {name: tf.constant(list(values), *_dtype(values)) for name, values in parsed.items()}
            return self._read_now(columns).numpy()

    @functools.cached_property
    def _read_now(self) -> Callable[[Mapping[str, Tensor]], Tensor]:
        """`read_columns` as a graph; not a `tf.Function`, which TensorFlow would save with a model."""
        graph = tensorflow().function(self.read_columns, reduce_retracing=True)
        return lambda columns: graph(columns)

    def read_raw(self, inputs: Iterable[Any], skip_bad: bool = False) -> tuple[list[str], np.ndarray]:
        """(names, float32 (n, width)) of CSV files, and of mappings {column: value or values}; a name is of one row.

        Raises: `InputError` for what cannot be read; with `skip_bad` such rows are left out, such numbers missing.
        """
        names, parts = [], []
        for number, one in enumerate(inputs):
            if isinstance(one, (str, os.PathLike)):
                file = read_csv(one, skip_bad)
                table = {name: file.column(name) for name in file.header}
                rows = [f"{one}:{line}" for line in file.lines]
            else:
                table = _table(one)
                count = len(next(iter(table.values())))
                rows = [f"#{number}" if count == 1 else f"#{number}:{row}" for row in range(count)]
            parts.append(self.read(self.parse(table, rows.__getitem__, skip_bad)))
            names += rows
        return names, np.concatenate(parts) if parts else np.empty((0, self.width), "float32")

    # For the export ---------------------------------------------------------------------------------------------

    def raw_probe(self, parsed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{signature/input: array}: rows as `parse` returned them, as the raw inputs that an export is verified on."""
        plain = self.input_names
        return {
            f"serving_default/{plain[name]}": values if values.dtype != object else np.char.encode(values.astype(str))
            for name, values in parsed.items()
        }

    def signatures(self) -> Signatures:
        """{signature name: (function to network inputs, input specs by name)}, for the export."""
        tf = tensorflow()

        plain = self.input_names
        kinds = {column["name"]: tf.string if "values" in column else tf.float32 for column in self.columns}
        return {
            "serving_default": (
                lambda *columns: self.read_columns(dict(zip(plain, columns, strict=True))),
                {plain[name]: tf.TensorSpec([None], kind) for name, kind in kinds.items()},
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
        }


def fit(
    source: TableSource,
    target: str,
    *,
    regression: bool,
    categorical: Collection[str] = (),
    ignore: Collection[str] = (),
) -> TableReader:
    """The `TableReader` of a `TableSource`: what reading learns is learned of the training rows, but for the labels.

    A column is of numbers where more than half of its cells that are not empty are, or else of categories.

    Args:
        target: the column to predict.
        regression: whether it is of numbers.
        categorical: columns of categories, although they look like numbers.
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
    columns = [_fit_column(source, name, name in categorical) for name in used]
    if not regression:
        return TableReader(columns, target, labels=_labels(source, target))
    values = target_numbers(source, target)[source.rows["train"]].astype("float64")
    if np.ptp(values) == 0:
        raise _one_value(source, target, "the target")
    return TableReader(columns, target, scale=(values.mean(), values.std()))


def _fit_column(source: TableSource, name: str, categorical: bool) -> dict[str, Any]:
    """What a `TableReader` knows of a column."""
    rows = source.rows["train"]
    found, bad = source.numbers(name)
    known = np.isfinite(found[rows])
    if known.sum() > np.isin(bad, rows).sum() and not categorical:
        values, gaps = found[rows][known].astype("float64"), not known.all()
        if np.ptp(values) == 0 and not gaps:
            raise _one_value(source, name, "column")
        return {"name": name, "mean": float(values.mean()), "deviation": float(values.std()) or 1.0, "gaps": gaps}
    values = sorted({as_text(value) for value in source.columns[name][rows]})
    if len(values) == 1:
        raise _one_value(source, name, "column")
    return {"name": name, "values": values}


def _one_value(source: TableSource, name: str, what: str) -> InputError:
    count, value = len(source.rows["train"]), as_text(source.columns[name][source.rows["train"][0]])
    cure = "Give more rows." if what != "column" else f"It tells nothing: leave it out with ignore={name}."
    return InputError(f"dataset={source.name}: {what} {name!r} is {value!r} in all {count:,} training rows. {cure}")


def no_number(
    values: Sequence[Any] | np.ndarray, bad: Sequence[int], name: str, where: Callable[[int], str]
) -> InputError:
    """The `InputError` for `values` of the column `name`, of which those at `bad` are no numbers."""
    more = f" ({len(bad) - 1:,} more cells are like it)" if len(bad) > 1 else ""
    return InputError(
        f"{where(bad[0])}, column {name!r}: {str(values[bad[0]])[:40]!r} is text where training has numbers{more}. "
        f"Mend it, let --skip-bad read it as missing, or train with categorical={name}."
    )


def target_texts(source: TableSource, target: str) -> np.ndarray:
    """The target as labels, text (rows,); an empty one is an `InputError`."""
    texts = np.array([as_text(value) for value in source.columns[target]], object)
    _refuse_gaps(source, target, np.flatnonzero(texts == ""))
    return texts


def target_numbers(source: TableSource, target: str) -> np.ndarray:
    """The target as numbers, float32 (rows,); one that is missing, or no number, is an `InputError`."""
    found, bad = source.numbers(target)
    if bad:
        value = str(source.columns[target][bad[0]])[:40]
        raise InputError(
            f"{source.where(bad[0])}: the target {target!r} is {value!r}, no number. Mend it, or predict classes with "
            "loss=cross_entropy."
        )
    _refuse_gaps(source, target, np.flatnonzero(np.isnan(found)))
    return found


def _refuse_gaps(source: TableSource, target: str, rows: np.ndarray) -> None:
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


def _feature_space(columns: Sequence[Mapping[str, Any]]) -> tuple[keras.utils.FeatureSpace, list[int]]:
    """(a `FeatureSpace` of `columns`, the indices of its outputs that are kept: all but those of unknown categories).

    What it knows is given, not adapted, so that the reader's config is all there is to save.
    """
    feature = keras.utils.FeatureSpace.feature
    features, kept, width = {}, [], 0
    for index, column in enumerate(columns):
        if "values" in column:
            unknown = f"{max(column['values'])}?"  # comes behind all values, so it is none of them
            lookup = keras.layers.StringLookup(vocabulary=column["values"], mask_token=None, oov_token=unknown)
            features[_key(index)] = feature("string", lookup, "one_hot")
            kept += range(width + 1, width + 1 + len(column["values"]))  # the first is for unknown ones
            width += 1 + len(column["values"])
            continue
        features[_key(index)] = feature("float32", keras.layers.Rescaling(1 / column["deviation"]), "float")
        if column["gaps"]:
            features[f"{_key(index)}_gap"] = keras.utils.FeatureSpace.float()
        kept += range(width, width + 1 + column["gaps"])
        width += 1 + column["gaps"]
    space = keras.utils.FeatureSpace(features, output_mode="concat")
    space.build_from_config({})  # nothing is left to adapt
    space.get_inputs()  # builds it, here where no graph is traced
    return space, kept


def _key(index: int) -> str:
    """The name of a column in the `FeatureSpace`, which orders by name."""
    return f"c{index:06d}"


def _dtype(values: np.ndarray) -> tuple[Any, ...]:
    return () if values.dtype == object else (values.dtype,)


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
    plain = {}
    for number, name in enumerate(names):
        letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        word = re.sub(r"\W+", "_", letters).strip("_") or str(number)
        if not word[0].isalpha() or keyword.iskeyword(word) or word == "self":
            word = f"column_{word}"
        while word.lower() in {other.lower() for other in plain.values()}:
            word = f"{word}_{number}"
        plain[name] = word
    return plain
