import keras
import numpy as np
import pytest

from tests.layers.arrays import normal
from tests.layers.configurations import thorough_once
from tests.layers.gradients import gradients
from zoo.layers import SoftGate, SoftmaxGate
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def sigmoid(r):
    return 1 / (1 + np.exp(-r.astype("float64")))


@pytest.mark.parametrize(
    ("arguments", "shapes", "weights", "thorough"),
    thorough_once(
        ({"bias_initializer": "ones", "kernel_regularizer": "l2"}, [(2, 5, 3), (2, 5, 3)], 2),
        ({}, [(2, 5, 3), (2, 5, 3), (2, 5, 3)], 0),
        ({}, [(2, 4, 4, 3), (2, 4, 4, 3), (2, 1, 1, 3)], 0),
    ),
)
def test_conforms(arguments, shapes, weights, thorough):
    check_layer(
        SoftGate,
        arguments,
        input_shape=shapes,
        expected_output_shape=shapes[0],
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=1 if weights else 0,
        supports_masking=True,
        thorough=thorough,
    )


def test_blends_by_the_sigmoid_and_so_do_its_gradients():
    x, y, r = normal(4, 3), normal(4, 3), 3 * normal(4, 3)
    s = sigmoid(r)
    layer = SoftGate()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer([x, y, r])), x * s + y * (1 - s), atol=1e-6)
    dx, dy, dr = gradients(lambda *tensors: layer(list(tensors)), x, y, r)
    np.testing.assert_allclose(dx, s, atol=1e-6)
    np.testing.assert_allclose(dy, 1 - s, atol=1e-6)
    np.testing.assert_allclose(dr, (x - y) * s * (1 - s), atol=1e-6)


def test_a_gate_far_open_or_shut_passes_one_input_exactly():
    x, y = normal(2, 3), normal(2, 3)
    for r, passed in ((200.0, x), (-200.0, y)):
        answer = SoftGate()([x, y, np.full((2, 1), r, "float32")])
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(answer), passed)


def test_keeps_the_small_share_of_a_gate_nearly_open():
    """1 - s(r) of a rounded s(r) would be 0 from r = 17 on."""
    dy = gradients(lambda y: SoftGate()([y * 0, y, keras.ops.full((1, 1), 20.0)]), np.ones((1, 1), "float32"))[0]
    np.testing.assert_allclose(dy, np.exp(-20.0), rtol=1e-3)


def test_two_candidates_of_a_softmax_gate_are_a_soft_gate():
    x, y, r = normal(4, 3), normal(4, 3), normal(4, 1)
    scores = np.concatenate([r, np.zeros_like(r)], axis=1)
    ours = keras.ops.convert_to_numpy(SoftmaxGate()([np.stack([x, y], axis=1), scores]))
    np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(SoftGate()([x, y, r])), atol=1e-6)


def test_projection_sees_both_inputs():
    x, y = normal(4, 3), normal(4, 3)
    layer = SoftGate()
    layer.build([x.shape, y.shape])
    kernel, bias = normal(6, 3), normal(3)
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
    s = sigmoid(np.concatenate([x, y], axis=1) @ kernel + bias)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer([x, y])), x * s + y * (1 - s), atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((4, 3), r"list \[x, y\]"),
        ([(4, 3)], r"list \[x, y\]"),
        ([(4, 3), (4, 2)], r"one shape. Received: x of \(4, 3\), y of \(4, 2\)"),
        ([(4, 3), (4, 3), (4,)], r"as many axes as x.*r of \(4,\)"),
        ([(4, 3), (4, 3), (4, 2)], r"r of \(4, 2\)"),
        ([(4, None), (4, None)], "size of axis -1"),
    ],
)
def test_refuses_shapes_by_name(shapes, message):
    with pytest.raises(ValueError, match=message):
        SoftGate().build(shapes)
