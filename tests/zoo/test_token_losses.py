import keras
import numpy as np
import pytest

from zoo.objective.losses import TokenLoss
from zoo.objective.metrics import BitsPerToken, Perplexity, TokenAccuracy

pytestmark = pytest.mark.backend

RNG = np.random.default_rng(0)
IDS = np.array([[3, 1, 4, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
LOGITS = RNG.normal(size=(3, 4, 5)).astype("float32")
REAL = IDS != 0


def surprises():
    """-log p of every token, by hand."""
    odds = LOGITS.astype("float64") - np.log(np.exp(LOGITS.astype("float64")).sum(-1, keepdims=True))
    return -np.take_along_axis(odds, IDS[..., None], axis=-1)[..., 0], odds


def test_is_the_mean_over_real_tokens():
    found, _ = surprises()
    np.testing.assert_allclose(float(TokenLoss()(IDS, LOGITS)), found[REAL].mean(), rtol=1e-6)


def test_smoothing_spreads_the_target_over_the_vocabulary():
    found, odds = surprises()
    expected = 0.9 * found - 0.1 * odds.mean(-1)
    np.testing.assert_allclose(float(TokenLoss(0.1)(IDS, LOGITS)), expected[REAL].mean(), rtol=1e-6)
    one = float(TokenLoss(0.1)(np.array([[1]]), np.array([[[0.5, 2, 1]]], "float32")))  # id 0 is padding
    np.testing.assert_allclose(one, 0.54770214, rtol=1e-6)


SUMS = 2e-4 if keras.backend.backend() == "torch" else 5e-5
"""The relative error of a sum of 37,000 numbers: torch's order of adding, and with it the error, is the processor's."""


@pytest.mark.parametrize(("size", "floor"), [(10, 0.500288), (1000, 1.014848), (37_000, 1.376913)])
def test_smoothing_has_the_published_floor(size, floor):
    """No logits do better than those of the smoothed target, whose loss is its entropy."""
    gap = np.log((0.9 + 0.1 / size) / (0.1 / size))
    best = np.zeros((1, 1, size), "float32")
    best[0, 0, 7] = gap
    np.testing.assert_allclose(float(TokenLoss(0.1)(np.array([[7]]), best)), floor, rtol=SUMS)
    for change in (-0.1, 0.1):
        assert float(TokenLoss(0.1)(np.array([[7]]), best + change * (best > 0))) > floor


def test_a_uniform_answer_costs_the_logarithm_of_the_vocabulary():
    logits = np.zeros((1, 3, 37_000), "float32")
    for smoothing in (0.0, 0.1):
        np.testing.assert_allclose(float(TokenLoss(smoothing)(np.array([[5, 6, 0]]), logits)), 10.5187, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_padding_has_no_part_in_it(smoothing):
    loss = TokenLoss(smoothing)
    other = np.where(REAL[..., None], LOGITS, 1e3).astype("float32")
    wide, ids = (np.pad(part, [(0, 0), (0, 2)] + [(0, 0)] * (part.ndim - 2)) for part in (other, IDS))
    np.testing.assert_allclose(float(loss(ids, wide)), float(loss(IDS, LOGITS)), rtol=1e-6)
    assert float(loss(IDS * 0, LOGITS)) == 0


def test_weights_count_sentences_or_tokens():
    found, _ = surprises()
    sentences = np.array([2.0, 1.0, 5.0])
    weights = np.broadcast_to(sentences[:, None], IDS.shape) * REAL
    expected = (found * weights).sum() / weights.sum()
    for given in (sentences, weights):
        np.testing.assert_allclose(float(TokenLoss()(IDS, LOGITS, given)), expected, rtol=1e-6)


def test_metrics_count_real_tokens_of_all_batches():
    found, _ = surprises()
    metrics = [TokenAccuracy(name="accuracy"), Perplexity(name="perplexity"), BitsPerToken(name="bits")]
    for rows in (slice(0, 1), slice(1, 3)):
        for metric in metrics:
            metric.update_state(IDS[rows], LOGITS[rows])
    accuracy, perplexity, bits = (float(metric.result()) for metric in metrics)
    assert accuracy == (LOGITS.argmax(-1) == IDS)[REAL].mean()
    np.testing.assert_allclose(perplexity, np.exp(found[REAL].mean()), rtol=1e-6)
    np.testing.assert_allclose(bits, found[REAL].mean() / np.log(2), rtol=1e-6)
    metrics[1].reset_state()
    assert float(metrics[1].result()) == 1


def test_comes_back_from_its_config():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(TokenLoss(0.1)))
    assert again.smoothing == 0.1
