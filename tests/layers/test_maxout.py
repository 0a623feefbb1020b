import keras
import numpy as np
import pytest

from tests.layers.configurations import thorough_once
from zoo.layers import Maxout
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


@pytest.mark.parametrize(
    ("arguments", "shape", "out", "weights", "thorough"),
    thorough_once(
        ({"units": 4, "pieces": 3, "use_bias": False, "kernel_initializer": "he_normal"}, (2, 5, 3), (2, 5, 4), 1),
        ({"units": 4}, (2, 3), (2, 4), 2),
    ),
)
def test_conforms(arguments, shape, out, weights, thorough):
    check_layer(
        Maxout,
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


def test_is_the_largest_of_dense_layers():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    layer = Maxout(4, pieces=3)
    layer.build(x.shape)
    layer.bias.assign(np.random.default_rng(1).normal(size=12))
    lines = x @ keras.ops.convert_to_numpy(layer.kernel.value) + keras.ops.convert_to_numpy(layer.bias.value)
    expected = np.max([lines[:, 0:4], lines[:, 4:8], lines[:, 8:12]], axis=0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), expected, atol=1e-5)


def test_two_pieces_learn_the_absolute_value():
    layer = Maxout(1, pieces=2, use_bias=False)
    layer.build((None, 1))
    layer.kernel.assign([[1.0, -1.0]])
    x = np.linspace(-2, 2, 9, dtype="float32")[:, None]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), np.abs(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"units": 0}, "units=0"), ({"units": 2, "pieces": 1.5}, "pieces=1.5"), ({"units": True}, "units=True")],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        Maxout(**arguments)


def test_refuses_unknown_features():
    with pytest.raises(ValueError, match="size of axis -1"):
        Maxout(2).build((None, None))
