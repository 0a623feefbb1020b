import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo import fields, figures
from zoo.base.recipe import Recipe
from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.table_source import TableSource, named, numbers
from zoo.errors import InputError
from zoo.figures import tables as drawings
from zoo.figures.demo import Text
from zoo.objective.metrics import Accuracy
from zoo.readers import notation, table_fitting
from zoo.readers.notation import Notation
from zoo.readers.table_columns import oddities, whole_text
from zoo.readers.tables import TableReader
from zoo.tasks import _classes, _demo

if TYPE_CHECKING:
    from zoo.data.pipeline import AnyPreparation
    from zoo.data.source import Source
    from zoo.figures.demo import Form, Shown
    from zoo.reporting import Outcome

CLASSIFICATION, REGRESSION = "cross_entropy", ("mse", "mae", "huber")

MOST_CATEGORIES = 1000
"""Values of a column of text, beyond which it counts as free text or an identifier."""

MOST_NUMBERS = 100
"""Whole numbers in a target up to which they may be classes."""


@dataclasses.dataclass(frozen=True)
class Value:
    """What a network predicts for one row, in the units of the target.

    Attributes:
        name: the file's path and the line, or the number of the row.
        value: the prediction.
    """

    name: str
    value: float

    def show(self, top: int) -> str:
        """The number as a person reads it; there is no `top`."""
        return f"{self.value:.6g}"

    def row(self, top: int) -> dict[str, str]:
        """{column: text} of a table."""
        return {"value": f"{self.value:.9g}"}


class TabularPrediction(Recipe):
    """One column of a table from the others: a class, or a number where `loss` is of regression.

    The network takes float32 (batch, inputs), numbers scaled and categories one-hot, and returns logits
    (batch, classes); in regression (batch, 1), the number in deviations of the training rows from their mean, the
    unit of the loss, and of `absolute_error` in the history too; `zoo.evaluate` and reports have the target's own.
    """

    target: str | None = fields.text(
        default=None, optional=True, examples=("species",), help="column to predict; built-in tables name their own"
    )
    categorical: str | None = fields.text(
        default=None,
        optional=True,
        examples=("zip,district",),
        help="numeric columns to read as categories",
    )
    ignore: str | None = fields.text(default=None, optional=True, examples=("id,name",), help="columns to leave out")
    loss: str = fields.choice(
        CLASSIFICATION,
        *REGRESSION,
        default=CLASSIFICATION,
        help="cross_entropy: classification; the others: regression",
    )
    inputs: int = fields.integer(
        default=2, legal=(1, 1_000_000), help="number of the network's inputs, taken from the data"
    )
    classes: int = fields.integer(
        default=2, legal=(2, 10_000_000), when={"loss": CLASSIFICATION}, help="number of classes, taken from the data"
    )
    class_weight: str = _classes.class_weight(when={"loss": CLASSIFICATION})

    def make_loss(self) -> Any:
        match self.loss:
            case "cross_entropy":
                return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            case "mse":
                return keras.losses.MeanSquaredError()
            case "mae":
                return keras.losses.MeanAbsoluteError()
            case "huber":
                return keras.losses.Huber()

    def constant_loss(self, reader: TableReader, source: "Source") -> float:
        """That of the training rows' mean, or of their classes' frequencies; with weights, of all classes alike."""
        table = _table(source)
        targets = self._targets(reader, table)
        if self.classifies:
            weighted = self.class_weight == "balanced"
            return _classes.entropy(np.ones(self.classes) if weighted else self._counts(targets, table))
        held_out = targets[table.rows.get("validation", table.rows["train"])]
        return float(self.make_loss()(held_out, np.zeros_like(held_out)))  # the mean is 0 in deviations from it

    def make_metrics(self) -> list[Any]:
        if self.classifies:
            return [Accuracy(name="accuracy")]
        return [keras.metrics.R2Score(name="r2"), keras.metrics.MeanAbsoluteError(name="absolute_error")]

    @property
    def classifies(self) -> bool:
        return self.loss == CLASSIFICATION

    @property
    def outputs(self) -> int:
        """How many numbers the network returns."""
        return self.classes if self.classifies else 1

    def make_gates(self, model: keras.Model) -> keras.Model | None:
        """The `keras.Model` of the weights (batch, experts) that `model` gives its experts; None where it has none."""
        return

    # Data -------------------------------------------------------------------------------------------------------

    def adapt(self, source: "Source") -> dict[str, tuple[Any, str]]:
        """{field: (value, why)}: what the data decide, the network's inputs and the classes."""
        reader = self.make_reader(source)
        _refuse_texts(reader)
        found = {"inputs": (reader.width, f"dataset={source.name} has {reader.width} inputs")}
        if not self.classifies:
            return found
        _refuse_numbers(reader)
        return found | {"classes": (len(reader.labels), f"dataset={source.name} has {len(reader.labels)} classes")}

    def make_reader(self, source: "Source") -> TableReader:
        """What reading learns from the data: means and deviations, categories, classes."""
        if source.ready:
            return self.default_reader()
        return table_fitting.fit(
            _table(source),
            self._target(source),
            regression=not self.classifies,
            categorical=_listed(self.categorical),
            ignore=_listed(self.ignore),
        )

    def default_reader(self, labels: Sequence[str] | None = None) -> TableReader:
        """A reader for a model that was not trained on a data set of ours: its columns are x0, x1, ..."""
        if labels is not None and not self.classifies:
            raise InputError(f"A regression has no labels. Received: {len(labels)} labels.")
        columns = [{"name": f"x{index}", "mean": 0.0, "deviation": 1.0, "gaps": False} for index in range(self.inputs)]
        if not self.classifies:
            return TableReader(columns, "y", scale=(0.0, 1.0))
        return TableReader(columns, "y", labels=_classes.named(labels, self.classes))

    def make_preparation(self, reader: TableReader, source: "Source") -> "AnyPreparation":
        """How rows of `source` become batches; a class that the reader has not is an `InputError`."""
        if source.ready:
            return None
        table = _table(source)
        rows = reader.read(reader.parse(table.columns, table.where, table.skip_bad, table.numbers))
        targets = self._targets(reader, table)
        weights = _classes.balanced_weights(self, table, lambda: self._counts(targets, table))
        return _Preparation(rows, targets, weights)

    def describe(self, reader: TableReader, source: "Source") -> list[str]:
        """How each column is read, cells that are missing or unknown, and classes with too few training rows."""
        lines = reader.describe() + oddities(_table(source), reader.columns)
        if self.classifies:
            table = _table(source)
            lines += _classes.scarce(reader.labels, self._counts(self._targets(reader, table), table))
        return lines

    def in_units(self, reader: TableReader, measured: Mapping[str, Any]) -> dict[str, Any]:
        """`measured` with absolute errors of a regression in the unit of the target."""
        factor = 1.0 if self.classifies else reader.scale[1]
        return {
            name: value * factor if name.endswith("absolute_error") and value is not None else value
            for name, value in measured.items()
        }

    # Answers ----------------------------------------------------------------------------------------------------

    def ask(self, model: keras.Model, tensors: np.ndarray) -> np.ndarray:
        """What `model` says of `tensors`, float32 (n, inputs); categories that are new to it are a warning."""
        _tell_unseen(model.reader, tensors)
        return super().ask(model, tensors)

    def judge(self, model: keras.Model, reader: TableReader, data: Any) -> dict[str, float]:
        """No scores; a warning with the categories of `data` that training did not have."""
        if any("values" in column for column in reader.columns):
            _tell_unseen(reader, np.concatenate([rows for rows, *_ in data.as_numpy_iterator()]))
        return {}

    def make_predictions(
        self, reader: TableReader, names: Sequence[str], outputs: np.ndarray
    ) -> list[_classes.Prediction] | list[Value]:
        """A `Prediction` for each name, or in regression a `Value`."""
        if self.classifies:
            return _classes.make_predictions(names, reader.labels, outputs)
        values = reader.unscale(np.asarray(outputs, "float64"))
        return [Value(name, float(value)) for name, value in zip(names, values, strict=True)]

    def make_probe(self, reader: TableReader, examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """{signature/input: array} of raw examples: as they are, and as the network takes them."""
        rows = [{name: _plain(value) for name, value in example["columns"].items()} for example in examples]
        parsed = reader.parse({name: [row[name] for row in rows] for name in rows[0]}, str, skip_bad=True)
        return {"serve_tensors/table": reader.read(parsed), **reader.raw_probe(parsed)}

    def make_noise(self, count: int) -> list[dict[str, Any]]:
        """Raw examples of noise, for the probe of a model that was not trained on a data set of ours."""
        values = np.random.default_rng(0).normal(size=(count, self.inputs))
        return [{"columns": {f"x{index}": value for index, value in enumerate(row)}} for row in values]

    # Demo -------------------------------------------------------------------------------------------------------

    def demo_form(self, reader: TableReader, probe: Mapping[str, np.ndarray]) -> "Form":
        """The columns of a row."""
        first = {
            name: probe[f"serving_default/{plain}"][0]
            for name, plain in reader.input_names.items()
            if len(probe.get(f"serving_default/{plain}", ()))
        }
        return _demo.row_form(reader.columns, first, f"Predict {reader.target}")

    def demo(self, model: keras.Model, given: Mapping[str, Any]) -> "Iterator[Shown]":
        """The probabilities of the likeliest classes, or the number."""
        (found,) = self.predicted(
            model, [{column["name"]: given.get(column["name"], "") for column in model.reader.columns}]
        )
        if isinstance(found, Value):
            yield Text(model.reader.target, found.show(1))
        else:
            yield _demo.bars(found, model.reader.target)

    # Report -----------------------------------------------------------------------------------------------------

    def report_parts(self, outcome: "Outcome") -> list[figures.Part]:
        """What a person wants to see of a trained network: what it confuses or how far it is off; where, in a plane.

        Args:
            outcome: a `zoo.reporting.Outcome`.
        Returns: a list of `zoo.figures.Part`.
        """
        reader, split = outcome.reader, outcome.split
        batches = list(outcome.batches())
        inputs, targets, outputs = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        if not self.classifies:
            true, said = (reader.unscale(values.astype("float64").reshape(-1, 1)) for values in (targets, outputs))
            return [drawings.residuals(true, said, reader.target, split)]
        true, said = targets.reshape(-1).astype(int), outputs.argmax(axis=-1)
        of = (true, said, reader.labels, split)
        return [*self._planes(outcome, inputs, true), figures.confusion(*of), figures.scores(*of)]

    def _planes(self, outcome: "Outcome", inputs: np.ndarray, true: np.ndarray) -> list[figures.Part]:
        """Where the network says what, and which expert answers, for tables of two columns of numbers."""
        names = [column["name"] for column in outcome.reader.columns if "mean" in column]
        if len(names) != 2 or self.inputs != 2:
            return []
        plane = drawings.Plane(outcome.reader, inputs, true, outcome.split)
        parts = [plane.regions(outcome.model)]
        gates = self.make_gates(outcome.model)
        return parts if gates is None else [*parts, plane.experts(gates)]

    # Within -----------------------------------------------------------------------------------------------------

    def _target(self, source: TableSource) -> str:
        if self.target or source.target:
            return self.target or source.target
        columns = ", ".join(source.columns)
        raise InputError(f"Name the column of dataset={source.name} to predict: target=COLUMN. There are: {columns}.")

    def _counts(self, targets: np.ndarray, source: TableSource) -> np.ndarray:
        """How many training rows each class has, of the class numbers (rows,) of a table."""
        return np.bincount(targets[source.rows["train"]], minlength=self.classes)

    def _targets(self, reader: TableReader, source: TableSource) -> np.ndarray:
        """(rows,) class numbers, or (rows, 1) float32 in deviations from the mean."""
        named(reader.target, list(source.columns), "The network predicts another column")
        if not self.classifies:
            mean, deviation = reader.scale
            written = None if reader.target_notation is None else Notation(**reader.target_notation)
            values = table_fitting.target_numbers(source, reader.target, written)
            return ((values - mean) / deviation).astype("float32")[:, None]
        numbers = {label: number for number, label in enumerate(reader.labels)}
        texts = table_fitting.target_texts(source, reader.target)
        texts = [text if text in numbers else whole_text(text) for text in texts]
        for row, text in enumerate(texts):
            if text not in numbers:
                known = ", ".join(reader.labels[:10])
                raise InputError(f"{source.where(row)}: {text!r} is no class that the network was trained on: {known}.")
        return np.array([numbers[text] for text in texts])


def _table(source: "Source") -> TableSource:
    if not isinstance(source, TableSource):
        raise InputError(
            f"dataset={source.name} must be a table, such as csv:PATH. It has: {', '.join(source.features)}."
        )
    return source


def _tell_unseen(reader: TableReader, rows: np.ndarray) -> None:
    """Warns where `rows`, float32 (n, inputs), have categories that training did not have."""
    for name, count in reader.unseen(rows).items():
        cells = "1 cell has a category" if count == 1 else f"{count:,} cells have categories"
        warnings.warn(
            f"Column {name!r}: {cells} that training did not have, of {len(rows):,}: they are read as no category.",
            stacklevel=2,
        )


def _refuse_texts(reader: TableReader) -> None:
    """Raises where a column of text can be no column of categories."""
    for column in reader.columns:
        values = column.get("values", ())
        if len(values) > MOST_CATEGORIES:
            raise InputError(
                f"Column {column['name']!r} has {len(values):,} different texts, such as {values[-1][:40]!r}; "
                f"at most {MOST_CATEGORIES:,} are allowed. Leave it out with ignore={column['name']}."
            )


def _refuse_numbers(reader: TableReader) -> None:
    """Raises where the classes look like measured numbers."""
    found, bad = numbers(reader.labels)
    if bad and not notation.are_numbers(reader.labels):
        return
    if not bad and len(found) <= MOST_NUMBERS and (found == found.round()).all():
        return
    raise InputError(
        f"The target {reader.target!r} has {len(found):,} different numbers, such as {reader.labels[0]}: predict it as "
        "a number with loss=mse, mae or huber."
    )


def _listed(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (names or "").split(",") if name.strip())


def _plain(value: Any) -> Any:
    """A tensor's value; text as str."""
    value = value.numpy() if hasattr(value, "numpy") else value
    return value.decode() if isinstance(value, bytes) else value


class _Preparation:
    """`zoo.data.pipeline.Preparation` of rows that are read already, all in one step."""

    def __init__(self, rows: np.ndarray, targets: np.ndarray, weights: _classes.BalancedWeights | None) -> None:
        self._weights = weights
        with tensorflow().device("CPU:0"):
            self._values = tuple(map(tensorflow().constant, (rows, targets)))

    def read(self, example: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(tensorflow().gather(values, example["row"]) for values in self._values)

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[Any, ...]:
        return batch

    def finish_training(self, batch: tuple[Tensor, ...], seed: Tensor) -> tuple[Any, ...]:
        return batch if self._weights is None else (*batch, self._weights.of(batch[1]))
