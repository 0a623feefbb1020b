import keras
import pytest

import zoo
from tests.recipes.sequences import GPT, SEQ2SEQ
from zoo import cost


def dense():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])


@pytest.mark.parametrize("batch", [1, 8])
def test_activations_are_what_the_backward_pass_reads(batch):
    """The input, for the first kernel's gradient, and the hidden layer, for ReLU's and for the second kernel's."""
    assert cost.activation_bytes(dense(), batch_size=batch) == batch * (3 + 4) * 4


def test_a_picture_size_is_given_where_the_network_takes_any():
    model = keras.Sequential([keras.Input((None, None, 2)), keras.layers.Conv2D(5, 3, use_bias=False)])
    assert cost.multiply_adds(model, (10, 12, 2)) == 8 * 10 * 5 * 9 * 2
    assert cost.activation_bytes(model, (10, 12, 2)) == 10 * 12 * 2 * 4


def test_a_summary_has_them_all():
    summary = cost.summarize(dense(), batch_size=2)
    assert (summary.parameters, summary.trainable, summary.multiply_adds) == (26, 26, 20)
    assert (summary.bytes, summary.activation_bytes, summary.loops) == (104, 56, False)


@pytest.mark.parametrize(("name", "fields", "loops"), [("gpt", GPT, False), ("seq2seq", SEQ2SEQ, True)])
def test_texts_are_counted_at_their_full_length(name, fields, loops):
    recipe = zoo.recipe(name, **fields)
    summary = cost.summarize(recipe.network(), recipe.example_shape())
    assert summary.multiply_adds > 0
    assert summary.loops is loops
