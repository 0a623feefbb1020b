import keras
import numpy as np
import pytest

from tests.layers.arrays import close, normal, numbers
from tests.layers.gradients import gradients
from zoo.layers import BahdanauAttention
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

PADDING = np.arange(5) < np.array([5, 3, 4])[:, None]  # (3, 5)
H = np.array([[[1, 0], [0, 1], [1, 1]]], "float32")


@pytest.mark.parametrize(
    ("arguments", "query", "options"),
    [
        ({"units": 6}, (3, 4, 7), {"mask": {"value": PADDING}, "dynamic_axes": (1,)}),
        ({"units": 1, "use_bias": True, "score_initializer": "ones"}, (3, 7), {"thorough": False}),
        (
            {"units": 6, "kernel_initializer": "orthogonal"},
            (3, 5, 7),
            {"mask": {"query": PADDING, "value": PADDING}, "thorough": False},
        ),
    ],
)
def test_conforms(arguments, query, options):
    check_layer(BahdanauAttention, arguments, input_shape={"query": query, "value": (3, 5, 4)}, **options)


def with_scores(scores):
    """A layer whose scores of H are `scores`, whatever the query: v = 1, W = 0, tanh(U h) / 4 = e."""
    layer = BahdanauAttention(3)
    value = np.concatenate([H, 2 * np.eye(3, dtype="float32")[None]], axis=-1)  # (1, 3, 5): h beside its number
    layer.build((1, 2), value.shape)
    kernel = np.zeros((5, 3), "float32")
    kernel[2:] = np.diag(np.arctanh(np.asarray(scores) / 4) / 2)
    layer.set_weights([np.zeros((2, 3), "float32"), kernel, np.full((3, 1), 4, "float32")])
    context, weights = layer(np.ones((1, 2), "float32"), value)
    return numbers(context)[0, :2], numbers(weights)[0]


@pytest.mark.parametrize(
    ("scores", "weights", "context"),
    [
        ((2, 0.5, 1), (0.62853172, 0.14024438, 0.23122390), (0.85975562, 0.37146828)),
        ((0, 0, np.log(2)), (0.25, 0.25, 0.5), (0.75, 0.75)),
        ((0, 0, 0), (1 / 3, 1 / 3, 1 / 3), (2 / 3, 2 / 3)),
    ],
)
def test_published_values(scores, weights, context):
    found_context, found_weights = with_scores(scores)
    np.testing.assert_allclose(found_weights, weights, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found_context, context, rtol=0, atol=1e-6)


@pytest.mark.parametrize("use_bias", [False, True])
def test_equals_loops(use_bias):
    query, value = normal(3, 2, 7), normal(3, 5, 4)
    layer = BahdanauAttention(6, use_bias=use_bias)
    context, weights = layer(query, value)
    for weight in layer.weights:
        weight.assign(normal(*weight.shape))
    context, weights = map(numbers, layer(query, value))
    w, u, v, *b = (numbers(weight).astype("float64") for weight in layer.weights)
    for n in range(3):
        for t in range(2):
            hidden = [query[n, t] @ w + h @ u + (b[0] if b else 0) for h in value[n]]
            scores = np.exp([np.tanh(one) @ v[:, 0] for one in hidden])
            expected = scores / scores.sum()
            np.testing.assert_allclose(weights[n, t], expected, rtol=0, atol=1e-5)
            np.testing.assert_allclose(context[n, t], expected @ value[n], rtol=0, atol=1e-5)


def test_a_zero_score_vector_attends_uniformly():
    layer = BahdanauAttention(6, score_initializer="zeros")
    _, weights = layer(normal(3, 7), normal(3, 5, 4))
    close(weights, np.full((3, 5), 1 / 5), atol=1e-7)


def test_a_query_without_time_is_one_of_a_single_step():
    query, value = normal(3, 7), normal(3, 5, 4)
    layer = BahdanauAttention(6)
    mask = np.array([True, False, True])
    for single, several in zip(
        layer(query, value, query_mask=mask, value_mask=PADDING),
        layer(query[:, None], value, query_mask=mask[:, None], value_mask=PADDING),
        strict=True,
    ):
        close(single, several[:, 0], 1e-6)
        assert np.all(numbers(single)[1] == 0)


def test_keys_projected_before_change_nothing():
    query, value = normal(3, 2, 7), normal(3, 5, 4)
    layer = BahdanauAttention(6, use_bias=True)
    for whole, step in zip(layer(query, value), layer(query, value, layer.project(value)), strict=True):
        close(whole, step, 1e-6)
    with pytest.raises(ValueError, match="Call the layer once"):
        BahdanauAttention(6).project(value)


def test_masked_positions_are_exactly_zero_and_change_nothing():
    query, value = normal(3, 2, 7), normal(3, 5, 4)
    layer = BahdanauAttention(6)
    context, weights = layer(query, value, value_mask=PADDING)
    assert np.all(numbers(weights)[np.broadcast_to(~PADDING[:, None], (3, 2, 5))] == 0)
    np.testing.assert_allclose(numbers(weights).sum(-1), 1, atol=1e-6)
    longer = np.concatenate([np.where(PADDING[..., None], value, 1e3), normal(3, 4, 4)], axis=1)
    mask = np.concatenate([PADDING, np.zeros((3, 4), bool)], axis=1)
    other, others = layer(query, longer, value_mask=mask)
    close(other, context, 1e-6)
    close(others[..., :5], weights, 1e-6)


def test_a_row_without_a_position_is_zero():
    query, value = normal(3, 2, 7), normal(3, 5, 4)
    layer = BahdanauAttention(6)
    mask = PADDING & (np.arange(3) != 1)[:, None]
    context, weights = layer(query, value, value_mask=mask)
    assert np.all(numbers(context)[1] == 0)
    assert np.all(numbers(weights)[1] == 0)
    assert np.all(np.isfinite(gradients(lambda q: layer(q, value, value_mask=mask)[0], query)[0]))


def test_one_position_is_attended_to_whole():
    query, value = normal(3, 7), normal(3, 1, 4)
    context, weights = BahdanauAttention(6)(query, value)
    assert np.all(numbers(weights) == 1)
    close(context, value[:, 0], 1e-6)


def test_masks_go_by_the_arguments_and_the_querys_goes_on():
    embedding = keras.layers.Embedding(9, 7, mask_zero=True)
    tokens, others = np.array([[3, 4, 0], [1, 0, 0]]), np.array([[1, 2, 0, 0], [3, 4, 5, 0]])
    layer = BahdanauAttention(6)
    query, value = (keras.ops.convert_to_tensor(numbers(embedding(one))) for one in (tokens, others))
    expected, _ = layer(query, value, query_mask=tokens > 0, value_mask=others > 0)
    first, second = keras.Input((3,), dtype="int32"), keras.Input((4,), dtype="int32")
    context, _ = layer(embedding(first), embedding(second))
    model = keras.Model([first, second], [context, keras.layers.GlobalAveragePooling1D()(context)])
    found, mean = model([tokens, others])
    close(found, expected, 1e-6)
    rows = zip(numbers(expected), tokens > 0, strict=True)
    close(mean, np.stack([row[: mask.sum()].mean(0) for row, mask in rows]), 1e-6)


def test_has_the_papers_number_of_parameters():
    layer = BahdanauAttention(1000)
    layer.build((None, 1000), (None, None, 2000))
    assert layer.count_params() == 3_001_000


def test_softmax_of_half_precision_is_that_of_float32():
    query, value = normal(1, 7), normal(1, 3000, 4)  # the sum of 3,000 weights in float16 would be off by 1e-2
    layer = BahdanauAttention(6, dtype="mixed_float16")
    _, weights = layer(query, value)
    assert keras.backend.standardize_dtype(weights.dtype) == "float16"
    np.testing.assert_allclose(numbers(weights).astype("float32").sum(), 1, atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"units": 0}, "units=0"), ({"units": 2.5}, "units=2.5"), ({"units": 2, "use_bias": None}, "use_bias=None")],
)
def test_refuses_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        BahdanauAttention(**arguments)


def test_refuses_shapes_by_name():
    layer = BahdanauAttention(2)
    with pytest.raises(ValueError, match="query_shape"):
        layer.build((None, 2, 3, 4), (None, 3, 4))
    with pytest.raises(ValueError, match="value_shape"):
        layer.build((None, 4), (None, 4))
    with pytest.raises(ValueError, match=r"axis -1.*value_shape"):
        layer.build((None, 4), (None, 3, None))
