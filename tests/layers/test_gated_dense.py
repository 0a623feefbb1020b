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


@pytest.mark.parametrize("use_bias", [True, False])
def test_adapters_are_those_of_two_dense_layers_side_by_side(use_bias, tmp_path):
    """One of Keras's dense layers with LoRA gives the lines that are gated here; a saved file has one kernel."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(4, 5)).astype("float32"), rng.normal(size=(5, 6)).astype("float32")
    first, second = rng.normal(size=(5, 2)).astype("float32"), rng.normal(size=(2, 6)).astype("float32")
    ours = GatedDense(3, "sigmoid", use_bias=use_bias)
    theirs = keras.layers.Dense(6, use_bias=use_bias)
    model = keras.Sequential([keras.Input((5,)), ours])
    theirs.build(x.shape)
    before = keras.ops.convert_to_numpy(ours(x))
    for layer in (ours, theirs):
        layer.enable_lora(2, lora_alpha=3.0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours(x)), before)  # it starts as nothing
    assert "kernel" not in [variable.name for variable in ours.trainable_variables]
    for layer, held in ((ours, ours.kernel), (theirs, theirs._kernel)):
        held.assign(kernel)
        layer.lora_kernel_a.assign(first)
        layer.lora_kernel_b.assign(second)
    gates, values = np.split(keras.ops.convert_to_numpy(theirs(x)), 2, axis=1)
    answers = keras.ops.convert_to_numpy(ours(x))
    np.testing.assert_allclose(answers, values / (1 + np.exp(-gates)), rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(again(x)), answers, rtol=1e-4, atol=1e-5)
    model.load_weights(tmp_path / "model.keras")  # into the one with adapters, which are nothing again
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), answers, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="once"):
        ours.enable_lora(2)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"units must be .* at least 1\. Received: units=0"):
        GatedDense(0)
