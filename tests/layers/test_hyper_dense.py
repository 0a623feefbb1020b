import keras
import numpy as np
import pytest

from tests.layers.arrays import normal, numbers
from tests.layers.configurations import thorough_once
from zoo.layers import HyperDense, Quadratic
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


@pytest.mark.parametrize(
    ("arguments", "shapes", "out", "weights", "thorough"),
    thorough_once(
        ({"units": 4, "use_base": True, "activation": "tanh"}, [(2, 7, 3), (2, 5)], (2, 7, 4), 3),
        ({"units": 4}, [(2, 3), (2, 5)], (2, 4), 2),
        ({"units": 1, "use_bias": False}, [(2, 4, 4, 3), (2, 5)], (2, 4, 4, 1), 1),
    ),
)
def test_conforms(arguments, shapes, out, weights, thorough):
    check_layer(
        HyperDense,
        arguments,
        input_shape=shapes,
        expected_output_shape=out,
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        supports_masking=True,
        thorough=thorough,
    )


def test_each_example_has_its_own_dense_layer():
    x, z = normal(3, 5, 2), normal(3, 4)
    layer = HyperDense(6, use_base=True)
    layer.build([x.shape, z.shape])
    layer.bias.assign(normal(6))
    u, v, b = (numbers(w.value) for w in (layer.kernel, layer.base, layer.bias))
    ours = numbers(layer([x, z]))
    for n in range(3):
        dense = keras.layers.Dense(6)
        dense.build((None, 2))
        dense.kernel.assign(sum(z[n, k] * u[k] for k in range(4)) + v)
        dense.bias.assign(b)
        np.testing.assert_allclose(ours[n], numbers(dense(x[n])), atol=1e-5)


def test_is_linear_in_the_second_input():
    x, first, second = normal(3, 2), normal(3, 4), normal(3, 4)
    f = HyperDense(6, use_bias=False)
    together = numbers(f([x, 2 * first + second]))
    np.testing.assert_allclose(together, 2 * numbers(f([x, first])) + numbers(f([x, second])), atol=1e-5)


def test_is_the_bilinear_quadratic_for_vectors():
    x, z = normal(3, 2), normal(3, 4)
    hyper, quadratic = HyperDense(6, use_bias=False), Quadratic(6, use_linear=False, use_bias=False)
    for layer in (hyper, quadratic):
        layer.build([x.shape, z.shape])
    quadratic.kernel.assign(numbers(hyper.kernel.value).transpose(1, 0, 2))
    np.testing.assert_allclose(numbers(hyper([x, z])), numbers(quadratic([x, z])), atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((2, 3), r"\[x, z\]"),
        ([(2, 3), (2, 5, 4)], r"\(batch, conditions\). Received: z=\(2, 5, 4\)"),
        ([(2, None), (2, 4)], "size of axis -1"),
        ([(2,), (2, 4)], r"x of \(2,\)"),
    ],
)
def test_refuses_shapes_by_name(shapes, message):
    with pytest.raises(ValueError, match=message):
        HyperDense(3).build(shapes)
