"""What tasks have in common whose networks answer with text."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.base.models import attach
from zoo.decoding import Decoding

if TYPE_CHECKING:
    from zoo.readers.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Written:
    """What a network writes to one text.

    Attributes:
        name: the number of the text.
        text: the best answer.
        score: its log-probability, over the length penalty where there is one.
        others: (text, score) of the next best that a beam search found.
    """

    name: str
    text: str
    score: float
    others: tuple[tuple[str, float], ...] = ()

    def show(self, top: int) -> str:
        """The text, for a person to read."""
        return self.text

    def row(self, top: int) -> dict[str, str]:
        """{column: text} of a table: the `top` best answers."""
        row = {}
        for rank, (text, score) in enumerate([(self.text, self.score), *self.others][:top], 1):
            row |= {f"text_{rank}": text, f"score_{rank}": f"{score:.6f}"}
        return row


def decode(recipe: Any, model: keras.Model, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
    """(tokens (n, width, length), scores (n, width)) that the search of `recipe` finds, in batches of its size.

    Args:
        inputs: arrays (n, ...) that the search takes.
    """
    if getattr(model, "decoded_by", None) != recipe:  # compiled once
        made = Decoding(model, recipe.make_decoder(model), recipe.make_search())
        attach(model, decoding=made, decoded_by=recipe)
    found = []
    for start in range(0, len(inputs[0]), recipe.batch_size):
        batch = [part[start : start + recipe.batch_size] for part in inputs]
        found.append(model.decoding.predict_on_batch(batch[0] if len(batch) == 1 else batch))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def make_predictions(tokenizer: "Tokenizer", names: Sequence[str], decoded: tuple[np.ndarray, ...]) -> list[Written]:
    """A `Written` for each name, of what `decode` gave."""
    tokens, scores = decoded
    texts = np.vectorize(bytes.decode, otypes=[object])(np.asarray(tokenizer.decode(tokens)))  # (n, width)
    return [
        Written(name, row[0], float(marks[0]), tuple(zip(row[1:], map(float, marks[1:]), strict=True)))
        for name, row, marks in zip(names, texts, scores, strict=True)
    ]


def odds(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of `logits` (..., vocabulary), a NumPy array."""
    return keras.ops.convert_to_numpy(keras.ops.log_softmax(keras.ops.convert_to_tensor(logits, "float32")))
