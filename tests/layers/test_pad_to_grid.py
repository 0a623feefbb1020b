import keras
import numpy as np
import pytest

from zoo.layers import PadToGrid
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


@pytest.mark.parametrize(
    ("arguments", "shape", "out"),
    [
        ({"step": 4}, (2, 5, 8, 3), (2, 8, 8, 3)),
        ({"step": 16, "offset": 12}, (2, 20, 28, 1), (2, 28, 28, 1)),
        ({"step": 8, "offset": 3, "name": "pad"}, (2, 1, 2, 2), (2, 3, 3, 2)),
    ],
)
def test_conforms(arguments, shape, out):
    check_layer(
        PadToGrid,
        arguments,
        input_shape=shape,
        dynamic_axes=(1, 2),
        expected_output_shape=out,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=0,
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17])
@pytest.mark.parametrize(("step", "offset"), [(1, 0), (4, 0), (16, 0), (16, 12)])
def test_mirrors_as_numpy_does(size, step, offset):
    x = np.random.default_rng(0).normal(size=(1, size, size, 2)).astype("float32")
    padded = next(n for n in range(size, size + step) if n % step == offset % step)
    expected = np.pad(x, [(0, 0), (0, padded - size), (0, padded - size), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(PadToGrid(step, offset)(x)), expected)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"step": 0}, "step=0"),
    ({"step": 4, "offset": -1}, "offset=-1"),
    ({"step": 4, "offset": 4}, "offset must be below step. Received: offset=4, step=4"),
])  # fmt: skip
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        PadToGrid(**arguments)
