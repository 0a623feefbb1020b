import random

import keras
import numpy as np
import pytest

import zoo
from zoo import weights
from zoo.objective.losses import SmoothedCrossentropy
from zoo.objective.optimizers import L2SGD, WarmupSchedule


def test_the_later_wins_class_variant_caller():
    assert zoo.recipe("lenet").activation == "tanh"
    assert zoo.recipe("lenet/modern").activation == "relu"
    assert zoo.recipe("lenet/modern", activation="gelu").activation == "gelu"


def test_a_recipe_is_compared_and_digested_by_its_normal_form():
    assert zoo.recipe("lenet/5") == zoo.recipe("lenet")
    assert zoo.recipe("lenet", dropout=0.0).digest() == zoo.recipe("lenet").digest()
    assert zoo.recipe("lenet", dropout=0.1).digest() != zoo.recipe("lenet").digest()
    assert zoo.recipe("lenet").replace(dropout=0.1) == zoo.recipe("lenet", dropout=0.1)


def test_building_leaves_global_state_alone_also_on_errors():
    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), keras.config.dtype_policy().name

    before = state()
    zoo.build("lenet", precision="mixed_bfloat16", seed=3)
    with pytest.raises(zoo.InputError, match="matches no layer"):
        zoo.build("lenet", freeze="nothing*")
    assert state() == before


def test_the_seed_decides_the_weights():
    first, again, other = (weights.of(zoo.build("lenet", seed=seed)) for seed in (1, 1, 2))
    assert all((first[path] == again[path]).all() for path in first)
    assert any((first[path] != other[path]).any() for path in first)


def test_freeze_holds_layers_still():
    model = zoo.build("lenet", freeze="c*")
    assert [v.path for v in model.trainable_variables] == [
        "s2/coefficient", "s2/bias", "s4/coefficient", "s4/bias", "features/kernel", "features/bias",
        "head/kernel", "head/bias",
    ]  # fmt: skip
    with pytest.raises(zoo.InputError, match="every layer"):
        zoo.build("lenet", freeze="*")


@pytest.mark.backend
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_norms_and_biases_decay_only_where_asked(optimizer):
    """With a gradient of zero, what moves is what decays."""

    def moved(decay_norms):
        model = zoo.build("lenet", optimizer=optimizer, weight_decay=0.1, decay_norms=decay_norms, learning_rate=0.1)
        for variable in model.trainable_variables:
            variable.assign(np.full(variable.shape, 0.5, "float32"))
        model.optimizer.build(model.trainable_variables)
        zeros = [keras.ops.zeros(v.shape) for v in model.trainable_variables]
        model.optimizer.apply(zeros, model.trainable_variables)
        return {v.path for v in model.trainable_variables if (weights.array(v) != 0.5).any()}

    everything = {v.path for v in zoo.build("lenet").trainable_variables}
    assert moved(True) == everything
    assert moved(False) == {path for path in everything if not path.endswith("bias")}


@pytest.mark.backend
@pytest.mark.parametrize("nesterov", [False, True])
def test_l2_decay_stands_inside_momentum(nesterov):
    """L2SGD on loss L equals Keras's SGD on L + decay/2 |w|^2."""
    decay, rate = 0.05, 0.1
    ours, theirs = (keras.Variable([1.0, -2.0]) for _ in range(2))
    first = L2SGD(rate, momentum=0.9, nesterov=nesterov, weight_decay=decay)
    second = keras.optimizers.SGD(rate, momentum=0.9, nesterov=nesterov)
    for step in range(5):
        gradient = np.array([0.3, -0.1], "float32") * step
        first.apply([keras.ops.convert_to_tensor(gradient)], [ours])
        second.apply([keras.ops.convert_to_tensor(gradient) + decay * theirs], [theirs])
    np.testing.assert_allclose(weights.array(ours), weights.array(theirs), rtol=1e-6)


@pytest.mark.backend
def test_schedules_meet_their_closed_forms():
    def rates(steps, **arguments):
        schedule = WarmupSchedule(2.0, total_steps=100, **arguments)
        twin = WarmupSchedule.from_config(schedule.get_config())
        values = [float(keras.ops.convert_to_numpy(schedule(step))) for step in steps]
        assert values == [float(keras.ops.convert_to_numpy(twin(step))) for step in steps]
        return values

    assert rates([0, 50, 99], kind="constant") == [2.0, 2.0, 2.0]
    assert rates([0, 4, 9, 10], kind="constant", warmup_steps=10) == pytest.approx([0.2, 1.0, 2.0, 2.0])
    assert rates([49, 50, 75], kind="step", milestones=(0.5, 0.75), decay=0.1) == pytest.approx([2.0, 0.2, 0.02])
    assert rates([0, 50, 100, 200], kind="cosine") == pytest.approx([2.0, 1.0, 0.0, 0.0], abs=1e-6)
    assert rates([20, 60, 100], kind="cosine", warmup_steps=20) == pytest.approx([2.0, 1.0, 0.0], abs=1e-6)


@pytest.mark.backend
def test_smoothing_meets_keras_on_one_hot_labels():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)).astype("float32"), rng.integers(0, 4, 6)
    ours = SmoothedCrossentropy(0.2)(labels, logits)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)(np.eye(4)[labels], logits)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_a_model_trains_at_once_on_arrays_and_on_its_recipes_data():
    model = zoo.build("lenet")
    rng = np.random.default_rng(0)
    model.fit(rng.integers(0, 256, (8, 32, 32, 1)), rng.integers(0, 10, 8), verbose=0)
    history = model.fit(zoo.dataset(model, "train"), epochs=2, shuffle=False, verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]


def test_accumulated_gradients_are_one_update():
    """Two steps of half a batch, accumulated, move the weights as one step of the whole batch."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 32, 32, 1)).astype("float32"), rng.integers(0, 10, 8)
    whole = zoo.build("lenet", optimizer="sgd", momentum=0.0, learning_rate=0.1)
    halves = zoo.build("lenet", optimizer="sgd", momentum=0.0, learning_rate=0.1, accumulate=2)
    whole.train_on_batch(images, labels)
    halves.train_on_batch(images[:4], labels[:4])
    halves.train_on_batch(images[4:], labels[4:])
    for path, array in weights.of(whole).items():
        np.testing.assert_allclose(array, weights.of(halves)[path], rtol=1e-4, atol=1e-5)


def test_public_names_and_nothing_else():
    for name in zoo._PUBLIC:
        assert getattr(zoo, name) is not None
        assert name in dir(zoo)
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        zoo.biuld  # noqa: B018
