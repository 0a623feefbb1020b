import keras
import numpy as np
import pytest

from tests.layers.arrays import RNG, normal, numbers
from tests.layers.configurations import thorough_once
from tests.layers.gradients import gradients
from zoo.layers import BatchNorm
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def pair(shape, **arguments):
    """Ours and Keras's, with the same weights."""
    layers = BatchNorm(**arguments), keras.layers.BatchNormalization(**arguments)
    for layer in layers:
        layer.build(shape)
    layers[0].set_weights([value + 0.1 * normal(*value.shape) for value in layers[0].get_weights()])
    layers[1].set_weights(layers[0].get_weights())
    return layers


@pytest.mark.parametrize(
    ("arguments", "shape", "weights", "thorough"),
    thorough_once(
        ({"momentum": 0.9, "epsilon": 1e-5, "scale": False}, (4, 4, 4, 3), 1),
        ({}, (4, 4, 4, 3), 2),
        ({"axis": 1}, (4, 3, 5), 2),
    ),
)
def test_conforms(arguments, shape, weights, thorough):
    check_layer(
        BatchNorm,
        arguments,
        input_shape=shape,
        expected_output_shape=shape,
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=2,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        supports_masking=True,
        thorough=thorough,
    )


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"epsilon": 1e-5, "momentum": 0.9}, (6, 4, 5, 3)),
        ({"center": False}, (6, 4, 5, 3)),
        ({"scale": False, "axis": 3}, (6, 4, 5, 3)),
        ({"axis": 1}, (6, 3, 4, 5)),
        ({}, (6, 3)),
        ({"renorm": True}, (6, 4, 5, 3)),
        ({}, (1, 1, 1, 3)),
    ],
)
def test_numbers_names_and_averages_are_those_of_keras(arguments, shape):
    ours, theirs = pair(shape, **arguments)
    x = 2 + normal(*shape)
    for training in (True, False, True):
        mine, other = (numbers(layer(x, training=training)) for layer in (ours, theirs))
        np.testing.assert_allclose(mine, other, atol=2e-5)
        for first, second in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    assert [weight.path.split("/")[-1] for weight in ours.weights] == [w.path.split("/")[-1] for w in theirs.weights]
    assert ours.get_config() | {"name": None} == theirs.get_config() | {"name": None}


def test_gradients_are_those_of_keras():
    shape = (6, 4, 5, 3)
    ours, theirs = pair(shape)
    x, along = normal(*shape), keras.ops.convert_to_tensor(normal(*shape))

    def answer(layer):
        others = [(variable, variable.value) for variable in layer.non_trainable_variables]

        def function(x, gamma, beta):
            with keras.StatelessScope([(layer.gamma, gamma), (layer.beta, beta), *others]):
                return layer(x, training=True) * along

        return function

    start = (x, numbers(ours.gamma.value).copy(), numbers(ours.beta.value).copy())
    for mine, other in zip(gradients(answer(ours), *start), gradients(answer(theirs), *start), strict=True):
        np.testing.assert_allclose(mine, other, atol=5e-5)


def test_frozen_it_is_in_inference_mode():
    ours, _ = pair((6, 4, 5, 3))
    ours.trainable = False
    x, before = normal(6, 4, 5, 3), ours.get_weights()
    np.testing.assert_array_equal(numbers(ours(x, training=True)), numbers(ours(x, training=False)))
    for first, second in zip(ours.get_weights(), before, strict=True):
        np.testing.assert_array_equal(first, second)


def test_masked_positions_are_left_to_keras():
    ours, theirs = pair((2, 4, 5, 3))
    x, mask = normal(2, 4, 5, 3), RNG.uniform(size=(2, 4, 5)) < 0.5
    np.testing.assert_allclose(
        numbers(ours(x, training=True, mask=mask)), numbers(theirs(x, training=True, mask=mask)), atol=2e-5
    )
