"""Byte-level byte-pair encoding, as GPT-2 has it, with stock TensorFlow operations."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.tokens import SPECIAL, UNKNOWN
from zoo.errors import InputError
from zoo.readers.composed import Composed
from zoo.readers.cutting import BREAK, lookup_table, split_at_breaks

_WHITE = r"\t-\r \x{85}\p{Z}"  # \s of RE2 is ASCII, and lacks \v
_CLASSES = {
    "white": f"[{_WHITE}]",
    "black": f"[^{_WHITE}]",
    "blank": r"[\t\v\f \x{85}\p{Z}]",  # white, but for \r and \n
    "other": rf"[^{_WHITE}\p{{L}}\p{{N}}]",
}

# `\s+(?!\S)`, for RE2 has no lookahead: white space is apart from the last of it, which may begin the word behind
_LAST = ("({white}+)({white}{black})", rb"\1" + BREAK + rb"\2")
_LAST_BLANK = ("({blank}+)({blank}{black})", rb"\1" + BREAK + rb"\2")
_WORDS = (r"'(?:[stmd]|re|ve|ll)| ?\p{{L}}+| ?\p{{N}}+| ?{other}+|{white}+", rb"\0" + BREAK)
_DIGITS = (r"\p{{N}}", BREAK + rb"\0" + BREAK)


def _with_digits(digits: str) -> tuple[str, bytes]:
    """The words of tiktoken's cl100k, in which digits stand in such groups."""
    return (
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{{{L}}}}\p{{{{N}}}}]?\p{{{{L}}}}+|{digits}"
        r"| ?{other}+[\r\n]*|{white}*[\r\n]+|{white}+",
        rb"\0" + BREAK,
    )


PATTERNS: dict[str, tuple[tuple[str, bytes], ...]] = {
    "gpt2": (_LAST, _WORDS),
    "smollm2": (_DIGITS, _LAST, _WORDS),
    "llama3": (_LAST_BLANK, _with_digits(r"\p{{N}}{{1,3}}")),
    "qwen2": (_LAST_BLANK, _with_digits(r"\p{{N}}")),
}
"""{name of how a text is cut into words: expressions and what replaces what they match, one after the other}."""


@functools.cache
def alphabet() -> dict[str, int]:
    """{letter: byte}: how vocabularies write bytes, those that cannot be printed as letters from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printed))
    return {chr(byte): byte for byte in printed} | {chr(0x100 + number): byte for number, byte in enumerate(others)}


def spelled_bytes(token: str, special: bool) -> bytes:
    """The bytes that a token stands for."""
    letters = alphabet()
    return token.encode() if special else bytes(letters[letter] for letter in token)


class BytePairs:
    """Cuts texts into words, and words into the pieces that merging their bytes leaves.

    Args:
        tokens: the vocabulary in the order of ids, from `SPECIAL` on, in letters of `alphabet`.
        merges: the pairs of tokens that are merged, the first ones first; a space stands between the two.
        pattern: one of `PATTERNS`.
        whole: whether a word that is a token is not merged.
        unknown: whether bytes that the vocabulary lacks are UNKNOWN; else they are nothing.
        composed: whether texts are read in normalization form C.
    Raises: `InputError` for merges of tokens that are not there.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        merges: Iterable[str],
        pattern: str,
        whole: bool = False,
        unknown: bool = False,
        composed: bool = False,
    ) -> None:
        if pattern not in PATTERNS:
            raise InputError(f"pattern must be one of {', '.join(PATTERNS)}. Received: {pattern!r}.")
        self._steps = [(regex.format(**_CLASSES), by) for regex, by in PATTERNS[pattern]]
        self._size = SPECIAL + len(tokens)
        numbers = {token: number for number, token in enumerate(tokens, SPECIAL)}
        self._bytes = np.full(256, -1, np.int32)
        for letter, byte in alphabet().items():
            self._bytes[byte] = numbers.get(letter, UNKNOWN if unknown else -1)
        left, right, made = np.array([_merge(merge, numbers) for merge in merges], np.int64).reshape(-1, 3).T
        ranks = np.arange(len(made))
        self._made = np.append(made, 0).astype(np.int32)  # of the rank of no merge, 0
        last = np.full(self._size, -1)
        np.maximum.at(last, made, ranks)
        # whether a pair of what a merge made never comes before that merge; then all its places are merged at once
        self._ordered = bool((last[left] < ranks).all() and (last[right] < ranks).all())
        keys, first = np.unique(left * self._size + right, return_index=True)  # of a pair given twice the first
        self.tables = [lookup_table(keys, ranks[first], len(ranks))]
        self._whole = whole
        if whole:
            letters = set(alphabet())
            raw = {one: number for one, number in numbers.items() if letters.issuperset(one)}
            self.tables.append(lookup_table([spelled_bytes(one, False) for one in raw], list(raw.values()), -1))
        self._composed = Composed() if composed else None
        self.tables += self._composed.tables if self._composed is not None else []

    def ids(self, texts: Tensor) -> Tensor:
        """Strings (batch,) to ids, a `tf.RaggedTensor` int32 (batch, tokens)."""
        tf = tensorflow()

        with tf.device("CPU:0"):
            words = self._words(texts)
            unique, where = tf.unique(words.flat_values)
            ids = tf.gather(self._merged(unique), where)  # (words, pieces)
            return tf.RaggedTensor.from_row_splits(ids, words.row_splits).merge_dims(1, 2)

    def _words(self, texts: Tensor) -> Tensor:
        """Strings (batch,) to those of their words, a `tf.RaggedTensor` (batch, words)."""
        tf = tensorflow()

        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        if self._composed is not None:
            texts = self._composed.normalize(texts)
        for regex, by in self._steps:
            texts = tf.strings.regex_replace(texts, regex, by)
        return split_at_breaks(texts)

    def _merged(self, words: Tensor) -> Tensor:
        """Strings (n,) to ids of their pieces, a `tf.RaggedTensor` int32 (n, pieces)."""
        tf = tensorflow()

        letters = tf.strings.unicode_decode(words, "ISO-8859-1")  # a byte is a character of it
        count = tf.size(words, tf.int64)
        ids, rows = tf.gather(self._bytes, letters.flat_values), letters.value_rowids()
        if (self._bytes < 0).any():  # what the vocabulary has no byte for is nothing
            ids, rows = tf.boolean_mask(ids, ids >= 0), tf.boolean_mask(rows, ids >= 0)
        if self._whole:
            found = tf.cast(self.tables[1].lookup(words), tf.int32)
            of = tf.gather(found, rows)
            first = rows != tf.concat([[-1], rows[:-1]], axis=0)
            keep = (of < 0) | first
            ids, rows = tf.boolean_mask(tf.where(of < 0, ids, of), keep), tf.boolean_mask(rows, keep)
        none = tf.constant(len(self._made) - 1, tf.int64)

        def merge(ids, rows, _):
            pair = tf.cast(ids[:-1], tf.int64) * self._size + tf.cast(ids[1:], tf.int64)
            before = rows[:-1]
            rank = tf.where(before == rows[1:], self.tables[0].lookup(pair), none)
            best = tf.gather(tf.math.unsorted_segment_min(rank, before, count), before)
            hit = self._apart((rank == best) & (rank < none), before, count)
            ids = tf.concat([tf.where(hit, tf.gather(self._made, rank), ids[:-1]), ids[-1:]], axis=0)
            keep = tf.concat([ids[:1] >= 0, ~hit], axis=0)
            return tf.boolean_mask(ids, keep), tf.boolean_mask(rows, keep), tf.reduce_any(hit)

        shapes = (tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([]))
        state = (ids, rows, tf.constant(True))
        ids, rows, _ = tf.while_loop(lambda *state: state[2], merge, state, shape_invariants=shapes)
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
