"""How texts become batches: what a task on text hands to `zoo.data.pipeline`, one class for each kind of problem."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.masking import hide_tokens
from zoo.data.sequences import SequencePreparation
from zoo.data.tokens import END, PADDING, START

if TYPE_CHECKING:
    from zoo.data.source import Source
    from zoo.readers.texts import TextReader


class Weights(Protocol):
    """Weights of classes, such as `zoo.tasks` makes of counts."""

    def of(self, labels: Tensor) -> Tensor:
        """float32 of integers of any shape."""
        ...


class PairPreparation(SequencePreparation):
    """One text into another: ({"source", "target"}, answers).

    Answers are the tokens of the target and END; the input `target` is START and the tokens, so that both have one
    length. `source` is as the reader reads it.
    """

    def encode(self, examples: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return self._reader.encode(examples["source"]), self._reader.encode_targets(examples["target"])

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[Any, ...]:
        tf = tensorflow()

        source, answers = batch
        before = tf.concat([tf.fill([tf.shape(answers)[0], 1], START), answers[:, :-1]], axis=1)
        return {"source": source, "target": tf.where(before == END, PADDING, before)}, answers


class StackedPreparation(SequencePreparation):
    """Pairs of texts that belong together: (ids (2n, time), numbers of pairs (2n,)), n texts and then their partners.

    Both are read alike and padded to one length; in each half, pairs have the numbers 0 to n - 1.
    """

    @staticmethod
    def positions(shape: np.ndarray) -> int:
        return 2 * int(np.max(shape))

    def encode(self, examples: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return self._reader.encode(examples["source"]), self._reader.encode(examples["target"])

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[Any, ...]:
        tf = tensorflow()

        longest = tf.reduce_max([tf.shape(ids)[1] for ids in batch])
        stacked = tf.concat([tf.pad(ids, [[0, 0], [0, longest - tf.shape(ids)[1]]]) for ids in batch], axis=0)
        return stacked, tf.tile(tf.range(tf.shape(batch[0])[0]), [2])


class LabelledPreparation(SequencePreparation):
    """A text into a class: (ids, class numbers), in training with weights where there are any.

    Args:
        source, reader, tokens: as of `SequencePreparation`.
        weights: its `of` gives class numbers their weights. Defaults to `None`: none.
    """

    def __init__(
        self, source: "Source", reader: "TextReader", tokens: int | None = None, weights: "Weights | None" = None
    ) -> None:
        super().__init__(source, reader, tokens=tokens)
        self._weights = weights

    def encode(self, examples: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return self._reader.encode(examples["text"]), examples["label"]

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[Any, ...]:
        return batch

    def finish_training(self, batch: tuple[Tensor, ...], seed: Tensor) -> tuple[Any, ...]:
        return batch if self._weights is None else (*batch, self._weights.of(batch[1]))


class RunningPreparation(SequencePreparation):
    """The next token of running text: (ids, the ids behind them), both (batch, window).

    In evaluation every token is an answer once, and has half a window in front of it at least; where it has been one
    before, the answer is padding, which is outside the loss.
    """

    def __init__(self, source: "Source", reader: "TextReader") -> None:
        super().__init__(source, reader, window=reader.length, context=reader.length // 2)

    def encode(self, examples: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return (self._reader.tokenizer.encode(examples["text"]),)

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[Any, ...]:
        tf = tensorflow()

        windows, answered = batch
        return windows[:, :-1], tf.where(answered > 0, windows[:, 1:], PADDING)


class MaskedPreparation(SequencePreparation):
    """Hidden tokens of running text: (START, tokens of which some are hidden, END; the chosen tokens and padding else).

    Which are chosen is a function of (seed, epoch, step); in evaluation, the same places of every batch.

    Args:
        source, reader: as of `SequencePreparation`.
        rate: the part of the tokens that is chosen.
    """

    def __init__(self, source: "Source", reader: "TextReader", rate: float) -> None:
        super().__init__(source, reader, window=reader.length - 2)
        self._rate = rate

    def encode(self, examples: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return (self._reader.tokenizer.encode(examples["text"]),)

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[Any, ...]:
        return self.finish_training(batch, [0, 0])

    def finish_training(self, batch: tuple[Tensor, ...], seed: Tensor) -> tuple[Any, ...]:
        tf = tensorflow()

        windows, _ = batch
        edge = tf.ones_like(windows[:, :1])
        ids = tf.concat([START * edge, windows[:, 1:], PADDING * edge], axis=1)
        behind = (ids == PADDING) & (tf.roll(ids, 1, axis=1) != PADDING)  # the first place behind the tokens
        ids = tf.where(behind, END, ids)
        tokenizer = self._reader.tokenizer
        hidden, chosen = hide_tokens(ids, seed, size=tokenizer.size, rate=self._rate, mask=tokenizer.mask)
        return hidden, tf.where(chosen, ids, PADDING)
