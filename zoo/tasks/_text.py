"""What tasks on text have in common."""

import itertools
import math
import pathlib
import typing
import warnings
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from zoo import fields, weights
from zoo.base.recipe import Recipe
from zoo.data.source import Source, Text
from zoo.data.text_source import as_texts
from zoo.data.tokens import SPECIAL, UNKNOWN
from zoo.errors import InputError, counted
from zoo.objective.losses import TokenLoss
from zoo.objective.metrics import Perplexity, TokenAccuracy
from zoo.readers.gguf import read_gguf_tokenizer
from zoo.readers.published import Published, read_tokenizer
from zoo.readers.texts import TextReader
from zoo.readers.tokenizer import KINDS, PUBLISHED, Tokenizer
from zoo.readers.vocabulary import fit, longest
from zoo.weights import gguf, hub

if typing.TYPE_CHECKING:
    from zoo.cost import Shapes


STEP = 8
"""Lengths that are fitted to data are multiples of it, so that a text which is a little longer is read whole."""

LONGEST = 512
"""Ids of a text at most in a length that is fitted to data: steps of training cost the more, the longer texts are."""


class Texts(Recipe):
    """Fields of all that reads text, and how texts are read. Ids 0 to 3 are padding, start, end and unknown tokens."""

    texts: typing.ClassVar[bool] = True

    tokens: str = fields.choice(
        *KINDS, *PUBLISHED, default="characters", help="kind of token; the last three come from checkpoints"
    )
    vocabulary: int = fields.integer(
        default=128,
        legal=(1, 10_000_000),
        help="size of the vocabulary, special tokens included; if given, an upper limit",
    )
    length: int = fields.integer(
        default=64, legal=(3, 1_000_000), help="largest number of tokens per text, END included"
    )

    def check(self) -> None:
        super().check()
        refuse_small("vocabulary", self.vocabulary)

    def example_shape(self) -> "Shapes":
        return {"text": (self.length,)}

    def view(self, source: Source) -> Source:
        return as_texts(source)

    def wanted(self, source: Source, /, **kinds: type[typing.Any]) -> list[typing.Any]:
        """The features of `source` that are called so, of these kinds (`Text`, `Label`)."""
        for name, kind in kinds.items():
            if not isinstance(source.features.get(name), kind):
                listed = " and ".join(f"{name} ({kind.__name__.lower()})" for name, kind in kinds.items())
                raise InputError(
                    f"dataset={source.name} must have {listed}. It has: {', '.join(source.features) or 'nothing'}."
                )
        return [source.features[name] for name in kinds]

    def learned(self, source: Source, field: str, *names: str) -> Tokenizer:
        """The tokenizer of the texts `names` of `source`, of as many ids as `field` says where it was given.

        Where weights are carried over from a run, the tokenizer is that run's.
        """
        carried = self._carried()
        if carried is not None:
            return carried.writer if field == "target_vocabulary" else carried.tokenizer
        fixed = field in self.origin.given or self.tokens == "subwords"
        return fit(source, names, self.tokens, getattr(self, field) if fixed else None)

    def sized(self, source: Source, field: str, tokenizer: Tokenizer) -> dict[str, tuple[typing.Any, str]]:
        """{`field`: (ids of the tokenizer, why)}, for `adapt`; what was given stays, with ids that are never read."""
        size = tokenizer.size
        if self._carried() is not None:
            has = f"init_from={self.init_from} has"
            return {"tokens": (tokenizer.kind, f"{has} {tokenizer.kind}"), field: (size, f"{has} {size:,} ids")}
        if field in self.origin.given and size < getattr(self, field):
            return {}
        return {field: (size, f"dataset={source.name} has {size:,} ids of {self.tokens}")}

    def _carried(self) -> TextReader | None:
        """A reader with the tokenizer of the run, or checkpoint, whose weights to start from; None without one."""
        if hub.is_pretrained(self.init_from):
            published = self.read_tokenizer(hub.locate(self.init_from).home)
            return TextReader(published.tokenizer, self.length)
        folder = hub.shipped_folder(self.init_from) if hub.is_shipped(self.init_from) else self.init_from or ""
        path = pathlib.Path(folder, "reader.keras")
        if not path.is_file():
            return None
        reader = weights.open_keras(path, f"init_from={self.init_from}: {path}")
        return reader if isinstance(reader, TextReader) else None

    @classmethod
    def read_tokenizer(cls, home: pathlib.Path) -> Published:
        return read_gguf_tokenizer(home) if home.suffix == gguf.SUFFIX else read_tokenizer(home)

    def pretrained_reader(self, tokenizer: Published, labels: Sequence[str] | None = None) -> TextReader:
        return TextReader(tokenizer.tokenizer, self.length, start=tokenizer.start, end=tokenizer.end)

    def make_probe(self, reader: TextReader, examples: Sequence[Mapping[str, typing.Any]]) -> dict[str, np.ndarray]:
        """{signature/input: array} of raw examples: as they are, and as the network takes them."""
        texts = [raw(example["text"]) for example in examples]
        return {"serve_tensors/text": reader.read_texts(texts).numpy(), **reader.raw_probe(texts)}

    def make_noise(self, count: int) -> list[dict[str, typing.Any]]:
        """Raw examples of noise, for the probe of a model that was not trained on a data set of ours."""
        most = min(max(_LOGITS // self.vocabulary, 16), 128)
        return [{"text": text} for text in noise(count, self.vocabulary, min(self.length, most))]


_LOGITS = 1 << 20
"""About how many logits a text of noise has at most: those of a long context, times a published vocabulary, take long,
and do not fit into memory."""


class RunningText(Texts):
    """What reads running text and is asked for tokens of it, each with a cross-entropy of its own."""

    ends: typing.ClassVar[bool] = True
    """Whether END stands behind what is read."""

    def make_loss(self) -> typing.Any:
        return TokenLoss()

    def constant_loss(self, reader: TextReader, source: Source) -> float:
        """That of answering all tokens alike."""
        return math.log(self.vocabulary)

    def make_metrics(self) -> list[typing.Any]:
        return [TokenAccuracy(name="token_accuracy"), Perplexity(name="perplexity")]

    def adapt(self, source: Source) -> dict[str, tuple[typing.Any, str]]:
        """{field: (value, why)}: what the data decide, the size of the vocabulary."""
        return self.sized(source, "vocabulary", self.make_reader(source).tokenizer)

    def make_reader(self, source: Source) -> TextReader:
        """What reading learns from the data: the vocabulary."""
        if source.ready:
            return self.default_reader()
        self.wanted(source, text=Text)
        return self._reader(self.learned(source, "vocabulary", "text"))

    def default_reader(self, labels: Sequence[str] | None = None) -> TextReader:
        """A reader for a model that was not trained on a data set of ours."""
        return self._reader(invented(self.vocabulary))

    def _reader(self, tokenizer: Tokenizer) -> TextReader:
        return TextReader(tokenizer, self.length, start=True, end=self.ends)


class WholeTexts(Texts):
    """Fields of what reads texts whole, in batches of like lengths."""

    sized_by: typing.ClassVar[dict[str, tuple[str, ...]]] = {"length": ("text",)}
    """{field of a length: features whose texts it is about}: what is read, and then what is written."""

    batch_tokens: int | None = fields.integer(
        default=None,
        legal=(1, 100_000_000),
        optional=True,
        help="tokens per training batch, padding included; none: batch_size counts texts",
    )

    def fitted(self, source: Source) -> dict[str, tuple[int, str]]:
        """{field: (value, why)} of the lengths that neither the caller nor the variant sets.

        A length is that of the longest training text, rounded up to the next multiple of `STEP`, and `LONGEST` at
        most. The recipe's own data have the length of its class; weights that are carried over, that of their reader.
        """
        own = type(self).field("dataset").default
        if source.ready:
            return {}
        reader, carried = self.make_reader(source), self._carried()
        if carried is None and own is not None and (source.name == own or source.name.startswith(f"{own}:")):
            return {}
        ways = zip(self.sized_by.items(), (reader.tokenizer, reader.writer), (reader.start, False), strict=False)
        found = {}
        for number, ((field, names), tokenizer, start) in enumerate(ways):
            if field in self.origin.given or field in self.variants.get(self.variant or "", {}):
                continue
            if carried is not None:
                found[field] = carried.lengths[number], f"init_from={self.init_from} has it"
            else:
                name, ids = " or ".join(names), longest(source, names, tokenizer, LONGEST) + start
                why = f"the longest {name} has {ids:,} ids" if ids <= LONGEST else f"a {name} may have more ids"
                found[field] = min(ids // STEP * STEP + STEP, LONGEST), why
        return found

    def describe(self, reader: TextReader, source: Source) -> list[str]:
        """A line about the lengths that were fitted to the training split."""
        found = [f"{field}={value} ({why})" for field, (value, why) in self.fitted(source).items()]
        return [f"Lengths of texts: {', '.join(found)}."] if found else []

    def judge(self, model: keras.Model, reader: TextReader, data: typing.Any) -> dict[str, float]:
        """No scores; a warning that counts the out-of-vocabulary tokens of `data`."""
        texts = (inputs["source"] if isinstance(inputs, dict) else inputs for inputs, *_ in data.as_numpy_iterator())
        counts = np.concatenate([(ids == UNKNOWN).sum(axis=-1) for ids in texts])
        if counts.any():
            few = f"{counted(int(counts.sum()), 'token')} of {counted(int((counts > 0).sum()), 'text')}"
            verb = "is" if counts.sum() == 1 else "are"
            warnings.warn(f"{few} {verb} out of the vocabulary: the network reads them as unknown.", stacklevel=3)
        return {}


def refuse_small(name: str, size: int) -> None:
    """Raises where no token but the special ones fits into a vocabulary."""
    if size <= SPECIAL:
        raise InputError(
            f"{name} must be above {SPECIAL}: so many ids are padding, start, end and unknown. Received: {name}={size}."
        )


def noise(count: int, vocabulary: int, length: int) -> list[bytes]:
    """Texts of the tokens of `invented`, of several lengths."""
    rng = np.random.default_rng(0)
    tokens = invented(vocabulary).tokens
    return ["".join(rng.choice(tokens, rng.integers(1, length))).encode() for _ in range(count)]


def invented(size: int) -> Tokenizer:
    """A tokenizer of `size` ids for a model that was not trained on texts of ours: of characters from U+0021 on.

    Surrogates are left out: no text has them."""
    codes = itertools.chain(range(33, 0xD800), range(0xE000, 0x110000))
    return Tokenizer("characters", [chr(code) for code in itertools.islice(codes, size - SPECIAL)])


def raw(text: typing.Any) -> bytes:
    """The bytes of a text, a tensor or not."""
    return text.numpy() if hasattr(text, "numpy") else text
