import keras
import numpy as np
import pytest

import zoo.layers
from tests.layers.configurations import thorough_once
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


@pytest.mark.parametrize(
    ("arguments", "shape", "out", "thorough"),
    thorough_once(
        ({"pool_size": 3}, (2, 10, 9, 4), (2, 3, 3, 4)),
        ({}, (2, 8, 8, 3), (2, 4, 4, 3)),
        ({"pool_size": 1, "name": "s2"}, (2, 4, 4, 1), (2, 4, 4, 1)),
    ),
)
def test_conforms(arguments, shape, out, thorough):
    check_layer(
        zoo.layers.Subsampling2D,
        arguments,
        input_shape=shape,
        expected_output_shape=out,
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        thorough=thorough,
    )


def test_is_average_pooling_scaled_and_shifted_by_map():
    layer = zoo.layers.Subsampling2D(2)
    x = np.random.default_rng(0).normal(size=(2, 6, 4, 3)).astype("float32")
    layer.build(x.shape)
    layer.coefficient.assign([1.0, 2.0, -1.0])
    layer.bias.assign([0.0, 0.5, 1.0])
    mean = x.reshape(2, 3, 2, 2, 2, 3).mean(axis=(2, 4))
    expected = mean * [1.0, 2.0, -1.0] + [0.0, 0.5, 1.0]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pool_size", [0, -1, 1.5, True, "2"])
def test_refuses_a_pool_size_by_name(pool_size):
    with pytest.raises(ValueError, match=f"pool_size={pool_size!r}"):
        zoo.layers.Subsampling2D(pool_size)


def test_refuses_unknown_channels():
    with pytest.raises(ValueError, match="size of axis -1"):
        zoo.layers.Subsampling2D(2).build((None, 4, 4, None))
