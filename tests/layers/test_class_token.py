import keras
import numpy as np
import pytest

from zoo.layers import ClassToken
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def test_conforms():
    check_layer(
        ClassToken,
        {"initializer": "ones"},
        input_shape=(2, 5, 8),
        mask=np.arange(5) < np.array([3, 5])[:, None],
        dynamic_axes=(1,),
        expected_output_shape=(2, 6, 8),
        expected_num_trainable_weights=1,
        supports_masking=True,
    )


def test_the_token_stands_in_front_of_every_sequence_and_is_never_masked():
    layer, x = ClassToken("random_normal"), np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(y[:, 0], np.repeat(keras.ops.convert_to_numpy(layer.token)[None], 2, axis=0))
    np.testing.assert_array_equal(y[:, 1:], x)
    mask = layer.compute_mask(x, np.array([[True, False, False], [True, True, True]]))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(mask), [[1, 1, 0, 0], [1, 1, 1, 1]])
    assert layer.compute_mask(x, None) is None


def test_a_sequence_of_unknown_width_is_refused():
    with pytest.raises(ValueError, match="size of axis -1"):
        ClassToken().build((None, 3, None))
