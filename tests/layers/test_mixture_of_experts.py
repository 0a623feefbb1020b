import keras
import numpy as np
import pytest

from tests.layers.arrays import RNG, normal, numbers
from tests.layers.gradients import gradients
from zoo.layers import MixtureOfExperts, Router
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

BACKEND = keras.backend.backend()
layers = keras.layers


def dense(count=4, units=5):
    return [layers.Dense(units, "tanh", bias_initializer="normal") for _ in range(count)]


def mlp(units=5, hidden=7):
    return keras.Sequential([layers.Dense(hidden, "tanh"), layers.Dense(units)])


def unlike():
    return [layers.Dense(5), mlp(), layers.Dense(5, "tanh"), mlp(hidden=3)]


def convolutional():
    return keras.Sequential([layers.Conv2D(3, 3, padding="same"), layers.GlobalAveragePooling2D(), layers.Dense(5)])


def built(experts, *arguments, features=8, **keywords):
    """A layer whose router has opinions."""
    layer = MixtureOfExperts(experts, *arguments, **keywords)
    layer.build((None, features))
    layer.router.kernel.assign(normal(features, len(experts)))
    return layer


def every_expert(layer, x):
    """The formula, of all experts' answers; x is what one token or example is on its first axis."""
    features = keras.ops.mean(x, axis=tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x
    routing = layer.router(features)
    chosen = keras.ops.one_hot(routing.experts, len(layer.experts))  # (n, k, experts)
    shares = keras.ops.sum(chosen * keras.ops.expand_dims(routing.weights, -1), axis=1)  # (n, experts)
    outputs = keras.ops.stack([expert(x) for expert in layer.experts], axis=1)  # (n, experts, units)
    return keras.ops.einsum("ne,neu->nu", shares, outputs)


def compiled(layer, x, training=False):
    """Ways to call the layer beside the plain one, on this backend."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        free = [tf.TensorSpec([None, *x.shape[1:]])]
        yield tf.function(lambda x: layer(x, training=training), free)
        yield tf.function(lambda x: layer(x, training=training), jit_compile=True)
    elif BACKEND == "jax":
        import jax

        variables = [
            [one.value for one in which] for which in (layer.trainable_variables, layer.non_trainable_variables)
        ]
        yield jax.jit(lambda x: layer.stateless_call(*variables, x, training=training)[0])


MASK = [[1] * 6, [1, 0, 1, 1, 0, 1], [1] * 6, [0] * 6]


@pytest.mark.parametrize(
    ("experts", "arguments", "shape", "mask", "out", "thorough"),
    [
        (lambda: dense(3), {"top_k": 2, "z_loss": 1e-3}, (4, 6, 8), MASK, (4, 6, 5), True),
        (unlike, {"jitter": 0.1, "seed": 1, "normalize": False}, (6, 8), None, (6, 5), False),
        (unlike, {"top_k": 2, "capacity_factor": 3.0}, (12, 8), None, (12, 5), False),
        (
            lambda: [convolutional() for _ in range(2)],
            {"top_k": 1, "routing": "example"},
            (12, 6, 6, 3),
            None,
            (12, 5),
            False,
        ),
        (
            lambda: [layers.GlobalAveragePooling1D() for _ in range(2)],
            {"routing": "example", "balance_loss": 0.0},
            (3, 5, 8),
            [[1] * 5, [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]],
            (3, 8),
            False,
        ),
    ],
)
def test_conforms(experts, arguments, shape, mask, out, thorough):
    check_layer(
        MixtureOfExperts,
        {"experts": experts(), **arguments},
        input_shape=shape,
        mask=None if mask is None else np.array(mask, bool),
        dynamic_axes=(1,) if len(shape) == 3 else (),
        thorough=thorough,
        expected_output_shape=out,
        expected_num_losses=0,
    )


@pytest.mark.parametrize("experts", [dense, unlike, lambda: [mlp() for _ in range(4)]])
@pytest.mark.parametrize("top_k", [None, 1, 4])
def test_is_its_formula_in_every_mode(experts, top_k):
    layer, x = built(experts(), top_k), normal(30, 8)
    expected = numbers(every_expert(layer, x))
    for way in (layer, *compiled(layer, x)):
        np.testing.assert_allclose(numbers(way(x)), expected, atol=1e-5)


def test_is_its_formula_on_whole_pictures():
    layer = MixtureOfExperts([convolutional() for _ in range(3)], 1, "example")
    x = normal(9, 6, 6, 4)
    layer.build(x.shape)
    layer.router.kernel.assign(20 * normal(4, 3))
    expected = numbers(every_expert(layer, x))
    assert len(np.unique(numbers(layer.router(x.mean((1, 2))).experts))) > 1
    for way in (layer, *compiled(layer, x)):
        np.testing.assert_allclose(numbers(way(x)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("experts", "factor"), [(dense, None), (lambda: [mlp() for _ in range(4)], None), (unlike, 4.0)]
)
@pytest.mark.parametrize("top_k", [1, 2])
def test_has_the_gradients_of_the_form_that_computes_every_expert(experts, factor, top_k):
    layer, x = built(experts(), top_k, capacity_factor=factor), normal(30, 8)
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


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("experts", "factor"), [(dense, None), (unlike, 1.5)])
def test_trains_in_fit(experts, factor, jit):
    layer = MixtureOfExperts(experts(), 2, capacity_factor=factor)
    model = keras.Sequential([keras.Input((8,)), layer])
    model.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=jit and BACKEND != "torch")
    x = normal(64, 8)
    losses = model.fit(x, np.tanh(x[:, :5]), epochs=12, batch_size=64, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_experts_that_are_not_alike_train_where_shapes_are_known_at_run_time():
    layer, x = built(unlike(), 2), normal(30, 8)
    model = keras.Sequential([keras.Input((8,)), layer])
    model.compile("sgd", "mse")
    if BACKEND == "jax":
        with pytest.raises(ValueError, match=r"are not alike.*Give capacity_factor="):
            model.train_on_batch(x, x[:, :5])
        return
    assert np.isfinite(model.train_on_batch(x, x[:, :5]))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        assert not model.jit_compile
        with pytest.raises(ValueError, match=r"are not alike.*compile\(jit_compile=False\)"):
            tf.function(lambda x: layer(x, training=True), jit_compile=True)(x)


@pytest.mark.rest
@pytest.mark.parametrize(
    "expert",
    [
        lambda: keras.Sequential([layers.Dense(5), layers.Dropout(0.5)]),
        lambda: keras.Sequential([layers.Dense(5), layers.BatchNormalization()]),
        lambda: layers.Dense(5, activity_regularizer="l2"),
    ],
)
def test_experts_with_a_state_noise_or_losses_are_not_stacked(expert):
    layer, x = built([expert() for _ in range(4)], 2), normal(30, 8)
    assert np.isfinite(numbers(layer(x))).all()  # in inference they have none
    if BACKEND == "jax":
        with pytest.raises(ValueError, match=r"change a state, draw noise or add losses.*Give capacity_factor="):
            layer(x, training=True)
    limited = built([expert() for _ in range(4)], 2, capacity_factor=1.0)
    for one in [limited] if BACKEND == "jax" else [limited, layer]:
        model = keras.Sequential([keras.Input((8,)), one])
        model.compile("sgd", "mse")
        assert np.isfinite(model.train_on_batch(x, x[:, :5]))


def test_losses_of_experts_that_are_not_alike_do_not_leak_in_inference():
    experts = [layers.Dense(5, activity_regularizer="l2"), layers.Dense(5, "relu", activity_regularizer="l1")]
    layer, x = built(experts, 1, capacity_factor=2.0), normal(30, 8)
    model = keras.Sequential([keras.Input((8,)), layer])
    model.compile("sgd", "mse")
    assert np.isfinite(model.evaluate(x, x[:, :5], verbose=0))


def test_experts_count_as_alike_by_what_they_compute():
    def alike(*experts):
        layer = built(experts, 1)
        return layer._stacked

    named = [layers.Dense(5, name=name, kernel_initializer=keras.initializers.HeNormal(seed=3)) for name in "ab"]
    assert alike(*named)
    assert alike(mlp(), mlp())
    assert alike(functional(True), functional(True))
    assert alike(functional(True), functional(False))  # the same, but for names
    assert not alike(functional(True), functional(True, "tanh"))
    assert not alike(layers.Dense(5), layers.Dense(5, "tanh"))
    assert not alike(layers.Dense(5), layers.Dense(5, use_bias=False))
    assert not alike(layers.Dense(5), layers.Dense(5, dtype="mixed_bfloat16"))
    assert not alike(mlp(), mlp(hidden=3))


def functional(forth, activation=None):
    """Models of two layers that are subtracted from each other."""
    x = keras.Input((8,))
    first, second = layers.Dense(5)(x), layers.Dense(5, activation)(x)
    return keras.Model(x, layers.Subtract()([first, second] if forth else [second, first]))


def test_an_expert_that_gets_no_token_does_no_harm():
    layer = built([keras.Sequential([layers.Dense(5), layers.BatchNormalization()]) for _ in range(3)], 1)
    layer.router.kernel.assign(np.eye(8, 3, dtype="float32"))
    x = normal(20, 8)
    x[:, :3] = [9, 0, 0]
    if BACKEND == "jax":
        layer = limited_twin(layer)
    layer(x, training=True)
    assert np.isfinite(numbers(layer(x))).all()
    assert all(np.isfinite(numbers(weight.value)).all() for weight in layer.weights)
    found = gradients(lambda x: keras.ops.square(layer(x, training=True)), x)[0]
    assert np.isfinite(found).all()


def limited_twin(layer):
    twin = MixtureOfExperts.from_config({**layer.get_config(), "capacity_factor": 3.0})
    twin.build((None, 8))
    twin.set_weights(layer.get_weights())
    return twin


@pytest.mark.parametrize("top_k", [1, None])
def test_one_expert_is_that_expert(top_k):
    expert = layers.Dense(5)
    layer, x = built([expert], top_k), normal(10, 8)
    np.testing.assert_allclose(numbers(layer(x)), numbers(expert(x)), atol=1e-6)


def test_identical_experts_are_one():
    layer, x = built(dense(), 2), normal(10, 8)
    for expert in layer.experts:
        expert.set_weights(layer.experts[0].get_weights())
    np.testing.assert_allclose(numbers(layer(x)), numbers(layer.experts[0](x)), atol=1e-6)


@pytest.mark.parametrize("top_k", [None, 2])
def test_experts_may_change_places_with_the_routers_columns(top_k):
    layer, x = built(unlike(), top_k), normal(20, 8)
    other = built([layer.experts[e] for e in (2, 0, 3, 1)], top_k)
    other.router.kernel.assign(numbers(layer.router.kernel.value)[:, [2, 0, 3, 1]])
    np.testing.assert_allclose(numbers(other(x)), numbers(layer(x)), atol=1e-6)


@pytest.mark.parametrize("factor", [None, 0.5])
def test_no_answer_depends_on_the_other_tokens(factor):
    layer, x = built(dense(), 2, capacity_factor=factor), normal(50, 8)
    whole = numbers(layer(x))
    np.testing.assert_allclose(numbers(layer(x[7:8])), whole[7:8], atol=1e-6)


def test_what_is_over_the_capacity_gets_0():
    layer, x = built(unlike(), 1, capacity_factor=0.5), normal(40, 8)
    experts = numbers(layer.router(x).experts)[:, 0]
    kept = np.array([np.sum(experts[:t] == e) < 5 for t, e in enumerate(experts)])
    expected = np.where(kept[:, None], numbers(every_expert(layer, x)), 0)
    for way in (lambda x: layer(x, training=True), *compiled(layer, x, training=True)):
        np.testing.assert_allclose(numbers(way(x)), expected, atol=1e-5)
    assert layer.readings.means()["drop_rate"] == pytest.approx(1 - kept.mean(), abs=1e-6)


@pytest.mark.parametrize("top_k", [None, 2])
def test_masked_tokens_get_0_and_count_for_nothing(top_k):
    layer, x = built(dense(), top_k), normal(3, 9, 8)
    mask = RNG.random((3, 9)) < 0.6
    whole = numbers(layer(x, mask=mask))
    np.testing.assert_array_equal(whole[~mask], 0)
    load = numbers(layer.readings.last("load"))
    np.testing.assert_allclose(whole[mask], numbers(layer(x[mask])), atol=1e-6)
    np.testing.assert_allclose(load, numbers(layer.readings.last("load")), atol=1e-6)


def test_examples_are_routed_by_their_valid_positions():
    layer = MixtureOfExperts([layers.GlobalAveragePooling1D() for _ in range(2)], None, "example")
    x, mask = normal(2, 6, 8), np.array([[True] * 6, [True] * 4 + [False] * 2])
    whole = numbers(layer(x, mask=mask))
    np.testing.assert_allclose(whole[1:], numbers(layer(x[1:, :4])), atol=1e-6)


def test_readings_are_of_the_last_call():
    layer, x = built(dense(), 2), normal(40, 8)
    layer(x)
    routing = layer.router(x)
    np.testing.assert_allclose(numbers(layer.readings.last("load")), numbers(routing.load()), atol=1e-6)
    assert numbers(layer.readings.last("entropy")) == pytest.approx(numbers(routing.entropy()), abs=1e-6)


@pytest.mark.parametrize("top_k", [None, 2])
def test_half_precision_returns_what_the_policy_says(top_k):
    layer = MixtureOfExperts(dense(), top_k, dtype="mixed_bfloat16")
    for training in (False, True):
        assert keras.backend.standardize_dtype(layer(normal(20, 8), training=training).dtype) == "bfloat16"
    assert layer.router.kernel.dtype == "float32"


def test_a_copy_has_experts_of_its_own(tmp_path):
    layer = built(dense(), 2)
    twin = MixtureOfExperts.from_config(layer.get_config())
    assert all(one is not other for one, other in zip(layer.experts, twin.experts, strict=True))
    model = keras.Sequential([keras.Input((8,)), layer])
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = normal(10, 8)
    np.testing.assert_allclose(numbers(clone(x)), numbers(model(x)), atol=1e-6)
    clone.layers[0].experts[0].kernel.assign(np.zeros((8, 5)))
    assert np.abs(numbers(layer.experts[0].kernel.value)).max() > 0


def test_experts_of_two_mixtures_come_back_shared(tmp_path):
    experts = dense()
    first, second = MixtureOfExperts(experts), MixtureOfExperts(experts, 2)
    inputs = keras.Input((8,))
    model = keras.Model(inputs, [first(inputs), second(inputs)])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = normal(10, 8)
    for one, other in zip(again(x), model(x), strict=True):
        np.testing.assert_array_equal(numbers(one), numbers(other))
    one, other = (layer for layer in again.layers if isinstance(layer, MixtureOfExperts))
    assert all(mine is theirs for mine, theirs in zip(one.experts, other.experts, strict=True))
    assert again.count_params() == model.count_params()
    assert other.supports_jit == second.supports_jit  # on TensorFlow, that experts are alike, and so can be stacked


@pytest.mark.rest
def test_the_router_is_not_quantised():
    model = keras.Sequential([keras.Input((8,)), MixtureOfExperts(dense(units=16), 2)])
    layer, x = model.layers[0], normal(30, 8)
    before = numbers(model(x))
    with pytest.warns(UserWarning, match="not implemented|does not have a|quantize"):
        model.quantize("int8")
    assert isinstance(layer.router, Router)
    assert layer.router.kernel.dtype == "float32"
    assert all(expert.quantization_mode == "int8" for expert in layer.experts)
    after = numbers(model(x))
    assert np.abs(after - before).max() < 0.05 * np.abs(before).max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"experts": []}, "at least one Keras layer"),
        ({"experts": "dense"}, "experts='dense'"),
        ({"experts": [3]}, "must be Keras layers. Received: 3"),
        ({"experts": [keras.layers.Dense(2)], "top_k": 2}, "at most the number of experts, 1"),
        ({"experts": [keras.layers.Dense(2)], "routing": "batch"}, "one of 'token', 'example'"),
        ({"experts": [keras.layers.Dense(2)], "capacity_factor": 1.0}, "Give top_k"),
    ],
)
def test_refuses_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixtureOfExperts(**arguments)


@pytest.mark.parametrize(
    ("experts", "shape", "message"),
    [
        ([layers.Dense(2), layers.Dense(3)], (None, 4), r"one output shape. Received: \(None, 2\)"),
        ([layers.Conv2D(2, 3)], (None, 8, 8, 4), "routing='example'"),
        ([layers.Dense(2)], (None, None), "size of axis -1"),
    ],
)
def test_refuses_at_build_by_name(experts, shape, message):
    with pytest.raises(ValueError, match=message):
        MixtureOfExperts(experts).build(shape)
