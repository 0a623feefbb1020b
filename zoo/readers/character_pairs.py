"""Byte-pair encoding of characters, as Llama has it of SentencePiece, with stock TensorFlow operations."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.errors import InputError
from zoo.readers.cutting import BREAK, lookup_table, split_at_breaks
from zoo.readers.merging import Pairs

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""Stands for a space."""

BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""Tokens of the bytes of characters that the vocabulary lacks."""

PREFIXES = {"always": "^", "missing": f"^(?:{SPACE})?"}
"""{when a space is put in front of a text: what `SPACE` in front replaces}; "missing" is where it begins with none."""


def spelled_characters(token: str, special: bool) -> bytes:
    """The bytes that a token stands for."""
    if token in BYTES and not special:
        return bytes([BYTES.index(token)])
    return token.encode() if special else token.replace(SPACE, " ").encode()


class CharacterPairs(Pairs):
    """Merges the characters of a whole text, a space in front of it; a character that is no token is its bytes.

    Args:
        tokens: the vocabulary in the order of ids, from `SPECIAL` on, with `SPACE` for spaces, and `BYTES`.
        merges: the pairs of tokens that are merged, the first ones first; a space stands between the two.
        pattern: one of `PREFIXES`.
        scores: of `tokens`, instead of merges: all pairs that give a token are merged, those of the highest score
            first, as SentencePiece does.
        specials: those of `tokens` that no text has.
    Raises: `InputError` for merges of tokens that are not there, and for a byte that is not there.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        merges: Iterable[str],
        pattern: str,
        scores: Sequence[float] = (),
        specials: Iterable[str] = (),
    ) -> None:
        if pattern not in PREFIXES:
            raise InputError(f"pattern must be one of {', '.join(PREFIXES)}. Received: {pattern!r}.")
        merges, ranks = tuple(merges), None
        if scores:
            specials = set(specials)
            merges, ranks = _scored(
                {one: score for one, score in zip(tokens, scores, strict=True) if one not in specials}
            )
        super().__init__(tokens, merges, ranks)
        self._prefix = PREFIXES[pattern]
        # where no merge joins a space to what stands before it, a text is cut there, and each word merged once
        self._cut = not any(SPACE in merge.replace(" ", "").lstrip(SPACE) for merge in merges)
        missing = [one for one in BYTES if one not in self._numbers]
        if missing:
            raise InputError(f"The vocabulary lacks the token of a byte: {missing[0]!r}.")
        self._bytes = np.array([self._numbers[one] for one in BYTES], np.int32)
        characters = [token for token in tokens if len(token) == 1]
        self._characters = lookup_table(["", *characters], [-1, *(self._numbers[one] for one in characters)], -1)
        self.tables.append(self._characters)

    def _words(self, texts: Tensor) -> Tensor:
        tf = tensorflow()

        spaced = tf.strings.regex_replace(texts, " ", SPACE)
        spaced = tf.where(texts == "", "", tf.strings.regex_replace(spaced, self._prefix, SPACE, replace_global=False))
        if self._cut:
            spaced = tf.strings.regex_replace(spaced, f"([^{SPACE}]){SPACE}", rb"\1" + BREAK + SPACE.encode())
        return split_at_breaks(spaced)

    def _smallest(self, words: Tensor) -> tuple[Tensor, Tensor]:
        tf = tensorflow()

        characters = tf.strings.unicode_split(words, "UTF-8")
        found = tf.cast(self._characters.lookup(characters.flat_values), tf.int32)
        parts = tf.strings.unicode_decode(characters.flat_values, "ISO-8859-1")  # a byte is a character of it
        ids, owners = tf.gather(self._bytes, parts.flat_values), parts.value_rowids()
        known = tf.gather(found, owners)
        first = owners != tf.concat([[-1], owners[:-1]], axis=0)
        keep = (known < 0) | first
        ids, owners = tf.boolean_mask(tf.where(known < 0, ids, known), keep), tf.boolean_mask(owners, keep)
        return ids, tf.gather(characters.value_rowids(), owners)


def _scored(scores: Mapping[str, float]) -> tuple[tuple[str, ...], np.ndarray]:
    """(all pairs of tokens that give a token, with a space between the two, the rank of each)."""
    merges, found = [], []
    for token, score in scores.items():
        pairs = [(token[:end], token[end:]) for end in range(1, len(token))]
        merges += [" ".join(pair) for pair in pairs if scores.keys() >= set(pair)]
        found += [-score] * (len(merges) - len(found))
    return tuple(merges), np.unique(np.array(found), return_inverse=True)[1]
