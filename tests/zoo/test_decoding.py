import itertools

import keras
import numpy as np
import pytest

from zoo import decoding
from zoo.data.tokens import END, PADDING, START

pytestmark = pytest.mark.backend

VOCABULARY, WIDTH = 6, 5
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(3, WIDTH)).astype("float32")


class Toy:
    """A decoder whose state is what it has read, and whose memory is the sentence: a recurrent network by hand."""

    def __init__(self, seed=0, scale=2.0):
        rng = np.random.default_rng(seed)
        self.embedding, self.recurrent, self.output = (
            (rng.normal(size=shape) * scale / WIDTH**0.5).astype("float32")
            for shape in ((VOCABULARY, WIDTH), (WIDTH, WIDTH), (WIDTH, VOCABULARY))
        )

    def start(self, inputs, length):
        return {"state": keras.ops.zeros_like(inputs)}, inputs

    def step(self, tokens, index, state, memory):
        read = keras.ops.take(self.embedding, tokens, axis=0)  # (n, width)
        own = keras.ops.repeat(memory, keras.ops.shape(tokens)[0] // keras.ops.shape(memory)[0], axis=0)
        state = keras.ops.tanh(keras.ops.matmul(state["state"], self.recurrent) + read + own)
        return keras.ops.matmul(state, self.output), {"state": state}

    def score(self, sentence, tokens):
        """The log-probability of `tokens`, one by one."""
        state, total = np.zeros(WIDTH), 0.0
        for before, token in itertools.pairwise([START, *tokens]):
            state = np.tanh(state @ self.recurrent + self.embedding[before] + sentence)
            logits = state @ self.output
            total += logits[token] - np.log(np.exp(logits).sum())
        return total


def numbers(decoded):
    return [keras.ops.convert_to_numpy(part) for part in decoded]


def written(tokens):
    """The tokens of a row, END included."""
    return [int(token) for token in tokens if token != PADDING]


def normalised(score, count, strength):
    return score / ((5 + count) / 6) ** strength


def every_hypothesis(length):
    """All that may be written within `length` tokens."""
    for count in range(1, length + 1):
        for tokens in itertools.product(range(END, VOCABULARY), repeat=count):
            if END not in tokens[:-1] and (tokens[-1] == END or count == length):
                yield tokens


@pytest.mark.parametrize(("count", "expected"), [
    (1, 1.0), (5, 1.358655), (10, 1.732862), (20, 2.354362), (50, 3.778565),
])  # fmt: skip
def test_the_penalty_has_the_published_values(count, expected):
    np.testing.assert_allclose(numbers([decoding.penalty(count, 0.6)])[0], expected, rtol=1e-6)
    assert float(decoding.penalty(count, 0.0)) == 1


@pytest.mark.parametrize(("strength", "seed"), [(0.0, 0), (0.6, 1), (2.0, 2)])
def test_a_beam_as_wide_as_all_hypotheses_finds_the_best(strength, seed):
    toy, length = Toy(seed), 3
    hypotheses = list(every_hypothesis(length))
    tokens, scores = numbers(decoding.beam(toy, INPUTS, len(hypotheses), length, strength))
    for row, sentence in enumerate(INPUTS):
        expected = [normalised(toy.score(sentence, one), len(one), strength) for one in hypotheses]
        np.testing.assert_allclose(scores[row], sorted(expected, reverse=True), rtol=1e-5, atol=1e-5)
        assert {tuple(written(one)) for one in tokens[row]} == set(hypotheses)
        assert written(tokens[row, 0]) == list(hypotheses[np.argmax(expected)])


@pytest.mark.parametrize(("width", "strength"), [(1, 0.6), (2, 0.0), (7, 0.6)])
def test_scores_are_those_of_the_tokens(width, strength):
    toy = Toy(4)
    tokens, scores = numbers(decoding.beam(toy, INPUTS, width, 8, strength))
    assert (np.diff(scores, axis=1) <= 0).all()
    for row, sentence in enumerate(INPUTS):
        assert len({tuple(one) for one in tokens[row]}) == width  # no hypothesis twice
        for found, score in zip(tokens[row], scores[row], strict=True):
            one = written(found)
            np.testing.assert_allclose(score, normalised(toy.score(sentence, one), len(one), strength), atol=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_a_beam_of_one_is_greedy(seed):
    toy = Toy(seed)
    tokens, scores = numbers(decoding.greedy(toy, INPUTS, 9, 0.6))
    beam_tokens, beam_scores = numbers(decoding.beam(toy, INPUTS, 1, 9, 0.6))
    np.testing.assert_array_equal(beam_tokens[:, 0], tokens)
    np.testing.assert_allclose(beam_scores[:, 0], scores, rtol=1e-6)


def test_greedy_takes_the_likeliest_at_each_step():
    toy = Toy(1)
    tokens, _ = numbers(decoding.greedy(toy, INPUTS, 6))
    for row, sentence in enumerate(INPUTS):
        said = []
        while len(said) < 6 and END not in said:
            said.append(max(range(END, VOCABULARY), key=lambda token: toy.score(sentence, [*said, token])))
        assert written(tokens[row]) == said


@pytest.mark.parametrize("seed", range(2))
def test_what_is_finished_does_not_grow(seed):
    """Behind END there is padding alone, and START and padding are never written before it."""
    decoded = [decoding.greedy(Toy(seed), INPUTS, 12), decoding.beam(Toy(seed), INPUTS, 4, 12)]
    decoded.append(decoding.sample(Toy(seed), INPUTS, RNG.uniform(size=(3, 12)).astype("float32")))
    for tokens, _ in map(numbers, decoded):
        for row in tokens.reshape(-1, 12):
            end = list(row).index(END) if END in row else 12
            assert (row[:end] > END).all()
            assert (row[end + 1 :] == PADDING).all()


@pytest.mark.parametrize("width", [1, 3])
def test_other_rows_change_nothing(width):
    toy = Toy(2)
    tokens, scores = numbers(decoding.beam(toy, INPUTS, width, 7))
    for row in range(3):
        alone, score = numbers(decoding.beam(toy, INPUTS[row : row + 1], width, 7))
        np.testing.assert_array_equal(alone[0], tokens[row])
        np.testing.assert_allclose(score[0], scores[row], atol=1e-5)


def test_more_beams_than_hypotheses_are_marked():
    tokens, scores = numbers(decoding.beam(Toy(), INPUTS, 9, 1))
    live = VOCABULARY - END
    assert np.isfinite(scores[:, :live]).all()
    assert (scores[:, live:] == -np.inf).all()
    assert {tuple(row) for row in tokens[0, :live]} == {(token,) for token in range(END, VOCABULARY)}


@pytest.mark.parametrize("options", [{"temperature": 1e-3}, {"top_k": 1}, {"top_p": 1e-6}], ids=str)
def test_sampling_without_chance_is_greedy(options):
    draws = RNG.uniform(size=(3, 8)).astype("float32")
    tokens, scores = numbers(decoding.sample(Toy(3), INPUTS, draws, **options))
    greedy, expected = numbers(decoding.greedy(Toy(3), INPUTS, 8))
    np.testing.assert_array_equal(tokens, greedy)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize(("options", "kept"), [
    ({}, [2, 3, 4, 5]),
    ({"temperature": 0.5}, [2, 3, 4, 5]),
    ({"top_k": 2}, [5, 4]),
    ({"top_p": 0.45}, [5, 4]),
    ({"top_p": 0.39}, [5]),
    ({"top_k": 3, "top_p": 0.8}, [5, 4, 3]),
], ids=str)  # fmt: skip
def test_draws_have_the_frequencies_that_they_should(options, kept):
    """Of one step with known odds: 0.1, 0.2, 0.3 and 0.4 of the tokens 2 to 5, on draws that are evenly spread."""

    class Known(Toy):
        def step(self, tokens, index, state, memory):
            logits = keras.ops.log(keras.ops.array([0.5, 0.5, 0.1, 0.2, 0.3, 0.4], "float32"))
            return keras.ops.zeros((count, 1)) + logits, state

    count = 4000
    draws = ((np.arange(count) + 0.5) / count).astype("float32")[:, None]
    tokens, _ = numbers(decoding.sample(Known(), np.zeros((count, WIDTH), "float32"), draws, **options))
    odds = np.array([0, 0, 0.1, 0.2, 0.3, 0.4]) ** (1 / options.get("temperature", 1))
    odds[[token for token in range(VOCABULARY) if token not in kept]] = 0
    found = np.bincount(tokens[:, 0], minlength=VOCABULARY) / count
    np.testing.assert_allclose(found, odds / odds.sum(), atol=2 / count)


@pytest.mark.parametrize("width", [1, 3])
def test_compiled_it_answers_the_same(width):
    toy, search = Toy(5), decoding.Search(7, width, 0.6)
    compiled = decoding.Decoding(keras.Sequential([keras.layers.Identity()]), toy, search)
    for ours, eager in zip(numbers(compiled.predict_on_batch(INPUTS)), numbers(search(toy, INPUTS)), strict=True):
        np.testing.assert_allclose(ours, eager, atol=1e-5)


def test_lengths_count_what_was_written():
    tokens = np.array([[5, 4, END, PADDING], [END, PADDING, PADDING, PADDING], [3, 4, 5, 3]])
    assert numbers([decoding.lengths(tokens)])[0].tolist() == [3, 1, 4]


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.7}])
def test_a_stream_gives_what_sampling_gives(options):
    """Token by token, with the log-probabilities that make the score, until every row has ended."""
    toy, draws = Toy(), RNG.random((3, 7)).astype("float32")
    tokens, scores = numbers(decoding.sample(toy, INPUTS, draws, **options))
    steps = [numbers(step) for step in decoding.stream(toy, INPUTS, draws, **options)]
    assert len(steps) == decoding.lengths(tokens).__array__().max()
    streamed = np.stack([token for token, _ in steps], axis=1)
    np.testing.assert_array_equal(streamed, tokens[:, : len(steps)])
    odds = [np.take_along_axis(odds, token[:, None], axis=1)[:, 0] for token, odds in steps]
    np.testing.assert_allclose(np.sum(odds, axis=0), scores, rtol=1e-5)
