import keras
import numpy as np
import pytest

from tests.layers.arrays import normal, numbers
from tests.layers.configurations import thorough_once
from tests.layers.gradients import gradients
from zoo.layers import GroupNorm
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def by_definition(x, groups, epsilon=1e-5):
    """Channels last, in float64."""
    x = x.astype("float64").reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    mean, variance = x.mean((1, 3), keepdims=True), x.var((1, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


@pytest.mark.parametrize(
    ("arguments", "shape", "weights", "thorough"),
    thorough_once(
        ({"groups": 2, "axis": 2}, (2, 3, 4, 2, 3), 2),
        ({"groups": 2}, (2, 4, 4, 6), 2),
        ({"groups": 3, "epsilon": 1e-3, "axis": 1, "center": False, "gamma_initializer": "zeros"}, (2, 6, 4, 4), 1),
        ({"groups": 1, "scale": False, "beta_regularizer": "l2"}, (2, 5, 6), 1),
        ({"groups": 3}, (2, 6), 2),
    ),
)
def test_conforms(arguments, shape, weights, thorough):
    check_layer(
        GroupNorm,
        arguments,
        input_shape=shape,
        expected_output_shape=shape,
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        supports_masking=True,
        thorough=thorough,
    )


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("training", [False, True])
def test_is_its_definition(groups, training):
    x = normal(3, 4, 5, 6)
    ours = numbers(GroupNorm(groups)(x, training=training))
    np.testing.assert_allclose(ours, by_definition(x, groups).reshape(x.shape), atol=2e-6)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_is_that_of_keras_and_torch(axis):
    torch = pytest.importorskip("torch")
    x = normal(3, 6, 4, 8) if axis != 2 else normal(3, 4, 6, 8)
    ours, theirs = GroupNorm(2, axis=axis), keras.layers.GroupNormalization(2, epsilon=1e-5, axis=axis)
    native = torch.nn.GroupNorm(2, x.shape[axis], eps=1e-5)
    gamma, beta = normal(x.shape[axis]), normal(x.shape[axis])
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.set_weights([gamma, beta])
    with torch.no_grad():
        native.weight.copy_(torch.tensor(gamma))
        native.bias.copy_(torch.tensor(beta))
        third = native(torch.tensor(np.moveaxis(x, axis, 1))).numpy()
    np.testing.assert_allclose(numbers(ours(x)), numbers(theirs(x)), atol=2e-5)
    np.testing.assert_allclose(numbers(ours(x)), np.moveaxis(third, 1, axis), atol=2e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_the_closed_gradient_is_that_of_the_plain_operations(masked):
    x, gamma, beta = normal(2, 5, 6), normal(6), normal(6)
    along = keras.ops.convert_to_tensor(normal(2, 5, 6))
    mask = np.array([[True, True, True, False, False], [True] * 5]) if masked else None
    layer = GroupNorm(3)
    layer.build(x.shape)

    def answer(training):
        def function(x, gamma, beta):
            with keras.StatelessScope([(layer.gamma, gamma), (layer.beta, beta)]):
                return layer(x, training=training, mask=mask) * along

        return function

    for ours, plain in zip(
        gradients(answer(True), x, gamma, beta), gradients(answer(False), x, gamma, beta), strict=True
    ):
        np.testing.assert_allclose(ours, plain, atol=2e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_mean_a_thousand_times_the_deviation_costs_no_digits(training):
    x = normal(2, 16, 16, 8) + np.float32(1000)
    ours = numbers(GroupNorm(2)(x, training=training))
    np.testing.assert_allclose(ours, by_definition(x, 2).reshape(x.shape), atol=5e-6)


def test_one_group_is_layer_norm_over_all_positions():
    x = normal(3, 4, 5, 6)
    layer_norm = keras.layers.LayerNormalization(axis=(1, 2, 3), epsilon=1e-5)
    np.testing.assert_allclose(numbers(GroupNorm(1)(x)), numbers(layer_norm(x)), atol=2e-5)


def test_a_group_a_channel_is_instance_norm():
    x = normal(3, 4, 5, 6)
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    np.testing.assert_allclose(numbers(GroupNorm(6)(x)), (x - mean) / np.sqrt(variance + 1e-5), atol=2e-5)


def test_examples_do_not_depend_on_their_batch_nor_on_training():
    x = normal(3, 4, 5, 6)
    layer = GroupNorm(2)
    np.testing.assert_allclose(numbers(layer(x[:1])), numbers(layer(x))[:1], atol=1e-6)
    np.testing.assert_allclose(numbers(layer(x, training=True)), numbers(layer(x)), atol=1e-6)


def test_constants_become_beta_and_scale_does_not_count():
    layer = GroupNorm(2)
    layer.build((None, 4, 6))
    layer.beta.assign(np.arange(6.0))
    np.testing.assert_array_equal(
        numbers(layer(np.full((2, 4, 6), 7.0, "float32"))), np.tile(np.arange(6.0), (2, 4, 1))
    )
    x = 100 * normal(2, 4, 6)
    np.testing.assert_allclose(numbers(layer(2 * x)), numbers(layer(x)), atol=1e-5)


def test_each_group_has_mean_0_and_variance_1():
    y = numbers(GroupNorm(2)(5 + 3 * normal(3, 16, 6))).reshape(3, 16, 2, 3)
    np.testing.assert_allclose(y.mean((1, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var((1, 3)), 1, atol=1e-4)


def test_masked_positions_do_not_count():
    x = normal(2, 5, 6)
    mask = np.array([[True, True, True, False, False], [True] * 5])
    layer = GroupNorm(2)
    ours = numbers(layer(x, mask=mask))
    np.testing.assert_allclose(ours[:1, :3], numbers(layer(x[:1, :3])), atol=2e-6)
    np.testing.assert_allclose(ours[1:], numbers(layer(x[1:])), atol=2e-6)
    assert np.isfinite(numbers(layer(x, mask=np.zeros_like(mask)))).all()


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_the_statistics_in_float32(dtype):
    """The mean of these squares is above float16's largest number."""
    x = 300 * normal(2, 16, 6)
    half = keras.ops.cast(x, dtype.removeprefix("mixed_"))
    ours = GroupNorm(2, dtype=dtype)(half)
    assert keras.backend.standardize_dtype(ours.dtype) == dtype.removeprefix("mixed_")
    exact = by_definition(numbers(keras.ops.cast(half, "float32")), 2).reshape(x.shape)
    np.testing.assert_allclose(numbers(keras.ops.cast(ours, "float32")), exact, atol=2e-2)


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"groups": 0}, None, "groups=0"),
        ({"groups": -1}, None, "groups=-1"),
        ({"epsilon": 0}, None, "above 0. Received: epsilon=0"),
        ({"axis": 0}, None, "axis=0"),
        ({"axis": "last"}, None, "axis='last'"),
        ({}, (2, 4, 6), "groups=32, 6 channels. The nearest that does is groups=6"),
        ({"groups": 5}, (2, 12), "groups=5, 12 channels. The nearest that does is groups=4"),
        ({"groups": 2}, (2, 4, None), "size of axis -1"),
        ({"groups": 2, "axis": 3}, (2, 4, 6), "needs an axis 3"),
        ({"groups": 2, "axis": -3}, (2, 4, 6), "axis is the batch"),
    ],
)
def test_refuses_by_name(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        GroupNorm(**arguments).build(shape)
