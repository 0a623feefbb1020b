import keras
import numpy as np
import pytest

from zoo.layers import CropLike
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


@pytest.mark.parametrize(
    ("arguments", "shapes", "out"),
    [
        ({}, [(2, 8, 8, 3), (2, 5, 8, 1)], (2, 5, 8, 3)),
        ({"margin": 2, "name": "crop"}, [(2, 8, 8, 3), (2, 9, 6, 1)], (2, 5, 2, 3)),
    ],
)
def test_conforms(arguments, shapes, out):
    check_layer(
        CropLike,
        arguments,
        input_shape=shapes,
        expected_output_shape=out,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=0,
    )


def test_keeps_the_upper_left():
    x = np.arange(2 * 6 * 7 * 3).reshape(2, 6, 7, 3).astype("float32")
    found = keras.ops.convert_to_numpy(CropLike(1)([x, np.zeros((2, 6, 9, 1), "float32")]))
    np.testing.assert_array_equal(found, x[:, :4, :7])


def test_refuses_what_leaves_nothing():
    with pytest.raises(ValueError, match="below 5 x 5"):
        CropLike(2)([np.zeros((1, 8, 8, 1)), np.zeros((1, 4, 8, 1))])
    with pytest.raises(ValueError, match="margin=-1"):
        CropLike(-1)
