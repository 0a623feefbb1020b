import keras
import numpy as np
import pytest

import zoo
from tests.recipes import laws
from zoo.cost import multiply_adds, summarize

PUBLISHED = {  # trainable parameters, millions of multiply-adds
    "20": (269_722, 40.55),
    "32": (464_154, 68.86),
    "44": (658_586, 97.17),
    "56": (853_018, 125.49),
    "110": (1_727_962, 252.89),
    "18": (11_689_512, 1814),
    "34": (21_797_672, 3664),
    "50": (25_557_032, 4089),
    "101": (44_549_160, 7801),
    "152": (60_192_808, 11_514),
}


@pytest.mark.parametrize(
    "variant", [pytest.param(v, marks=[] if v in ("20", "50") else pytest.mark.slow) for v in PUBLISHED]
)
def test_has_the_published_parameters_and_multiply_adds(variant):
    parameters, millions = PUBLISHED[variant]
    model = zoo.recipe(f"resnet/{variant}").network()
    assert summarize(model).trainable == parameters
    np.testing.assert_allclose(multiply_adds(model) / 1e6, millions, rtol=2e-4)


@pytest.mark.backend
@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        ({"shortcut": "B"}, 272_474),
        ({"classes": 100}, 275_572),  # of the total, statistics of the norms included
        ({"norm": "group"}, 269_722),
    ],
)
def test_depth_20_counts_by_field(fields, parameters):
    model = zoo.build("resnet", input_shape=(32, 32, 3), **fields)
    found = summarize(model)
    assert parameters in (found.parameters, found.trainable)


@pytest.mark.backend
@pytest.mark.parametrize("check", laws.CHECKS)
def test_every_recipe_law_holds(check, finished, monkeypatch):
    samples = {"freeze": "stem*", "init_from": str(finished.path), "monitor": "val_accuracy"}
    check("resnet", monkeypatch, samples=samples, depth=8, width=0.5, input_shape=(8, 8, 1))


@pytest.mark.backend
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 21, 3), (40, 16, 4)])
@pytest.mark.parametrize("family", ["small", "imagenet"])
def test_takes_pictures_of_any_size_and_channels(shape, family):
    depth = 8 if family == "small" else 18
    recipe = zoo.recipe("resnet", family=family, depth=depth, width=0.5, input_shape=shape, classes=3)
    model = recipe.network()
    assert model(np.zeros((2, *shape), "float32")).shape == (2, 3)


@pytest.mark.backend
def test_option_a_shortcuts_have_no_weights_and_blocks_add():
    """With bodies of zeros a network of option A passes the stem's output on: subsampled, padded, rectified."""
    model = zoo.build("resnet", depth=8, zero_init_residual=True)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype("float32")
    stem = keras.Model(model.input, model.get_layer("stem_activation").output)(images)
    last = keras.Model(model.input, model.get_layer("stage3_block1").output)(images)
    stem, last = keras.ops.convert_to_numpy(stem), keras.ops.convert_to_numpy(last)
    np.testing.assert_allclose(last[..., :16], stem[:, ::4, ::4], atol=1e-6)
    np.testing.assert_array_equal(last[..., 16:], 0)


@pytest.mark.backend
@pytest.mark.parametrize(
    ("head", "stage"), [("dense", "ode"), ("dense", "residual"), ("moe", "residual"), ("quadratic", "residual")]
)
def test_heads_and_stages_train(head, stage):
    model = zoo.build("resnet", depth=14, width=0.5, norm="group", head=head, stage=stage, input_shape=(8, 8, 1))
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (8, 8, 8, 1)).astype("float32"), np.arange(8)
    history = model.fit(images, labels, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 21}, "6n [+] 2, such as 20 or 26. Received: depth=21"),
        ({"family": "imagenet", "depth": 20}, "one of 18, 34, 50, 101, 152. Received: depth=20"),
        ({"input_shape": (7, 32, 1)}, "at least 8 x 8"),
        ({"norm": "group", "groups": 5}, "16 channels.*groups=5"),
        ({"stage": "ode"}, "norm=batch"),
        ({"groups": 4}, "norm"),
    ],
)
def test_refuses_by_name(fields, message):
    with pytest.raises(zoo.InputError, match=message):
        zoo.recipe("resnet", **fields)


@pytest.mark.slow
def test_the_deepest_of_the_small_family_is_traced_once(traces):
    model = zoo.build("resnet/110")
    images, labels = np.zeros((4, 32, 32, 3), "float32"), np.zeros((4,), "int32")
    model.fit(images, labels, batch_size=2, epochs=3, verbose=0)
    assert traces == [1]
