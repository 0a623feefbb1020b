"""WordPiece, as BERT has it, with stock TensorFlow operations."""

import functools
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.tokens import SPECIAL, UNKNOWN
from zoo.readers.cutting import BREAK, lookup_table, split_at_breaks

CONTINUED = "##"
"""Before a piece that does not begin its word."""

LONGEST_WORD = 100
"""Characters of a word at most; a longer one is unknown."""

_DROPPED = r"[\x{0}-\x{8}\v\f\x{e}-\x{1f}\x{7f}-\x{9f}\p{Cf}\p{Co}\p{Cs}\x{fffd}]"
_WHITE = r"[\t\n\r\p{Z}]+"
_CHINESE = (
    r"[\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{20000}-\x{2a6df}\x{2a700}-\x{2b73f}\x{2b740}-\x{2b81f}"
    r"\x{2b920}-\x{2ceaf}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}]"
)
_PUNCTUATION = r"[!-/:-@\[-`{-~\p{P}]"
_ALONE = BREAK + rb"\0" + BREAK


class WordPieces:
    """Cuts texts into words, and words into the longest pieces, from the left.

    Args:
        tokens: the vocabulary in the order of ids, from `SPECIAL` on.
        lower: whether texts are read in lower case and without accents.
        specials: those of `tokens` that no text has.
    """

    def __init__(self, tokens: Sequence[str], lower: bool = True, specials: Iterable[str] = ()) -> None:
        specials = set(specials)
        numbers = {one: number for number, one in enumerate(tokens, SPECIAL) if one not in specials}
        self._longest = max((len(one.removeprefix(CONTINUED)) for one in numbers), default=1)
        self._table = lookup_table(list(numbers), list(numbers.values()), UNKNOWN)
        self.tables = [self._table]
        self._lower = lower
        if lower:
            plain = _plain()
            self.tables.append(lookup_table(list(plain), list(plain.values()), BREAK))

    def ids(self, texts: Tensor) -> Tensor:
        """Strings (batch,) to ids, a `tf.RaggedTensor` int32 (batch, tokens)."""
        tf = tensorflow()

        with tf.device("CPU:0"):
            texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
            for regex, by in ((_DROPPED, b""), (_WHITE, BREAK), (_CHINESE, _ALONE)):
                texts = tf.strings.regex_replace(texts, regex, by)
            spaced = split_at_breaks(texts)
            unique, where = tf.unique(spaced.flat_values)
            words = split_at_breaks(tf.strings.regex_replace(self._folded(unique), _PUNCTUATION, _ALONE))
            different, which = tf.unique(words.flat_values)
            pieces = tf.gather(self._pieces(different), which)  # (words, pieces)
            ids = tf.RaggedTensor.from_row_splits(pieces, words.row_splits).merge_dims(1, 2)  # (unique, pieces)
            return tf.RaggedTensor.from_row_splits(tf.gather(ids, where), spaced.row_splits).merge_dims(1, 2)

    def _folded(self, words: Tensor) -> Tensor:
        """Strings (n,) in lower case and without accents."""
        tf = tensorflow()

        if not self._lower:
            return words
        words = tf.strings.lower(words)  # of ASCII
        others = tf.where(~tf.strings.regex_full_match(words, r"[\x{0}-\x{7f}]*"))
        characters = tf.strings.unicode_split(tf.gather_nd(words, others), "UTF-8")
        plain = self.tables[1].lookup(characters.flat_values)
        plain = tf.where(plain == BREAK, characters.flat_values, plain)
        folded = tf.strings.reduce_join(characters.with_flat_values(plain), axis=1)
        return tf.tensor_scatter_nd_update(words, others, folded)

    def _pieces(self, words: Tensor) -> Tensor:
        """Strings (n,) to ids of their pieces, a `tf.RaggedTensor` int32 (n, pieces)."""
        tf = tensorflow()

        whole = tf.cast(self._table.lookup(words), tf.int32)
        short = tf.strings.length(words, "UTF8_CHAR") <= LONGEST_WORD
        found = (whole != UNKNOWN) | ~short
        once = tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(tf.where(short, whole, UNKNOWN), found), tf.cast(found, tf.int64)
        )
        rest = tf.boolean_mask(tf.range(tf.size(words, tf.int64)), ~found)
        ids, rows = self._longest_first(tf.gather(words, rest))
        cut = tf.RaggedTensor.from_value_rowids(ids, tf.gather(rest, rows), tf.size(words, tf.int64))
        return tf.concat([once, cut], axis=1)

    def _longest_first(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """(ids of the pieces of strings (n,), numbers of the words they are of); of a word without any UNKNOWN."""
        tf = tensorflow()

        characters = tf.strings.unicode_split(words, "UTF-8")
        flat, rows = characters.flat_values, characters.value_rowids()
        starts, limits = characters.row_starts(), characters.row_limits()
        places = tf.range(tf.size(flat, tf.int64))
        room = tf.gather(limits, rows) - places  # characters to the end of the word
        first = places == tf.gather(starts, rows)
        piece = tf.where(first, "", CONTINUED)
        ids, lengths = tf.fill(tf.shape(flat), UNKNOWN), tf.zeros_like(places)
        behind = flat
        for length in range(1, self._longest + 1):
            piece = tf.strings.join([piece, behind])
            behind = tf.concat([behind[1:], behind[:1]], axis=0)
            now = tf.cast(self._table.lookup(piece), tf.int32)
            fits = (now != UNKNOWN) & (room >= length)
            ids, lengths = tf.where(fits, now, ids), tf.where(fits, tf.constant(length, tf.int64), lengths)
        lengths = tf.concat([lengths, [0]], axis=0)

        def step(at, taken):
            going = at < limits  # words that are not at their end; of those that are stuck nothing moves on
            taken = tf.tensor_scatter_nd_update(
                taken, tf.boolean_mask(at, going)[:, None], tf.ones_like(tf.boolean_mask(at, going))
            )
            return at + tf.where(going, tf.gather(lengths, at), 0), taken

        def more(at, taken):
            return tf.reduce_any((at < limits) & (tf.gather(lengths, at) > 0))

        at, taken = tf.while_loop(more, step, (starts, tf.zeros_like(places)))
        stuck = tf.gather(at < limits, rows)
        keep = tf.where(stuck, first, taken > 0)
        return tf.boolean_mask(tf.where(stuck, UNKNOWN, ids), keep), tf.boolean_mask(rows, keep)


def joined_piece(token: str) -> bytes:
    """A token as it is written behind others: after a space, but for what continues a word and `.,?!`."""
    if token.startswith(CONTINUED):
        return token.removeprefix(CONTINUED).encode()
    return (token if token in (".", ",", "?", "!") else f" {token}").encode()


@functools.cache
def _plain() -> dict[str, str]:
    """{character: it in lower case and without accents}, of those that are not ASCII and change by it."""
    found = {}
    for code in range(0x80, sys.maxunicode + 1):
        one = chr(code)
        if 0xD800 <= code < 0xE000:  # surrogates
            continue
        parts = unicodedata.normalize("NFD", one)
        plain = "".join(part.lower() for part in parts if unicodedata.category(part) != "Mn")
        if plain != one:
            found[one] = plain
    return found
