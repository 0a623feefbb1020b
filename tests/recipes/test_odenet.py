import keras
import numpy as np
import pytest

import zoo
from tests.recipes import laws

pytestmark = pytest.mark.backend


def digits(count, shape):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (count, *shape)).astype("float32"), np.arange(count) % 10


def test_mnist_has_the_parameters_of_torchdiffeq():
    model = zoo.build("odenet/mnist")
    assert model.count_params() == 208_266
    assert model.get_layer("ode").count_params() == 75_392
    assert model.get_layer("ode").output.shape == (None, 6, 6, 64)


def test_one_euler_step_is_a_residual_block():
    model = zoo.build("odenet", solver="euler", steps=1, filters=8, input_shape=(16, 16, 1))
    block = model.get_layer("ode")
    state = keras.Model(model.input, block.input)(digits(3, (16, 16, 1))[0])
    residual = state + block.dynamics([state, keras.ops.zeros((3, 1))])
    found, expected = (keras.ops.convert_to_numpy(one) for one in (block(state), residual))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_time_reaches_the_dynamics_as_a_channel():
    block = zoo.build("odenet", filters=8, groups=4, input_shape=(16, 16, 1)).get_layer("ode")
    state = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2, 4, 4, 8)).astype("float32"))
    early, late = (keras.ops.convert_to_numpy(block.dynamics([state, keras.ops.full((2, 1), t)])) for t in (0.0, 1.0))
    assert np.abs(early - late).max() > 1e-3


@pytest.mark.rest
def test_evaluations_are_in_the_history():
    model = zoo.build("odenet", solver="rk4", steps=3, filters=8, input_shape=(16, 16, 1))
    images, labels = digits(8, (16, 16, 1))
    history = model.fit(images, labels, epochs=2, verbose=0, callbacks=[zoo.LayerReadings()]).history
    assert history["nfe"] == [12.0, 12.0]
    assert history["nfe_backward"] == [12.0, 12.0]


def test_a_tighter_tolerance_takes_more_evaluations_and_approaches_the_solution():
    loose = zoo.build("odenet", filters=8, input_shape=(16, 16, 1), tolerance=1e-1)
    images, _ = digits(4, (16, 16, 1))
    answers, counts = [], []
    for tolerance in (1e-1, 1e-3, 1e-6):
        model = zoo.build("odenet", filters=8, input_shape=(16, 16, 1), tolerance=tolerance)
        model.set_weights(loose.get_weights())
        answers.append(keras.ops.convert_to_numpy(model(images)))
        counts.append(int(model.get_layer("ode").nfe))
    assert counts[0] < counts[2]
    assert np.abs(answers[1] - answers[2]).max() <= np.abs(answers[0] - answers[2]).max()


@pytest.mark.parametrize("check", laws.CHECKS)
def test_every_recipe_law_holds(check, finished, monkeypatch):
    samples = {"freeze": "conv*", "init_from": str(finished.path), "monitor": "val_accuracy"}
    check("odenet", monkeypatch, samples=samples, filters=8, input_shape=(12, 12, 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_shape": (11, 28, 1)}, "at least 12 x 12"),
        ({"groups": 5}, "divide filters=32. Received: groups=5"),
        ({"steps": 4}, "steps=4 has no effect.* solver=rk4"),
        ({"solver": "rk4", "tolerance": 0.1}, "tolerance=0.1 has no effect.* solver=dopri5"),
        ({"solver": "rk5"}, "rk4"),
    ],
)
def test_refuses_by_name(fields, message):
    with pytest.raises(zoo.InputError, match=message):
        zoo.recipe("odenet", **fields)
