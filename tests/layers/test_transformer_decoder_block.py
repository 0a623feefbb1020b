import keras
import numpy as np
import pytest

from tests.layers import transformer_blocks as blocks
from tests.layers.arrays import RNG, close, normal, numbers
from tests.layers.gradients import gradients
from zoo.layers import SinusoidalPositions, TransformerDecoderBlock
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

TARGET = np.arange(5) < np.array([5, 3, 4])[:, None]  # (3, 5)
SOURCE = np.arange(4) < np.array([2, 4, 3])[:, None]  # (3, 4)


@pytest.mark.parametrize(
    ("arguments", "shapes", "options"),
    [
        ({"num_heads": 2, "feed_forward": 6}, {"inputs": (3, 5, 4)}, {"mask": TARGET, "dynamic_axes": (1,)}),
        (
            {"num_heads": 2, "feed_forward": 12, "dropout": 0.2, "norm_first": True, "activation": "gelu"},
            {"inputs": (3, 5, 8), "encoded": (3, 4, 6)},
            {"mask": {"inputs": TARGET, "encoded": SOURCE}, "dynamic_axes": (1,), "thorough": False},
        ),
        (
            {
                "num_heads": 4,
                "feed_forward": 6,
                "norm_first": True,
                "norm": "rms",
                "num_kv_heads": 2,
                "rotary_base": 100.0,
                "use_bias": False,
                "attention_bias": True,
                "attention_output_bias": False,
            },
            {"inputs": (3, 5, 8)},
            {"mask": TARGET, "dynamic_axes": (1,), "thorough": False},
        ),
    ],
)
def test_conforms(arguments, shapes, options):
    check_layer(
        TransformerDecoderBlock, arguments, input_shape=shapes, tolerance=1e-4, supports_masking=True, **options
    )


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("cross", [False, True])
def test_equals_a_composition_of_keras_layers(norm_first, cross, norm):
    x, encoded = keras.ops.convert_to_tensor(normal(3, 5, 8)), keras.ops.convert_to_tensor(normal(3, 4, 6))
    block = TransformerDecoderBlock(2, 12, norm_first=norm_first, norm=norm)
    given = {"encoded": encoded, "encoded_mask": SOURCE} if cross else {}
    block(x, **given)
    blocks.shake(block, RNG)
    sublayers = [
        ("self_attention", lambda x: blocks.attend(block, "self_attention", x, x, 2, use_causal_mask=True)),
        ("cross_attention", lambda x: blocks.attend(block, "cross_attention", x, encoded, 2, value_mask=SOURCE)),
        ("feed_forward", lambda x: blocks.feed(block, x, keras.ops.relu)),
    ]
    expected = blocks.composed(block, x, *(one for one in sublayers if cross or one[0] != "cross_attention"))
    close(block(x, **given), expected)
    answer, scores = block(x, return_attention_scores=True, **given)
    close(answer, expected)
    assert scores.shape == ((3, 2, 5, 4) if cross else (3, 2, 5, 5))
    np.testing.assert_allclose(numbers(scores).sum(-1), 1, atol=1e-6)
    masked = ~np.broadcast_to(SOURCE[:, None, None] if cross else np.tri(5, dtype=bool), scores.shape)
    assert np.all(numbers(scores)[masked] == 0)


@pytest.mark.parametrize("cross", [False, True])
def test_does_not_leak(cross):
    x, encoded = normal(1, 6, 8), normal(1, 4, 6)
    block = TransformerDecoderBlock(2, 12)
    given = {"encoded": encoded} if cross else {}
    before = numbers(block(x, **given))
    changed = x.copy()
    changed[:, 3] += 1
    after = numbers(block(changed, **given))
    np.testing.assert_allclose(after[:, :3], before[:, :3], rtol=0, atol=1e-6)
    assert np.all(np.abs(after[:, 3:] - before[:, 3:]).max(-1) > 0)
    slope = gradients(lambda x: keras.ops.square(block(x, **given)[:, :3]), x)[0]
    assert np.all(slope[:, 3:] == 0)
    assert np.all(np.abs(slope[:, :3]).max(-1) > 0)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("arguments", [{}, {"num_kv_heads": 1, "rotary_base": 10.0}], ids=["plain", "grouped, rotary"])
def test_step_by_step_equals_the_whole(cross, norm_first, arguments):
    x, encoded = normal(3, 6, 8), normal(3, 4, 6)
    block = TransformerDecoderBlock(2, 12, norm_first=norm_first, **arguments)
    whole = numbers(block(x, **({"encoded": encoded, "encoded_mask": SOURCE} if cross else {})))
    memory = block.project(encoded)
    assert (memory is None) != cross
    cache = block.empty_cache(3, 6)
    given = {"memory": memory, "encoded_mask": SOURCE} if cross else {}
    first, cache = block(x[:, :2], cache=cache, cache_index=0, **given)
    close(first, whole[:, :2])
    for t in range(2, 6):
        step, scores, cache = block(x[:, t : t + 1], cache=cache, cache_index=t, return_attention_scores=True, **given)
        close(step[:, 0], whole[:, t])
        assert scores.shape == (3, 2, 1, 4 if cross else 6)


def test_padding_changes_nothing():
    x, encoded = normal(3, 5, 8), normal(3, 4, 6)
    block = TransformerDecoderBlock(2, 12)
    answer = numbers(block(x, encoded, inputs_mask=TARGET, encoded_mask=SOURCE))
    longer = np.concatenate([np.where(TARGET[..., None], x, 1e2), normal(3, 4, 8)], axis=1)
    source = np.concatenate([np.where(SOURCE[..., None], encoded, 1e2), normal(3, 2, 6)], axis=1)
    masks = [np.concatenate([mask, np.zeros((3, n), bool)], axis=1) for mask, n in ((TARGET, 4), (SOURCE, 2))]
    other = numbers(block(longer, source, inputs_mask=masks[0], encoded_mask=masks[1]))[:, :5]
    np.testing.assert_allclose(other[TARGET], answer[TARGET], rtol=0, atol=1e-5)


def test_takes_the_masks_that_keras_carries():
    tokens, sources = np.array([[3, 4, 5, 0], [1, 2, 0, 0]]), np.array([[1, 2, 0], [3, 0, 0]])
    embedding = keras.layers.Embedding(9, 8, mask_zero=True)
    block = TransformerDecoderBlock(2, 12)
    first, second = keras.Input((4,), dtype="int32"), keras.Input((3,), dtype="int32")
    model = keras.Model([first, second], block(embedding(first), embedding(second)))
    x, encoded = (keras.ops.convert_to_tensor(numbers(embedding(one))) for one in (tokens, sources))
    close(model([tokens, sources]), block(x, encoded, inputs_mask=tokens > 0, encoded_mask=sources > 0))


def test_counts_its_parameters_as_published():
    def count(width, heads, hidden, cross=True, **arguments):
        block = TransformerDecoderBlock(heads, hidden, **arguments)
        block.build((None, None, width), (None, None, width) if cross else None)
        return block.count_params()

    assert count(512, 8, 2048) == 4_204_032
    assert count(1024, 16, 4096) == 16_796_672
    gpt = (50_257 + 1024) * 768
    assert gpt + 2 * 768 + 12 * count(768, 12, 3072, cross=False) == 124_439_808
    assert gpt + 768 + 12 * count(768, 12, 3072, cross=False, use_bias=False) == 124_337_664


def test_refuses_calls_that_do_not_fit_what_was_built():
    x, encoded = normal(3, 5, 8), normal(3, 4, 6)
    alone, crossing = TransformerDecoderBlock(2, 12), TransformerDecoderBlock(2, 12)
    with pytest.raises(ValueError, match="Call the block, or build"):
        alone.empty_cache(3, 5)
    alone(x), crossing(x, encoded)
    with pytest.raises(ValueError, match=r"built without .* Received: encoded"):
        alone(x, encoded)
    with pytest.raises(ValueError, match=r"built with .* Received: neither"):
        crossing(x)
    with pytest.raises(ValueError, match=r"built with .* Received: both"):
        crossing(x, encoded, memory=crossing.project(encoded))
    with pytest.raises(ValueError, match="cache alone"):
        alone(x, cache=alone.empty_cache(3, 5))
    with pytest.raises(ValueError, match="encoded_shape"):
        TransformerDecoderBlock(2, 12).build((None, 5, 8), (None, 8))


def test_rows_of_one_sentence_share_its_memory():
    """A memory of three rows for six is the memory with each row twice: answers, weights, masks and all."""
    block, encoded, x = TransformerDecoderBlock(2, 12), normal(3, 4, 6), normal(6, 2, 8)
    twice = np.repeat(encoded, 2, axis=0)
    valid = np.arange(4) < np.array([4, 1, 3])[:, None]
    block(x, twice)
    mask = np.array([[True, True]] * 5 + [[True, False]])
    expected = block(x, twice, mask=mask, encoded_mask=np.repeat(valid, 2, axis=0), return_attention_scores=True)
    memory = block.project(keras.ops.convert_to_tensor(encoded))
    found = block(x, memory=memory, mask=mask, encoded_mask=valid, return_attention_scores=True)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=0, atol=1e-5)


@keras.saving.register_keras_serializable("zoo_tests")
class Greedy(keras.Model):
    """A decoder of one block that writes seven tokens, each the likeliest after those before it."""

    def __init__(self):
        super().__init__()
        self.embedding, self.positions = keras.layers.Embedding(9, 8), SinusoidalPositions()
        self.block, self.head = TransformerDecoderBlock(2, 12), keras.layers.Dense(9)

    def build(self, encoded_shape):
        self.embedding.build((None, None))
        for layer in (self.positions, self.head):
            layer.build((None, None, 8))
        self.block.build((None, None, 8), encoded_shape)

    def call(self, encoded):
        memory, rows = self.block.project(encoded), keras.ops.shape(encoded)[0]

        def step(t, token, tokens, *cache):
            x = self.positions(self.embedding(token), start=t)
            x, cache = self.block(x, cache=cache, cache_index=t, memory=memory)
            token = keras.ops.cast(keras.ops.argmax(self.head(x), axis=-1), "int32")
            return t + 1, token, keras.ops.where(keras.ops.arange(7) == t, token, tokens), *cache

        zeros = (keras.ops.zeros((rows, length), "int32") for length in (1, 7))
        start = (keras.ops.convert_to_tensor(0), *zeros, *self.block.empty_cache(rows, 7))
        return keras.ops.while_loop(lambda t, *_: t < 7, step, start, maximum_iterations=7)[2]

    def plain(self, encoded):
        """The same without a cache."""
        tokens = np.zeros((len(encoded), 1), "int32")
        for _ in range(7):
            x = self.head(self.block(self.positions(self.embedding(tokens)), encoded))
            tokens = np.concatenate([tokens, numbers(keras.ops.argmax(x[:, -1:], axis=-1))], axis=1)
        return tokens[:, 1:]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The `native_serialization` parameter is deprecated")  # Keras's export from JAX
def test_a_decoding_loop_exports(tmp_path):
    model = Greedy()
    model.build((None, None, 6))
    encoded = normal(3, 5, 6)
    expected = model.plain(encoded)
    np.testing.assert_array_equal(numbers(model(encoded)), expected)
    assert len(np.unique(expected)) > 1
    if keras.backend.backend() == "torch":
        return
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.call, [keras.InputSpec(shape=(None, None, 6), dtype="float32")])
    archive.write_out(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.serve(tf.constant(encoded)).numpy(), expected)
    np.testing.assert_array_equal(loaded.serve(tf.constant(encoded[:1])).numpy(), expected[:1])
