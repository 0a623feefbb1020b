"""`Tokenizer`: text to ids and ids back to text, with stock TensorFlow operations only.

It is a Keras layer whose config holds the vocabulary, so that no file lies beside the model; training, `zoo predict`
and the export share it.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.tokens import END, PADDING, SPECIAL, START, UNKNOWN
from zoo.errors import InputError
from zoo.readers.byte_pairs import BytePairs, spelled_bytes
from zoo.readers.character_pairs import CharacterPairs, spelled_characters
from zoo.readers.cutting import lookup_table
from zoo.readers.word_pieces import WordPieces, joined_piece

KINDS = ("characters", "bytes", "words", "subwords")
"""Kinds whose vocabulary is learned from data."""

PUBLISHED = ("bpe", "character_bpe", "wordpiece")
"""Kinds whose vocabulary comes with a published checkpoint."""

LONGEST = 16
"""Characters of a subword at most."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for bytes that are not UTF-8, and for a token that the vocabulary has not."""


@keras.saving.register_keras_serializable("zoo")
class Tokenizer(keras.layers.Layer):
    """Text to ids of tokens, and back. 0 is padding, 1 the start, 2 the end of a text, 3 a token that is not known.

    - characters: Unicode code points.
    - bytes: those of the text in UTF-8; nothing is unknown.
    - words: runs of letters, digits and underscores, and every other character by itself; a space before either is
      part of it. A text is read as if a space stood before it, so that its first word is the same as further on.
    - subwords: the pieces of such words, one before a space, of which the sum of scores is largest (a unigram model;
      Kudo 2018). Of equal sums the one whose last piece is longest is taken, then the one before it, as SentencePiece
      does.

    - bpe: pieces of words that merging their bytes leaves (`byte_pairs`; Sennrich et al. 2016, Radford et al. 2019);
      nothing is unknown, and no space is put in front of a text.
    - character_bpe: pieces of the text that merging its characters leaves, a space in front of it (`character_pairs`);
      what is no token is its bytes.
    - wordpiece: the longest pieces of words, from the left (`word_pieces`; Devlin et al. 2019). Words and punctuation
      come back with one space between them.

    What was encoded is decoded to the same text, but for word pieces, texts that were composed, unknown tokens, and
    `REPLACEMENT` for bytes that are not UTF-8.

    Args:
        kind: one of `KINDS` or `PUBLISHED`.
        tokens: the vocabulary in the order of ids, from 4 on; of bytes none is given.
        scores: log-probabilities of `tokens`, for subwords; of character_bpe without merges, those of SentencePiece,
            where what gives the token of the highest is merged first.
        merges: for bpe and character_bpe, pairs of tokens with a space between the two, the first ones merged first.
        pattern: for bpe, how a text is cut into words, one of `byte_pairs.PATTERNS`; for character_bpe, when a space is
            put in front, one of `character_pairs.PREFIXES`.
        whole: for bpe, whether a word that is a token is not merged.
        unknown: for bpe, whether bytes that the vocabulary lacks are unknown tokens; else they are nothing.
        lower: for wordpiece, whether texts are read in lower case and without accents.
        specials: for kinds of `PUBLISHED`, those of `tokens` that stand for no text, such as "[MASK]" or "<|im_end|>";
            in a text they are read as any other text.
        hides: the one of `specials` that stands in place of a token that is to be found; None: tokens that are to be
            found are unknown.
        composed: for bpe, whether texts are read in normalization form C.
    """

    def __init__(
        self,
        kind: str,
        tokens: Iterable[str] = (),
        scores: Iterable[float] = (),
        merges: Iterable[str] = (),
        pattern: str = "gpt2",
        whole: bool = False,
        unknown: bool = False,
        lower: bool = True,
        specials: Iterable[str] = (),
        hides: str | None = None,
        composed: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.tokens: tuple[str, ...]
        self.scores: tuple[float, ...]
        self.merges: tuple[str, ...]
        self._hold("tokens", tuple(tokens))
        self._hold("scores", tuple(scores))
        self._hold("merges", tuple(merges))
        self.pattern = pattern
        self.whole = whole
        self.unknown = unknown
        self.composed = composed
        self.lower = lower
        self.specials: tuple[str, ...] = tuple(specials)
        self.hides = hides
        self.built = True  # it has no weights
        self._written: tuple[bytes, ...]
        self._hold("_written", (b"", b"", b"", *self._spellings()))
        self._longest = min(LONGEST, max(map(len, self.tokens), default=1))
        if kind in PUBLISHED:
            self._cutter = {
                "bpe": lambda: BytePairs(self.tokens, self.merges, pattern, whole, unknown, composed),
                "character_bpe": lambda: CharacterPairs(self.tokens, self.merges, pattern, self.scores, self.specials),
                "wordpiece": lambda: WordPieces(self.tokens, lower, self.specials),
            }[kind]()
            self._tables = self._cutter.tables  # a layer saves the tables that it has itself
        elif kind != "bytes":
            self._table = lookup_table(self._written[SPECIAL:], range(SPECIAL, self.size), UNKNOWN)

    def _hold(self, name: str, values: tuple[Any, ...]) -> None:
        """Sets an attribute in which Keras looks for no layers: of a published vocabulary that takes seconds."""
        object.__setattr__(self, name, values)

    def _spellings(self) -> list[bytes]:
        """What the ids from UNKNOWN on are written as."""
        if self.kind == "bytes":
            return [REPLACEMENT.encode(), *(bytes([byte]) for byte in range(256))]
        if self.kind in ("bpe", "character_bpe"):
            specials, spelled = set(self.specials), spelled_bytes if self.kind == "bpe" else spelled_characters
            return [REPLACEMENT.encode(), *(spelled(one, one in specials) for one in self.tokens)]
        if self.kind == "wordpiece":
            return [joined_piece(one) for one in (REPLACEMENT, *self.tokens)]
        return [one.encode() for one in (REPLACEMENT, *self.tokens)]

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self._written)

    @property
    def mask(self) -> int:
        """The id that hides a token from networks that find it again."""
        return UNKNOWN if self.hides is None else SPECIAL + self.tokens.index(self.hides)

    # From text to ids -------------------------------------------------------------------------------------------

    def encode(self, texts: Tensor, masks: bool = False) -> Tensor:
        """Strings (batch,) to ids of their tokens and END, a `tf.RaggedTensor` int32 (batch, tokens).

        Args:
            masks: whether `hides`, where a text has it, is `mask` instead of text.
        """
        tf = tensorflow()

        if masks and self.hides is not None:
            parts = tf.strings.split(texts, self.hides)
            ids = self.encode(parts.flat_values)  # (parts, tokens and END, which becomes the mask)
            ids = tf.concat([ids[:, :-1], tf.fill([ids.nrows(tf.int32), 1], self.mask)], axis=1)
            ids = tf.RaggedTensor.from_row_splits(ids, parts.row_splits).merge_dims(1, 2)[:, :-1]
        else:
            ids = self._ids(texts)
        ends = tf.fill([ids.nrows(tf.int32), 1], END)
        return tf.concat([ids, ends], axis=1)

    def _ids(self, texts: Tensor) -> Tensor:
        """Strings (batch,) to ids of their tokens, a `tf.RaggedTensor` int32 (batch, tokens)."""
        tf = tensorflow()

        if self.kind in PUBLISHED:
            return self._cutter.ids(texts)
        if self.kind == "characters":
            return self._looked_up(tf.strings.unicode_split(texts, "UTF-8"))
        if self.kind == "bytes":
            valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
            return tf.strings.unicode_decode(valid, "ISO-8859-1") + SPECIAL  # a byte is a character of it
        return self._looked_up(_words(texts)) if self.kind == "words" else self._subwords(texts)

    @functools.cached_property
    def encode_now(self) -> Callable[[Tensor], Tensor]:
        """`encode` as a graph, traced once; not a `tf.Function`, which TensorFlow would save with a model."""
        return self._graph(masks=False)

    @functools.cached_property
    def encode_masked_now(self) -> Callable[[Tensor], Tensor]:
        """As `encode_now`, with masks recognised."""
        return self._graph(masks=True)

    def _graph(self, masks: bool) -> Callable[[Tensor], Tensor]:
        tf = tensorflow()

        signature = [tf.TensorSpec([None], tf.string)]
        graph = tf.function(lambda texts: self.encode(texts, masks), input_signature=signature)
        return lambda texts: graph(texts)

    def _looked_up(self, tokens: Tensor) -> Tensor:
        tf = tensorflow()

        return tf.ragged.map_flat_values(lambda flat: tf.cast(self._table.lookup(flat), tf.int32), tokens)

    def _subwords(self, texts: Tensor) -> Tensor:
        """The best pieces of each word (Viterbi), every different word once."""
        tf = tensorflow()

        words = _before_spaces(texts)
        unique, where = tf.unique(tf.concat([[" "], words.flat_values], axis=0))  # one at least, as loops want it
        ids = tf.gather(self._segmented(unique), where[1:])  # (words, pieces)
        return tf.RaggedTensor.from_row_splits(ids, words.row_splits).merge_dims(1, 2)

    def _segmented(self, words: Tensor) -> Tensor:
        """Strings (n,) to ids of their pieces, a `tf.RaggedTensor` int32 (n, pieces)."""
        tf = tensorflow()

        characters = tf.strings.unicode_split(words, "UTF-8")
        ids, scores = self._pieces(characters)  # (n, time, longest): of those that end here, the longest first
        count, steps = tf.unstack(tf.shape(ids)[:2])
        unreached = tf.fill([count, self._longest - 1], -np.inf)
        before = tf.concat([unreached, tf.zeros([count, 1])], axis=1)  # best sums up to each piece's first character

        def step(state, scores):
            before, _ = state
            sums = before + scores  # (n, longest)
            best = tf.argmax(sums, axis=1, output_type=tf.int32)
            top = tf.gather(sums, best, batch_dims=1)
            return tf.concat([before[:, 1:], top[:, None]], axis=1), best

        time_first = tf.transpose(scores, [1, 0, 2])
        _, best = tf.scan(step, time_first, (before, tf.zeros([count], tf.int32)))  # (time, n)

        def back(state, now):
            _, end = state
            time, best = now
            return time == end, tf.where(time == end, time - (self._longest - best), end)

        last = tf.cast(characters.row_lengths(), tf.int32) - 1
        ends, _ = tf.scan(back, (tf.range(steps), best), (tf.zeros([count], tf.bool), last), reverse=True)
        chosen = tf.gather(ids, tf.transpose(best), batch_dims=2)  # (n, time)
        return tf.ragged.boolean_mask(chosen, tf.transpose(ends))

    def _pieces(self, characters: Tensor) -> tuple[Tensor, Tensor]:
        """(ids, scores) (n, time, longest) of the pieces that end at a character, the longest first.

        A piece that is not there, or would begin before its word, has the score -inf; a single character that is not
        there is UNKNOWN, ten below the lowest score.
        """
        tf = tensorflow()

        flat, starts = characters.flat_values, characters.row_starts()
        within = tf.range(tf.size(flat, tf.int64)) - tf.gather(starts, characters.value_rowids())  # place in its word
        scores = tf.constant([0.0] * SPECIAL + list(self.scores), tf.float32)
        unknown = tf.reduce_min(scores[SPECIAL:]) - 10
        piece, found = flat, []
        for length in range(1, self._longest + 1):
            if length > 1:
                piece = tf.strings.join([tf.concat([[""], piece], axis=0)[:-1], flat])
            ids = tf.cast(self._table.lookup(piece), tf.int32)
            missing = unknown if length == 1 else -np.inf
            fits = (ids != UNKNOWN) & (within >= length - 1)
            found.append((ids, tf.where(fits, tf.gather(scores, ids), missing)))
        ids, scores = (tf.stack(parts[::-1], axis=1) for parts in zip(*found, strict=True))
        return tuple(characters.with_flat_values(part).to_tensor() for part in (ids, scores))

    # From ids to text -------------------------------------------------------------------------------------------

    def decode(self, ids: Tensor) -> Tensor:
        """Integers (..., tokens) to strings (...): up to the first END; padding and START are nothing."""
        tf = tensorflow()

        behind = tf.cumsum(tf.cast(ids == END, tf.int32), axis=-1) > 0
        written = tf.gather(tf.constant(self._written), tf.where(behind, PADDING, tf.cast(ids, tf.int32)))
        texts = tf.strings.reduce_join(written, axis=-1)
        if self.kind in ("bytes", "bpe", "character_bpe"):
            texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        return texts if self.kind in ("bytes", "bpe", "characters") else tf.strings.regex_replace(texts, "^ ", "")

    def spelled(self, ids: Iterable[int]) -> list[str]:
        """The tokens of one text, ids (tokens,) with END or without, as a list of str for a person to read."""
        named = {START: "<start>", END: "<end>"}
        return [named.get(one) or self._written[one].decode(errors="replace") for one in map(int, ids) if one]

    def out_of_vocabulary(self, texts: Sequence[bytes], ids: Sequence[Sequence[int]]) -> list[list[str]]:
        """The out-of-vocabulary tokens of each of `texts`, as a person reads them; of published kinds, words.

        `REPLACEMENT` is none: it stands for what is not UTF-8, or for what a masked language model is to find.

        Args:
            texts: UTF-8, of which bytes that are not are passed over with their text.
            ids: what `encode` gave for each.
        """
        rows = [number for number, one in enumerate(ids) if UNKNOWN in one and _decodes(texts[number])]
        found: list[list[str]] = [[] for _ in ids]
        if self.kind == "words":
            words = words_of([texts[number] for number in rows])
            for number, tokens in zip(rows, words, strict=True):
                pairs = zip(tokens, ids[number][: len(tokens)], strict=True)
                found[number] = [token.strip(" ") for token, one in pairs if one == UNKNOWN]
        elif self.kind in PUBLISHED:
            pieces = {number: re.findall(r"\w+|[^\w\s]", texts[number].decode()) for number in rows}
            different = sorted({piece for some in pieces.values() for piece in some})
            cut = self.encode_now(tensorflow().constant(different, "string")).to_list()
            unknown = {piece for piece, one in zip(different, cut, strict=True) if UNKNOWN in one}
            for number in rows:
                found[number] = [piece for piece in pieces[number] if piece in unknown]
        else:
            for number in rows:
                text, place = texts[number].decode(), 0
                text = f" {text}" if self.kind == "subwords" else text
                for one in ids[number]:  # an unknown token of these kinds is one character
                    found[number] += [text[place]] if one == UNKNOWN else []
                    place += 1 if one == UNKNOWN else len(self._written[one].decode())
        return [[token for token in tokens if token != REPLACEMENT] for tokens in found]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kind": self.kind,
            "tokens": list(self.tokens),
            "scores": list(self.scores),
        } | self._published_config()

    def _published_config(self) -> dict[str, Any]:
        """What only kinds of `PUBLISHED` have, so that the others are written as ever."""
        if self.kind not in PUBLISHED:
            return {}
        own = {"merges": list(self.merges), "pattern": self.pattern}
        if self.kind == "bpe":
            own |= {"whole": self.whole, "unknown": self.unknown, **({"composed": True} if self.composed else {})}
        own = {"lower": self.lower} if self.kind == "wordpiece" else own
        return {**own, "specials": list(self.specials), "hides": self.hides}


def utf8(number: int, one: str | bytes) -> bytes:
    """The bytes of a text; what is none is an `InputError`."""
    if not isinstance(one, (str, bytes)):
        raise InputError(f"A text must be a str, or UTF-8 bytes. Received: {type(one).__name__} as input #{number}.")
    return one.encode(errors="surrogateescape") if isinstance(one, str) else one  # as Python has a bad byte of a file


def _decodes(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def words_of(texts: Sequence[str | bytes], size: int = 1024) -> Iterator[list[str]]:
    """A list of words for each of `texts`, found as `Tokenizer` finds them."""
    tf = tensorflow()

    with tf.device("CPU:0"):
        split = tf.function(_words, input_signature=[tf.TensorSpec([None], tf.string)])
        for start in range(0, len(texts), size):
            for words in split(tf.constant(texts[start : start + size])).to_list():
                yield [word.decode() for word in words]


def _words(texts: Tensor) -> Tensor:
    """Strings (batch,) to those of their words, as of `Tokenizer`: a `tf.RaggedTensor` (batch, words)."""
    tf = tensorflow()

    def starts(characters):
        letter = tf.strings.regex_full_match(characters, r"[\pL\pM\pN_]")
        space = characters == " "
        return ~((letter & _shifted(letter)) | (_shifted(space) & ~space))

    return _split(texts, starts)


def _before_spaces(texts: Tensor) -> Tensor:
    """Strings (batch,) to what begins with a space, or with the text: a `tf.RaggedTensor` (batch, words)."""
    return _split(texts, lambda characters: characters == " ")


def _split(texts: Tensor, starts: Callable[[Tensor], Tensor]) -> Tensor:
    """A space before each text, and then split where `starts` of all characters (n,) is true, booleans (n,)."""
    tf = tensorflow()

    texts = tf.where(texts == "", "", tf.strings.join([" ", texts]))
    characters = tf.strings.unicode_split(texts, "UTF-8")
    begins = tf.cast(starts(characters.flat_values), tf.int64)  # true at the first of each text, a space
    words = tf.RaggedTensor.from_value_rowids(characters.flat_values, tf.cumsum(begins) - 1)
    counts = tf.reduce_sum(characters.with_flat_values(begins), axis=1)
    return tf.RaggedTensor.from_row_lengths(tf.strings.reduce_join(words, axis=1), counts)


def _shifted(flags: Tensor) -> Tensor:
    """Booleans (n,): those of the element before, false for the first."""
    tf = tensorflow()

    return tf.concat([[False], flags[:-1]], axis=0)
