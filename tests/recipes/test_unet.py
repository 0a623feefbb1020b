import keras
import numpy as np
import pytest

import zoo
from zoo.cost import multiply_adds
from zoo.testing import check_recipe

tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's graph")

TINY = {"filters": 4, "depth": 2}


@pytest.mark.parametrize(
    ("variant", "fields", "trainable", "total"),
    [
        ("original", {}, 31_030_658, 31_030_658),
        ("same", {}, 31_030_658, 31_030_658),
        ("same", {"up": "resize"}, 31_030_658, 31_030_658),
        ("same", {"input_shape": (256, 256, 3)}, 31_031_810, 31_031_810),
        ("same", {"norm": "batch"}, 31_036_546, 31_048_322),
        ("same", {"norm": "batch", "input_shape": (256, 256, 3)}, 31_037_698, 31_049_474),
        ("same", {"norm": "group"}, 31_036_546, 31_036_546),
    ],
)
def test_has_the_published_parameters(variant, fields, trainable, total):
    network = zoo.recipe(f"unet/{variant}", **fields).network()
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == trainable
    assert network.count_params() == total


@pytest.fixture(scope="module")
def original():
    return zoo.recipe("unet/original").network()


@pytest.mark.parametrize(("size", "answer"), [(572, 388), (444, 260), (700, 516), (188, 4), (185, 1), (573, 389)])
def test_the_original_answers_the_middle(original, size, answer):
    assert original.compute_output_shape((1, size, size, 1)) == (1, answer, answer, 2)


@tensorflow_only
def test_counts_the_published_multiply_adds(original):
    assert multiply_adds(original, (572, 572, 1)) / 1e9 == pytest.approx(150.43, abs=0.005)


@pytest.mark.backend
@pytest.mark.parametrize("fields", [
    {}, {"norm": "group", "skip": "gate", "up": "resize"}, {"norm": "layer", "depth": 3}, {"norm": "none", "depth": 1},
])  # fmt: skip
@pytest.mark.parametrize("size", [(37, 53), (1, 2), (16, 8)])
def test_any_height_and_width_go_in_and_come_out(fields, size):
    network = zoo.recipe("unet", **{**TINY, **fields}).network()
    images = np.random.default_rng(0).uniform(0, 255, (2, *size, 1)).astype("float32")
    logits = keras.ops.convert_to_numpy(network(images))
    assert logits.shape == (2, *size, 3)
    assert np.isfinite(logits).all()


@pytest.mark.backend
@pytest.mark.parametrize("size", [(44, 48), (56, 44)])
def test_an_unpadded_network_answers_alike_wherever_a_pixel_lies(size):
    """No padding is seen: the answer of a piece that halves is that part of the answer of the whole."""
    recipe = zoo.recipe("unet", padding="valid", norm="none", **TINY)
    network = recipe.network()
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 68, 1)).astype("float32")
    whole = keras.ops.convert_to_numpy(network(images))
    piece = keras.ops.convert_to_numpy(network(images[:, 4 : 4 + size[0], 8 : 8 + size[1]]))
    height, width = (side - 2 * recipe.margin for side in size)
    assert piece.shape[1:3] == (height, width)
    np.testing.assert_allclose(piece, whole[:, 4 : 4 + height, 8 : 8 + width], atol=1e-4)


@pytest.mark.backend
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_margin_and_step_tell_how_far_a_pixel_is_seen(depth):
    """A pixel is seen from no farther than the margin, and what its place within the grid's step adds."""
    recipe = zoo.recipe("unet", norm="none", filters=4, depth=depth)
    margin = recipe.replace(padding="valid", input_shape=(128, 128, 1)).margin
    network = recipe.network()
    side = 3 * margin
    images = np.random.default_rng(0).uniform(0, 255, (1, side, side, 1)).astype("float32").repeat(2, axis=0)
    images[1, :, 0] = 255 - images[0, :, 0]
    # one call each: within a batch, rounding may depend on the place of an example
    logits = [keras.ops.convert_to_numpy(network(images[row : row + 1]))[0] for row in (0, 1)]
    changed = np.flatnonzero((logits[0] != logits[1]).any(axis=(0, 2)))
    assert 0 in changed
    assert margin <= changed.max() < margin + recipe.step


@pytest.mark.backend
@pytest.mark.parametrize("skip", ["concat", "gate"])
def test_the_way_up_sees_what_was_seen_on_the_way_down(skip):
    """Where nothing comes from below, a level still tells two images apart."""
    network = zoo.recipe("unet", norm="none", skip=skip, filters=4, depth=2).network()
    levels = [keras.Model(network.input, network.get_layer(f"up{level}_conv1").output) for level in (1, 2)]
    for level in (1, 2):
        for weight in network.get_layer(f"up{level}_double").weights:
            weight.assign(np.zeros(weight.shape))
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype("float32")
    for level in levels:
        one, other = keras.ops.convert_to_numpy(level(images))
        assert np.abs(one - other).max() > 1e-3


@pytest.mark.rest
@pytest.mark.backend
def test_every_layer_learns():
    model = zoo.build("unet", dropout=0.2, skip="gate", up="resize", norm="group", groups=2, **TINY)
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(0, 255, (2, 21, 18, 1)).astype("float32"), rng.integers(-1, 3, (2, 21, 18))
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.fit(images, masks, epochs=2, verbose=0)
    for old, weight in zip(before, model.trainable_weights, strict=True):
        assert np.abs(old - keras.ops.convert_to_numpy(weight)).max() > 0, weight.path


def test_the_original_trains_as_published():
    recipe = zoo.recipe("unet/original")
    assert (recipe.momentum, recipe.batch_size, recipe.w0, recipe.sigma) == (0.99, 1, 10, 5)
    assert (recipe.elastic, recipe.dropout, recipe.margin) == (10, 0.5, 92)


@pytest.mark.parametrize(("fields", "message"), [
    ({"norm": "group", "groups": 3}, "groups must divide filters=16. Received: groups=3"),
    ({"padding": "valid"}, "pieces of at least 89 x 89. Received: input_shape=.64, 64, 1"),
    ({"groups": 4}, "norm=group"),
    ({"skip": "add"}, "concat, gate"),
    ({"sigma": 3.0}, "w0 above 0"),
    ({"loss": "dice", "w0": 10.0}, "loss=cross_entropy or both"),
])  # fmt: skip
def test_bad_fields_are_named(fields, message):
    with pytest.raises(zoo.InputError, match=message):
        zoo.recipe("unet", input_shape=(64, 64, 1), **fields)


@pytest.mark.slow
def test_every_recipe_law_holds(tmp_path):
    data = "cells:size=32,count=1,radius=6.0,train=8,validation=2,test=2"
    small = {"dataset": data, "input_shape": (32, 32, 1), "filters": 4, "depth": 2}
    run = zoo.train("unet", epochs=1, directory=tmp_path / "run", quiet=True, **small)
    check_recipe("unet", samples={"freeze": "bottom*", "init_from": str(run.path), "monitor": "val_loss"}, **small)
