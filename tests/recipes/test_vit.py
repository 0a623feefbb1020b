import math

import keras
import numpy as np
import pytest

import zoo
from tests.recipes import laws
from zoo.recipes.vit import resize_positions

SMALL = {"depth": 2, "width": 8, "heads": 2, "hidden": 12, "input_shape": (8, 12, 3), "classes": 5}
PUBLISHED = {"ti": 5_717_416, "s": 22_050_664, "b": 86_567_656, "l": 304_326_632}

numbers = keras.ops.convert_to_numpy


def drawn(name="vit", **fields):
    """(recipe, network) of weights that are all drawn, norms and biases too."""
    recipe = zoo.recipe(name, **{**SMALL, **fields})
    network, rng = recipe.network(), np.random.default_rng(1)
    for weight in network.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape) + ("gamma" in weight.path))
    return recipe, network


def pixels(count=3, seed=0, shape=(8, 12, 3)):
    return np.random.default_rng(seed).uniform(0, 255, (count, *shape)).astype("float32")


def oracle(recipe, network, images):
    """Logits of the paper's equations 1 to 4, in float64: pre-norm, exact GELU, biases everywhere."""
    held = {weight.path: numbers(weight).astype("float64") for weight in network.weights}

    def dense(x, path):
        return x @ held[f"{path}/kernel"] + held[f"{path}/bias"]

    def norm(x, path):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
        return x * held[f"{path}/gamma"] + held[f"{path}/beta"]

    def attention(x, path):
        parts = np.split(dense(x, f"{path}/query_key_value"), 3, axis=-1)
        q, k, v = (part.reshape(*part.shape[:2], recipe.heads, -1).swapaxes(1, 2) for part in parts)
        scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        y = (weights / weights.sum(axis=-1, keepdims=True)) @ v
        return dense(y.swapaxes(1, 2).reshape(x.shape), f"{path}/output")

    gelu = np.vectorize(lambda value: value * (1 + math.erf(value / math.sqrt(2))) / 2)
    rows, columns = recipe.grid
    side = recipe.patch
    x = (images.astype("float64") / 255 - 0.5) / 0.5
    x = x.reshape(len(x), rows, side, columns, side, -1).swapaxes(2, 3).reshape(len(x), rows * columns, -1)
    x = x @ held["patches/kernel"].reshape(-1, recipe.width) + held["patches/bias"]
    if recipe.pool == "class":
        x = np.concatenate([np.broadcast_to(held["class_token/token"], (len(x), 1, recipe.width)), x], axis=1)
    x = x + held["positions/table"]
    for block in (f"encoder{number}" for number in range(1, recipe.depth + 1)):
        x = x + attention(norm(x, f"{block}/self_attention_norm"), f"{block}/self_attention")
        hidden = gelu(dense(norm(x, f"{block}/feed_forward_norm"), f"{block}/feed_forward_hidden"))
        x = x + dense(hidden, f"{block}/feed_forward_output")
    x = norm(x, "norm")
    return dense(x[:, 0] if recipe.pool == "class" else x.mean(axis=1), "head")


@pytest.mark.parametrize("variant", PUBLISHED)
def test_has_the_published_parameters(variant, monkeypatch):
    add = keras.layers.Layer.add_weight  # drawing three hundred million numbers would take its time
    monkeypatch.setattr(
        keras.layers.Layer, "add_weight", lambda self, *a, **o: add(self, *a, **{**o, "initializer": "zeros"})
    )
    recipe = zoo.recipe(f"vit/{variant}")
    assert recipe.network().count_params() == PUBLISHED[variant]
    assert (recipe.grid, recipe.epsilon, recipe.activation) == ((14, 14), 1e-6, "gelu")


@pytest.mark.backend
@pytest.mark.parametrize("pool", ["class", "mean"])
def test_answers_as_the_papers_equations(pool):
    recipe, network = drawn(pool=pool)
    expected = oracle(recipe, network, pixels())
    found = numbers(network(pixels()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.backend
def test_patches_that_move_with_their_positions_answer_the_same():
    recipe, network = drawn()
    order = np.random.default_rng(2).permutation(recipe.grid[0] * recipe.grid[1])
    rows, columns = recipe.grid
    cut = pixels().reshape(3, rows, 4, columns, 4, 3).swapaxes(2, 3).reshape(3, rows * columns, 4, 4, 3)
    moved = cut[:, order].reshape(3, rows, columns, 4, 4, 3).swapaxes(2, 3).reshape(3, 8, 12, 3)
    before = numbers(network(pixels()))
    assert np.abs(numbers(network(moved)) - before).max() > 1e-2  # their positions tell where they are
    table = network.get_layer("positions").table
    table.assign(numbers(table)[np.concatenate([[0], 1 + order])])
    np.testing.assert_allclose(numbers(network(moved)), before, rtol=1e-4, atol=1e-5)


@pytest.mark.backend
@pytest.mark.parametrize("check", laws.CHECKS)
def test_every_recipe_law_holds(check, finished, monkeypatch):
    samples = {"freeze": "patches", "init_from": str(finished.path), "monitor": "val_accuracy"}
    check("vit", monkeypatch, samples=samples, depth=1, width=64, hidden=128, patch=8, input_shape=(16, 16, 1))


@pytest.mark.backend
@pytest.mark.parametrize(("fields", "message"), [
    ({"patch": 5}, r"patch must divide height and width of input_shape=\(32, 32, 1\). Received: patch=5"),
    ({"input_shape": (32, 30, 1)}, "patch=4"),
    ({"heads": 3}, "heads must divide width=64"),
    ({"mean": (0.4, 0.5)}, "mean must have one number, or one for each of the 1 channels.*2 numbers"),
    ({"std": ()}, "std must have one number.*0 numbers"),
    ({"crop_fraction": 0.9}, "resize=crop"),
])  # fmt: skip
def test_refuses_by_name(fields, message):
    with pytest.raises(zoo.InputError, match=message):
        zoo.recipe("vit", **fields)


@pytest.mark.backend
@pytest.mark.parametrize(("name", "fields", "default"), [
    ("vit", SMALL, (0.5, 0.5)),
    ("resnet", {"depth": 8, "input_shape": (8, 12, 3)}, (128 / 255, 64 / 255)),
])  # fmt: skip
@pytest.mark.parametrize(("mean", "std"), [
    (None, None), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.2,), (0.1, 0.2, 0.3)),
])  # fmt: skip
def test_pixels_are_standardised_by_channel_and_come_back_from_a_file(name, fields, default, mean, std, tmp_path):
    given = {} if mean is None else {"mean": mean, "std": std}
    network = zoo.recipe(name, **fields, **given).network()
    network.save(tmp_path / "model.keras")
    means, stds = (np.array(one or ours) for one, ours in zip((mean, std), default, strict=True))
    for model in (network, keras.saving.load_model(tmp_path / "model.keras")):
        found = numbers(model.get_layer("scale")(pixels()))
        np.testing.assert_allclose(found, (pixels() / 255 - means) / stds, rtol=1e-5, atol=1e-5)


def plane(rows, columns, width=3):
    """A table of a bilinear function on the unit square, corner to corner, behind a class token of nines."""
    y, x = np.linspace(0, 1, rows)[:, None], np.linspace(0, 1, columns)[None]
    bent = np.stack([1 + 2 * y - 3 * x + factor * x * y for factor in range(width)], axis=-1)
    return np.concatenate([np.full((1, width), 9.0), bent.reshape(-1, width)])


@pytest.mark.parametrize("after", [(4, 6), (7, 3), (2, 2), (14, 14)])
def test_resized_positions_are_exact_for_bilinear_functions(after):
    np.testing.assert_allclose(resize_positions(plane(4, 6), (4, 6), after), plane(*after), atol=1e-12)
    np.testing.assert_allclose(resize_positions(plane(4, 6)[1:], (4, 6), after), plane(*after)[1:], atol=1e-12)


def test_positions_of_the_same_grid_stay_and_of_one_patch_are_the_middle():
    table = np.random.default_rng(0).normal(size=(13, 5)).astype("float32")
    same = resize_positions(table, (3, 4), (3, 4))
    np.testing.assert_array_equal(same, table)
    assert same.dtype == np.float32
    np.testing.assert_allclose(resize_positions(plane(3, 5), (3, 5), (1, 1))[1], plane(3, 5)[1 + 7], atol=1e-12)
    np.testing.assert_array_equal(resize_positions(table[:2], (1, 1), (2, 3))[1:], np.repeat(table[1:2], 6, axis=0))
    with pytest.raises(zoo.InputError, match=r"4 x 4 patches has 16 positions\. Received: a table of 13"):
        resize_positions(table, (4, 4), (8, 8))
