"""Batches of sequences of ids: of whole texts, bucketed by length, or of windows of running text.

A batch of whole texts is of one bucket and padded with zeros to its lengths, so that there are as many shapes as
buckets. Which texts a bucket has, and so every shape, is the same in each epoch; what is in a batch, and the order of
batches, is a function of (seed, epoch).
"""

import abc
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data._tensorflow import Tensor, plain, tensorflow
from zoo.data.tokens import START, UNKNOWN
from zoo.data.windows import Windows, answered_once, seed_pair
from zoo.errors import counted

if TYPE_CHECKING:
    import tensorflow as tf

    from zoo.data.source import Source
    from zoo.readers.texts import TextReader

FINENESS = 16
"""Lengths of buckets are 1 to twice this, then multiples of 2 to four times this, of 4 to eight times, and so on."""

WASTE = 0.1
"""The part of all positions that may be padding before there is one more bucket."""

BUCKETS = 12
"""Buckets at most."""

_FIELDS = ("length", "target_length")


class SequencePreparation(abc.ABC):
    """A `zoo.data.pipeline.Preparation` of sequences; a task's own is a subclass.

    Args:
        source: a `Source`, whose splits are read once each and held in memory, 4 bytes a token.
        reader: a `zoo.readers.TextReader`.
        tokens: positions of a training batch, padding counted, instead of a number of examples.
        window: tokens that a network sees of running text at once; None where texts stay whole.
        context: tokens of a window that were answered in the one before. In evaluation every token is answered once,
            with so many in front of it at least.

    Attributes:
        cuts: lines about texts that are cut, of the splits that were read; each was a warning.
        unknown: lines about out-of-vocabulary tokens in them.
    """

    def __init__(
        self,
        source: "Source",
        reader: "TextReader",
        *,
        tokens: int | None = None,
        window: int | None = None,
        context: int = 0,
    ) -> None:
        self._source = source
        self._reader = reader
        self._tokens = tokens
        self._window = window
        self._context = context
        self._held = {}
        self._training = {}
        self.cuts: list[str] = []
        self.unknown: list[str] = []

    @staticmethod
    def positions(shape: np.ndarray) -> int:
        """Positions that an example takes in a batch of these lengths, one a sequence."""
        return int(np.sum(shape))

    @abc.abstractmethod
    def encode(self, examples: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """{feature: (n,)} to a tuple of `tf.RaggedTensor` int32 (n, tokens), and tensors (n,) such as labels."""

    @abc.abstractmethod
    def finish(self, batch: tuple[Tensor, ...]) -> tuple[Any, ...]:
        """A batch to (inputs, targets) or (inputs, targets, weights), for evaluation.

        Args:
            batch: what `encode` gave, padded, int32 (batch, tokens) and (batch,). Of running text (windows,
                answered), int32 (batch, window + 1) and float32 (batch, window): 1 where the token behind is to be
                answered, 0 where it was before or there is none.
        """

    def finish_training(self, batch: tuple[Tensor, ...], seed: Tensor) -> tuple[Any, ...]:
        """The same for training; `seed` is an integer pair of (seed, epoch, step)."""
        return self.finish(batch)

    def training(self, batch_size: int) -> "Buckets | Windows":
        """The training split as `Buckets` or `Windows`."""
        if batch_size not in self._training:
            if self._window is None:
                self._training[batch_size] = self._buckets("train", batch_size)
            else:
                self._training[batch_size] = Windows(self._stream("train"), self._window, batch_size, self._source.name)
        return self._training[batch_size]

    def evaluation(self, split: str, batch_size: int) -> "tf.data.Dataset[Any]":
        """A `tf.data.Dataset` of batches as `finish` takes them: every example once."""
        if self._window is not None:
            return answered_once(self._stream(split), self._window, self._context, batch_size)
        return self._buckets(split, batch_size, whole=True).in_order()

    def _buckets(self, split: str, batch_size: int, whole: bool = False) -> "Buckets":
        return Buckets(self._read(split), batch_size, self._tokens, whole, self.positions)

    def _read(self, split: str) -> "_Texts":
        if split not in self._held:
            with self._source.reading():
                self._held[split] = _Texts.of(self._source.examples(split), self.encode)
            if self._window is None:
                self._tell_of_cuts(split)
            self._count_unknown(split)
        return self._held[split]

    def _tell_of_cuts(self, split: str) -> None:
        """Warns where texts are as long as the reader lets them be."""
        for lengths, most, field in zip(self._held[split].lengths.T, self._reader.lengths, _FIELDS, strict=False):
            full = int((lengths >= most).sum())
            if full:
                line = (
                    f"{full:,} of {len(lengths):,} {split} texts have {most:,} tokens or more; what is beyond is cut. "
                    f"To read more, raise {field}={most}."
                )
                self.cuts.append(line)
                warnings.warn(line, stacklevel=2)

    def _count_unknown(self, split: str) -> None:
        tokens = texts = 0
        for values, starts, lengths in self._held[split].parts:
            if lengths is not None:
                before = np.append(0, np.cumsum(values == UNKNOWN))
                found = before[starts + lengths] - before[starts]  # (n,)
                tokens, texts = tokens + int(found.sum()), texts + int((found > 0).sum())
        if tokens:
            verb = "is" if tokens == 1 else "are"
            which = f"{counted(tokens, 'token')} of {counted(texts, f'{split} text')}"
            self.unknown.append(f"{which} {verb} out of the vocabulary: the network reads them as unknown.")

    def _stream(self, split: str) -> np.ndarray:
        """START, and then all texts end to end, int32 (tokens,)."""
        (values, _, _), *_ = self._read(split).parts
        return np.concatenate([np.array([START], np.int32), values])


class _Texts:
    """Examples in memory.

    Attributes:
        parts: for each value of an example (values (sum,), starts (n,), lengths (n,)), where it is a sequence, or
            (values (n,), None, None).
    """

    def __init__(self, parts: list[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]) -> None:
        self.parts: list[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]] = parts
        self.lengths: np.ndarray = np.stack(
            [lengths for _, _, lengths in parts if lengths is not None], axis=1
        )  # (n, sequences)

    @classmethod
    def of(
        cls, examples: "tf.data.Dataset[Any]", encode: Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]
    ) -> "_Texts":
        tf = tensorflow()

        batches = []
        with tf.device("CPU:0"):
            for batch in examples.batch(1024).map(plain(encode), tf.data.AUTOTUNE, deterministic=True):
                batches.append([_arrays(part) for part in batch])
        parts = []
        for found in zip(*batches, strict=True):
            values, lengths = zip(*found, strict=True)
            if lengths[0] is None:
                parts.append((np.concatenate(values), None, None))
            else:
                lengths = np.concatenate(lengths)
                parts.append((np.concatenate(values), np.cumsum(lengths) - lengths, lengths))
        return cls(parts)


def _arrays(part: Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """(values, lengths) of a ragged tensor; (values, None) of another."""
    if hasattr(part, "row_lengths"):
        return part.flat_values.numpy(), part.row_lengths().numpy()
    return part.numpy(), None


class Buckets:
    """Whole texts, in buckets of like lengths.

    Attributes:
        rows: for each bucket the numbers of its examples.
        shapes: int (buckets, sequences of an example), the lengths to which a batch is padded.
        sizes: for each bucket the examples of a batch.
        steps: batches of an epoch. What is left over in a bucket is in another epoch's.
        lengths: int (n, sequences of an example).

    Args:
        texts: `_Texts`.
        batch_size: examples of a batch, where `tokens` is None.
        whole: for evaluation: a bucket may have fewer examples than a batch.
        positions: as of `SequencePreparation`.
    """

    def __init__(
        self, texts: _Texts, batch_size: int, tokens: int | None = None, whole: bool = False, positions: Any = np.sum
    ) -> None:
        self._texts = texts
        self.lengths: np.ndarray = texts.lengths
        quantised = _quantised(self.lengths)

        def size(shape):
            return batch_size if tokens is None else max(1, tokens // int(positions(shape)))

        self.rows: list[np.ndarray] = _divided(self.lengths, quantised, (lambda shape: 1) if whole else size)
        self.shapes: np.ndarray = np.stack([quantised[rows].max(axis=0) for rows in self.rows])
        self.sizes: list[int] = [
            min(size(shape), len(rows)) for shape, rows in zip(self.shapes, self.rows, strict=True)
        ]
        self._counts = [len(rows) // size for rows, size in zip(self.rows, self.sizes, strict=True)]
        self.steps: int = sum(self._counts)

    @property
    def waste(self) -> float:
        """The part of the positions of an epoch that is padding, on average over epochs."""
        used = [count * size for count, size in zip(self._counts, self.sizes, strict=True)]
        real = sum(n * self.lengths[rows].sum(axis=1).mean() for n, rows in zip(used, self.rows, strict=True))
        return 1 - real / sum(n * shape.sum() for n, shape in zip(used, self.shapes, strict=True))

    def epoch(self, seed: Tensor, epoch: Tensor) -> "tf.data.Dataset[Any]":
        """(epoch, step, bucket, the numbers of a batch's examples) in the order of the epoch."""
        tf = tensorflow()

        pair = seed_pair(seed, epoch)
        orders = []
        for bucket, (rows, count) in enumerate(zip(self.rows, self._counts, strict=True)):
            own = tf.random.experimental.stateless_fold_in(pair, bucket)
            order = tf.random.experimental.stateless_shuffle(tf.constant(rows, tf.int64), seed=own)
            orders.append(order[: count * self.sizes[bucket]])
        order = tf.concat(orders, axis=0)
        buckets = np.repeat(np.arange(len(self.rows)), self._counts)
        sizes = np.array(self.sizes, np.int64)[buckets]
        buckets, sizes, starts = map(tf.constant, (buckets, sizes, np.cumsum(sizes) - sizes))
        batches = tf.random.experimental.stateless_shuffle(tf.range(self.steps, dtype=tf.int64), seed=pair)
        steps = tf.range(self.steps, dtype=tf.int64)
        numbers = tf.data.Dataset.from_tensor_slices((tf.fill([self.steps], epoch), steps, batches))

        def numbered(epoch, step, batch):
            return epoch, step, buckets[batch], order[starts[batch] : starts[batch] + sizes[batch]]

        return numbers.map(plain(numbered))

    def batch(self) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
        """A function from (bucket, numbers of examples) to the batch, padded."""
        tf = tensorflow()

        with tf.device("CPU:0"):
            shapes = tf.constant(self.shapes, tf.int64)
            parts = [tuple(None if one is None else tf.constant(one) for one in part) for part in self._texts.parts]

        def padded(bucket, rows):
            found, sequence = [], 0
            for values, starts, lengths in parts:
                if lengths is None:
                    found.append(tf.gather(values, rows))
                    continue
                places = tf.range(shapes[bucket, sequence])
                there = places < tf.gather(lengths, rows)[:, None]  # (batch, tokens)
                ids = tf.gather(values, tf.where(there, tf.gather(starts, rows)[:, None] + places, 0))
                found.append(tf.where(there, ids, 0))
                sequence += 1
            return tuple(found)

        return padded

    def in_order(self) -> "tf.data.Dataset[Any]":
        """Every example once, a bucket after the other, each in its own order: a `tf.data.Dataset` of batches."""
        tf = tensorflow()

        buckets, starts, ends, end = [], [], [], 0
        for bucket, (rows, size) in enumerate(zip(self.rows, self.sizes, strict=True)):
            first = range(end, end + len(rows), size)
            end += len(rows)
            buckets += [bucket] * len(first)
            starts += first
            ends += [min(start + size, end) for start in first]
        with tf.device("CPU:0"):
            order = tf.constant(np.concatenate(self.rows), tf.int64)
        batch = self.batch()
        numbers = tf.data.Dataset.from_tensor_slices((buckets, starts, ends))
        return numbers.map(plain(lambda bucket, start, end: batch(bucket, order[start:end])), tf.data.AUTOTUNE)


def _quantised(lengths: np.ndarray) -> np.ndarray:
    """The next lengths, at least 1, that buckets have."""
    lengths = np.maximum(lengths, 1)
    unit = 2 ** np.maximum(np.ceil(np.log2(lengths / (2 * FINENESS))), 0).astype(int)
    return -(-lengths // unit) * unit


def _divided(lengths: np.ndarray, quantised: np.ndarray, size: Callable[[np.ndarray], int]) -> list[np.ndarray]:
    """The numbers of examples, in lists of like lengths.

    The list is divided, again and again, where it saves most padding, until little enough is left.

    Args:
        lengths, quantised: int (n, sequences), the latter what a batch is padded to.
        size: how many examples a batch of a shape has; no list has fewer, unless it is the only one.
    """
    lists = [np.arange(len(lengths))]
    best = [_division(quantised, lists[0], size)]
    while len(lists) < BUCKETS:
        positions = sum(len(rows) * quantised[rows].max(axis=0).sum() for rows in lists)
        saved = [saving for saving, *_ in best]
        if 1 - lengths.sum() / positions <= WASTE or max(saved) <= 0:
            break
        chosen = int(np.argmax(saved))
        _, low, high = best[chosen]
        lists[chosen : chosen + 1] = [low, high]
        best[chosen : chosen + 1] = [_division(quantised, rows, size) for rows in (low, high)]
    return lists


def _division(
    quantised: np.ndarray, rows: np.ndarray, size: Callable[[np.ndarray], int]
) -> tuple[Any, np.ndarray, np.ndarray]:
    """(positions saved, shorter, longer) of the best way to divide `rows` at a length of one sequence; 0 for none."""
    found = (0, rows, rows)
    whole = len(rows) * quantised[rows].max(axis=0).sum()
    for sequence in range(quantised.shape[1]):
        order = rows[np.argsort(quantised[rows, sequence], kind="stable")]
        ordered = quantised[order]  # (n, sequences)
        low = np.maximum.accumulate(ordered, axis=0)
        high = np.maximum.accumulate(ordered[::-1], axis=0)[::-1]
        for cut in np.flatnonzero(np.diff(ordered[:, sequence])) + 1:
            saving = whole - cut * low[cut - 1].sum() - (len(rows) - cut) * high[cut].sum()
            enough = cut >= size(low[cut - 1]) and len(rows) - cut >= size(high[cut])
            if enough and saving > found[0]:
                found = (saving, np.sort(order[:cut]), np.sort(order[cut:]))
    return found
