import keras
import numpy as np
import pytest

from tests.layers.arrays import normal, numbers
from tests.layers.configurations import thorough_once
from zoo.layers import Quadratic
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def pure(units, **arguments):
    """A layer of the quadratic term alone."""
    return Quadratic(units, use_linear=False, use_bias=False, **arguments)


@pytest.mark.parametrize(
    ("arguments", "shape", "out", "weights", "thorough"),
    thorough_once(
        ({"units": 4, "rank": 2, "activation": "relu"}, (2, 5, 3), (2, 5, 4), 4),
        ({"units": 4}, (2, 3), (2, 4), 3),
        ({"units": 4, "rank": 2, "kernel_regularizer": "l2"}, [(2, 3), (2, 6)], (2, 4), 4),
        ({"units": 1, "use_linear": False, "use_bias": False}, [(2, 5, 3), (2, 5, 6)], (2, 5, 1), 1),
    ),
)
def test_conforms(arguments, shape, out, weights, thorough):
    check_layer(
        Quadratic,
        arguments,
        input_shape=shape,
        expected_output_shape=out,
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        supports_masking=True,
        thorough=thorough,
    )


@pytest.mark.parametrize("two", [False, True])
def test_is_the_triple_sum(two):
    x, z = normal(4, 3), normal(4, 5 if two else 3)
    if not two:
        z = x
    layer = Quadratic(2)
    layer.build([x.shape, z.shape] if two else x.shape)
    layer.bias.assign([0.5, -1.0])
    u, w, b = (numbers(v.value).astype("float64") for v in (layer.kernel, layer.linear, layer.bias))
    expected = np.zeros((4, 2))
    for n in range(4):
        for i in range(2):
            expected[n, i] = b[i] + sum(w[j, i] * x[n, j] for j in range(3))
            for j in range(3):
                for k in range(z.shape[1]):
                    expected[n, i] += u[j, k, i] * x[n, j] * z[n, k]
    np.testing.assert_allclose(numbers(layer([x, z] if two else x)), expected, atol=1e-5)


def test_low_rank_is_the_full_form_of_its_outer_products():
    x, z = normal(4, 3), normal(4, 5)
    low, full = pure(2, rank=3), pure(2)
    for layer in (low, full):
        layer.build([x.shape, z.shape])
    a, c = numbers(low.kernel.value).reshape(3, 3, 2), numbers(low.factor.value).reshape(5, 3, 2)  # (features, rank, i)
    full.kernel.assign(np.einsum("jri,kri->jki", a, c))
    np.testing.assert_allclose(numbers(low([x, z])), numbers(full([x, z])), atol=1e-5)


def test_low_rank_of_one_tensor_is_that_of_it_twice():
    x = normal(4, 3)
    one, two = pure(2, rank=3), pure(2, rank=3)
    one.build(x.shape)
    two.build([x.shape, x.shape])
    two.set_weights(one.get_weights())
    np.testing.assert_allclose(numbers(one(x)), numbers(two([x, x])), atol=1e-6)


def test_the_factors_of_one_initializer_differ():
    """An initializer object draws the same values each time: the factors would make squares only."""
    layer = pure(2, rank=3, kernel_initializer=keras.initializers.GlorotUniform(seed=0))
    layer.build((4, 3))
    assert np.abs(numbers(layer.kernel.value) - numbers(layer.factor.value)).min() > 0


def test_is_a_quadratic_form():
    x, y = normal(4, 3), normal(4, 3)
    f = pure(2)
    f.build(x.shape)
    q = numbers(f.kernel.value)
    np.testing.assert_allclose(numbers(f(2 * x)), 4 * numbers(f(x)), atol=1e-5)
    polar = numbers(f(x + y)) - numbers(f(x)) - numbers(f(y))
    np.testing.assert_allclose(polar, np.einsum("nj,jki,nk->ni", x, q + q.transpose(1, 0, 2), y), atol=1e-5)
    f.kernel.assign(q - q.transpose(1, 0, 2))  # antisymmetric
    np.testing.assert_allclose(numbers(f(x)), 0, atol=1e-6)
    f.kernel.assign(np.stack([np.eye(3)] * 2, axis=-1))
    np.testing.assert_allclose(numbers(f(x)), np.square(x).sum(1, keepdims=True).repeat(2, 1), rtol=1e-5)


def test_one_unit_solves_exclusive_or():
    """(x_1 - 1/2)(x_2 - 1/2), which no linear unit can separate."""
    layer = Quadratic(1)
    layer.build((None, 2))
    layer.kernel.assign([[[0.0], [1.0]], [[0.0], [0.0]]])
    layer.linear.assign([[-0.5], [-0.5]])
    layer.bias.assign([0.25])
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    np.testing.assert_array_equal(numbers(layer(corners))[:, 0] < 0, [False, True, True, False])


def test_zeros_start_it_as_a_dense_layer():
    x = normal(4, 3)
    layer = Quadratic(2, kernel_initializer="zeros")
    layer.build(x.shape)
    np.testing.assert_allclose(numbers(layer(x)), x @ numbers(layer.linear.value), atol=1e-6)


def test_counts():
    for arguments, count in (({}, 5 * 5 * 4 + 5 * 4 + 4), ({"rank": 2}, 2 * 2 * 5 * 4 + 5 * 4 + 4)):
        layer = Quadratic(4, **arguments)
        layer.build((None, 5))
        assert layer.count_params() == count


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"units": 0}, (2, 3), "units=0"),
        ({"units": 2, "rank": 0}, (2, 3), "rank=0"),
        ({"units": 2}, (2, None), "size of axis -1"),
        ({"units": 2}, [(2, 3)], r"\[x, z\]"),
        ({"units": 2}, [(2, 5, 3), (2, 4, 3)], r"x of \(2, 5, 3\), z of \(2, 4, 3\)"),
    ],
)
def test_refuses_by_name(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        Quadratic(**arguments).build(shape)
