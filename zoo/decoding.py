"""Decoding: greedy, beam search and sampling, written once over any network that answers token by token.

A decoder is what a recipe's `make_decoder(model)` returns. Its state is a nest of tensors whose leading axis is the
hypothesis, its memory one whose leading axis is the sentence, or None. The hypotheses of a sentence stand side by side
and share its memory. Everything is a loop of stock operations in which no row depends on another, so that it runs on
every backend, compiled, and in a SavedModel.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterator

import keras

from zoo.data.tokens import END, PADDING, START

Tensor: typing.TypeAlias = typing.Any
"""A tensor of any backend, or in a model what stands for one."""

Nest: typing.TypeAlias = typing.Any
"""A tensor, or tensors in tuples, lists and mappings."""

Count: typing.TypeAlias = typing.Any
"""A whole number, or in a graph of TensorFlow a scalar tensor."""


class Decoder(typing.Protocol):
    """What a network must do to be decoded from."""

    def start(self, inputs: Nest, /, length: Count) -> tuple[Nest, Nest]:
        """Returns (state, memory) before the first of at most `length` steps; `inputs` as the network takes them."""
        ...

    def step(self, tokens: Tensor, index: Tensor, state: Nest, memory: Nest) -> tuple[Tensor, Nest]:
        """Returns (logits (n, vocabulary) of the next tokens, state) after `tokens` (n,), which are the `index`-th.

        The first tokens are START. Row i belongs to the sentence i // (n / sentences).
        """
        ...


class Decoded(typing.NamedTuple):
    """What decoding answers.

    Attributes:
        tokens: (batch, length) or (batch, beam, length) ids, the best first: END, where it was reached, then padding.
        scores: (batch,) or (batch, beam): log-probability over `penalty` of the number of tokens, END included; -inf
            where there are fewer hypotheses than the beam is wide.
    """

    tokens: Tensor
    scores: Tensor


def penalty(length: Tensor, strength: float) -> Tensor:
    """Returns GNMT's length penalty, ((5 + length) / 6)^strength, by which a log-probability is divided.

    Reference: Wu et al. 2016, "Google's Neural Machine Translation System", equation 14.
    """
    return keras.ops.power((5.0 + keras.ops.cast(length, "float32")) / 6.0, strength)


def lengths(tokens: Tensor) -> Tensor:
    """Returns how many tokens each row of (..., length) has, END included."""
    return keras.ops.sum(keras.ops.cast(keras.ops.not_equal(tokens, PADDING), "int32"), axis=-1)


def greedy(decoder: Decoder, inputs: Nest, length: Count, length_penalty: float = 0.0) -> Decoded:
    """Returns the likeliest token at each step, `Decoded` (batch, length).

    Args:
        decoder: a `Decoder`.
        inputs: as the network takes them.
        length: the most tokens, END included; a number, or in a graph of TensorFlow a scalar tensor.
        length_penalty: strength of the penalty in the scores; 0 is none.
    """

    def choose(log_odds, index):
        best = keras.ops.max(log_odds, axis=-1, keepdims=True)  # (batch, 1)
        ids = keras.ops.arange(log_odds.shape[-1], dtype="int32")
        return keras.ops.min(keras.ops.where(log_odds >= best, ids, log_odds.shape[-1] - 1), axis=-1)

    return _each(decoder, inputs, length, length_penalty, choose)


def sample(
    decoder: Decoder,
    inputs: Nest,
    draws: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> Decoded:
    """Returns tokens at random, `Decoded` (batch, length); scores are log-probabilities under the network as it is.

    Args:
        decoder, inputs: as of `greedy`.
        draws: (batch, length) numbers from 0 to below 1, which alone decide what is drawn.
        temperature: divides the logits; above 0. Towards 0 it is `greedy`.
        top_k: draw from so many of the likeliest tokens; None is all.
        top_p: draw from the fewest tokens that are together at least so likely; above 0, and 1 is all.
    Reference: Fan et al. 2018 (top-k); Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration" (top-p).
    """

    def choose(log_odds, index):
        return _drawn(log_odds, keras.ops.take(draws, index, axis=1), temperature, top_k, top_p)

    return _each(decoder, inputs, draws.shape[1], 0.0, choose)


def stream(
    decoder: Decoder,
    inputs: Nest,
    draws: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (token (batch,), log-probabilities (batch, vocabulary) that it was drawn from), one after the other.

    The tokens are those of `sample` up to the last END, and the probabilities those of the network as it is. Each step
    is run when it is asked for, so this is no part of a model.

    Args:
        decoder, inputs, draws, temperature, top_k, top_p: as of `sample`.
    """
    length = draws.shape[1]
    state, memory = decoder.start(inputs, length)
    last = keras.ops.full((draws.shape[0],), START, "int32")
    for index in range(length):
        if bool(keras.ops.all(_finished(last))):
            return
        logits, state = decoder.step(last, keras.ops.convert_to_tensor(index, "int32"), state, memory)
        log_odds = _log_odds(logits, _finished(last))
        last = _drawn(log_odds, keras.ops.take(draws, index, axis=1), temperature, top_k, top_p)
        yield last, log_odds


def beam(decoder: Decoder, inputs: Nest, width: Count, length: Count, length_penalty: float = 0.6) -> Decoded:
    """Returns the best hypotheses that a beam search finds, `Decoded` (batch, width, length).

    Each step keeps the `width` best continuations by score; a finished hypothesis goes on as it is.

    Args:
        decoder, inputs, length: as of `greedy`.
        width: hypotheses kept; a number, or in a graph of TensorFlow a scalar tensor.
        length_penalty: strength of the penalty in the scores; 0 is none.
    """
    ops = keras.ops
    state, memory = decoder.start(inputs, length)
    batch = ops.shape(keras.tree.flatten(inputs)[0])[0]
    rows = batch * width
    state = _taken(state, ops.arange(rows, dtype="int32") // width)
    first = ops.arange(batch, dtype="int32")[:, None] * width  # (batch, 1), the row of a sentence's first hypothesis
    # all hypotheses are equal before the first step: only one of them may go on
    sums = ops.zeros((batch, 1)) + ops.where(ops.arange(width) == 0, 0.0, float("-inf"))  # (batch, width)
    tokens, counts = ops.full((rows, length), PADDING, "int32"), ops.zeros((rows,), "int32")
    last = ops.full((rows,), START, "int32")

    def body(index, last, tokens, counts, sums, state):
        logits, state = decoder.step(last, index, state, memory)
        vocabulary, finished = logits.shape[-1], _finished(last)
        reached = _log_odds(logits, finished) + ops.reshape(sums, (rows, 1))  # (rows, vocabulary)
        counts = counts + ops.cast(ops.logical_not(finished), "int32")
        scores = ops.reshape(reached / penalty(counts, length_penalty)[:, None], (batch, width * vocabulary))
        _, best = ops.top_k(scores, width)  # (batch, width)
        best = ops.reshape(ops.cast(best, "int32") + first * vocabulary, (rows,))
        sums = ops.reshape(ops.take(ops.reshape(reached, (-1,)), best), (batch, width))
        parent, last = best // vocabulary, best % vocabulary  # (rows,)
        tokens, counts, state = _taken((tokens, counts, state), parent)
        return index + 1, last, _written(tokens, last, index), counts, sums, state

    start = (ops.zeros((), "int32"), last, tokens, counts, sums, state)
    _, _, tokens, counts, sums, _ = ops.while_loop(_unfinished(length), body, start)
    scores, order = ops.top_k(sums / penalty(ops.reshape(counts, (batch, width)), length_penalty), width)
    tokens = _taken(tokens, ops.reshape(ops.cast(order, "int32") + first, (rows,)))
    return Decoded(ops.reshape(tokens, (batch, width, length)), scores)


def _drawn(log_odds: Tensor, draw: Tensor, temperature: float, top_k: int | None, top_p: float) -> Tensor:
    """Ids (batch,) that numbers `draw` (batch,) from 0 to below 1 choose of log-probabilities (batch, vocabulary)."""
    vocabulary = log_odds.shape[-1]
    count = vocabulary if top_k is None else min(top_k, vocabulary)
    values, ids = keras.ops.top_k(log_odds / temperature, count)  # (batch, count), the likeliest first
    odds = keras.ops.exp(values - keras.ops.logsumexp(values, axis=-1, keepdims=True))
    before = keras.ops.cumsum(odds, axis=-1) - odds
    odds = keras.ops.where(before < top_p, odds, 0.0)
    reached = keras.ops.cumsum(odds, axis=-1)
    draw = draw[:, None] * reached[:, -1:]  # (batch, 1)
    # of an id with no odds `reached` equals the one before, so that it is never the first above the draw
    place = keras.ops.sum(keras.ops.cast(reached <= draw, "int32"), axis=-1, keepdims=True)
    place = keras.ops.minimum(place, keras.ops.sum(keras.ops.cast(odds > 0, "int32"), axis=-1, keepdims=True) - 1)
    return keras.ops.cast(keras.ops.take_along_axis(ids, place, axis=-1)[:, 0], "int32")


def _each(
    decoder: Decoder,
    inputs: Nest,
    length: Count,
    length_penalty: float,
    choose: Callable[[Tensor, Tensor], Tensor],
) -> Decoded:
    """Returns one hypothesis a sentence, whose next tokens are `choose(log_odds (batch, vocabulary), index)`."""
    ops = keras.ops
    state, memory = decoder.start(inputs, length)
    batch = ops.shape(keras.tree.flatten(inputs)[0])[0]

    def body(index, last, tokens, sums, state):
        logits, state = decoder.step(last, index, state, memory)
        log_odds = _log_odds(logits, _finished(last))  # (batch, vocabulary)
        last = ops.reshape(choose(log_odds, index), (batch,))  # a batch of known size stays one of known size
        chosen = ops.arange(log_odds.shape[-1], dtype="int32") == last[:, None]
        sums = ops.reshape(sums + ops.sum(ops.where(chosen, log_odds, 0.0), axis=-1), (batch,))
        return index + 1, last, _written(tokens, last, index), sums, state

    last, tokens = ops.full((batch,), START, "int32"), ops.full((batch, length), PADDING, "int32")
    start = (ops.zeros((), "int32"), last, tokens, ops.zeros((batch,)), state)
    _, _, tokens, sums, _ = ops.while_loop(_unfinished(length), body, start)
    return Decoded(tokens, sums / penalty(lengths(tokens), length_penalty))


def _unfinished(length: Count) -> Callable[..., Tensor]:
    """Returns the condition of a loop whose first two variables are the index and the last tokens."""

    def more(index, last, *_):
        return keras.ops.logical_and(index < length, keras.ops.logical_not(keras.ops.all(_finished(last))))

    return more


def _finished(last: Tensor) -> Tensor:
    return keras.ops.logical_or(last == END, last == PADDING)


def _log_odds(logits: Tensor, finished: Tensor) -> Tensor:
    """(rows, vocabulary): log-probabilities of what may come next, never START, and padding after the end alone."""
    log_odds = keras.ops.log_softmax(keras.ops.cast(logits, "float32"), axis=-1)
    ids = keras.ops.arange(logits.shape[-1])
    log_odds = keras.ops.where(ids <= START, float("-inf"), log_odds)
    ended = keras.ops.where(ids == PADDING, 0.0, float("-inf"))
    return keras.ops.where(finished[:, None], ended, log_odds)


def _written(tokens: Tensor, last: Tensor, index: Tensor) -> Tensor:
    """`tokens` (rows, length) with `last` (rows,) at `index`."""
    return keras.ops.where(keras.ops.arange(keras.ops.shape(tokens)[1]) == index, last[:, None], tokens)


def _taken(nest: Nest, rows: Tensor) -> Nest:
    """The `rows` of every tensor of `nest`."""
    return keras.tree.map_structure(lambda part: keras.ops.take(part, rows, axis=0), nest)


@dataclasses.dataclass(frozen=True)
class Search:
    """How the best answer is sought: `greedy` where `width` is 1, else `beam`.

    Attributes:
        length, width, length_penalty: as of `beam`.
    """

    length: int
    width: int = 1
    length_penalty: float = 0.0

    def __call__(self, decoder: Decoder, inputs: Nest) -> Decoded:
        """Returns `Decoded` (batch, width, length)."""
        if self.width > 1:
            return beam(decoder, inputs, self.width, self.length, self.length_penalty)
        tokens, scores = greedy(decoder, inputs, self.length, self.length_penalty)
        return Decoded(tokens[:, None], scores[:, None])


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How an answer is drawn, of inputs and draws.

    Attributes:
        length, temperature, top_k, top_p: as of `sample`.
    """

    length: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __call__(self, decoder: Decoder, inputs: Nest) -> Decoded:
        """Returns `Decoded` (batch, 1, length); `inputs` are those of the network and draws (batch, length)."""
        inputs, draws = inputs
        tokens, scores = sample(decoder, inputs, draws, self.temperature, self.top_k, self.top_p)
        return Decoded(tokens[:, None], scores[:, None])


class Decoding(keras.Model):
    """`search(decoder, inputs)` as a model, for Keras to compile: `predict_on_batch(inputs)` gives a `Decoded`.

    Args:
        model: the network.
        decoder: a `Decoder` over its layers.
        search: such as a `Search`.
        jit_compile: of `keras.Model.compile`.
    """

    def __init__(
        self,
        model: keras.Model,
        decoder: Decoder,
        search: Callable[[Decoder, Nest], Decoded],
        jit_compile: bool | typing.Literal["auto"] = False,
    ) -> None:
        super().__init__(name="decoding")
        self.model = model
        self._decoder = decoder
        self._search = search
        self.built = True
        self.compile(jit_compile=jit_compile)

    def call(self, inputs: Nest) -> Decoded:
        """Returns what the search finds for a batch of inputs."""
        return self._search(self._decoder, inputs)
