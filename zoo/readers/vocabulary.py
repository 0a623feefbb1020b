"""What a vocabulary holds is learned from the training split: characters, words, or subwords by SentencePiece."""

import collections
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.data import progress
from zoo.data._tensorflow import tensorflow
from zoo.data.tokens import END, PADDING, SPECIAL, START, UNKNOWN
from zoo.errors import InputError
from zoo.readers.tokenizer import KINDS, LONGEST, PUBLISHED, Tokenizer, words_of

if TYPE_CHECKING:
    from zoo.data.source import Source

LEARNED = 1_000_000
"""Texts that subwords are learned from at most, evenly spread over all."""


def fit(source: "Source", names: Sequence[str], kind: str, size: int | None = None) -> Tokenizer:
    """`learn` of the features `names` of a source's training split; what was learned of a source once is kept."""
    made = _FITTED.setdefault(source, {})
    key = (tuple(names), kind, size)
    if key not in made:
        made[key] = learn(training_texts(source, *names), kind, size)
    return made[key]


def longest(source: "Source", names: Sequence[str], tokenizer: Tokenizer, most: int) -> int:
    """Returns how many ids, END counted, the longest text of a source's training split has.

    Args:
        names: of the features that count.
        most: a number of ids from which on it does not matter how many there are.
    """
    made = _FITTED.setdefault(source, {})
    key = (*names, tokenizer, most)
    if key not in made:
        made[key] = _longest(training_texts(source, *names), tokenizer, most)
    return made[key]


def _longest(texts: Sequence[str], tokenizer: Tokenizer, most: int, size: int = 1024) -> int:
    tf = tensorflow()

    encoded = sorted((text.encode() for text in texts), key=len, reverse=True)
    found = 0
    for start in range(0, len(encoded), size):
        batch = encoded[start : start + size]
        if found >= min(most, len(batch[0]) + 2):  # a text has no more tokens than bytes, but for a space and END
            break
        with tf.device("CPU:0"):
            found = max(found, int(tokenizer.encode_now(tf.constant(batch)).row_lengths().numpy().max()))
    return found


_FITTED: "weakref.WeakKeyDictionary[Source, dict[tuple[Any, ...], Any]]" = weakref.WeakKeyDictionary()


def training_texts(source: "Source", *names: str) -> list[str]:
    """The texts of the training split, a list of str, for `learn`.

    Args:
        source: a `zoo.data.source.Source`.
        names: of its features that are of the one vocabulary.
    Raises: `InputError` for bytes that are not UTF-8, with the number of the example.
    """
    found, seen = [], 0
    with progress.shown("Reading texts", source.sizes.get("train")) as advance:
        for batch in source.examples("train").batch(1024).as_numpy_iterator():
            advance(len(batch[names[0]]))
            for name in names:
                for row, text in enumerate(batch[name], seen + 1):
                    try:
                        found.append(text.decode())
                    except UnicodeDecodeError as error:
                        raise InputError(
                            f"dataset={source.name}: the {name} of training example {row:,} is not UTF-8 "
                            f"(byte {error.start}). Correct it, or leave it out."
                        ) from None
            seen += len(batch[names[0]])
    return found


def learn(texts: Sequence[str], kind: str, size: int | None = None) -> Tokenizer:
    """The `Tokenizer` of `kind` whose vocabulary is learned from `texts`.

    Args:
        texts: a list of str, of the training split only.
        size: ids at most, special ones counted; None: every token that occurs (subwords need a number). Of characters
            and words the most frequent are kept.
    Raises: `InputError` for a size that leaves no room for tokens, and for a kind of published vocabularies.
    """
    if kind in PUBLISHED:
        raise InputError(f"tokens={kind} come with a checkpoint, and are not learned: give init_from.")
    if kind not in KINDS:
        raise InputError(f"tokens must be one of {', '.join(KINDS)}. Received: {kind!r}.")
    if kind == "bytes":
        return Tokenizer("bytes")
    if size is not None and size <= SPECIAL:
        raise InputError(
            f"vocabulary={size} leaves no room for tokens: {SPECIAL} ids are of padding, start, end and unknown. "
            f"Give more than {SPECIAL}."
        )
    with progress.shown("Learning the vocabulary"):
        return _learned_subwords(texts, size) if kind == "subwords" else _counted(texts, kind, size)


def _counted(texts: Sequence[str], kind: str, size: int | None) -> Tokenizer:
    """The most frequent characters or words."""
    counts = collections.Counter()
    if kind == "characters":
        for text in texts:
            counts.update(text)
    else:
        for words in words_of(texts):
            counts.update(words)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    return Tokenizer(kind, ranked if size is None else ranked[: size - SPECIAL])


def _learned_subwords(texts: Sequence[str], size: int | None) -> Tokenizer:
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
