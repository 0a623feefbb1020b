"""What merges pairs of pieces by rank, all words at once, with stock TensorFlow operations (Sennrich et al. 2016)."""

from collections.abc import Iterable, Sequence

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.tokens import SPECIAL
from zoo.errors import InputError
from zoo.readers.cutting import lookup_table


class Pairs:
    """Cuts texts into words, and words into the pieces that merging pairs of them leaves.

    A class of it gives `_words` and `_smallest`.

    Args:
        tokens: the vocabulary in the order of ids, from `SPECIAL` on.
        merges: the pairs of tokens that are merged, the first ones first; a space stands between the two.
        ranks: the rank of each merge, the lowest first, where several have one; of these the leftmost in a word is made
            first. None: their numbers.
    Attributes:
        tables: the tables that `ids` looks things up in.
    Raises: `InputError` for merges of tokens that are not there.
    """

    def __init__(self, tokens: Sequence[str], merges: Iterable[str], ranks: np.ndarray | None = None) -> None:
        self._size = SPECIAL + len(tokens)
        self._numbers = {token: number for number, token in enumerate(tokens, SPECIAL)}
        left, right, made = np.array([_merge(merge, self._numbers) for merge in merges], np.int64).reshape(-1, 3).T
        ranks = np.arange(len(made)) if ranks is None else ranks
        self._ranks = np.append(ranks, len(made))
        self._made = np.append(made, 0).astype(np.int32)  # of no merge, 0
        last = np.full(self._size, -1)
        np.maximum.at(last, made, ranks)
        # whether a pair of what a merge made never comes before that merge; then all its places are merged at once
        self._ordered = bool((last[left] < ranks).all() and (last[right] < ranks).all())
        keys, first = np.unique(left * self._size + right, return_index=True)  # of a pair given twice the first
        self.tables = [lookup_table(np.append(keys, -1), np.append(first, len(made)), len(made))]  # never empty

    def ids(self, texts: Tensor) -> Tensor:
        """Strings (batch,) to ids, a `tf.RaggedTensor` int32 (batch, tokens)."""
        tf = tensorflow()

        with tf.device("CPU:0"):
            words = self._words(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"))
            unique, where = tf.unique(words.flat_values)
            merged = self._merged(*self._smallest(unique), tf.size(unique, tf.int64))
            ids = tf.gather(merged, where)  # (words, pieces)
            return tf.RaggedTensor.from_row_splits(ids, words.row_splits).merge_dims(1, 2)

    def _words(self, texts: Tensor) -> Tensor:
        """UTF-8 (batch,) to the strings of its words, a `tf.RaggedTensor` (batch, words)."""
        raise NotImplementedError

    def _smallest(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """(ids int32 (pieces,), the word of each int64 (pieces,)) of strings (n,), before anything is merged."""
        raise NotImplementedError

    def _merged(self, ids: Tensor, rows: Tensor, count: Tensor) -> Tensor:
        """What `_smallest` returned of `count` words, merged: a `tf.RaggedTensor` int32 (count, pieces)."""
        tf = tensorflow()

        none = tf.constant(len(self._made) - 1, tf.int64)
        ranks = tf.constant(self._ranks, tf.int64)

        def step(ids, rows, _):
            pair = tf.cast(ids[:-1], tf.int64) * self._size + tf.cast(ids[1:], tf.int64)
            before = rows[:-1]
            merge = tf.where(before == rows[1:], self.tables[0].lookup(pair), none)
            rank = tf.gather(ranks, merge)
            best = tf.gather(tf.math.unsorted_segment_min(rank, before, count), before)
            hit = self._apart((rank == best) & (rank < none), before, count)
            ids = tf.concat([tf.where(hit, tf.gather(self._made, merge), ids[:-1]), ids[-1:]], axis=0)
            keep = tf.concat([ids[:1] >= 0, ~hit], axis=0)
            return tf.boolean_mask(ids, keep), tf.boolean_mask(rows, keep), tf.reduce_any(hit)

        shapes = (tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([]))
        state = (ids, rows, tf.constant(True))
        ids, rows, _ = tf.while_loop(lambda *state: state[2], step, state, shape_invariants=shapes)
        return tf.RaggedTensor.from_value_rowids(ids, rows, count)

    def _apart(self, hit: Tensor, rows: Tensor, count: Tensor) -> Tensor:
        """Of places `hit` that follow each other every other one, from the first of them on."""
        tf = tensorflow()

        places = tf.range(tf.size(hit, tf.int64))
        if not self._ordered:
            first = tf.math.unsorted_segment_min(tf.where(hit, places, places.dtype.max), rows, count)
            return hit & (places == tf.gather(first, rows))
        begins = hit & ~tf.concat([[False], hit[:-1]], axis=0)
        run = tf.cumsum(tf.cast(begins, tf.int32)) - 1
        start = tf.gather(tf.concat([tf.boolean_mask(places, begins), [0]], axis=0), tf.maximum(run, 0))
        return hit & ((places - start) % 2 == 0)


def _merge(merge: str, numbers: dict[str, int]) -> tuple[int, int, int]:
    left, _, right = merge.partition(" ")
    try:
        return numbers[left], numbers[right], numbers[left + right]
    except KeyError as error:
        raise InputError(f"The merge {merge!r} is of a token that the vocabulary lacks: {error.args[0]!r}.") from None
