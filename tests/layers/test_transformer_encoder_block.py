import keras
import numpy as np
import pytest

from tests.layers import transformer_blocks as blocks
from tests.layers.arrays import RNG, close, normal, numbers
from zoo.layers import Quadratic, TransformerEncoderBlock
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

PADDING = np.arange(5) < np.array([5, 3, 4])[:, None]  # (3, 5)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ({"num_heads": 2, "feed_forward": 12}, {"dynamic_axes": (1,)}),
        (
            {
                "num_heads": 4,
                "feed_forward": 6,
                "activation": "gelu_tanh",
                "dropout": 0.2,
                "attention_dropout": 0.1,
                "norm_first": True,
                "epsilon": 1e-6,
                "use_bias": False,
                "attention_bias": True,
                "kernel_initializer": "he_normal",
                "seed": 3,
            },
            {"thorough": False},
        ),
        (
            {"num_heads": 1, "feed_forward": keras.layers.Dense(8), "activation": keras.activations.silu},
            {"thorough": False},
        ),
    ],
)
def test_conforms(arguments, options):
    check_layer(
        TransformerEncoderBlock,
        arguments,
        input_shape=(3, 5, 8),
        mask=PADDING,
        tolerance=1e-4,
        supports_masking=True,
        **options,
    )


def test_dropout_acts_in_training_alone():
    x = normal(3, 5, 8)
    block = TransformerEncoderBlock(2, 12, dropout=0.5, seed=1)
    sure = TransformerEncoderBlock(2, 12)
    block(x), sure(x)
    sure.set_weights(block.get_weights()[: len(sure.get_weights())])
    close(block(x), sure(x))
    close(block(x, training=False), sure(x))
    assert np.abs(numbers(block(x, training=True)) - numbers(sure(x))).max() > 0.1


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
def test_equals_a_composition_of_keras_layers(norm_first, use_bias, activation):
    x = normal(3, 5, 8)
    block = TransformerEncoderBlock(2, 12, activation, norm_first=norm_first, use_bias=use_bias, epsilon=1e-6)
    block(x)
    blocks.shake(block, RNG)
    mask = RNG.random((3, 5, 5)) < 0.7
    mask[..., 0] = True
    function = {
        "relu": keras.ops.relu,
        "gelu": lambda x: keras.ops.gelu(x, approximate=False),
        "gelu_tanh": lambda x: keras.ops.gelu(x, approximate=True),
    }[activation]
    expected = blocks.composed(
        block,
        keras.ops.convert_to_tensor(x),
        ("self_attention", lambda x: blocks.attend(block, "self_attention", x, x, 2, attention_mask=mask)),
        ("feed_forward", lambda x: blocks.feed(block, x, function)),
    )
    close(block(x, attention_mask=mask), expected)
    answer, scores = block(x, attention_mask=mask, return_attention_scores=True)
    close(answer, expected)
    np.testing.assert_allclose(numbers(scores).sum(-1), 1, atol=1e-6)


def test_padding_changes_nothing():
    x = normal(3, 5, 8)
    block = TransformerEncoderBlock(2, 12)
    answer = numbers(block(x, mask=PADDING))
    longer = np.concatenate([np.where(PADDING[..., None], x, 1e2), normal(3, 4, 8)], axis=1)
    mask = np.concatenate([PADDING, np.zeros((3, 4), bool)], axis=1)
    other = numbers(block(longer, mask=mask))[:, :5]
    np.testing.assert_allclose(other[PADDING], answer[PADDING], rtol=0, atol=1e-5)
    for row in range(3):
        alone = numbers(block(x[row : row + 1, : PADDING[row].sum()]))
        np.testing.assert_allclose(answer[row][PADDING[row]], alone[0], rtol=0, atol=1e-5)


def test_permuting_the_positions_permutes_the_answer():
    x, order = normal(3, 5, 8), np.array([3, 1, 4, 0, 2])
    block = TransformerEncoderBlock(2, 12)
    close(numbers(block(x))[:, order], block(x[:, order]))


def test_takes_the_mask_that_keras_carries():
    tokens = np.array([[3, 4, 5, 0], [1, 2, 0, 0]])
    embedding = keras.layers.Embedding(9, 8, mask_zero=True)
    block, second = TransformerEncoderBlock(2, 12), TransformerEncoderBlock(2, 12)
    inputs, allowed = keras.Input((4,), dtype="int32"), keras.Input((4, 4), dtype="bool")
    x = second(block(embedding(inputs)), attention_mask=allowed)
    model = keras.Model([inputs, allowed], [x, keras.layers.GlobalAveragePooling1D()(x)])
    everything = np.ones((2, 4, 4), bool)
    found, mean = map(numbers, model([tokens, everything]))
    plain = keras.ops.convert_to_tensor(numbers(embedding(tokens)))
    expected = numbers(second(block(plain, mask=tokens > 0), mask=tokens > 0))
    np.testing.assert_allclose(found[tokens > 0], expected[tokens > 0], rtol=0, atol=1e-5)
    close(mean, np.stack([row[mask].mean(0) for row, mask in zip(expected, tokens > 0, strict=True)]))


def test_counts_its_parameters_as_published():
    def count(width, heads, hidden, **arguments):
        block = TransformerEncoderBlock(heads, hidden, **arguments)
        block.build((None, None, width))
        return block.count_params()

    assert count(512, 8, 2048) == 3_152_384
    assert count(512, 8, 2048, attention_bias=False) == 3_152_384 - 4 * 512
    assert count(1024, 16, 4096) == 12_596_224
    bert = (30_522 + 512 + 2) * 768 + 2 * 768 + 12 * count(768, 12, 3072)
    assert bert == 108_891_648
    assert bert + 768 * 768 + 768 == 109_482_240  # with its pooler


@keras.saving.register_keras_serializable("zoo_tests")
class Masked(keras.layers.Layer):
    """Adds 1 where the mask is True."""

    supports_masking = True

    def call(self, inputs, mask=None):
        return inputs if mask is None else inputs + keras.ops.cast(mask, inputs.dtype)[..., None]


def test_hands_the_mask_to_a_feed_forward_that_takes_it():
    x = normal(3, 5, 8)
    block = TransformerEncoderBlock(2, Masked(), norm_first=True)
    plain = TransformerEncoderBlock(2, keras.layers.Identity(), norm_first=True)
    plain(x), block(x, mask=PADDING)
    plain.set_weights(block.get_weights())
    close(numbers(block(x, mask=PADDING)) - numbers(plain(x, mask=PADDING)), PADDING[..., None] * np.ones(8))


def test_a_feed_forward_that_blocks_share_comes_back_shared(tmp_path):
    shared = Quadratic(8, rank=2)
    inputs = keras.Input((None, 8))
    first, second = (TransformerEncoderBlock(2, shared, name=name) for name in ("first", "second"))
    model = keras.Model(inputs, second(first(inputs)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = normal(3, 5, 8)
    close(again(x), model(x), atol=0)
    assert again.get_layer("first").feed_forward is again.get_layer("second").feed_forward
    twin = TransformerEncoderBlock.from_config(first.get_config())
    assert twin.feed_forward is not shared
    assert len(keras.models.clone_model(model).weights) == len(model.weights) + len(shared.weights)


@pytest.mark.slow
@pytest.mark.parametrize("feed_forward", [12, "held"])
def test_reloads_after_quantisation(feed_forward, tmp_path):
    held = feed_forward == "held"
    inputs = keras.Input((None, 8))
    block = TransformerEncoderBlock(2, keras.layers.Dense(8) if held else feed_forward)
    model = keras.Model(inputs, block(inputs))
    with pytest.warns(UserWarning, match="does not have a `quantize` method"):
        model.quantize("int8")
    assert [weight.dtype for weight in block.weights].count("int8") == 3 if held else 4
    x = normal(3, 5, 8)
    expected = numbers(model(x))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    close(again(x), expected, atol=0)
    again.save(tmp_path / "again.keras")
    close(keras.saving.load_model(tmp_path / "again.keras")(x), expected, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 0, "feed_forward": 4}, "num_heads=0"),
        ({"num_heads": 2, "feed_forward": "dense"}, "feed_forward='dense'"),
        ({"num_heads": 2, "feed_forward": 4, "dropout": 1}, "dropout=1"),
        ({"num_heads": 2, "feed_forward": 4, "attention_dropout": -0.1}, "attention_dropout=-0.1"),
        ({"num_heads": 2, "feed_forward": 4, "norm_first": 1}, "norm_first=1"),
        ({"num_heads": 2, "feed_forward": 4, "epsilon": 0}, "epsilon=0"),
        ({"num_heads": 2, "feed_forward": 4, "activation": "rely"}, "rely"),
    ],
)
def test_refuses_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransformerEncoderBlock(**arguments)


def test_refuses_what_does_not_fit_at_build():
    with pytest.raises(ValueError, match=r"num_heads=3, width=8"):
        TransformerEncoderBlock(3, 4).build((None, None, 8))
    with pytest.raises(ValueError, match="keep the width of its input, 8"):
        TransformerEncoderBlock(2, keras.layers.Dense(4)).build((None, None, 8))
    with pytest.raises(ValueError, match="size of axis -1"):
        TransformerEncoderBlock(2, 4).build((None, 5, None))
