"""`TextReader`: texts to the batches of ids that a network takes, in training and in the export."""

import pathlib
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.tokens import END, START, UNKNOWN
from zoo.errors import InputError, counted
from zoo.readers.images import Signatures, class_answers
from zoo.readers.tokenizer import Tokenizer, utf8


@keras.saving.register_keras_serializable("zoo")
class TextReader(keras.layers.Layer):
    """Reads texts as ids, and writes ids as texts.

    Args:
        tokenizer: the `Tokenizer` of what is read.
        length: ids of a text at most, START and END counted; tokens beyond are cut off.
        target: the `Tokenizer` of what is written; None: the same.
        target_length: as length, of what is written; None: the same.
        start, end: whether START stands before a text that is read, and END behind it. Without either, a text without
            tokens is read as START, for a network needs an id.
        before, after: ids around the tokens of a text that the network is asked, instead of START and END: what a chat
            template says (`published.chat`). Training texts have none of it.
        around: what is put in front of such a text, and behind it, before it is cut into tokens.
        masks: whether a text that the network is asked can hold the tokenizer's mask ("[MASK]"), which is recognised.
        labels: names of the classes, in the order of the network's outputs, where texts are classified.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        length: int,
        target: Tokenizer | None = None,
        target_length: int | None = None,
        start: bool = False,
        end: bool = True,
        labels: Iterable[str] = (),
        before: Iterable[int] = (),
        after: Iterable[int] = (),
        around: Iterable[str] = ("", ""),
        masks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tokenizer = tokenizer
        self.length = length
        self.target = target
        self.target_length = target_length
        self.start = start
        self.end = end
        self.labels: tuple[str, ...] = tuple(labels)
        self.before: tuple[int, ...] = tuple(before)
        self.after: tuple[int, ...] = tuple(after)
        self.around: tuple[str, ...] = tuple(around)
        self.masks = masks
        if len(self.before) + len(self.after) >= length:
            around = len(self.before) + len(self.after)
            raise InputError(f"length={length} leaves no room for a text: the chat template has {around} ids already.")
        self.built = True  # it has no weights

    @property
    def writer(self) -> Tokenizer:
        """The `Tokenizer` of what the network writes."""
        return self.tokenizer if self.target is None else self.target

    @property
    def lengths(self) -> tuple[int, int]:
        """(ids of a text that is read at most, ids of one that is written)."""
        return self.length, self.target_length or self.length

    def encode(self, texts: Tensor) -> Tensor:
        """Strings (batch,) that are read, to ids, a `tf.RaggedTensor` int32 (batch, ids)."""
        return self._framed(self.tokenizer.encode(texts))

    def encode_targets(self, texts: Tensor) -> Tensor:
        """Strings (batch,) that are to be written, to ids and END, a `tf.RaggedTensor` int32 (batch, ids)."""
        return _framed(self.writer.encode(texts), self.lengths[1], [], [END])

    def _framed(self, ids: Tensor) -> Tensor:
        return _framed(ids, self.length, [START] * self.start, [END] * self.end)

    def _asked(self, ids: Tensor) -> Tensor:
        """`_framed`, of texts that the network is asked."""
        if self.before or self.after or any(self.around):
            return _framed(ids, self.length, self.before, self.after)
        return self._framed(ids)

    def read_texts(self, texts: Tensor) -> Tensor:
        """Strings (batch,) that the network is asked to int32 (batch, ids of the longest), zeros behind the others."""
        tf = tensorflow()

        if any(self.around):
            texts = tf.strings.join([self.around[0], texts, self.around[1]])
        return self._asked(self.tokenizer.encode(texts, self.masks)).to_tensor()

    def read_raw(
        self, inputs: Iterable[str | bytes | pathlib.Path], skip_bad: bool = False, strict: bool = False
    ) -> tuple[list[str], np.ndarray]:
        """(names, int32 (n, longest)) of texts: str, or UTF-8 bytes; a name is the text's number, #0 the first.

        A `pathlib.Path` is a file of which each line is a text, called by the path and the line. Bytes that are not
        UTF-8 are read as the replacement character, and what is too long is cut, with a warning. Another counts the
        out-of-vocabulary tokens.

        Args:
            skip_bad: leave such texts, and files that cannot be read, out instead.
            strict: refuse them.
        Raises: `InputError` for what is no text; with `strict` for such texts.
        """
        tf = tensorflow()

        called, texts = [], []
        for number, one in enumerate(inputs):
            if isinstance(one, pathlib.Path):
                lines = _lines(one, skip_bad)
                called += [f"{one}:{line}" for line in range(1, len(lines) + 1)]
                texts += lines
            else:
                called.append(f"#{number}")
                texts.append(utf8(number, one))
        with tf.device("CPU:0"):
            encode = self.tokenizer.encode_masked_now if self.masks else self.tokenizer.encode_now
            front, back = (part.encode() for part in self.around)
            ids = encode(tf.constant([front + text + back for text in texts], tf.string))
        around = len(self.before) + len(self.after) or self.start + self.end
        counts = ids.row_lengths().numpy() - 1 + around
        kept = []
        for number, (text, count) in enumerate(zip(texts, counts, strict=True)):
            fault = self._fault(text, count)
            if fault is None or not skip_bad:
                kept.append(number)
                if fault is not None and strict:
                    raise InputError(f"Text {called[number]} {fault}.")
                if fault is not None:
                    warnings.warn(f"Text {called[number]} {fault}: it is read as far as it can be.", stacklevel=3)
        with tf.device("CPU:0"):
            ids = tf.gather(ids, tf.constant(kept, tf.int32))
            read = self._asked(ids).to_tensor()
        self._tell_unknown([texts[number] for number in kept], ids)
        return [called[number] for number in kept], read.numpy()

    def _tell_unknown(self, texts: Sequence[bytes], ids: Tensor) -> None:
        """Warns where `texts` have out-of-vocabulary tokens; `ids` is the `tf.RaggedTensor` of theirs."""
        if not (ids.flat_values.numpy() == UNKNOWN).any():
            return
        found = [tokens for tokens in self.tokenizer.out_of_vocabulary(texts, ids.to_list()) if tokens]
        if found:
            count = sum(map(len, found))
            which = f"{counted(count, 'token')} of {counted(len(found), 'text')} {'is' if count == 1 else 'are'}"
            warnings.warn(f"{which} out of the vocabulary, such as {found[0][0]!r}.", stacklevel=4)

    def _fault(self, text: bytes, count: int) -> str | None:
        """What is wrong with UTF-8 bytes of `count` ids, or None."""
        try:
            text.decode()
        except UnicodeDecodeError as error:
            return f"is not UTF-8 (byte {error.start})"
        return f"has {count:,} tokens, but the network takes {self.length:,}" if count > self.length else None

    def raw_probe(self, texts: Sequence[bytes]) -> dict[str, np.ndarray]:
        """{signature/input: array}: UTF-8 texts as the raw inputs that an export is verified on."""
        return {"serving_default/text": np.array(texts, "S")}  # "S" drops trailing zeros; a text has none

    def signatures(self) -> Signatures:
        """{signature name: (function to network inputs, input specs by name)}, for the export."""
        tf = tensorflow()

        return {
            "serving_default": (self.read_texts, {"text": tf.TensorSpec([None], tf.string)}),
            "serve_tensors": (tf.identity, {"text": tf.TensorSpec([None, None], tf.int32)}),
        }

    def answer(self, logits: Tensor) -> dict[str, Tensor]:
        """{output name: tensor} of a network's logits, for the export."""
        return class_answers(logits, self.labels) if self.labels else {"logits": logits}

    def get_config(self) -> dict[str, Any]:
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
            **({"before": list(self.before), "after": list(self.after)} if self.before or self.after else {}),
            **({"around": list(self.around)} if any(self.around) else {}),
            **({"masks": True} if self.masks else {}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TextReader":
        layers = {name: config[name] and keras.saving.deserialize_keras_object(config[name]) for name in _LAYERS}
        return cls(**{**config, **layers})


_LAYERS = ("tokenizer", "target")


def _lines(path: pathlib.Path, skip_bad: bool) -> list[bytes]:
    """The lines of a file without their ends; none of one that cannot be read where it is to be left out."""
    try:
        with path.open("rb") as file:
            return [line.rstrip(b"\r\n") for line in file]
    except OSError as error:
        if skip_bad:
            return []
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _framed(ids: Tensor, length: int, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Ids (batch, tokens and END), ragged, cut to `length` at most, with others around the tokens instead of END.

    Where there are no others, a text without tokens becomes START.
    """
    tf = tensorflow()

    def columns(some):
        return tf.tile(tf.constant([list(some)], tf.int32, [1, len(some)]), [ids.nrows(tf.int32), 1])

    tokens = ids[:, :-1][:, : length - len(before) - len(after)]
    if before or after:
        return tf.concat([columns(before), tokens, columns(after)], axis=1)
    empty = tokens.row_lengths() == 0
    starts = tf.fill([tf.math.count_nonzero(empty, dtype=tf.int32)], START)
    return tf.concat([tf.RaggedTensor.from_row_lengths(starts, tf.cast(empty, tf.int64)), tokens], axis=1)
