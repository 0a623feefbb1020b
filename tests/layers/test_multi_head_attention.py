import keras
import numpy as np
import pytest

from tests.layers.arrays import RNG, close, normal, numbers
from tests.layers.gradients import gradients
from zoo.layers import MultiHeadAttention, _attention
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

LENGTHS = np.array([5, 3, 4])
PADDING = np.arange(5) < LENGTHS[:, None]  # (3, 5)


@pytest.mark.parametrize(
    ("arguments", "shapes", "options"),
    [
        ({"num_heads": 2}, {"query": (3, 5, 8)}, {"mask": PADDING, "dynamic_axes": (1,), "tolerance": 1e-4}),
        (
            {"num_heads": 2, "key_dim": 3, "value_dim": 5, "dropout": 0.3, "output_shape": 7, "seed": 3},
            {"query": (3, 5, 8), "value": (3, 4, 6)},
            {"dynamic_axes": (1,), "tolerance": 1e-4, "thorough": False},
        ),
        (
            {"num_heads": 3, "key_dim": 2, "use_bias": False, "kernel_initializer": "he_normal"},
            {"query": (3, 5, 8), "value": (3, 4, 6), "key": (3, 4, 5)},
            {"thorough": False},
        ),
        (
            {"num_heads": 1, "kernel_regularizer": "l2", "bias_regularizer": "l1", "bias_initializer": "ones"},
            {"query": (3, 5, 8)},
            {"call_arguments": {"use_causal_mask": True}, "thorough": False},
        ),
        (
            {"num_heads": 4, "num_kv_heads": 2, "rotary_base": 100.0, "output_bias": False},
            {"query": (3, 5, 8)},
            {"mask": PADDING, "dynamic_axes": (1,), "tolerance": 1e-4, "thorough": False},
        ),
    ],
)
def test_conforms(arguments, shapes, options):
    check_layer(MultiHeadAttention, arguments, input_shape=shapes, **options)


# Equality with Keras ----------------------------------------------------------------------------------------------


def twins(query, value=None, key=None, **arguments):
    """Ours, and Keras's with the same weights."""
    ours = MultiHeadAttention(**arguments)
    theirs = keras.layers.MultiHeadAttention(**arguments)
    ours(query, value, key)
    shapes = [None if one is None else one.shape for one in (query, query if value is None else value, key)]
    theirs.build(*shapes)
    for weight in ours.weights:
        weight.assign(0.3 * normal(*weight.shape))
    named = {weight.path.split("/", 1)[1]: numbers(weight) for weight in ours.weights}
    keys = arguments["num_heads"] * arguments["key_dim"]
    parts = {}
    for kind in ("kernel", "bias"):
        for name, cuts in (("query_key_value", [keys, 2 * keys]), ("key_value", [keys])):
            if f"{name}/{kind}" in named:
                split = np.split(named.pop(f"{name}/{kind}"), cuts, axis=-1)
                parts.update({f"{one}/{kind}": part for one, part in zip(name.split("_"), split, strict=True)})
    parts.update({name.replace("output", "attention_output"): value for name, value in named.items()})
    for weight in theirs.weights:
        weight.assign(parts[weight.path.split("/", 1)[1]].reshape(weight.shape))
    return ours, theirs


MASKS = {
    "none": {},
    "causal": {"use_causal_mask": True},
    "value": {"value_mask": PADDING},
    "key": {"key_mask": PADDING},
    "query": {"query_mask": PADDING},
    "attention": {"attention_mask": (np.arange(5)[:, None] + np.arange(5)) % 3 != 1},
    "per example": {"attention_mask": RNG.random((3, 5, 5)) < 0.7},
    "per head": {"attention_mask": RNG.random((3, 2, 5, 5)) < 0.7},
    "all": {
        "value_mask": PADDING,
        "query_mask": PADDING,
        "attention_mask": RNG.random((3, 5, 5)) < 0.8,
        "use_causal_mask": True,
    },
}


@pytest.mark.parametrize("value_dim", [3, 4])
@pytest.mark.parametrize("form", ["self", "cross", "key"])
@pytest.mark.parametrize("kind", MASKS)
def test_equals_keras_with_the_same_weights(kind, form, value_dim):
    query, value, key = normal(3, 5, 8), None, None
    if form != "self":
        value = normal(3, 5, 6)
    if form == "key":
        key = normal(3, 5, 7)
    elif kind == "key" and form == "self":
        pytest.skip("self-attention has no key of its own")
    ours, theirs = twins(query, value, key, num_heads=2, key_dim=3, value_dim=value_dim)
    masks = dict(MASKS[kind])
    if form == "self" and "query_mask" in masks:
        masks["value_mask"] = masks["query_mask"]  # Keras has it of the value, which is the query
    answer = numbers(ours(query, value, key, **masks))
    attended = np.broadcast_to(masks.get("attention_mask", True), (3, 2, 5, 5) if kind == "per head" else (3, 5, 5))
    attended = attended if kind == "per head" else attended[:, None]  # (3, heads or 1, 5, 5)
    for name in ("value_mask", "key_mask"):
        if name in masks:
            attended = attended & masks[name][:, None, None]
    if masks.get("use_causal_mask"):
        attended = attended & np.tri(5, dtype=bool)
    valid = attended.any(axis=-1).all(axis=1) & masks.get("query_mask", True)  # (3, 5)
    # with weights, because without them Keras's needs heads of equal widths on JAX
    expected, _ = theirs(query, query if value is None else value, key, return_attention_scores=True, **masks)
    expected = numbers(expected)
    np.testing.assert_allclose(answer[valid], expected[valid], rtol=0, atol=1e-5)
    assert valid.mean() > 0.3


def test_returned_weights_equal_keras():
    query, value = normal(3, 5, 8), normal(3, 4, 6)
    ours, theirs = twins(query, value, num_heads=2, key_dim=3)
    mask = np.arange(4) < np.array([4, 2, 3])[:, None]
    for first, second in zip(
        ours(query, value, value_mask=mask, return_attention_scores=True),
        theirs(query, value, value_mask=mask, return_attention_scores=True),
        strict=True,
    ):
        close(first, second)


def test_equals_torch():
    torch = pytest.importorskip("torch")
    x = normal(3, 5, 8)
    layer = MultiHeadAttention(2)
    layer(x)
    for weight in layer.weights:
        weight.assign(0.3 * normal(*weight.shape))
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    kernel, bias, out_kernel, out_bias = map(numbers, layer.weights)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.tensor(kernel.T))
        theirs.in_proj_bias.copy_(torch.tensor(bias))
        theirs.out_proj.weight.copy_(torch.tensor(out_kernel.T))
        theirs.out_proj.bias.copy_(torch.tensor(out_bias))
        tensor = torch.tensor(x)
        expected, weights = theirs(
            tensor, tensor, tensor, key_padding_mask=torch.tensor(~PADDING), average_attn_weights=False
        )
    answer, ours = layer(x, value_mask=PADDING, return_attention_scores=True)
    np.testing.assert_allclose(numbers(answer), expected.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(numbers(ours), weights.numpy(), rtol=0, atol=1e-6)


def test_attention_to_itself_as_a_value_is_the_same_function():
    x = normal(3, 5, 8)
    ours, other = MultiHeadAttention(2), MultiHeadAttention(2)
    ours(x), other(x, x)
    kernel, bias, *rest = map(numbers, ours.weights)
    other.set_weights([kernel[:, :8], bias[:8], kernel[:, 8:], bias[8:], *rest])
    close(ours(x), other(x, x))
    close(ours(x, query_mask=PADDING), other(x, x, query_mask=PADDING, value_mask=PADDING))


# Masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
def test_a_row_that_may_attend_to_nothing_is_zero(heads, scores):
    x = normal(3, 5, 8)
    layer = MultiHeadAttention(2, bias_initializer="ones")
    mask = np.ones((3, heads, 5, 5), bool)
    mask[1, :, 2] = False
    answer = layer(x, attention_mask=mask, return_attention_scores=scores)
    weights = numbers(answer[1]) if scores else None
    answer = numbers(answer[0] if scores else answer)
    assert np.all(answer[1, 2] == 0)
    assert np.all(np.abs(answer).sum(-1)[(np.arange(3) != 1)[:, None] | (np.arange(5) != 2)] > 0)
    if scores:
        assert np.all(weights[1, :, 2] == 0)
        np.testing.assert_allclose(weights.sum(-1)[0], 1, atol=1e-6)
    answer = numbers(layer(x, value_mask=np.zeros((3, 5), bool)))
    assert np.all(answer == 0)


def test_a_head_that_may_attend_to_nothing_adds_nothing():
    x = normal(3, 5, 8)
    layer = MultiHeadAttention(2, use_bias=False)
    mask = np.ones((3, 2, 5, 5), bool)
    mask[:, 0] = False
    answer = layer(x, attention_mask=mask)
    kernel, output = map(numbers, layer.weights)
    output = output.copy()
    output[:4] = 0  # of the first head
    layer.set_weights([kernel, output])
    close(answer, layer(x))


def test_masked_positions_have_weight_zero_and_change_nothing():
    x, garbage = normal(3, 5, 8), 1e3 * normal(3, 5, 8)
    padded = np.where(PADDING[..., None], x, garbage)
    layer = MultiHeadAttention(2)
    answer, weights = layer(x, query_mask=PADDING, return_attention_scores=True)
    other = numbers(layer(padded, query_mask=PADDING))
    np.testing.assert_allclose(numbers(answer)[PADDING], other[PADDING], rtol=0, atol=1e-5)
    assert np.all(other[~PADDING] == 0)
    assert np.all(np.moveaxis(numbers(weights), 1, -1)[np.broadcast_to(~PADDING[:, None], (3, 5, 5))] == 0)
    longer = np.concatenate([x, garbage], axis=1)
    mask = np.concatenate([PADDING, np.zeros_like(PADDING)], axis=1)
    close(numbers(layer(longer, query_mask=mask))[:, :5], answer)


def test_takes_the_masks_that_keras_carries():
    embedding = keras.layers.Embedding(9, 8, mask_zero=True)
    tokens, others = np.array([[3, 4, 5, 0, 0], [1, 2, 0, 0, 0]]), np.array([[1, 2, 0], [3, 4, 5]])
    x, y = embedding(tokens), embedding(others)
    layer, cross = MultiHeadAttention(2), MultiHeadAttention(2)
    close(layer(x), layer(keras.ops.convert_to_tensor(numbers(x)), query_mask=tokens > 0))
    close(
        cross(x, y),
        cross(
            keras.ops.convert_to_tensor(numbers(x)),
            keras.ops.convert_to_tensor(numbers(y)),
            query_mask=tokens > 0,
            value_mask=others > 0,
        ),
    )
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(layer(embedding(inputs))))  # masked mean
    expected = numbers(layer(x))
    expected = np.stack([row[mask].mean(0) for row, mask in zip(expected, tokens > 0, strict=True)])
    close(model(tokens), expected)


def test_causal_attention_does_not_leak():
    x = normal(1, 6, 8)
    layer = MultiHeadAttention(2)
    before = numbers(layer(x, use_causal_mask=True))
    changed = x.copy()
    changed[:, 3] += 1
    after = numbers(layer(changed, use_causal_mask=True))
    np.testing.assert_allclose(after[:, :3], before[:, :3], rtol=0, atol=1e-6)
    assert np.all(np.abs(after[:, 3:] - before[:, 3:]).max(-1) > 0)
    slope = gradients(lambda x: layer(x, use_causal_mask=True)[:, :3], x)[0]
    assert np.all(slope[:, 3:] == 0)
    assert np.all(np.abs(slope[:, :3]).max(-1) > 0)


def test_permuting_the_positions_permutes_the_answer():
    x, order = normal(3, 5, 8), np.array([3, 1, 4, 0, 2])
    layer = MultiHeadAttention(2)
    close(numbers(layer(x))[:, order], layer(x[:, order]))
    value = normal(3, 5, 8)
    cross = MultiHeadAttention(2)
    close(cross(x, value), cross(x, value[:, order]))


def test_one_position_is_attended_to_whole():
    x, value = normal(3, 5, 8), normal(3, 1, 8)
    layer = MultiHeadAttention(2)
    answer, weights = layer(x, value, return_attention_scores=True)
    assert np.all(numbers(weights) == 1)
    close(answer, layer(x, np.repeat(value, 4, axis=1)))
    assert np.all(numbers(layer(x, value, value_mask=np.zeros((3, 1), bool))) == 0)


# Grouped heads and rotary positions ---------------------------------------------------------------------------------


def with_repeated_keys(layer, groups):
    """A layer of full heads in which what `layer` shares among `groups` heads is repeated."""
    arguments = {**layer.get_config(), "num_kv_heads": None, "name": None}
    full = type(layer).from_config(arguments)
    width = layer.num_heads * layer.key_dim
    arrays = []
    for weight in layer.weights:
        array = numbers(weight)
        shared = array.shape[-1] // 2 if "key_value" in weight.path and "query" not in weight.path else None
        if "query_key_value" in weight.path:
            shared = (array.shape[-1] - width) // 2
        if shared is not None:
            first, *parts = np.split(array, [array.shape[-1] - 2 * shared, array.shape[-1] - shared], axis=-1)
            heads = [part.reshape(*part.shape[:-1], -1, layer.key_dim).repeat(groups, axis=-2) for part in parts]
            array = np.concatenate([first, *(part.reshape(*part.shape[:-2], -1) for part in heads)], axis=-1)
        arrays.append(array)
    return full, arrays


@pytest.mark.parametrize("kind", ["none", "causal", "value", "per head", "all"])
@pytest.mark.parametrize(("heads", "shared"), [(6, 3), (4, 1), (2, 2)])
@pytest.mark.parametrize("cross", [False, True])
def test_grouped_heads_equal_full_heads_with_repeated_keys_and_values(kind, heads, shared, cross):
    given = [normal(3, 5, 8), normal(3, 5, 6)] if cross else [normal(3, 5, 8)]
    layer = MultiHeadAttention(heads, key_dim=4, num_kv_heads=shared, rotary_base=None if cross else 50.0)
    layer(*given)
    for weight in layer.weights:
        weight.assign(0.3 * normal(*weight.shape))
    full, arrays = with_repeated_keys(layer, heads // shared)
    full(*given)
    full.set_weights(arrays)
    masks = dict(MASKS[kind])
    if kind == "per head":
        masks["attention_mask"] = RNG.random((3, heads, 5, 5)) < 0.7
    close(layer(*given, **masks), full(*given, **masks))
    for ours, theirs in zip(
        layer(*given, return_attention_scores=True, **masks),
        full(*given, return_attention_scores=True, **masks),
        strict=True,
    ):
        close(ours, theirs)


def test_attention_with_rotary_positions_depends_on_distances_alone():
    """Whatever stands before, hidden: the answer is that of the sequence by itself."""
    x, before = normal(3, 5, 8), normal(3, 4, 8)
    layer = MultiHeadAttention(2, rotary_base=10.0)
    alone = numbers(layer(x, use_causal_mask=True))
    mask = np.repeat(np.arange(9)[None] >= 4, 3, axis=0)
    later = numbers(layer(np.concatenate([before, x], axis=1), query_mask=mask, use_causal_mask=True))
    np.testing.assert_allclose(later[:, 4:], alone, rtol=0, atol=1e-5)
    order = [1, 0, 2, 3, 4]
    assert np.abs(numbers(layer(x))[:, order] - numbers(layer(x[:, order]))).max() > 1e-3  # order counts now


@pytest.mark.parametrize(("arguments", "count"), [
    ({"num_kv_heads": 2}, 8 * 16 + 16 + 8 * 8 + 8),
    ({"num_kv_heads": 2, "output_bias": False}, 8 * 16 + 16 + 8 * 8),
    ({"num_kv_heads": 1, "use_bias": False}, 8 * 12 + 8 * 8),
    ({"use_bias": False, "output_bias": True, "rotary_base": 9.0}, 8 * 24 + 8 * 8 + 8),
])  # fmt: skip
def test_counts_the_weights_of_grouped_heads(arguments, count):
    layer = MultiHeadAttention(4, **arguments)
    layer.build((None, None, 8))
    assert layer.count_params() == count
    heads = arguments.get("num_kv_heads", 4)
    assert [part.shape for part in layer.empty_cache(3, 7)] == [(3, heads, 7, 2)] * 2


# Cache --------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[_attention.SMALL, 0], ids=["added up", "multiplied"])
def products(request, monkeypatch):
    """Attention of few queries, each way."""
    monkeypatch.setattr(_attention, "SMALL", request.param)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize(
    "arguments", [{}, {"value_dim": 3}, {"num_kv_heads": 2}, {"rotary_base": 10.0}], ids=lambda one: ", ".join(one)
)
@pytest.mark.parametrize("block", [1, 2, 3])
def test_step_by_step_equals_the_whole(block, arguments):
    x = normal(3, 6, 8)
    layer = MultiHeadAttention(4, **arguments)
    whole = layer(x, use_causal_mask=True)
    cache = layer.empty_cache(3, 8)  # longer than what is written
    parts = []
    for start in range(0, 6, block):
        part, cache = layer(x[:, start : start + block], cache=cache, cache_index=start)
        parts.append(numbers(part))
    close(np.concatenate(parts, axis=1), whole)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("arguments", [{}, {"num_kv_heads": 2, "rotary_base": 10.0}], ids=["plain", "grouped, rotary"])
def test_rows_of_a_cache_may_stand_at_positions_of_their_own(arguments):
    x, lengths = normal(3, 6, 8), np.array([2, 4, 1])
    layer = MultiHeadAttention(4, **arguments)
    whole = numbers(layer(x, use_causal_mask=True))
    cache = layer.empty_cache(3, 6)
    _, cache = layer(x[:, :4], cache=cache, cache_index=0)  # a prompt of four, of which the first `lengths` are real
    rows = np.arange(3)
    for step in range(2):
        answer, cache = layer(x[rows, lengths + step][:, None], cache=cache, cache_index=lengths + step)
        close(answer[:, 0], whole[rows, lengths + step])
    answer, _ = layer(
        np.stack([x[row, start : start + 2] for row, start in enumerate(lengths)]),
        cache=layer(x[:, :4], cache=layer.empty_cache(3, 6), cache_index=0)[1],
        cache_index=lengths,
    )
    close(answer, np.stack([whole[row, start : start + 2] for row, start in enumerate(lengths)]))


@pytest.mark.usefixtures("products")
def test_a_cache_has_a_mask_of_its_own():
    x = normal(3, 6, 8)
    layer = MultiHeadAttention(2)
    mask = np.arange(6) >= np.array([0, 2, 1])[:, None]  # padded on the left
    whole = numbers(layer(x, use_causal_mask=True, value_mask=mask))
    cache = layer.empty_cache(3, 6)
    for t in range(6):
        part, cache = layer(x[:, t : t + 1], cache=cache, cache_index=t, value_mask=mask)
        close(part[:, 0], whole[:, t])


@pytest.mark.usefixtures("products")
def test_a_value_is_projected_once():
    x, value = normal(3, 5, 8), normal(3, 4, 6)
    layer = MultiHeadAttention(2)
    mask = np.arange(4) < np.array([4, 2, 3])[:, None]
    whole, weights = layer(x, value, value_mask=mask, return_attention_scores=True)
    memory = layer.project(value)
    for t in range(5):
        step, scores, memory = layer(x[:, t : t + 1], cache=memory, value_mask=mask, return_attention_scores=True)
        close(step[:, 0], whole[:, t])
        close(scores[:, :, 0], weights[:, :, t])


@pytest.mark.parametrize("arguments", [{}, {"num_kv_heads": 2, "rotary_base": 10.0}], ids=["plain", "grouped, rotary"])
def test_decodes_in_a_compiled_loop(arguments):
    x = keras.ops.convert_to_tensor(normal(3, 6, 8))
    layer = MultiHeadAttention(4, **arguments)
    whole = layer(x, use_causal_mask=True)

    def step(t, outputs, keys, values):
        part, (keys, values) = layer(keras.ops.take(x, t[None], axis=1), cache=(keys, values), cache_index=t)
        here = keras.ops.reshape(keras.ops.arange(6) == t, (1, 6, 1))
        return t + 1, keras.ops.where(here, part, outputs), keys, values

    def decode(x):
        start = (keras.ops.convert_to_tensor(0), keras.ops.zeros_like(x), *layer.empty_cache(3, 6))
        return keras.ops.while_loop(lambda t, *_: t < 6, step, start, maximum_iterations=6)[1]

    close(decode(x), whole)
    for compiled in compilations(decode):
        close(compiled(x), whole)


def compilations(function):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return [tf.function(function), tf.function(function, jit_compile=True)]
    if backend == "jax":
        import jax

        return [jax.jit(function)]
    return []


# Sizes, weights, saving ---------------------------------------------------------------------------------------------


def test_counts_its_parameters_as_published():
    layer = MultiHeadAttention(8, 64)
    layer.build((None, None, 512))
    assert layer.count_params() == 4 * 512**2 + 4 * 512 == 1_050_624
    layer = MultiHeadAttention(8, 64, use_bias=False)
    layer.build((None, None, 512), (None, None, 512))
    assert layer.count_params() == 4 * 512**2


@pytest.mark.parametrize("seed", [None, 7])
def test_draws_each_projection_as_a_matrix_of_its_own(seed):
    layer = MultiHeadAttention(4, kernel_initializer=keras.initializers.GlorotUniform(seed))
    layer.build((None, None, 64))
    kernels = [*np.split(numbers(layer.weights[0]), 3, axis=1), numbers(layer.weights[2])]
    for index, kernel in enumerate(kernels):
        assert 0.95 * np.sqrt(3 / 64) < np.abs(kernel).max() <= np.sqrt(3 / 64)  # sqrt(6 / (64 + 64))
        assert all(np.abs(kernel - other).max() > 0.1 for other in kernels[:index])


def test_dropout_acts_in_training_alone_and_keeps_the_mean():
    x = normal(2, 16, 8)
    layer = MultiHeadAttention(2, dropout=0.5, seed=0)
    expected = numbers(layer(x))
    draws = [numbers(layer(x, training=True)) for _ in range(200)]
    assert np.abs(draws[0] - draws[1]).max() > 1e-2
    spread = np.std(draws, axis=0).max() / np.sqrt(len(draws))
    np.testing.assert_allclose(np.mean(draws, axis=0), expected, atol=5 * spread)


@pytest.mark.parametrize("cross", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_reloads_after_quantisation(cross, tmp_path):
    inputs = [keras.Input((None, 8)) for _ in range(1 + cross)]
    layer = MultiHeadAttention(2, name="attention")
    model = keras.Model(inputs, layer(*inputs))
    batch = [normal(3, 5, 8) for _ in inputs]
    before = numbers(model(batch))
    with pytest.warns(UserWarning, match="does not have a `quantize` method"):  # of inputs and dropout
        model.quantize("int8")
    assert {weight.dtype for weight in layer.weights if weight.name == "kernel"} == {"int8"}
    expected = numbers(model(batch))
    assert np.abs(expected - before).max() < 0.05 * np.abs(before).max()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    close(again(batch), expected, atol=0)
    again.save(tmp_path / "again.keras")
    close(keras.saving.load_model(tmp_path / "again.keras")(batch), expected, atol=0)


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 0}, "num_heads=0"),
        ({"num_heads": 2, "key_dim": 1.5}, "key_dim=1.5"),
        ({"num_heads": 2, "value_dim": -1}, "value_dim=-1"),
        ({"num_heads": 2, "dropout": 1.0}, "dropout=1.0"),
        ({"num_heads": 2, "use_bias": 1}, "use_bias=1"),
        ({"num_heads": 2, "output_shape": (3, 4)}, r"output_shape=\(3, 4\)"),
        ({"num_heads": 2, "seed": "x"}, "seed='x'"),
        ({"num_heads": 4, "num_kv_heads": 3}, "must divide num_heads=4.*num_kv_heads=3"),
        ({"num_heads": 2, "num_kv_heads": 0}, "num_kv_heads=0"),
        ({"num_heads": 2, "rotary_base": 0}, "rotary_base=0"),
        ({"num_heads": 2, "output_bias": 0}, "output_bias=0"),
    ],
)
def test_refuses_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**arguments)


def test_refuses_shapes_by_name():
    with pytest.raises(ValueError, match=r"num_heads=3, width=8\. Give key_dim"):
        MultiHeadAttention(3).build((None, None, 8))
    with pytest.raises(ValueError, match="batch, time, dim"):
        MultiHeadAttention(2).build((None, 8))
    with pytest.raises(ValueError, match="size of axis -1"):
        MultiHeadAttention(2).build((None, 5, 8), (None, 4, None))
    with pytest.raises(ValueError, match="of one length"):
        MultiHeadAttention(2).build((None, 5, 8), (None, 4, 8), (None, 3, 8))
    with pytest.raises(ValueError, match=r"for self-attention: .* rotary_base=9\.0"):
        MultiHeadAttention(2, rotary_base=9.0).build((None, 5, 8), (None, 4, 8))
    with pytest.raises(ValueError, match="must be even"):
        MultiHeadAttention(2, key_dim=3, rotary_base=9.0).build((None, 5, 8))


def test_refuses_calls_that_do_not_fit_what_was_built():
    x = normal(2, 3, 8)
    unbuilt, own, other = (MultiHeadAttention(2) for _ in range(3))
    own(x), other(x, x)
    with pytest.raises(ValueError, match="Call the layer, or build"):
        unbuilt.empty_cache(1, 2)
    with pytest.raises(ValueError, match="built for self-attention"):
        own(x, x)
    with pytest.raises(ValueError, match="cache alone"):
        own(x, cache=own.empty_cache(2, 3))
    with pytest.raises(ValueError, match="cache_index alone"):
        own(x, cache_index=0)
    for index in (-1, 2):
        with pytest.raises(ValueError, match=f"3 positions of a cache of 4. Received: cache_index={index}"):
            own(x, cache=own.empty_cache(2, 4), cache_index=index)
    with pytest.raises(ValueError, match="Use empty_cache"):
        own.project(x)
    with pytest.raises(ValueError, match="Use project"):
        other.empty_cache(2, 3)
    with pytest.raises(ValueError, match="Received: neither"):
        other(x)
    with pytest.raises(ValueError, match="Received: both"):
        other(x, x, cache=other.project(x))
    with pytest.raises(ValueError, match="cache_index is for self-attention"):
        other(x, cache=other.project(x), cache_index=0)
    with pytest.raises(ValueError, match="Give the key from the first call"):
        other(x, x, x)
