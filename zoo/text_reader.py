"""`Tokenizer` and `TextReader`: text to the ids that a network takes, and ids back to text.

Both are Keras layers whose config holds the vocabulary, so that nothing lies in a file beside the model, and both work
with stock TensorFlow operations only: training, `zoo predict` and an export share them. What a vocabulary is made of
is learned by `learn`; subwords by SentencePiece, whose own encoder is not needed afterwards.
"""

import collections
import functools
import warnings
import weakref

import keras
import numpy as np

from zoo.data._tensorflow import tensorflow
from zoo.data.tokens import END, PADDING, SPECIAL, START, UNKNOWN
from zoo.errors import InputError
from zoo.readers import class_answers

KINDS = ("characters", "bytes", "words", "subwords")

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for bytes that are not UTF-8, and for a token that the vocabulary has not."""

LEARNED = 1_000_000
"""Texts that subwords are learned from at most, evenly spread over all."""

LONGEST = 16
"""Characters of a subword at most."""


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

    What was encoded is decoded to the same text, but for tokens that are unknown (and `REPLACEMENT` for bytes that are
    not UTF-8).

    Args:
        kind: one of `KINDS`.
        tokens: the vocabulary in the order of ids, from 4 on; of bytes none is given.
        scores: log-probabilities of `tokens`, for subwords.
    """

    def __init__(self, kind, tokens=(), scores=(), **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.tokens = tuple(tokens)
        self.scores = tuple(scores)
        self.built = True  # it has no weights
        written = [bytes([byte]) for byte in range(256)] if kind == "bytes" else [one.encode() for one in self.tokens]
        self._written = (b"", b"", b"", REPLACEMENT.encode(), *written)
        self._longest = min(LONGEST, max(map(len, self.tokens), default=1))
        if kind != "bytes":
            self._table = self._made_table()

    @property
    def size(self):
        """How many ids there are."""
        return len(self._written)

    # From text to ids -------------------------------------------------------------------------------------------

    def encode(self, texts):
        """Strings (batch,) to ids of their tokens and END, a `tf.RaggedTensor` int32 (batch, tokens)."""
        tf = tensorflow()

        if self.kind == "characters":
            ids = self._looked_up(tf.strings.unicode_split(texts, "UTF-8"))
        elif self.kind == "bytes":
            valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
            ids = tf.strings.unicode_decode(valid, "ISO-8859-1") + SPECIAL  # a byte is a character of it
        elif self.kind == "words":
            ids = self._looked_up(_words(texts))
        else:
            ids = self._subwords(texts)
        ends = tf.fill([ids.nrows(tf.int32), 1], END)
        return tf.concat([ids, ends], axis=1)

    @functools.cached_property
    def encode_now(self):
        """`encode` as a graph, traced once; not a `tf.Function`, which TensorFlow would save with a model."""
        tf = tensorflow()

        graph = tf.function(self.encode, input_signature=[tf.TensorSpec([None], tf.string)])
        return lambda texts: graph(texts)

    def _looked_up(self, tokens):
        tf = tensorflow()

        return tf.ragged.map_flat_values(lambda flat: tf.cast(self._table.lookup(flat), tf.int32), tokens)

    def _subwords(self, texts):
        """The best pieces of each word (Viterbi), every different word once."""
        tf = tensorflow()

        words = _before_spaces(texts)
        unique, where = tf.unique(tf.concat([[" "], words.flat_values], axis=0))  # one at least, as loops want it
        ids = tf.gather(self._segmented(unique), where[1:])  # (words, pieces)
        return tf.RaggedTensor.from_row_splits(ids, words.row_splits).merge_dims(1, 2)

    def _segmented(self, words):
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

    def _pieces(self, characters):
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

    def _made_table(self):
        """token -> id, UNKNOWN for all others."""
        tf = tensorflow()

        with tf.init_scope(), tf.device("CPU:0"):
            ids = tf.range(SPECIAL, SPECIAL + len(self.tokens), dtype=tf.int64)
            pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(self._written[SPECIAL:], tf.string), ids)
            return tf.lookup.StaticHashTable(pairs, UNKNOWN)

    # From ids to text -------------------------------------------------------------------------------------------

    def decode(self, ids):
        """Integers (..., tokens) to strings (...): up to the first END; padding and START are nothing."""
        tf = tensorflow()

        behind = tf.cumsum(tf.cast(ids == END, tf.int32), axis=-1) > 0
        written = tf.gather(tf.constant(self._written), tf.where(behind, PADDING, tf.cast(ids, tf.int32)))
        texts = tf.strings.reduce_join(written, axis=-1)
        if self.kind == "bytes":
            return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        return tf.strings.regex_replace(texts, "^ ", "") if self.kind in ("words", "subwords") else texts

    def spelled(self, ids):
        """The tokens of one text, ids (tokens,) with END or without, as a list of str for a person to read."""
        named = {START: "<start>", END: "<end>"}
        return [named.get(one) or self._written[one].decode(errors="replace") for one in map(int, ids) if one]

    def get_config(self):
        return {
            **super().get_config(),
            "kind": self.kind,
            "tokens": list(self.tokens),
            "scores": list(self.scores),
        }


@keras.saving.register_keras_serializable("zoo")
class TextReader(keras.layers.Layer):
    """Reads texts as ids, and writes ids as texts.

    Args:
        tokenizer: the `Tokenizer` of what is read.
        length: ids of a text at most, START and END counted; tokens beyond are cut off.
        target: the `Tokenizer` of what is written; None: the same.
        target_length: as length, of what is written; None: the same.
        start, end: whether START stands before a text that is read, and END behind it.
        labels: names of the classes, in the order of the network's outputs, where texts are classified.
    """

    def __init__(self, tokenizer, length, target=None, target_length=None, start=False, end=True, labels=(), **kwargs):
        super().__init__(**kwargs)
        self.tokenizer = tokenizer
        self.length = length
        self.target = target
        self.target_length = target_length
        self.start = start
        self.end = end
        self.labels = tuple(labels)
        self.built = True  # it has no weights

    @property
    def writer(self):
        """The `Tokenizer` of what the network writes."""
        return self.tokenizer if self.target is None else self.target

    @property
    def lengths(self):
        """(ids of a text that is read at most, ids of one that is written)."""
        return self.length, self.target_length or self.length

    def encode(self, texts):
        """Strings (batch,) that are read, to ids, a `tf.RaggedTensor` int32 (batch, ids)."""
        return self._framed(self.tokenizer.encode(texts))

    def encode_targets(self, texts):
        """Strings (batch,) that are to be written, to ids and END, a `tf.RaggedTensor` int32 (batch, ids)."""
        return _framed(self.writer.encode(texts), self.lengths[1], end=True)

    def _framed(self, ids):
        return _framed(ids, self.length, start=self.start, end=self.end)

    def read_texts(self, texts):
        """Strings (batch,) to int32 (batch, ids of the longest), zeros behind the others."""
        return self.encode(texts).to_tensor()

    def read_raw(self, inputs, skip_bad=False, strict=False):
        """(names, int32 (n, longest)) of texts: str, or UTF-8 bytes; a name is the text's number, #0 the first.

        Bytes that are not UTF-8 are read as the replacement character, and what is too long is cut, with a warning.

        Args:
            skip_bad: leave such texts out instead.
            strict: refuse them.
        Raises: `InputError` for what is no text; with `strict` for such texts.
        """
        tf = tensorflow()

        texts = [_utf8(number, one) for number, one in enumerate(inputs)]
        with tf.device("CPU:0"):
            ids = self.tokenizer.encode_now(tf.constant(texts, tf.string))
        counts = ids.row_lengths().numpy() + self.start - (not self.end)
        kept = []
        for number, (text, count) in enumerate(zip(texts, counts, strict=True)):
            fault = self._fault(text, count)
            if fault is None or not skip_bad:
                kept.append(number)
                if fault is not None and strict:
                    raise InputError(f"Text #{number} {fault}.")
                if fault is not None:
                    warnings.warn(f"Text #{number} {fault}: it is read as far as it can be.", stacklevel=3)
        with tf.device("CPU:0"):
            read = self._framed(tf.gather(ids, tf.constant(kept, tf.int32))).to_tensor()
        return [f"#{number}" for number in kept], read.numpy()

    def _fault(self, text, count):
        """What is wrong with UTF-8 bytes of `count` ids, or None."""
        try:
            text.decode()
        except UnicodeDecodeError as error:
            return f"is not UTF-8 (byte {error.start})"
        return f"has {count:,} tokens, but the network takes {self.length:,}" if count > self.length else None

    def raw_probe(self, texts):
        """{signature/input: array}: UTF-8 texts as the raw inputs that an export is verified on."""
        return {"serving_default/text": np.array(texts, "S")}  # "S" drops trailing zeros; a text has none

    def signatures(self):
        """{signature name: (function to network inputs, input specs by name)}, for the export."""
        tf = tensorflow()

        return {
            "serving_default": (self.read_texts, {"text": tf.TensorSpec([None], tf.string)}),
            "serve_tensors": (tf.identity, {"text": tf.TensorSpec([None, None], tf.int32)}),
        }

    def answer(self, logits):
        """{output name: tensor} of a network's logits, for the export."""
        return class_answers(logits, self.labels) if self.labels else {"logits": logits}

    def get_config(self):
        def saved(layer):
            return layer and keras.saving.serialize_keras_object(layer)

        return {
            **super().get_config(),
            "tokenizer": saved(self.tokenizer),
            "length": self.length,
            "target": saved(self.target),
            "target_length": self.target_length,
            "start": self.start,
            "end": self.end,
            "labels": list(self.labels),
        }

    @classmethod
    def from_config(cls, config):
        layers = {name: config[name] and keras.saving.deserialize_keras_object(config[name]) for name in _LAYERS}
        return cls(**{**config, **layers})


_LAYERS = ("tokenizer", "target")


def _framed(ids, length, *, start=False, end):
    """Ids (batch, tokens and END), ragged, cut to `length` at most and with START and END where they are wanted."""
    tf = tensorflow()

    def column(one):
        return tf.fill([ids.nrows(tf.int32), 1], one)

    tokens = ids[:, :-1][:, : length - start - end]
    return tf.concat([column(START)] * start + [tokens] + [column(END)] * end, axis=1)


def _utf8(number, one):
    """The bytes of a text; what is none is an `InputError`."""
    if not isinstance(one, (str, bytes)):
        raise InputError(f"A text must be a str, or UTF-8 bytes. Received: {type(one).__name__} as input #{number}.")
    return one.encode(errors="surrogateescape") if isinstance(one, str) else one  # as Python has a bad byte of a file


# Learning ---------------------------------------------------------------------------------------------------------


def fit(source, names, kind, size=None):
    """`learn` of the features `names` of a source's training split; what was learned of a source once is kept."""
    made = _FITTED.setdefault(source, {})
    key = (tuple(names), kind, size)
    if key not in made:
        made[key] = learn(training_texts(source, *names), kind, size)
    return made[key]


_FITTED = weakref.WeakKeyDictionary()


def training_texts(source, *names):
    """The texts of the training split, a list of str, for `learn`.

    Args:
        source: a `zoo.data.source.Source`.
        names: of its features that are of the one vocabulary.
    Raises: `InputError` for bytes that are not UTF-8, with the number of the example.
    """
    found, seen = [], 0
    for batch in source.examples("train").batch(1024).as_numpy_iterator():
        for name in names:
            for row, text in enumerate(batch[name], seen + 1):
                try:
                    found.append(text.decode())
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"dataset={source.name}: the {name} of training example {row:,} is not UTF-8 "
                        f"(byte {error.start}). Mend it, or leave it out."
                    ) from None
        seen += len(batch[names[0]])
    return found


def learn(texts, kind, size=None):
    """The `Tokenizer` of `kind` whose vocabulary is learned from `texts`.

    Args:
        texts: a list of str, of the training split only.
        size: ids at most, special ones counted; None: every token that occurs (subwords need a number). Of characters
            and words the most frequent are kept.
    Raises: `InputError` for a size that leaves no room for tokens.
    """
    if kind not in KINDS:
        raise InputError(f"tokens must be one of {', '.join(KINDS)}. Received: {kind!r}.")
    if kind == "bytes":
        return Tokenizer("bytes")
    if size is not None and size <= SPECIAL:
        raise InputError(
            f"vocabulary={size} leaves no room for tokens: {SPECIAL} ids are of padding, start, end and unknown. "
            f"Give more than {SPECIAL}."
        )
    if kind == "subwords":
        return _learned_subwords(texts, size)
    counts = collections.Counter()
    if kind == "characters":
        for text in texts:
            counts.update(text)
    else:
        for words in _words_of(texts):
            counts.update(words)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    return Tokenizer(kind, ranked if size is None else ranked[: size - SPECIAL])


def _learned_subwords(texts, size):
    """A unigram model of SentencePiece, and nothing that would change a text: no normalisation, all characters."""
    import io

    import sentencepiece

    if size is None:
        raise InputError("Subwords need a size: vocabulary=8000, say.")
    given = any("\n" in text for text in texts)
    lines = [line for text in texts[:: -(-len(texts) // LEARNED)] for line in text.split("\n") if line]
    least = SPECIAL + len(set().union(*lines, " ") | ({"\n"} if given else set()))
    if size < least:
        raise InputError(
            f"Subwords need an id for each character: vocabulary must be at least {least} for these texts. Received: "
            f"vocabulary={size}."
        )
    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=made,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,  # few texts have fewer pieces
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            character_coverage=1.0,
            max_sentencepiece_length=LONGEST,
            user_defined_symbols=["\n"] if given else [],
            max_sentence_length=1 << 20,  # bytes; longer lines would be left out
            num_threads=4,  # the sums, and so the pieces, depend on it
            pad_id=PADDING,
            bos_id=START,
            eos_id=END,
            unk_id=UNKNOWN,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(f"Subwords could not be learned with vocabulary={size}: {error}") from None
    model = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    ids = range(SPECIAL, model.vocab_size())
    scores = [model.get_score(one) for one in ids]
    tokens = [model.id_to_piece(one).replace("\u2581", " ") for one in ids]  # its sign for a space
    if given:  # not learned: SentencePiece prefers it to all pieces
        place = tokens.index("\n")
        scores[place] = max(scores[:place] + scores[place + 1 :]) - 0.1
    return Tokenizer("subwords", tokens, scores)


def _words_of(texts, size=1024):
    """A list of words for each of `texts`, found as `Tokenizer` finds them."""
    tf = tensorflow()

    with tf.device("CPU:0"):
        split = tf.function(_words, input_signature=[tf.TensorSpec([None], tf.string)])
        for start in range(0, len(texts), size):
            for words in split(tf.constant(texts[start : start + size])).to_list():
                yield [word.decode() for word in words]


# Splitting --------------------------------------------------------------------------------------------------------


def _words(texts):
    """Strings (batch,) to those of their words, as of `Tokenizer`: a `tf.RaggedTensor` (batch, words)."""
    tf = tensorflow()

    def starts(characters):
        letter = tf.strings.regex_full_match(characters, r"[\pL\pM\pN_]")
        space = characters == " "
        return ~((letter & _shifted(letter)) | (_shifted(space) & ~space))

    return _split(texts, starts)


def _before_spaces(texts):
    """Strings (batch,) to what begins with a space, or with the text: a `tf.RaggedTensor` (batch, words)."""
    return _split(texts, lambda characters: characters == " ")


def _split(texts, starts):
    """A space before each text, and then split where `starts` of all characters (n,) is true, booleans (n,)."""
    tf = tensorflow()

    texts = tf.where(texts == "", "", tf.strings.join([" ", texts]))
    characters = tf.strings.unicode_split(texts, "UTF-8")
    begins = tf.cast(starts(characters.flat_values), tf.int64)  # true at the first of each text, a space
    words = tf.RaggedTensor.from_value_rowids(characters.flat_values, tf.cumsum(begins) - 1)
    counts = tf.reduce_sum(characters.with_flat_values(begins), axis=1)
    return tf.RaggedTensor.from_row_lengths(tf.strings.reduce_join(words, axis=1), counts)


def _shifted(flags):
    """Booleans (n,): those of the element before, false for the first."""
    tf = tensorflow()

    return tf.concat([[False], flags[:-1]], axis=0)
