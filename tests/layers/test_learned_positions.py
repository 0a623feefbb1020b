import keras
import numpy as np
import pytest

from zoo.layers import LearnedPositions
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def made(length, dim):
    layer = LearnedPositions(length)
    layer.build((None, None, dim))
    table = np.random.default_rng(0).normal(size=(length, dim)).astype("float32")
    layer.table.assign(table)
    return layer, table


@pytest.mark.parametrize("arguments", [{"length": 10}, {"length": 12, "initializer": "ones"}])
def test_conforms(arguments):
    check_layer(
        LearnedPositions,
        arguments,
        input_shape=(2, 5, 8),
        mask=np.arange(5) < np.array([3, 5])[:, None],
        dynamic_axes=(1,),
        thorough=arguments["length"] == 10,
        expected_output_shape=(2, 5, 8),
        expected_num_trainable_weights=1,
        supports_masking=True,
    )


def test_is_added_to_the_input():
    layer, table = made(6, 4)
    x = np.random.default_rng(1).normal(size=(2, 5, 4)).astype("float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), x + table[:5], rtol=0, atol=1e-6)


def test_starts_where_decoding_stands():
    layer, table = made(9, 4)
    x = np.zeros((2, 3, 4), "float32")
    for start, expected in ((6, [table[6:], table[6:]]), (np.array([0, 5]), [table[:3], table[5:8]])):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x, start=start)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("start", [0, 3, -1])
def test_a_sequence_that_reaches_beyond_is_refused(start):
    layer, _ = made(4, 2)
    count = 5 if start == 0 else 2
    with pytest.raises(ValueError, match=f"has 4 positions. Received: {count} from start={start} on"):
        layer(np.zeros((1, count, 2), "float32"), start=start)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"length must be .* at least 1\. Received: length=0"):
        LearnedPositions(0)
