import re

import keras
import numpy as np
import pytest

from tests.layers.arrays import RNG, normal, numbers
from tests.layers.gradients import gradients
from zoo.layers import ExpertFeedForward, _dispatch
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

# Most tests are of 30 tokens, 4 experts and 16 hidden units: JAX compiles each operation anew for each shape.


def number(tensor):
    return numbers(tensor).item()


def built(*arguments, features=8, **keywords):
    """A layer whose biases are not zeros and whose router has opinions."""
    layer = ExpertFeedForward(*arguments, **keywords)
    layer.build((None, features))
    for weight in layer.trainable_weights:
        weight.assign(numbers(weight.value) + 0.3 * normal(*weight.shape))
    return layer


def loop(layer, x, kept=None):
    """The layer's formula, token by token in NumPy; `kept(token, rank)` says whether a choice counts."""
    routing = layer.router(x)
    experts, weights = numbers(routing.experts), numbers(routing.weights).astype("float64")
    w1, w2, b1, b2 = (numbers(one.value) for one in (layer.kernel_in, layer.kernel_out, layer.bias_in, layer.bias_out))
    answers = np.zeros((len(x), w2.shape[-1]))
    for t in range(len(x)):
        for rank, e in enumerate(experts[t]):
            if kept is None or kept(t, rank):
                answers[t] += weights[t, rank] * (np.maximum(x[t] @ w1[e] + b1[e], 0) @ w2[e] + b2[e])
    return answers


def every_expert(layer, x):
    """The same with plain operations on all experts, to be differentiated."""
    routing = layer.router(x)
    chosen = keras.ops.one_hot(routing.experts, layer.num_experts)  # (n, k, experts)
    shares = keras.ops.sum(chosen * keras.ops.expand_dims(routing.weights, -1), axis=1)  # (n, experts)
    hidden = keras.ops.einsum("td,edh->teh", x, layer.kernel_in) + layer.bias_in
    outputs = keras.ops.einsum("teh,ehd->ted", keras.ops.relu(hidden), layer.kernel_out) + layer.bias_out
    return keras.ops.einsum("ted,te->td", outputs, shares)


def compiled(layer, x, training=False):
    """Ways to call the layer beside the plain one, on this backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        free = [tf.TensorSpec([None, *x.shape[1:]])]
        yield tf.function(lambda x: layer(x, training=training), free)
        yield tf.function(lambda x: layer(x, training=training), jit_compile=True)
    elif keras.backend.backend() == "jax":
        import jax

        yield jax.jit(lambda x: layer.stateless_call(*state(layer), x, training=training)[0])


def state(layer):
    return [one.value for one in layer.trainable_variables], [one.value for one in layer.non_trainable_variables]


@pytest.mark.parametrize(
    ("arguments", "shape", "mask", "thorough"),
    [
        (
            {"num_experts": 3, "hidden_dim": 6, "top_k": 2, "activation": "gelu_tanh", "z_loss": 1e-3},
            (4, 6, 5),
            [[1] * 6, [1, 0, 1, 1, 0, 1], [1] * 6, [0] * 6],
            True,
        ),
        ({"num_experts": 3, "hidden_dim": 6, "top_k": None, "gated": True, "use_bias": False}, (2, 6, 5), None, False),
        (
            {
                "num_experts": 2,
                "hidden_dim": 6,
                "top_k": 1,
                "capacity_factor": 1.25,
                "output_dim": 4,
                "jitter": 0.1,
                "seed": 3,
                "activation": "silu",
            },
            (20, 5),
            None,
            False,
        ),
    ],
)
def test_conforms(arguments, shape, mask, thorough):
    check_layer(
        ExpertFeedForward,
        arguments,
        input_shape=shape,
        mask=None if mask is None else np.array(mask, bool),
        dynamic_axes=(1,) if len(shape) == 3 else (),
        thorough=thorough,
        expected_output_shape=(*shape[:-1], arguments.get("output_dim", shape[-1])),
        expected_num_trainable_weights=5 if arguments.get("use_bias", True) else 3,
        expected_num_losses=0,
        supports_masking=True,
    )


@pytest.mark.parametrize(("experts", "top_k", "tokens"), [(4, 1, 30), (5, 4, 7), (64, 2, 40), (8, 2, 1)])
def test_is_the_loop_over_tokens(experts, top_k, tokens):
    layer, x = built(experts, 16, top_k), normal(tokens, 8)
    expected = loop(layer, x)
    np.testing.assert_allclose(numbers(layer(x)), expected, atol=2e-5)
    for way in compiled(layer, x):
        np.testing.assert_allclose(numbers(way(x)), expected, atol=2e-5)


def test_free_batches_are_compiled_too():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow compiles them")
    import tensorflow as tf

    layer, x = built(4, 16, 2), normal(100, 8)
    for training in (False, True):
        way = tf.function(lambda x: layer(x, training=training), [tf.TensorSpec([None, 8])], jit_compile=True)  # noqa: B023
        np.testing.assert_allclose(numbers(way(x)), loop(layer, x), atol=2e-5)


def test_xla_compiles_once_for_all_values():
    """What XLA on TensorFlow needs as a constant is no parameter: each step of training would be compiled anew."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX has no such constants")
    import tensorflow as tf

    layer, x = built(4, 16, 2), tf.constant(normal(30, 8))
    values = [tf.constant(numbers(one.value)) for one in layer.trainable_variables]
    others = [(one, one.value) for one in layer.non_trainable_variables]

    @tf.function(jit_compile=True)
    def step(x, *values):
        with tf.GradientTape() as tape:
            tape.watch([x, *values])
            with keras.StatelessScope([*zip(layer.trainable_variables, values, strict=True), *others]):
                loss = tf.reduce_sum(layer(x, training=True) ** 2)
        return tape.gradient(loss, [x, *values])

    text = step.experimental_get_compiler_ir(x, *values)(stage="hlo")
    parameters = re.search(r"entry_computation_layout=\{\((.*)\)->", text).group(1)
    for tensor in (x, *values):
        assert f"f32[{','.join(map(str, tensor.shape))}]" in parameters


def test_is_the_loop_where_experts_get_all_or_nothing():
    """Unequal loads: on backends of static shapes most tokens are spilled."""
    layer, x = built(8, 16, 2), normal(300, 8)
    kernel = np.zeros((8, 8), "float32")
    kernel[0, 2], kernel[1, 5] = 9, 9
    layer.router.kernel.assign(kernel)
    x[:, :2] = np.abs(x[:, :2]) + 1
    expected = loop(layer, x)
    assert np.unique(numbers(layer.router(x).experts)).tolist() == [2, 5]
    for way in (layer, *compiled(layer, x)):
        np.testing.assert_allclose(numbers(way(x)), expected, atol=5e-5)
    same_gradients(layer, x)


@pytest.mark.parametrize(("experts", "top_k"), [(3, 3), (64, 2)])
def test_has_the_gradients_of_the_form_that_computes_every_expert(experts, top_k):
    same_gradients(built(experts, 16, top_k), normal(30, 8))


def same_gradients(layer, x):
    """Of a function of the outputs that is not linear, in every weight and in the inputs."""
    values = [numbers(one.value) for one in layer.trainable_variables]
    others = [(one, one.value) for one in layer.non_trainable_variables]

    def loss(function):
        def total(x, *values):
            with keras.StatelessScope([*zip(layer.trainable_variables, values, strict=True), *others]):
                return keras.ops.square(function(x))

        return gradients(total, x, *values, compiled=True)

    ours, theirs = loss(lambda x: layer(x, training=True)), loss(lambda x: every_expert(layer, x))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5 * max(np.abs(other).max(), 1))
        assert np.abs(other).max() > 0


def test_the_gradient_is_the_same_compiled():
    """Through `fit`'s own step: one step of SGD, compiled, moves the weights as the eager gradient says."""
    layer, x, y = built(4, 16, 2, balance_loss=0.0), normal(30, 8), normal(30, 8)
    model = keras.Sequential([keras.Input((8,)), layer])
    start = model.get_weights()
    results = []
    for jit in (False, True) if keras.backend.backend() != "torch" else (False,):
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit)
        model.train_on_batch(x, y)
        results.append(model.get_weights())
    model.set_weights(start)
    values = [numbers(one.value) for one in layer.trainable_variables]

    def total(*values):
        with keras.StatelessScope(list(zip(layer.trainable_variables, values, strict=True))):
            return keras.ops.mean(keras.ops.square(keras.ops.subtract(every_expert(layer, x), y)))

    for found in results:
        for before, after, gradient in zip(start, found, gradients(total, *values), strict=True):
            np.testing.assert_allclose(before - after, 0.1 * gradient, atol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_all_chosen_is_the_softmax_mixture(gated):
    sparse, dense = built(4, 16, 4, gated=gated), built(4, 16, None, gated=gated)
    dense.set_weights(sparse.get_weights())
    x = normal(30, 8)
    np.testing.assert_allclose(numbers(sparse(x)), numbers(dense(x)), atol=1e-5)


@pytest.mark.parametrize("top_k", [1, None])
def test_one_expert_is_a_feed_forward_layer(top_k):
    layer, x = built(1, 16, top_k), normal(30, 8)
    dense = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(8)])
    weights = (layer.kernel_in, layer.bias_in, layer.kernel_out, layer.bias_out)
    dense.set_weights([numbers(weight.value)[0] for weight in weights])
    np.testing.assert_allclose(numbers(layer(x)), numbers(dense(x)), atol=1e-5)


def test_gated_experts_are_gated_linear_units():
    layer, x = built(1, 16, 1, gated=True, use_bias=False, activation="silu"), normal(30, 8)
    gates, values = np.split(x @ numbers(layer.kernel_in.value)[0], 2, axis=-1)
    expected = (gates / (1 + np.exp(-gates)) * values) @ numbers(layer.kernel_out.value)[0]
    np.testing.assert_allclose(numbers(layer(x)), expected, atol=1e-4)


def test_identical_experts_are_one():
    layer, x = built(4, 16, 2), normal(30, 8)
    for weight in (layer.kernel_in, layer.kernel_out, layer.bias_in, layer.bias_out):
        weight.assign(np.repeat(numbers(weight.value)[:1], 4, axis=0))
    alone = built(1, 16, 1)
    alone.set_weights([value[:, :1] if value.shape == (8, 4) else value[:1] for value in layer.get_weights()])
    np.testing.assert_allclose(numbers(layer(x)), numbers(alone(x)), atol=1e-5)


def test_experts_may_change_places_with_the_routers_columns():
    layer, x = built(4, 16, 2), normal(30, 8)
    before = numbers(layer(x))
    order = [3, 0, 1, 2]
    layer.router.kernel.assign(numbers(layer.router.kernel.value)[:, order])
    for weight in (layer.kernel_in, layer.kernel_out, layer.bias_in, layer.bias_out):
        weight.assign(numbers(weight.value)[order])
    np.testing.assert_allclose(numbers(layer(x)), before, atol=1e-5)


@pytest.mark.parametrize(("training", "factor"), [(False, None), (True, None), (False, 0.5)])
def test_no_output_depends_on_the_other_tokens(training, factor):
    layer, x = built(4, 16, 2, capacity_factor=factor), normal(30, 8)
    whole = numbers(layer(x, training=training))
    order = RNG.permutation(30)
    np.testing.assert_allclose(numbers(layer(x[order], training=training)), whole[order], atol=1e-5)
    np.testing.assert_allclose(numbers(layer(x[7:8], training=training)), whole[7:8], atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "factor", "capacity"),
    [
        (4096, 8, 2, 1.25, 1280),
        (4096, 128, 1, 1.0, 32),
        (4096, 128, 1, 1.25, 40),
        (10, 4, 1, 1.0, 3),
        (7, 3, 2, 1.1, 6),
    ],
)
def test_capacity(tokens, experts, top_k, factor, capacity):
    limit = _dispatch.Capacity(factor, top_k, experts)
    assert limit.of(tokens) == capacity
    assert int(limit.of(keras.ops.convert_to_tensor(tokens))) == capacity


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_capacity_keeps_first_choices_first_and_drops_the_rest_to_0(factor):
    layer, x = built(4, 16, 2, capacity_factor=factor), normal(30, 8)
    experts = numbers(layer.router(x).experts)
    limit = int(np.ceil(factor * 2 * 30 / 4))
    kept, taken = np.zeros((30, 2), bool), [0] * 4
    for rank in range(2):
        for t in range(30):
            e = experts[t, rank]
            kept[t, rank] = taken[e] < limit
            taken[e] += 1
    assert factor >= 1 or not kept.all()  # fewer places than choices
    expected = loop(layer, x, lambda t, rank: kept[t, rank])
    for way in (lambda x: layer(x, training=True), *compiled(layer, x, training=True)):
        found = numbers(way(x))
        np.testing.assert_allclose(found, expected, atol=2e-5)
        np.testing.assert_array_equal(found[~kept.any(-1)], 0)
    layer(x, training=True)
    assert number(layer.readings.last("drop_rate")) == pytest.approx(1 - kept.mean(), abs=1e-6)
    np.testing.assert_allclose(numbers(layer(x)), loop(layer, x), atol=2e-5)  # never in inference


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("top_k", "factor"), [(2, None), (2, 0.5), (None, None)])
def test_masked_positions_get_0_and_take_no_place(training, top_k, factor):
    layer, x = built(4, 16, top_k, capacity_factor=factor, z_loss=0.1), normal(3, 9, 8)
    mask = RNG.random((3, 9)) < 0.6
    whole = numbers(layer(x, mask=mask, training=training))
    losses = [number(loss) for loss in layer.losses]
    readings = layer.readings.means()
    layer.readings.reset()
    alone = numbers(layer(x[mask], training=training))
    np.testing.assert_allclose(whole[mask], alone, atol=1e-5)
    np.testing.assert_array_equal(whole[~mask], 0)
    np.testing.assert_allclose(losses, [number(loss) for loss in layer.losses], rtol=1e-5)
    assert readings == pytest.approx(layer.readings.means(), abs=1e-6)
    nothing = numbers(layer(x, mask=np.zeros((3, 9), bool), training=training))
    np.testing.assert_array_equal(nothing, 0)


def test_mask_of_an_embedding_is_taken_and_passed_on():
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    embedded = keras.layers.Embedding(5, 8, mask_zero=True)(ids)
    layer = built(3, 16, 2)
    answer = layer(embedded)
    np.testing.assert_array_equal(numbers(answer)[ids == 0], 0)
    np.testing.assert_allclose(numbers(answer)[ids > 0], loop(layer, numbers(embedded)[ids > 0]), atol=2e-5)


def test_a_token_that_is_not_a_number_stays_one_and_harms_no_other():
    layer, x = built(4, 16, 2), normal(30, 8)
    before = numbers(layer(x))
    x[3] = np.nan
    after = numbers(layer(x))
    assert np.isnan(after[3]).all()
    np.testing.assert_allclose(np.delete(after, 3, 0), np.delete(before, 3, 0), atol=1e-6)


def test_the_router_of_a_single_choice_learns():
    layer, x = built(4, 16, 1, balance_loss=0.0), normal(30, 8)
    same_gradients(layer, x)  # whose router's gradient is not zero


@pytest.mark.parametrize("top_k", [2, None])
def test_half_precision_stays_near(top_k):
    layer, x = built(4, 16, top_k), normal(30, 8)
    half = ExpertFeedForward(4, 16, top_k, dtype="mixed_bfloat16")
    half.build((None, 8))
    half.set_weights(layer.get_weights())
    x = numbers(keras.ops.cast(keras.ops.cast(x, "bfloat16"), "float32"))
    found = half(x, training=True)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    assert half.router.kernel.dtype == "float32"
    expected = numbers(layer(x))
    near = np.abs(numbers(keras.ops.cast(found, "float32")) - expected).max()
    assert near < 0.03 * np.abs(expected).max()


def test_losses_and_readings_in_fit_and_evaluate():
    layer, x, y = built(4, 16, 2, balance_loss=0.5, z_loss=0.1), normal(64, 8), normal(64, 8)
    model = keras.Sequential([keras.Input((8,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    plain = number(np.mean((numbers(layer(x)) - y) ** 2))
    routing = layer.router(x)
    extra = 0.5 * number(routing.balance_loss()) + 0.1 * number(routing.z_loss())
    assert model.evaluate(x, y, batch_size=64, verbose=0) == pytest.approx(plain, rel=1e-5)
    layer.readings.reset()
    history = model.fit(x, y, batch_size=64, verbose=0, shuffle=False).history
    assert history["loss"][0] == pytest.approx(plain + extra, rel=1e-5)
    if keras.backend.backend() == "jax":
        model.jax_state_sync()
    means = layer.readings.means()
    np.testing.assert_allclose([means[f"load_{e}"] for e in range(4)], numbers(routing.load()), atol=1e-6)
    assert means["entropy"] == pytest.approx(number(routing.entropy()), abs=1e-5)
    assert means["drop_rate"] == 0


def test_each_experts_matrices_are_drawn_alone():
    layer = ExpertFeedForward(50, 40, gated=True, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    layer.build((None, 30))
    kernel = numbers(layer.kernel_in.value)  # (50, 30, 80)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (30 + 40)), rel=0.02)
    matrices = [*kernel[:, :, :40], *kernel[:, :, 40:]]
    assert len(np.unique([matrix.sum() for matrix in matrices])) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 0, "hidden_dim": 2}, "num_experts=0"),
        ({"num_experts": 2, "hidden_dim": 0}, "hidden_dim=0"),
        ({"num_experts": 2, "hidden_dim": 2, "top_k": 3}, "at most the number of experts"),
        ({"num_experts": 4, "hidden_dim": 2, "capacity_factor": 0}, "above 0. Received: capacity_factor=0"),
        ({"num_experts": 4, "hidden_dim": 2, "top_k": None, "capacity_factor": 1.0}, "Give top_k"),
        ({"num_experts": 4, "hidden_dim": 2, "gated": 1}, "gated=1"),
    ],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        ExpertFeedForward(**arguments)


def test_refuses_unknown_features():
    with pytest.raises(ValueError, match="size of axis -1"):
        ExpertFeedForward(2, 4).build((None, 3, None))
