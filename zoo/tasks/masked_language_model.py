from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import fields
from zoo.data._tensorflow import tensorflow
from zoo.data.source import Source, Text
from zoo.data.text_preparations import MaskedPreparation
from zoo.data.tokens import SPECIAL, UNKNOWN
from zoo.errors import InputError
from zoo.figures import demo
from zoo.figures import texts as drawings
from zoo.readers.tokenizer import REPLACEMENT
from zoo.tasks import _demo, _written
from zoo.tasks._text import RunningText

if TYPE_CHECKING:
    import keras

    from zoo.data.pipeline import AnyPreparation
    from zoo.figures.demo import Form, Shown
    from zoo.figures.parts import Part
    from zoo.readers.images import Signatures
    from zoo.readers.published import Published
    from zoo.readers.texts import TextReader
    from zoo.readers.tokenizer import Tokenizer
    from zoo.reporting import Outcome


class MaskedLanguageModel(RunningText):
    """What stood where tokens of a text were hidden.

    The network takes `text` (batch, time), START, the ids of the text and END, and returns logits (batch, time,
    vocabulary). Of the tokens, `masked` are chosen at random; 80 % of those are hidden behind the tokenizer's mask (the
    unknown token, or what the vocabulary of a published checkpoint has for it: "[MASK]", which a text that is asked can
    hold), 10 % are replaced by another, and 10 % stay. Targets are the chosen tokens, and 0 elsewhere.
    """

    masked: float = fields.real(default=0.15, legal=(0.01, 0.9), help="share of tokens to predict")

    # Data -------------------------------------------------------------------------------------------------------

    def _reader(self, tokenizer: "Tokenizer") -> "TextReader":
        reader = super()._reader(tokenizer)
        reader.masks = tokenizer.hides is not None
        return reader

    def pretrained_reader(self, tokenizer: "Published", labels: Sequence[str] | None = None) -> "TextReader":
        reader = super().pretrained_reader(tokenizer, labels)
        reader.masks = tokenizer.tokenizer.hides is not None
        return reader

    def make_preparation(self, reader: "TextReader", source: Source) -> "AnyPreparation":
        """How running text becomes batches of windows with hidden tokens."""
        if source.ready:
            return None
        self.wanted(source, text=Text)
        return MaskedPreparation(source, reader, self.masked)

    # Answers ----------------------------------------------------------------------------------------------------

    def ask(self, model: "keras.Model", text: np.ndarray) -> tuple[np.ndarray, ...]:
        """(ids (n, 1, time), scores (n, 1)) of ids (n, time): the likeliest token in place of each hidden one."""
        odds = _written.odds(super().ask(model, text))  # (n, time, vocabulary)
        likeliest = odds[..., SPECIAL:].argmax(axis=-1) + SPECIAL
        hidden = text == _mask(model)
        scores = np.where(hidden, odds[..., SPECIAL:].max(axis=-1), 0).sum(axis=-1)
        return np.where(hidden, likeliest, text)[:, None], scores[:, None]

    def endpoints(self, network: "keras.Model", reader: "TextReader") -> "Signatures":
        """`serving_default(text)`, the text with its hidden tokens found; the network."""
        tf = tensorflow()

        def found(text):
            ids = reader.read_texts(text)
            odds = tf.nn.log_softmax(tf.cast(network(ids, training=False), tf.float32))[..., SPECIAL:]
            hidden, likeliest = ids == reader.tokenizer.mask, tf.argmax(odds, axis=-1, output_type=tf.int32) + SPECIAL
            score = tf.reduce_sum(tf.where(hidden, tf.reduce_max(odds, axis=-1), 0.0), axis=-1)
            return {"text": reader.tokenizer.decode(tf.where(hidden, likeliest, ids)), "score": score}

        text = tf.TensorSpec([None], tf.string)
        return {**super().endpoints(network, reader), "serving_default": (found, {"text": text})}

    def make_predictions(
        self, reader: "TextReader", names: Sequence[str], decoded: tuple[np.ndarray, ...]
    ) -> list[_written.Written]:
        """A `Written` for each name: the text with its hidden tokens found."""
        return _written.make_predictions(reader.tokenizer, names, decoded)

    # Demo -------------------------------------------------------------------------------------------------------

    def demo_form(self, reader: "TextReader", probe: Mapping[str, np.ndarray]) -> "Form":
        """A text with hidden tokens."""
        hides = reader.tokenizer.hides or REPLACEMENT
        said = f"Put {hides} in place of each token that is to be found."
        return _demo.text_form("Find what is hidden", "Text", probe, help=said, insert=hides)

    def demo(self, model: "keras.Model", given: Mapping[str, Any]) -> "Iterator[Shown]":
        """The text with its hidden tokens found, and what else was likely at each."""
        (name,), ids = model.reader.read_raw([_demo.text_of(given)])
        tokenizer = model.reader.tokenizer
        hidden = np.flatnonzero(ids[0] == tokenizer.mask)
        if not len(hidden):
            raise InputError(f"Nothing is hidden: put {tokenizer.hides or REPLACEMENT} in place of a token.")
        odds = _written.odds(super().ask(model, ids))[0]  # (time, vocabulary)
        odds[:, :SPECIAL] = -np.inf
        (found,) = self.make_predictions(model.reader, [name], self.ask(model, ids))
        yield demo.Text("Text", found.text)
        for number, place in enumerate(hidden[: _demo.MOST], 1):
            yield demo.Bars(f"Hidden token {number}", _demo.likeliest(tokenizer, odds[place]))

    # Report -----------------------------------------------------------------------------------------------------

    def report_parts(self, outcome: "Outcome", most: int = 8) -> "list[Part]":
        """What a person wants to see of a trained network: the tokens it finds."""
        tokenizer = outcome.reader.tokenizer
        texts, chosen = next(iter(outcome.data.as_numpy_iterator()))
        texts = texts[:most]
        found, scores = self.ask(outcome.model, texts)
        right = np.where(chosen[:most] > 0, chosen[:most], texts)
        shown = ([one.decode() for one in tokenizer.decode(ids).numpy()] for ids in (texts, right, found[:, 0]))
        caption = (
            f"Texts of the {outcome.split} split with hidden tokens ({REPLACEMENT}) and with some replaced, what stood "
            "there, and what the network put where tokens were hidden."
        )
        rows = list(zip(*shown, scores[:, 0].tolist(), strict=True))
        return [drawings.samples("examples", "Examples", caption, rows)]


def _mask(model: "keras.Model") -> int:
    """The id that hides a token from `model`; one without a reader was not trained on texts of anybody."""
    return model.reader.tokenizer.mask if hasattr(model, "reader") else UNKNOWN
