import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from zoo import fields
from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.source import Source, Text
from zoo.data.text_preparations import RunningPreparation
from zoo.decoding import Decoder, Sampling, stream
from zoo.errors import InputError, check_whole
from zoo.figures import texts as drawings
from zoo.figures.demo import Question, Token
from zoo.objective.metrics import BitsPerToken
from zoo.readers.chat import chat
from zoo.readers.texts import TextReader
from zoo.tasks import _demo, _written
from zoo.tasks._text import RunningText

if typing.TYPE_CHECKING:
    from zoo.data.pipeline import AnyPreparation
    from zoo.figures.demo import Form, Shown
    from zoo.figures.parts import Part
    from zoo.readers.images import Signatures
    from zoo.readers.published import Published
    from zoo.reporting import Outcome


class LanguageModel(RunningText):
    """What comes next in a text.

    The network takes `text` (batch, time), START and the ids of the text, and returns logits (batch, time, vocabulary)
    of the text's ids and END.
    """

    ends: typing.ClassVar[bool] = False

    answer_length: int = fields.integer(
        default=32,
        legal=(1, 1_000_000),
        help="largest number of generated tokens; they and the prompt's end fit into length",
    )
    temperature: float = fields.real(default=1.0, legal=(0.01, 100), help="sampling temperature")
    top_k: int | None = fields.integer(
        default=None, legal=(1, 1_000_000), optional=True, help="sampling from the k likeliest tokens"
    )
    top_p: float = fields.real(
        default=1.0, legal=(0.001, 1), help="nucleus sampling: from the fewest tokens whose probabilities sum to p"
    )

    def check(self) -> None:
        super().check()
        if self.answer_length >= self.length:
            raise InputError(
                f"answer_length must be below length={self.length}, to leave room for what is continued. "
                f"Received: answer_length={self.answer_length}."
            )

    def make_metrics(self) -> list[typing.Any]:
        metrics = super().make_metrics()
        if self.tokens in ("characters", "bytes"):
            metrics.append(BitsPerToken(name=f"bits_per_{self.tokens.removesuffix('s')}"))
        return metrics

    def make_decoder(self, model: keras.Model) -> Decoder:
        """The `zoo.decoding.Decoder` over the layers of `model`; its inputs are prompts (batch, time), START
        and ids, of which the last count where there is no room for all."""
        raise NotImplementedError

    def make_search(self) -> Callable[..., typing.Any]:
        return Sampling(self.answer_length, self.temperature, self.top_k, self.top_p)

    def pretrained_reader(self, tokenizer: "Published", labels: Sequence[str] | None = None) -> "TextReader":
        """A reader of prompts; where the checkpoint has a chat template, of what a user says."""
        frame = {} if tokenizer.template is None else chat(tokenizer)
        return TextReader(tokenizer.tokenizer, self.length, start=tokenizer.start, end=False, **frame)

    # Data -------------------------------------------------------------------------------------------------------

    def make_preparation(self, reader: "TextReader", source: Source) -> "AnyPreparation":
        """How running text becomes batches of windows."""
        if source.ready:
            return None
        self.wanted(source, text=Text)
        return RunningPreparation(source, reader)

    # Answers ----------------------------------------------------------------------------------------------------

    def ask(self, model: keras.Model, prompts: np.ndarray) -> tuple[np.ndarray, ...]:
        """(tokens (n, 1, answer_length), scores (n, 1)) that go on from ids (n, time); drawn as `seed` says."""
        return _written.decode(self, model, prompts, self._draws(len(prompts), self.seed).numpy())

    def endpoints(self, network: keras.Model, reader: "TextReader") -> "Signatures":
        """`serving_default(text)`, drawn by the recipe's seed; `serve_sample(text, seed)`; the network."""
        tf = tensorflow()
        decoder, search = self.make_decoder(network), self.make_search()

        def drawn(text, seed):
            prompts = reader.read_texts(text)
            tokens, scores = search(decoder, (prompts, self._draws(tf.shape(prompts)[0], seed)))
            return {"text": reader.writer.decode(tokens[:, 0]), "score": scores[:, 0]}

        text, number = tf.TensorSpec([None], tf.string), tf.TensorSpec([], tf.int32)
        shared = tf.function(drawn, [text, number], autograph=False)  # traced once, and called by both
        return {
            **super().endpoints(network, reader),
            "serving_default": (lambda text: shared(text, tf.constant(self.seed, tf.int32)), {"text": text}),
            "serve_sample": (shared, {"text": text, "seed": number}),
        }

    def _draws(self, count: Tensor, seed: Tensor) -> Tensor:
        """Numbers from 0 to below 1, (count, answer_length); those of a row do not depend on `count`."""
        tf = tensorflow()

        def draw(row):
            return tf.random.stateless_uniform([self.answer_length], tf.stack([seed, row]))

        with tf.device("CPU:0"):
            return tf.map_fn(draw, tf.range(count), fn_output_signature=tf.float32)

    def make_predictions(
        self, reader: "TextReader", names: Sequence[str], decoded: tuple[np.ndarray, ...]
    ) -> list[_written.Written]:
        """A `Written` for each name: what comes behind the text."""
        return _written.make_predictions(reader.writer, names, decoded)

    # Demo -------------------------------------------------------------------------------------------------------

    def demo_form(self, reader: "TextReader", probe: Mapping[str, np.ndarray]) -> "Form":
        """A text to go on with, and a seed."""
        said = f"A whole number. At most {self.answer_length:,} tokens are drawn, as the recipe's fields say."
        return _demo.text_form("Go on", "Text", probe, Question("seed", "line", "Seed", said, str(self.seed)))

    def demo(self, model: keras.Model, given: Mapping[str, typing.Any]) -> "Iterator[Shown]":
        """What comes behind the text, token by token: what was drawn, and what else was likely."""
        try:
            seed = check_whole("seed", int(given.get("seed", self.seed)), -(2**31), 2**31 - 1)
        except ValueError:
            raise InputError("The seed must be a whole number of 32 bits.") from None
        _, prompts = model.reader.read_raw([_demo.text_of(given)])
        writer, ids = model.reader.writer, []
        draws = self._draws(1, seed).numpy()
        drawn = stream(self.make_decoder(model), prompts, draws, self.temperature, self.top_k, self.top_p)
        for token, odds in drawn:
            odds = keras.ops.convert_to_numpy(odds)[0]
            ids.append(int(keras.ops.convert_to_numpy(token)[0]))
            text = writer.decode(np.array(ids, "int32")).numpy().decode(errors="replace")
            said = _demo.spelled(writer, ids[-1])
            yield Token(text, said, float(np.exp(odds[ids[-1]])), _demo.likeliest(writer, odds))

    # Report -----------------------------------------------------------------------------------------------------

    def report_parts(self, outcome: "Outcome", most: int = 8) -> "list[Part]":
        """What a person wants to see of a trained network: how it goes on with texts that it has not seen."""
        decode = outcome.reader.tokenizer.decode
        windows, _ = next(iter(outcome.data.as_numpy_iterator()))
        prompts, behind = np.split(windows[:most], [windows.shape[1] // 2], axis=1)
        tokens, scores = self.ask(outcome.model, prompts)
        texts = ([one.decode() for one in decode(ids).numpy()] for ids in (prompts, behind, tokens[:, 0]))
        caption = f"Texts of the {outcome.split} split, and what was drawn to go on, as the run's fields say."
        rows = list(zip(*texts, scores[:, 0].tolist(), strict=True))
        return [drawings.samples("examples", "Examples", caption, rows)]
