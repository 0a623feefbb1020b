from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo import fields, figures
from zoo.data.source import Label, Source, Text
from zoo.data.text_preparations import LabelledPreparation
from zoo.data.text_source import TextSource
from zoo.objective.losses import SmoothedCrossentropy
from zoo.objective.metrics import Accuracy
from zoo.readers.texts import TextReader
from zoo.tasks import _classes, _demo, _written
from zoo.tasks._text import WholeTexts, invented

if TYPE_CHECKING:
    from zoo.data.pipeline import AnyPreparation
    from zoo.figures.demo import Form, Shown
    from zoo.readers.published import Published
    from zoo.reporting import Outcome


class TextClassification(WholeTexts):
    """Texts into one of several classes.

    The network takes `text` (batch, time), START, the ids of the text and END, and returns logits (batch, classes).
    """

    classes: int = fields.integer(default=2, legal=(2, 10_000_000), help="number of classes, taken from the data")
    label_smoothing: float = fields.real(
        default=0.0, legal=(0, 0.9), search=(0.0, 0.2), help="probability mass spread over all classes"
    )
    class_weight: str = _classes.class_weight()

    def make_loss(self) -> Any:
        if self.label_smoothing:
            return SmoothedCrossentropy(self.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def constant_loss(self, reader: TextReader, source: Source) -> float:
        """That of the classes' frequencies, of texts in memory; of answering all alike else, and with weights."""
        known = isinstance(source, TextSource) and self.class_weight == "none"
        counts = _classes.count_labels(source, self.classes) if known else np.ones(self.classes)
        return _classes.entropy(counts, self.label_smoothing)

    def make_metrics(self) -> list[Any]:
        return [Accuracy(name="accuracy")]

    # Data -------------------------------------------------------------------------------------------------------

    def adapt(self, source: Source) -> dict[str, tuple[Any, str]]:
        """{field: (value, why)}: what the data decide, classes and the size of the vocabulary."""
        reader = self.make_reader(source)
        classes = len(reader.labels)
        found = {"classes": (classes, f"dataset={source.name} has {classes} classes")}
        return found | self.sized(source, "vocabulary", reader.tokenizer)

    def make_reader(self, source: Source) -> TextReader:
        """What reading learns from the data: the vocabulary, and the names of the classes."""
        if source.ready:
            return self.default_reader()
        _, label = self.wanted(source, text=Text, label=Label)
        return TextReader(self.learned(source, "vocabulary", "text"), self.length, start=True, labels=label.names)

    def default_reader(self, labels: Sequence[str] | None = None) -> TextReader:
        """A reader for a model that was not trained on a data set of ours."""
        labels = _classes.named(labels, self.classes)
        return TextReader(invented(self.vocabulary), self.length, start=True, labels=labels)

    def pretrained_reader(self, tokenizer: "Published", labels: Sequence[str] | None = None) -> TextReader:
        names = _classes.named(labels, self.classes)
        return TextReader(tokenizer.tokenizer, self.length, start=tokenizer.start, end=tokenizer.end, labels=names)

    def make_preparation(self, reader: TextReader, source: Source) -> "AnyPreparation":
        """How examples of `source` become batches; classes other than the reader's are an `InputError`."""
        if source.ready:
            return None
        _, label = self.wanted(source, text=Text, label=Label)
        _classes.refuse_others(source, label.names, reader.labels)
        weights = _classes.balanced_weights(self, source, lambda: _classes.count_labels(source, self.classes))
        return LabelledPreparation(source, reader, self.batch_tokens, weights)

    def describe(self, reader: TextReader, source: Source) -> list[str]:
        """Lines about lengths, and about classes with too few training examples, of texts that are in memory."""
        lines = super().describe(reader, source)
        if not isinstance(source, TextSource):
            return lines
        return lines + _classes.scarce(reader.labels, _classes.count_labels(source, self.classes))

    # Answers ----------------------------------------------------------------------------------------------------

    def make_predictions(
        self, reader: TextReader, names: Sequence[str], logits: np.ndarray
    ) -> list[_classes.Prediction]:
        """A `Prediction` for each name, of logits (n, classes)."""
        return _classes.make_predictions(names, reader.labels, logits)

    # Demo -------------------------------------------------------------------------------------------------------

    def demo_form(self, reader: TextReader, probe: Mapping[str, np.ndarray]) -> "Form":
        """A text."""
        return _demo.text_form("Classify", "Text", probe)

    def demo(self, model: keras.Model, given: Mapping[str, Any]) -> "Iterator[Shown]":
        """The probabilities of the likeliest classes."""
        (found,) = self.predicted(model, [_demo.text_of(given)])
        yield _demo.bars(found)

    # Report -----------------------------------------------------------------------------------------------------

    def report_parts(self, outcome: "Outcome", most: int = 20) -> list[figures.Part]:
        """What a person wants to see of a trained network: which classes it confuses, and its worst mistakes."""
        labels, decode = outcome.reader.labels, outcome.reader.tokenizer.decode
        true, predicted, worst = [], [], []
        for ids, right, logits in outcome.batches():
            odds, guesses = _written.odds(logits), logits.argmax(axis=-1)
            for row in np.flatnonzero(guesses != right):
                worst.append((-float(odds[row, right[row]]), ids[row], right[row], guesses[row]))
            worst = sorted(worst, key=lambda mistake: -mistake[0])[:most]
            true.append(right)
            predicted.append(guesses)
        of = (np.concatenate(true), np.concatenate(predicted), labels, outcome.split)
        rows = [(decode(ids).numpy().decode(), labels[right], labels[guess], loss) for loss, ids, right, guess in worst]
        mistakes = figures.Part(
            name="mistakes",
            title="Worst mistakes",
            caption=f"{int((of[0] != of[1]).sum()):,} of the {len(of[0]):,} texts of the {outcome.split} split were "
            "misclassified. These have the highest loss.",
            table=figures.Table(("text", "true", "predicted", "loss"), rows) if rows else None,
        )
        return [figures.confusion(*of), figures.scores(*of), mistakes]
