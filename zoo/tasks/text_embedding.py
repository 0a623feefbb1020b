import typing
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from zoo import fields, figures
from zoo.data._tensorflow import tensorflow
from zoo.data.source import Source, Text
from zoo.data.text_preparations import StackedPreparation
from zoo.errors import InputError
from zoo.figures.demo import Grid
from zoo.objective.losses import PairLoss
from zoo.objective.metrics import PairAccuracy
from zoo.readers.texts import TextReader
from zoo.tasks import _demo
from zoo.tasks._embedded import Embedded, make_embedded, partners
from zoo.tasks._text import WholeTexts, invented, noise, raw

if typing.TYPE_CHECKING:
    import tensorflow as tf

    from zoo.data.pipeline import AnyPreparation
    from zoo.figures.demo import Form, Shown
    from zoo.readers.images import Signatures
    from zoo.reporting import Outcome


_COMPARED = 12
"""Texts that a demo compares at most."""


class TextEmbedding(WholeTexts):
    """Texts into vectors of length 1, near to each other where texts belong together.

    The network takes `text` (batch, time), START, the ids of the text and END, and returns vectors (batch, width). It
    learns from pairs: in a batch of n, the n first texts are followed by their n partners, (2n, time). A text is to be
    nearer to its partner than to the partners of all others in the batch, whose number is what makes the task hard.
    """

    sized_by: typing.ClassVar[dict[str, tuple[str, ...]]] = {"length": ("source", "target")}

    temperature: float = fields.real(
        default=0.05,
        legal=(1e-3, 100),
        search=(0.02, 0.2),
        log=True,
        help="temperature of the contrastive softmax: cosines are divided by it",
    )

    def check(self) -> None:
        super().check()
        if self.batch_size < 2:
            raise InputError(
                "batch_size must be at least 2 pairs: a text is compared with the others of its batch. "
                f"Received: batch_size={self.batch_size}."
            )

    def make_loss(self) -> typing.Any:
        return PairLoss(self.temperature)

    def make_metrics(self) -> list[typing.Any]:
        return [PairAccuracy(name="accuracy")]

    # Data -------------------------------------------------------------------------------------------------------

    def adapt(self, source: Source) -> dict[str, tuple[typing.Any, str]]:
        """{field: (value, why)}: what the data decide, the size of the vocabulary."""
        return self.sized(source, "vocabulary", self.make_reader(source).tokenizer)

    def make_reader(self, source: Source) -> TextReader:
        """What reading learns from the data: the vocabulary of both texts of the pairs."""
        if source.ready:
            return self.default_reader()
        self.wanted(source, source=Text, target=Text)
        return self._reader(self.learned(source, "vocabulary", "source", "target"))

    def default_reader(self, labels: Sequence[str] | None = None) -> TextReader:
        """A reader for a model that was not trained on a data set of ours."""
        return self._reader(invented(self.vocabulary))

    def _reader(self, tokenizer: typing.Any) -> TextReader:
        return TextReader(tokenizer, self.length, start=True)

    def make_preparation(self, reader: TextReader, source: Source) -> "AnyPreparation":
        """How pairs of `source` become batches."""
        if source.ready:
            return None
        self.wanted(source, source=Text, target=Text)
        return StackedPreparation(source, reader, tokens=self.batch_tokens)

    # Answers ----------------------------------------------------------------------------------------------------

    def endpoints(self, network: keras.Model, reader: TextReader) -> "Signatures":
        """`serving_default(text)`, and `serve_tensors(text)` of ids: {"embedding": vectors (n, width)}."""
        tf = tensorflow()

        def embed(read: typing.Any) -> typing.Any:
            return lambda text: {"embedding": tf.cast(network(read(text), training=False), tf.float32)}

        return {name: (embed(read), specs) for name, (read, specs) in reader.signatures().items()}

    def make_predictions(self, reader: TextReader, names: Sequence[str], vectors: np.ndarray) -> list[Embedded]:
        """An `Embedded` for each name, of vectors (n, width)."""
        return make_embedded(names, vectors)

    def judge(self, model: keras.Model, reader: TextReader, data: "tf.data.Dataset[typing.Any]") -> dict[str, float]:
        """Recall at 1: how often a text's partner is the nearest of all partners in a split, both ways round."""
        first, second, _ = _embedded(model, data)
        nearest, back = partners(first, second), partners(second, first)
        right = np.arange(len(first))
        return {"recall_at_1": float(np.mean([nearest == right, back == right]))}

    def make_probe(self, reader: TextReader, examples: Sequence[Mapping[str, typing.Any]]) -> dict[str, np.ndarray]:
        """{signature/input: array} of raw examples: as they are, and as the network takes them."""
        return super().make_probe(reader, [{"text": raw(example["source"])} for example in examples])

    def make_noise(self, count: int) -> list[dict[str, typing.Any]]:
        """Raw examples of noise, for the probe of a model that was not trained on a data set of ours."""
        return [{"source": text, "target": text} for text in noise(count, self.vocabulary, self.length)]

    # Demo -------------------------------------------------------------------------------------------------------

    def demo_form(self, reader: TextReader, probe: Mapping[str, np.ndarray]) -> "Form":
        """Texts, one a line."""
        texts = [bytes(one).decode(errors="replace") for one in probe.get("serving_default/text", ())[:3]]
        value = "\n".join(" ".join(one.split()) for one in texts)
        said = f"One text a line, two to {_COMPARED}."
        return _demo.text_form("Compare", "Texts", {}, help=said, value=value)

    def demo(self, model: keras.Model, given: Mapping[str, typing.Any]) -> "Iterator[Shown]":
        """How similar each text is to each other."""
        lines = [line.strip() for line in _demo.text_of(given).splitlines() if line.strip()]
        if not 2 <= len(lines) <= _COMPARED:
            raise InputError(f"Write two to {_COMPARED} texts, one a line. Received: {len(lines)}.")
        vectors = np.stack([one.vector for one in self.predicted(model, lines)])
        caption = "The cosine of the vectors of two texts: 1 is the most similar."
        yield Grid("Similarity", caption, tuple(lines), tuple(lines), vectors @ vectors.T, numbers=True)

    # Report -----------------------------------------------------------------------------------------------------

    def report_parts(self, outcome: "Outcome", most: int = 12) -> list[figures.Part]:
        """What a person wants to see of a trained network: what it finds for a text, and where it goes wrong."""
        first, second, texts = _embedded(outcome.model, outcome.data)
        nearest = partners(first, second)
        cosines, own = (np.sum(first * second[rows], axis=1) for rows in (nearest, np.arange(len(first))))

        def read(row: int, part: int) -> str:
            return outcome.reader.tokenizer.decode(texts[row][part]).numpy().decode()

        def rows(chosen: np.ndarray) -> list[tuple[typing.Any, ...]]:
            return [
                (read(row, 0), read(row, 1), read(nearest[row], 1), float(own[row]), float(cosines[row]))
                for row in chosen
            ]

        wrong = np.flatnonzero(nearest != np.arange(len(first)))
        count = f"Of {len(first):,} texts of the {outcome.split} split, {len(first) - len(wrong):,} have their own "
        parts = [_nearest("nearest", "Nearest texts", f"{count} partner nearest.", rows(np.arange(len(first))[:most]))]
        if len(wrong):
            worst = wrong[np.argsort(own[wrong] - cosines[wrong])][:most]
            caption = "Texts that another's partner is nearest to, the furthest from their own first."
            parts.append(_nearest("mistakes", "Worst mistakes", caption, rows(worst)))
        return parts


def _nearest(name: str, title: str, caption: str, rows: list[tuple[typing.Any, ...]]) -> figures.Part:
    header = ("text", "its partner", "nearest", "cosine of its partner", "of the nearest")
    return figures.Part(name=name, title=title, caption=caption, table=figures.Table(header, rows))


def _embedded(
    model: keras.Model, data: "tf.data.Dataset[typing.Any]"
) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """(vectors (n, width) of the first texts of all pairs, those of their partners, [ids of both])."""
    first, second, texts = [], [], []
    for ids, *_ in data.as_numpy_iterator():
        vectors, half = model.predict_on_batch(ids), len(ids) // 2
        first.append(vectors[:half])
        second.append(vectors[half:])
        texts += zip(ids[:half], ids[half:], strict=True)
    return np.concatenate(first), np.concatenate(second), texts
