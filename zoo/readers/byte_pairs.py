"""Byte-level byte-pair encoding, as GPT-2 has it, with stock TensorFlow operations."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.tokens import UNKNOWN
from zoo.errors import InputError
from zoo.readers.composed import Composed
from zoo.readers.cutting import BREAK, lookup_table, split_at_breaks
from zoo.readers.merging import Pairs

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


class BytePairs(Pairs):
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
        super().__init__(tokens, merges)
        self._steps = [(regex.format(**_CLASSES), by) for regex, by in PATTERNS[pattern]]
        self._bytes = np.full(256, -1, np.int32)
        for letter, byte in alphabet().items():
            self._bytes[byte] = self._numbers.get(letter, UNKNOWN if unknown else -1)
        self._whole = whole
        if whole:
            letters = set(alphabet())
            raw = {one: number for one, number in self._numbers.items() if letters.issuperset(one)}
            self.tables.append(lookup_table([spelled_bytes(one, False) for one in raw], list(raw.values()), -1))
        self._composed = Composed() if composed else None
        self.tables += self._composed.tables if self._composed is not None else []

    def _words(self, texts: Tensor) -> Tensor:
        tf = tensorflow()

        if self._composed is not None:
            texts = self._composed.normalize(texts)
        for regex, by in self._steps:
            texts = tf.strings.regex_replace(texts, regex, by)
        return split_at_breaks(texts)

    def _smallest(self, words: Tensor) -> tuple[Tensor, Tensor]:
        tf = tensorflow()

        letters = tf.strings.unicode_decode(words, "ISO-8859-1")  # a byte is a character of it
        ids, rows = tf.gather(self._bytes, letters.flat_values), letters.value_rowids()
        if (self._bytes < 0).any():  # what the vocabulary has no byte for is nothing
            ids, rows = tf.boolean_mask(ids, ids >= 0), tf.boolean_mask(rows, ids >= 0)
        if self._whole:
            found = tf.cast(self.tables[1].lookup(words), tf.int32)
            of = tf.gather(found, rows)
            first = rows != tf.concat([[-1], rows[:-1]], axis=0)
            keep = (of < 0) | first
            ids, rows = tf.boolean_mask(tf.where(of < 0, ids, of), keep), tf.boolean_mask(rows, keep)
        return ids, rows
