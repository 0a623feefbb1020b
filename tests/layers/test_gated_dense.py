import keras
import numpy as np
import pytest

from zoo.layers import GatedDense
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


@pytest.mark.parametrize(("arguments", "weights"), [
    ({"units": 4}, 2),
    ({"units": 3, "activation": "gelu_tanh", "use_bias": False, "kernel_initializer": "he_normal"}, 1),
])  # fmt: skip
def test_conforms(arguments, weights):
    check_layer(
        GatedDense,
        arguments,
        input_shape=(2, 5, 6),
        dynamic_axes=(1,),
        thorough=weights == 2,
        mask=np.arange(5) < np.array([3, 5])[:, None],
        expected_output_shape=(2, 5, arguments["units"]),
        expected_num_trainable_weights=weights,
        supports_masking=True,
    )


def test_is_two_dense_layers_one_of_which_is_the_gate():
    layer, x = GatedDense(3, "sigmoid"), np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    (g, w), (c, b) = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 3))
    layer.set_weights([np.concatenate([g, w], axis=1), np.concatenate([c, b])])
    expected = (x @ w + b) / (1 + np.exp(-(x @ g + c)))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), expected, rtol=0, atol=1e-5)


def test_each_matrix_is_drawn_as_one():
    """Glorot's limit is that of (features, units), not of the two side by side."""
    layer = GatedDense(1000)
    layer.build((None, 8))
    limit = (6 / 1008) ** 0.5
    assert limit * 0.99 < np.abs(keras.ops.convert_to_numpy(layer.kernel)).max() <= limit


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"units must be .* at least 1\. Received: units=0"):
        GatedDense(0)
