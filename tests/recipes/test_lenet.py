import keras
import numpy as np
import pytest

import zoo
from zoo.cost import multiply_adds, summarize
from zoo.testing import check_recipe

tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="reads TensorFlow's graph")


@pytest.mark.backend
@pytest.mark.parametrize(
    ("name", "fields", "parameters"),
    [
        ("lenet", {}, 61_750),
        ("lenet/5", {}, 61_750),
        ("lenet/5", {"pool": "average"}, 61_706),
        ("lenet/5", {"pool": "average", "input_shape": (28, 28, 1), "padding": "same"}, 61_706),
        ("lenet/5", {"pool": "average", "input_shape": (28, 28, 1)}, 44_426),
        ("lenet/5", {"pool": "average", "input_shape": (32, 32, 3)}, 62_006),
        ("lenet/modern", {}, 61_706),
    ],
)
def test_has_the_published_parameters(name, fields, parameters):
    assert zoo.build(name, **fields).count_params() == parameters


@pytest.mark.parametrize("name", ["lenet/5", "lenet/modern"])
def test_pixels_lie_between_the_papers_numbers(name):
    scale = zoo.recipe(name).network().get_layer("scale")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(scale(np.array([[0.0, 255.0]]))), [[-0.1, 1.175]], atol=1e-6)


@tensorflow_only
def test_counts_the_multiply_adds_that_a_hand_counts():
    by_hand = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    assert multiply_adds(zoo.build("lenet")) == by_hand
    assert summarize(zoo.build("lenet")).parameters == 61_750


@pytest.mark.backend
def test_every_recipe_law_holds(finished):
    check_recipe("lenet", samples={"freeze": "c1", "init_from": str(finished.path), "monitor": "val_accuracy"})


@pytest.mark.backend
@pytest.mark.parametrize("shape", [(16, 16, 1), (17, 40, 3), (64, 16, 3)])
def test_takes_pictures_of_other_sizes_and_channels(shape):
    model = zoo.build("lenet/modern", input_shape=shape, classes=3)
    assert model(np.zeros((2, *shape), "float32")).shape == (2, 3)


@pytest.mark.parametrize(("padding", "smallest"), [("valid", 16), ("same", 12)])
def test_names_the_smallest_picture(padding, smallest):
    assert zoo.build("lenet", input_shape=(smallest, smallest, 1), padding=padding)
    with pytest.raises(zoo.InputError, match=f"at least {smallest} x {smallest}"):
        zoo.recipe("lenet", input_shape=(smallest - 1, 32, 1), padding=padding)


@pytest.mark.backend
def test_features_are_f6():
    assert zoo.recipe("lenet", dropout=0.5).features().output.shape == (None, 84)
