import keras
import numpy as np
import pytest

from tests.layers.arrays import normal, numbers
from tests.layers.gradients import of_all
from zoo.layers import TiedWeights
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

TURNS = (np.arange(4)[None, :] - np.arange(4)[:, None]) % 4


@keras.saving.register_keras_serializable("test_tied_weights")
def circulant(u):
    return {"kernel": keras.ops.take(u, TURNS)}


@keras.saving.register_keras_serializable("test_tied_weights")
def twice(u):
    """The kernel of a cell that lies within another layer."""
    return {"lstm_cell/kernel": keras.ops.concatenate([u, u, u, u], axis=1)}


def test_conforms():
    check_layer(
        TiedWeights,
        {"layer": keras.layers.Dense(4), "transform": circulant, "shape": (4,), "initializer": "ones"},
        input_shape=(2, 4),
        expected_output_shape=(2, 4),
        expected_num_trainable_weights=2,  # u and the layer's bias
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=0,
    )


def test_the_layer_computes_with_the_transformed_weights():
    layer = TiedWeights(keras.layers.Dense(4), circulant, shape=(4,))
    x, u = normal(2, 4), normal(4)
    layer.build(x.shape)
    layer.u.assign(u)
    np.testing.assert_allclose(numbers(layer(x)), x @ u[TURNS], atol=1e-5)
    assert layer.count_params() == 4 + 4


def test_gradient_is_the_sum_over_the_uses():
    layer = TiedWeights(keras.layers.Dense(4, use_bias=False), circulant, shape=(4,))
    free = keras.layers.Dense(4, use_bias=False)
    x = normal(2, 4)
    layer.build(x.shape)
    free.build(x.shape)
    free.kernel.assign(numbers(layer.u.value)[TURNS])
    (of_u,), (of_kernel,) = (of_all(one, x)[1].values() for one in (layer, free))
    np.testing.assert_allclose(of_u, [of_kernel[turn == TURNS].sum() for turn in range(4)], atol=1e-5)


def test_reaches_weights_of_layers_within():
    layer = TiedWeights(keras.layers.LSTM(3), twice, shape=(2, 3))
    x = normal(2, 5, 2)
    layer.build(x.shape)
    plain = keras.layers.LSTM(3)
    plain.build(x.shape)
    cell = layer.layer.cell
    plain.set_weights(
        [np.tile(numbers(layer.u.value), 4), numbers(cell.recurrent_kernel.value), numbers(cell.bias.value)]
    )
    np.testing.assert_allclose(numbers(layer(x)), numbers(plain(x)), atol=1e-5)
    assert len(layer.trainable_weights) == 3


def test_the_layers_own_state_and_losses_go_on():
    inner = keras.Sequential(
        [
            keras.layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2", name="dense"),
            keras.layers.BatchNormalization(),
        ]
    )
    layer = TiedWeights(inner, _first_kernel, shape=(4,))
    x = normal(8, 4)
    layer(x, training=True)
    moved = inner.layers[1].moving_mean
    assert np.abs(numbers(moved.value)).max() > 0
    kernel = numbers(layer.u.value)[TURNS]
    dense = x @ kernel
    expected = [0.01 * np.square(kernel).sum(), 0.01 * np.square(dense).sum() / len(x)]
    np.testing.assert_allclose(sorted(numbers(loss) for loss in layer.losses), sorted(expected), rtol=1e-4)


def _first_kernel(u):
    return {"dense/kernel": keras.ops.take(u, TURNS)}


@pytest.mark.rest
def test_trains_and_comes_back_from_a_file(tmp_path):
    x = normal(32, 4)
    y = x @ normal(4)[TURNS]
    model = keras.Sequential([keras.Input((4,)), TiedWeights(keras.layers.Dense(4), circulant, shape=(4,))])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    history = model.fit(x, y, epochs=60, verbose=0).history["loss"]
    assert history[-1] < 0.05 * history[0]
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.count_params() == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "dense"}, "layer='dense'"),
        ({"transform": 3}, "transform=3"),
        ({"shape": (0,)}, "shape=0"),
        ({"transform": lambda u: {"krenel": u}}, "does not have. Received: 'krenel'. There are: 'kernel', 'bias'"),
        ({"transform": lambda u: {"kernel": u}}, r"'kernel' the shape \(4, 4\). Received: \(4,\)"),
    ],
)
def test_refuses_by_name(arguments, message):
    sound = {"layer": keras.layers.Dense(4), "transform": circulant, "shape": (4,)}
    with pytest.raises(ValueError, match=message):
        TiedWeights(**{**sound, **arguments}).build((2, 4))


def test_a_layer_that_is_built_gives_up_its_weights():
    dense = keras.layers.Dense(4, use_bias=False)
    dense.build((None, 4))
    layer = TiedWeights(dense, circulant, shape=(4,))
    layer.build((None, 4))
    assert layer.count_params() == 4
    again = TiedWeights.from_config(layer.get_config())
    again.build((None, 4))
    assert again.count_params() == 4
    assert again.layer is not dense
