import keras
import numpy as np
import pytest

import zoo
from zoo import weights
from zoo.testing import check_recipe

HIDDEN = ("none", "dense", "maxout", "quadratic", "gated", "moe")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return zoo.train("mlp", epochs=1, directory=tmp_path_factory.mktemp("runs") / "mlp", quiet=True)


def accuracy(folder, **fields):
    """On the test split, trained as the recipe trains."""
    return zoo.evaluate(zoo.train("mlp", directory=folder, quiet=True, **fields))["accuracy"]


def says(model, points):
    return keras.ops.convert_to_numpy(model(np.asarray(points, "float32"))).argmax(-1).tolist()


@pytest.mark.slow
@pytest.mark.backend
def test_every_recipe_law_holds(trained):
    texts = {"target": "x", "categorical": "x", "ignore": "x", "monitor": "val_accuracy"}
    # a layer of weights other than the head, and weights to start from
    check_recipe("mlp", samples={**texts, "freeze": "features", "init_from": str(trained.path)})


@pytest.mark.backend
@pytest.mark.parametrize(
    ("fields", "by_hand"),
    [
        ({"hidden": "none"}, 0),
        ({"hidden": "dense"}, 5 * 7 + 7),
        ({"hidden": "maxout", "pieces": 3}, 3 * (5 * 7 + 7)),
        ({"hidden": "quadratic"}, 5 * 5 * 7 + 5 * 7 + 7),
        ({"hidden": "quadratic", "rank": 2}, 2 * 2 * 5 * 7 + 5 * 7 + 7),
        ({"hidden": "gated"}, 3 * (5 * 7 + 7)),
        ({"hidden": "moe", "expert_count": 3}, 3 * (5 * 7 + 7) + 5 * 3),
        ({"hidden": "moe", "expert_count": 3, "top_k": 2}, 3 * (5 * 7 + 7) + 5 * 3),
        ({"hidden": "moe", "experts": "mlp", "expert_units": 4}, 4 * (5 * 4 + 4 + 4 * 7 + 7) + 5 * 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_has_the_parameters_that_a_hand_counts(fields, by_hand, loss):
    units = {} if fields["hidden"] == "none" else {"units": (7,)}
    classes = {"classes": 3} if loss == "cross_entropy" else {}
    model = zoo.build("mlp", inputs=5, loss=loss, **units, **classes, **fields)
    outputs = 3 if loss == "cross_entropy" else 1
    last = 5 if fields["hidden"] == "none" else 7
    assert model.count_params() == by_hand + last * outputs + outputs
    assert model(np.zeros((4, 5), "float32")).shape == (4, outputs)


@pytest.mark.backend
@pytest.mark.parametrize("hidden", HIDDEN[1:])
def test_hidden_layers_stack_and_the_last_is_features(hidden):
    model = zoo.build("mlp", hidden=hidden, units=(6, 5, 4), dropout=0.5)
    assert [layer.name for layer in model.layers if "dropout" in layer.name] == [
        "hidden1_dropout", "hidden2_dropout", "head_dropout",
    ]  # fmt: skip
    assert model.recipe.features().output.shape == (None, 4)
    for layer, width in (("hidden1", 6), ("hidden2", 5), ("features", 4)):
        assert model.get_layer(layer).output.shape == (None, width)


@pytest.mark.backend
def test_one_quadratic_unit_solves_exclusive_or():
    model = zoo.build("mlp", hidden="quadratic", units=(1,))
    given = {"features/kernel": [[0, 1], [0, 0]], "head/kernel": [[1, -1]]}  # the product of the two inputs
    arrays = weights.of(model)
    weights.put(model, {p: np.reshape(given.get(p, 0 * a), a.shape) + 0 * a for p, a in arrays.items()})
    assert says(model, [[1, 1], [-1, -1], [1, -1], [-1, 1]]) == [0, 0, 1, 1]


@pytest.mark.backend
@pytest.mark.parametrize("hidden", ["none", "quadratic", "moe"])
def test_a_model_of_degree_one_is_one_line_and_the_others_are_not(hidden):
    """Logits on three points of a line add up as those of a linear function, or do not."""
    units = {} if hidden == "none" else {"units": (4,)}
    model = zoo.build("mlp", hidden=hidden, inputs=3, **units)
    a, b = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    first, middle, last = keras.ops.convert_to_numpy(model(np.stack([a, (a + b) / 2, b])))
    assert np.allclose(middle, (first + last) / 2, atol=1e-6) == (hidden == "none")


@pytest.mark.backend
def test_gates_are_the_weights_of_the_experts():
    model = zoo.build("mlp", hidden="moe", expert_count=3)
    gates = model.recipe.make_gates(model)
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    weighed = gates.predict(x, verbose=0)
    assert weighed.shape == (5, 3)
    np.testing.assert_allclose(weighed.sum(-1), 1, atol=1e-6)
    experts = np.stack([keras.ops.convert_to_numpy(one(x)) for one in model.get_layer("features").experts], 1)
    mixed = np.einsum("be,beu->bu", weighed, experts)
    features = keras.Model(model.input, model.get_layer("features").output)
    np.testing.assert_allclose(features.predict(x, verbose=0), mixed, atol=1e-5)
    assert zoo.recipe("mlp").make_gates(zoo.build("mlp")) is None


@pytest.mark.parametrize(("fields", "message"), [
    ({"hidden": "moe", "top_k": 5}, "at most expert_count=4"),
    ({"units": ()}, "hidden=none"),
    ({"hidden": "none", "units": (8,)}, "counts only with hidden="),
    ({"hidden": "dense", "experts": "mlp"}, "counts only with hidden=moe"),
    ({"loss": "mse", "classes": 3}, "counts only with loss=cross_entropy"),
])  # fmt: skip
def test_what_cannot_be_is_said(fields, message):
    with pytest.raises(zoo.InputError, match=message):
        zoo.recipe("mlp", **fields)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "linear"), [("moons", 0.9), ("xor", 0.6)])
def test_linear_experts_separate_what_one_linear_classifier_does_not(name, linear, tmp_path):
    assert accuracy(tmp_path / "linear", dataset=name, hidden="none") < linear
    assert accuracy(tmp_path / "moe", dataset=name, hidden="moe") >= 0.99
    if name == "xor":
        assert accuracy(tmp_path / "quadratic", dataset=name, hidden="quadratic", units=(1,)) >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("hidden", ["maxout", "gated"])
def test_the_other_modules_learn_the_moons_too(hidden, tmp_path):
    assert accuracy(tmp_path / "run", hidden=hidden) >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_regression_finds_a_curve_in_the_units_of_the_target(loss, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (800, 2))
    y = 1e6 + 500 * np.sin(2 * x[:, 0]) + 200 * x[:, 1]
    run = zoo.train("mlp", dataset=(x, y), loss=loss, epochs=40, directory=tmp_path / "run", quiet=True)
    assert zoo.evaluate(run, dataset=(x, y))["r2"] > 0.95
    values = [one.value for one in zoo.predict(run, {"x0": x[:50, 0], "x1": x[:50, 1]})]
    assert np.abs(np.array(values) - y[:50]).mean() < 100
