import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from zoo import fields
from zoo.data._tensorflow import tensorflow
from zoo.data.source import Source, Text
from zoo.data.text_preparations import PairPreparation
from zoo.data.tokens import PADDING, START
from zoo.decoding import Decoder, Search, beam
from zoo.figures import demo, texts
from zoo.objective.losses import TokenLoss
from zoo.objective.metrics import Perplexity, TokenAccuracy
from zoo.readers.texts import TextReader
from zoo.tasks import _demo, _written
from zoo.tasks._text import WholeTexts, invented, noise, raw, refuse_small

if typing.TYPE_CHECKING:
    import tensorflow as tf

    from zoo.cost import Shapes
    from zoo.data.pipeline import AnyPreparation
    from zoo.figures.demo import Form, Shown
    from zoo.figures.parts import Part
    from zoo.readers.images import Signatures
    from zoo.reporting import Outcome


class SequenceToSequence(WholeTexts):
    """One text into another.

    The network takes `source` (batch, positions), ids of the text and END, and `target` (batch, time), START and the
    ids of the answer; it returns logits (batch, time, target_vocabulary) of the answer's ids and END.
    """

    exports_attention: typing.ClassVar[bool] = False
    """Whether an export answers with what the network looked at, which costs a second pass over the answer."""

    sized_by: typing.ClassVar[dict[str, tuple[str, ...]]] = {"length": ("source",), "target_length": ("target",)}

    target_vocabulary: int = fields.integer(
        default=128, legal=(1, 10_000_000), help="size of the target vocabulary; as vocabulary"
    )
    target_length: int = fields.integer(
        default=64, legal=(2, 1_000_000), help="largest number of generated tokens, END included"
    )
    label_smoothing: float = fields.real(
        default=0.0, legal=(0, 0.9), search=(0.0, 0.2), help="probability mass spread over the vocabulary"
    )
    beam_width: int = fields.integer(default=1, legal=(1, 1000), help="beam width; 1: greedy decoding")
    length_penalty: float = fields.real(
        default=0.6, legal=(0, 10), when={"beam_width": fields.above(1)}, help="length penalty of beam search (GNMT's)"
    )

    def check(self) -> None:
        super().check()
        refuse_small("target_vocabulary", self.target_vocabulary)

    def example_shape(self) -> "Shapes":
        return {"source": (self.length,), "target": (self.target_length,)}

    def make_loss(self) -> typing.Any:
        return TokenLoss(self.label_smoothing)

    def constant_loss(self, reader: TextReader, source: Source) -> float:
        """That of answering all tokens alike."""
        return math.log(self.target_vocabulary)

    def make_metrics(self) -> list[typing.Any]:
        return [TokenAccuracy(name="token_accuracy"), Perplexity(name="perplexity")]

    def make_decoder(self, model: keras.Model) -> Decoder:
        """The `zoo.decoding.Decoder` over the layers of `model`."""
        raise NotImplementedError

    def make_attention(self, model: keras.Model) -> keras.Model | None:
        """A `keras.Model` of (source, target) to weights (batch, time, positions); None where there are none."""
        return

    def make_search(self) -> Callable[..., typing.Any]:
        return Search(self.target_length, self.beam_width, self.length_penalty if self.beam_width > 1 else 0.0)

    def endpoints(self, network: keras.Model, reader: TextReader) -> "Signatures":
        """`serving_default(text)`, as the recipe searches; `serve_beam(text, beam_width, max_length)`; the network."""
        tf = tensorflow()
        decoder, search = self.make_decoder(network), self.make_search()
        attention = self.make_attention(network) if self.exports_attention else None
        penalty = self.values()["length_penalty"]

        def best(text):
            source = reader.read_texts(text)
            tokens, scores = search(decoder, source)
            answer = tokens[:, 0]
            found = {"text": reader.writer.decode(answer), "score": scores[:, 0]}
            if attention is not None:
                shifted = tf.concat([tf.fill([tf.shape(answer)[0], 1], START), answer[:, :-1]], axis=1)
                written = tf.cast(answer != PADDING, tf.float32)[..., None]
                found["attention"] = attention([source, shifted]) * written  # (n, target_length, positions)
            return found

        def several(text, beam_width, max_length):
            tokens, scores = beam(decoder, reader.read_texts(text), beam_width, max_length, penalty)
            return {"texts": reader.writer.decode(tokens), "scores": scores}

        def tensors(source, target):
            return reader.answer(network([source, target], training=False))

        text, number = tf.TensorSpec([None], tf.string), tf.TensorSpec([], tf.int32)
        ids = tf.TensorSpec([None, None], tf.int32)
        return {
            "serving_default": (best, {"text": text}),
            "serve_beam": (several, {"text": text, "beam_width": number, "max_length": number}),
            "serve_tensors": (tensors, {"source": ids, "target": ids}),
        }

    # Data -------------------------------------------------------------------------------------------------------

    def adapt(self, source: Source) -> dict[str, tuple[typing.Any, str]]:
        """{field: (value, why)}: what the data decide, the sizes of the vocabularies."""
        reader = self.make_reader(source)
        found = self.sized(source, "vocabulary", reader.tokenizer)
        return found | self.sized(source, "target_vocabulary", reader.writer)

    def make_reader(self, source: Source) -> TextReader:
        """What reading learns from the data: the vocabularies, one where both texts share it."""
        if source.ready:
            return self.default_reader()
        self.wanted(source, source=Text, target=Text)
        if self.shares:
            return TextReader(
                self.learned(source, "vocabulary", "source", "target"), self.length, target_length=self.target_length
            )
        read, written = (self.learned(source, *both) for both in _PAIRS)
        return TextReader(read, self.length, written, self.target_length)

    @property
    def shares(self) -> bool:
        """Whether source and target have one vocabulary."""
        return False

    def default_reader(self, labels: Sequence[str] | None = None) -> TextReader:
        """A reader for a model that was not trained on a data set of ours."""
        written = None if self.shares else invented(self.target_vocabulary)
        return TextReader(invented(self.vocabulary), self.length, written, self.target_length)

    def make_preparation(self, reader: TextReader, source: Source) -> "AnyPreparation":
        """How pairs of `source` become batches."""
        if source.ready:
            return None
        self.wanted(source, source=Text, target=Text)
        return PairPreparation(source, reader, tokens=self.batch_tokens)

    # Answers ----------------------------------------------------------------------------------------------------

    def ask(self, model: keras.Model, source: np.ndarray) -> tuple[np.ndarray, ...]:
        """(tokens (n, beam_width, target_length), scores (n, beam_width)) of ids (n, positions)."""
        return _written.decode(self, model, source)

    def judge(self, model: keras.Model, reader: TextReader, data: "tf.data.Dataset[typing.Any]") -> dict[str, float]:
        """Exact match, BLEU and chrF of what the network writes; a warning counts out-of-vocabulary tokens."""
        super().judge(model, reader, data)
        _, references, answers, _ = zip(*self._answered(model, reader, data), strict=True)
        return texts.scores(answers, references)

    def report_parts(self, outcome: "Outcome", most: int = 8) -> "list[Part]":
        """What a person wants to see of a trained network: how well it writes, what it writes, where it looks."""
        model, reader, split = outcome.model, outcome.reader, outcome.split
        rows = list(self._answered(model, reader, outcome.data))
        _, references, answers, _ = zip(*rows, strict=True)
        parts = [
            texts.table(texts.scores(answers, references), len(rows), split),
            texts.samples("examples", "Examples", f"The first texts of the {split} split.", rows[:most]),
        ]
        wrong = sorted((row for row in rows if row[1] != row[2]), key=lambda row: row[-1])
        if wrong:
            caption = f"{len(wrong):,} of {len(rows):,} texts of the {split} split; the lowest scores first."
            parts.append(texts.samples("mistakes", "Mistakes", caption, wrong[:most]))
        looks = self._attended(model, reader, [text for text, *_ in rows[:2]])
        return parts if looks is None else [*parts, texts.attention(looks)]

    def _answered(
        self, model: keras.Model, reader: TextReader, data: "tf.data.Dataset[typing.Any]"
    ) -> Iterator[tuple[str, str, str, float]]:
        """(text, what is right, what is written, its score) of every text in batches of a split."""
        for inputs, targets, *_ in data.as_numpy_iterator():
            tokens, scores = self.ask(model, inputs["source"])
            read, right, written = (
                [text.decode() for text in tokenizer.decode(ids).numpy()]
                for tokenizer, ids in (
                    (reader.tokenizer, inputs["source"]),
                    (reader.writer, targets),
                    (reader.writer, tokens[:, 0]),
                )
            )
            yield from zip(read, right, written, scores[:, 0].tolist(), strict=True)

    def _attended(
        self, model: keras.Model, reader: TextReader, texts: Sequence[str]
    ) -> list[tuple[np.ndarray, list[str], list[str]]] | None:
        """(weights (time, positions), tokens written, tokens read) of each text; None without attention."""
        attention = self.make_attention(model)
        if attention is None:
            return None
        found = []
        for text in texts:
            ids = reader.read_texts([text]).numpy()  # (1, positions)
            answer = self.ask(model, ids)[0][0, 0]
            answer = answer[answer != PADDING]
            before = np.concatenate([[START], answer[:-1]])
            weights = keras.ops.convert_to_numpy(attention([ids, before[None]]))[0]
            found.append((weights, reader.writer.spelled(answer), reader.tokenizer.spelled(ids[0])))
        return found

    def demo_form(self, reader: TextReader, probe: Mapping[str, np.ndarray]) -> "Form":
        """A text."""
        return _demo.text_form("Write the answer", "Text", probe)

    def demo(self, model: keras.Model, given: Mapping[str, typing.Any]) -> "Iterator[Shown]":
        """The best answers, and what the network looked at as it wrote the first."""
        text = _demo.text_of(given)
        (found,) = self.predicted(model, [text])
        yield demo.Text("Answer", found.text)
        for number, (other, _) in enumerate(found.others[: _demo.MOST - 1], 2):
            yield demo.Text(f"Answer {number}", other)
        looks = self._attended(model, model.reader, [text])
        if looks is not None:
            ((weights, written, read),) = looks
            weights, written, read = weights[: texts.SHOWN, : texts.SHOWN], written[: texts.SHOWN], read[: texts.SHOWN]
            caption = "What the network looks at (columns) as it writes each token (rows): the bluer, the more."
            yield demo.Grid("Attention", caption, tuple(written), tuple(read), weights)

    def make_predictions(
        self, reader: TextReader, names: Sequence[str], decoded: tuple[np.ndarray, ...]
    ) -> list[_written.Written]:
        """A `Written` for each name."""
        return _written.make_predictions(reader.writer, names, decoded)

    def make_probe(self, reader: TextReader, examples: Sequence[Mapping[str, typing.Any]]) -> dict[str, np.ndarray]:
        """{signature/input: array} of raw examples: as they are, and as the network takes them."""
        texts = [(raw(example["source"]), raw(example["target"])) for example in examples]
        sources, targets = zip(*texts, strict=True)
        pairs = reader.read_texts(sources), reader.encode_targets(targets).to_tensor()
        inputs, _ = PairPreparation(None, reader).finish(pairs)
        arrays = {f"serve_tensors/{name}": ids.numpy() for name, ids in inputs.items()}
        return {**arrays, **reader.raw_probe(sources)}

    def make_noise(self, count: int) -> list[dict[str, typing.Any]]:
        """Raw examples of noise, for the probe of a model that was not trained on a data set of ours."""
        sources = noise(count, self.vocabulary, self.length)
        targets = sources if self.shares else noise(count, self.target_vocabulary, self.target_length)
        return [{"source": one, "target": other} for one, other in zip(sources, targets, strict=True)]


_PAIRS = (("vocabulary", "source"), ("target_vocabulary", "target"))
