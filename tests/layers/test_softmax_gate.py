import keras
import numpy as np
import pytest

from tests.layers.arrays import normal, numbers
from tests.layers.configurations import thorough_once
from tests.layers.gradients import gradients
from zoo.layers import SoftmaxGate
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

P = np.array([0.09003057, 0.24472847, 0.66524096])  # softmax of 1, 2, 3


@pytest.mark.parametrize(
    ("arguments", "shape", "out", "weights", "thorough"),
    thorough_once(
        ({"bias_initializer": "ones"}, (2, 3, 4, 5), (2, 4, 5), 2),
        ({}, [(2, 3, 5), (2, 3)], (2, 5), 0),
        ({"temperature": 0.5, "hard": True}, [(2, 3, 4, 4, 5), (2, 3)], (2, 4, 4, 5), 0),
        ({}, (2, 3), (2,), 2),
    ),
)
def test_conforms(arguments, shape, out, weights, thorough):
    check_layer(
        SoftmaxGate,
        arguments,
        input_shape=shape,
        expected_output_shape=out,
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        supports_masking=True,
        thorough=thorough,
    )


def test_has_the_softmax_and_its_jacobian():
    scores = np.array([[1.0, 2.0, 3.0]], "float32")
    basis = np.eye(3, dtype="float32")[None]  # candidate i is the unit vector i: the answer is p
    layer = SoftmaxGate()
    np.testing.assert_allclose(numbers(layer([basis, scores]))[0], P, atol=1e-7)
    rows = [gradients(lambda r, i=i: layer([basis, r])[:, i], scores)[0][0] for i in range(3)]
    np.testing.assert_allclose(rows, np.diag(P) - np.outer(P, P), atol=1e-7)


def test_gradient_of_a_candidate_is_its_weight():
    scores = np.array([[1.0, 2.0, 3.0]], "float32")
    dx = gradients(lambda x: SoftmaxGate()([x, scores]), normal(1, 3, 4))[0]
    np.testing.assert_allclose(dx[0], np.repeat(P[:, None], 4, axis=1), atol=1e-7)


def test_scores_count_by_their_differences_even_when_they_are_far():
    x, scores = normal(2, 3, 4), normal(2, 3)
    layer = SoftmaxGate()
    np.testing.assert_allclose(numbers(layer([x, scores])), numbers(layer([x, scores + 7])), atol=1e-6)
    far = numbers(layer([x, np.array([[1e4, -1e4, 0], [-1e4, 0, 1e4]], "float32")]))
    np.testing.assert_array_equal(far, x[[0, 1], [0, 2]])


def test_temperature_leads_from_the_best_to_the_mean():
    x, scores = normal(2, 3, 4), normal(2, 3)
    cold = numbers(SoftmaxGate(temperature=1e-4)([x, scores]))
    np.testing.assert_allclose(cold, x[[0, 1], scores.argmax(1)], atol=1e-6)
    np.testing.assert_allclose(numbers(SoftmaxGate(temperature=1e6)([x, scores])), x.mean(1), atol=1e-5)


def test_hard_selects_and_its_gradient_reaches_the_selected_alone():
    x, scores = normal(2, 3, 4), np.array([[0.0, 2.0, 1.0], [1.0, 1.0, 0.0]], "float32")  # the first of equals
    layer = SoftmaxGate(hard=True)
    np.testing.assert_array_equal(numbers(layer([x, scores])), x[[0, 1], [1, 0]])
    dx, dr = gradients(lambda x, r: layer([x, r]), x, scores)
    expected = np.zeros_like(x)
    expected[[0, 1], [1, 0]] = 1
    np.testing.assert_array_equal(dx, expected)
    soft = gradients(lambda r: SoftmaxGate()([x, r]), scores)[0]
    np.testing.assert_allclose(dr, soft, atol=1e-6)  # straight-through


@pytest.mark.parametrize("hard", [False, True])
def test_masked_candidates_have_no_weight(hard):
    x, scores = normal(3, 4, 2), normal(3, 4)
    mask = np.array([[True, False, True, True], [False, False, False, True], [False] * 4])
    layer = SoftmaxGate(hard=hard)
    ours = numbers(layer([x, scores], mask=[mask, None]))
    alone = numbers(layer([x[:1, [0, 2, 3]], scores[:1, [0, 2, 3]]]))
    np.testing.assert_allclose(ours[:1], alone, atol=1e-6)
    np.testing.assert_allclose(ours[1], x[1, 3], atol=1e-6)
    np.testing.assert_array_equal(ours[2], 0)
    assert all(np.isfinite(one).all() for one in gradients(lambda x, r: layer([x, r], mask=[mask, None]), x, scores))


def test_keras_mask_of_the_candidates_is_taken():
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    embedded = keras.layers.Embedding(5, 4, mask_zero=True)(ids)
    answer = numbers(SoftmaxGate()([embedded, np.zeros((2, 3), "float32")]))
    embedded = numbers(embedded)
    np.testing.assert_allclose(answer, [embedded[0, :2].mean(0), embedded[1, 0]], atol=1e-6)


def test_learned_scores_are_of_each_candidate():
    x = normal(2, 3, 5, 4)
    layer = SoftmaxGate()
    layer.build(x.shape)
    layer.kernel.assign(normal(4, 1))
    layer.bias.assign(normal(3))
    scores = (x.mean(2) @ numbers(layer.kernel.value))[..., 0] + numbers(layer.bias.value)
    np.testing.assert_allclose(numbers(layer(x)), numbers(SoftmaxGate()([x, scores])), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "shapes", "message"),
    [
        ({"temperature": 0}, None, "above 0. Received: temperature=0"),
        ({"temperature": float("nan")}, None, "temperature=nan"),
        ({"hard": 1}, None, "hard=1"),
        ({}, (3,), r"\(batch, n, ...\)"),
        ({}, [(2, 3, 4), (2, 4)], r"one score a candidate.*R of \(2, 4\)"),
        ({}, [(2, 3, 4)], r"\[X, R\]"),
        ({}, (2, None, 4), "size of axis 1"),
    ],
)
def test_refuses_by_name(arguments, shapes, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxGate(**arguments).build(shapes)
