import contextlib
import warnings

import keras
import numpy as np
import pytest

from tests.layers.gradients import gradients, of_all
from zoo.layers import ODEBlock
from zoo.layers._ode.tableaus import DOPRI5, RK4, TABLEAUS, Tableau, _trees
from zoo.testing import check_layer

pytestmark = pytest.mark.backend

BACKEND = keras.backend.backend()
FIXED = ("euler", "midpoint", "heun", "rk4", "alf", "bosh3", "dopri5", "tsit5")
ADAPTIVE = ("bosh3", "dopri5", "tsit5")


def array(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@contextlib.contextmanager
def double():
    """float64, where JAX has none by default."""
    if BACKEND == "jax":
        import jax

        with jax.enable_x64(True):
            yield
    else:
        yield


@keras.saving.register_keras_serializable("test_ode_block")
class Rational(keras.layers.Layer):
    """x' = -2 w t x^2, whose solution is x(t) = x0 / (1 + w x0 t^2). (keras.ops rounds float64.)"""

    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(), initializer="ones")

    def call(self, x, t):
        return -2.0 * self.w.value * t * x * x


X0, W = np.linspace(0.5, 2.0, 6).reshape(3, 2), 1.0
EXACT = X0 / (1 + W * X0)
EXACT_X = 1 / (1 + W * X0) ** 2  # d sum x(1) / d x0
EXACT_W = -np.sum(X0**2 / (1 + W * X0) ** 2)  # d sum x(1) / d w


def rational(**arguments):
    block = ODEBlock(Rational(dtype="float64"), dtype="float64", **arguments)
    block.build(X0.shape)
    return block


def solved(block, x, **arguments):
    """(block(x), d sum / d x, d sum / d weights in one vector)"""
    y = array(block(x, **arguments))
    of_x, by_path = of_all(block, x, **arguments)
    return y, of_x, np.concatenate([by_path[path].ravel() for path in sorted(by_path)])


def graph(block):
    """`block` as a graph on TensorFlow, where hundreds of eager steps take seconds."""
    if BACKEND != "tensorflow":
        return block
    import tensorflow as tf

    return tf.function(block)


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@keras.saving.register_keras_serializable("test_ode_block")
class Timed(keras.layers.Layer):
    """A multilayer perceptron on (x, t)."""

    def build(self, shape):
        self.inner = keras.layers.Dense(5, activation="tanh", name="inner", dtype=self.dtype_policy)
        self.outer = keras.layers.Dense(shape[-1], name="outer", dtype=self.dtype_policy)
        self.inner.build((*shape[:-1], shape[-1] + 1))
        self.outer.build((*shape[:-1], 5))

    def call(self, x, t):
        time = keras.ops.ones_like(x[..., :1]) * t
        return self.outer(self.inner(keras.ops.concatenate([x, time], axis=-1)))


def perceptron(width=3, hidden=5):
    return keras.Sequential([keras.layers.Dense(hidden, activation="tanh"), keras.layers.Dense(width)])


def functional(width=3, t_shape=(1,)):
    x, t = keras.Input((width,)), keras.Input(t_shape)
    time = keras.layers.Reshape((1,))(t)
    return keras.Model([x, t], keras.layers.Dense(width, activation="tanh")(keras.ops.concatenate([x, time], axis=-1)))


COMBINATIONS = [
    *((solver, 4, gradient) for solver in FIXED for gradient in ("checkpoint", "backprop", "adjoint", "reversible")),
    *((solver, None, gradient) for solver in ADAPTIVE for gradient in ("checkpoint", "adjoint", "reversible")),
]
COMBINATIONS.remove(("alf", 4, "adjoint"))
SOME = [("rk4", 4, "checkpoint"), ("heun", 4, "backprop"), ("alf", 4, "reversible"), ("dopri5", None, "adjoint")]

# Conformance --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_conforms_in_every_way():
    check_layer(ODEBlock, {"dynamics": Timed(), "steps": 3}, input_shape=(2, 4))


@pytest.mark.parametrize(
    "arguments",
    [
        {"dynamics": Timed(), "solver": "heun", "t": (1.0, 0.25), "steps": 4, "segments": 2},
        {"dynamics": perceptron(), "solver": "alf", "steps": 2, "unroll": True},
        {"dynamics": perceptron(), "solver": "euler", "steps": 2, "gradient": "backprop", "compile_dynamics": False},
        {"dynamics": Timed(), "solver": "tsit5", "steps": None, "rtol": 2e-3, "first_step": 0.1},
        {"dynamics": perceptron(), "steps": 3, "gradient": "reversible", "coupling": 0.995},
    ],
)
def test_conforms(arguments):
    check_layer(
        ODEBlock,
        arguments,
        input_shape=(2, 3),
        thorough=False,
        batch_independent="rtol" not in arguments,
        expected_num_trainable_weights=4,
    )


# Tableaus -----------------------------------------------------------------------------------------------------------


def test_rooted_trees_are_all_there():
    assert [len(_trees(size)) for size in range(1, 7)] == [1, 1, 2, 4, 9, 20]


@pytest.mark.parametrize("name", sorted(TABLEAUS))
def test_a_tableau_refuses_a_higher_order_than_its_own(name):
    tableau = TABLEAUS[name]
    with pytest.raises(ValueError, match="are not of order"):
        Tableau(tableau.order + 1, tableau.nodes, tableau.stages, tableau.weights, tableau.error)


def test_a_tableau_checks_its_numbers():
    with pytest.raises(ValueError, match="sum to its node"):
        Tableau(4, (0.0, 0.5, 0.4, 1.0), RK4.stages, RK4.weights)
    with pytest.raises(ValueError, match="are not of order 4"):
        Tableau(4, RK4.nodes, RK4.stages, (1 / 3, 1 / 6, 1 / 6, 1 / 3))
    with pytest.raises(ValueError, match="weights - error are not of order 4"):
        Tableau(5, DOPRI5.nodes, DOPRI5.stages, DOPRI5.weights, (0.1, *DOPRI5.error[1:]))
    with pytest.raises(ValueError, match="rows of 0 to 1"):
        Tableau(1, (0.0, 0.0), ((),), (1.0, 0.0))


# What a solve is ----------------------------------------------------------------------------------------------------


def test_one_euler_step_is_a_residual_block():
    f, x = perceptron(), noise(2, 3)
    block = ODEBlock(f, solver="euler", steps=1)
    np.testing.assert_allclose(array(block(x)), x + array(f(x)), rtol=1e-6)


@pytest.mark.parametrize(("solver", "steps"), [("rk4", 3), ("alf", 3), ("dopri5", None)])
def test_no_slope_is_the_identity(solver, steps):
    x = noise(2, 3)
    still = keras.layers.Rescaling(0.0)
    np.testing.assert_array_equal(array(ODEBlock(still, solver=solver, steps=steps)(x)), x)


@pytest.mark.parametrize(
    ("solver", "factor"),
    [
        ("euler", 0.9),
        ("midpoint", 0.905),
        ("heun", 0.905),
        ("bosh3", 0.9048333333333334),
        ("rk4", 0.9048375),
        ("dopri5", 0.9048374183333333),
        ("tsit5", 0.9048374180989),
    ],
)
def test_one_step_is_the_stability_polynomial(solver, factor):
    """x' = -x, h = 0.1: 1 - h + h^2 / 2 - ..., as far as the order goes, and what the method adds."""

    class Decay(keras.layers.Layer):
        def call(self, x):
            return -x

    with double():
        block = ODEBlock(Decay(dtype="float64"), solver=solver, t=(0, 0.1), steps=1, dtype="float64")
        np.testing.assert_allclose(array(block(np.ones((2, 1)))), factor, atol=1e-13)


ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "alf": 2, "bosh3": 3, "rk4": 4, "dopri5": 5, "tsit5": 5}


def some(names, quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("solver", some(FIXED, ("euler", "alf", "rk4", "tsit5")))
def test_orders(solver):
    """Error of the state and of both gradients, nonlinear in x and t, on two grids: the slope is the order."""
    with double():
        errors = []
        for count in (16, 32):
            y, of_x, of_w = solved(rational(solver=solver, steps=count), X0)
            errors.append([relative(y, EXACT), relative(of_x, EXACT_X), relative(of_w, EXACT_W)])
    slopes = np.log2(np.divide(*errors))
    assert (slopes >= ORDERS[solver] - 0.15).all(), slopes
    assert (slopes <= ORDERS[solver] + (0.1 if ORDERS[solver] < 5 else 1)).all(), slopes


def test_order_on_a_linear_problem():
    """Its own error on x' = A x, n = 128, of the literature's table."""
    errors = {"euler": 1.06e-1, "midpoint": 1.07e-3, "bosh3": 8.38e-6, "rk4": 5.24e-8, "dopri5": 5.48e-11}

    exact = 2 * np.exp(-0.2) * np.array([np.cos(4), -np.sin(4)])

    class Linear(keras.layers.Layer):
        def call(self, x):
            return x @ keras.ops.convert_to_tensor(np.array([[-0.1, -2.0], [2.0, -0.1]]))

    with double():
        for solver, error in errors.items():
            block = ODEBlock(Linear(dtype="float64"), solver=solver, t=(0, 2), steps=128, dtype="float64")
            y = array(graph(block)(keras.ops.convert_to_tensor(np.array([[2.0, 0.0]]))))
            assert np.linalg.norm(y - exact) == pytest.approx(error, rel=0.02)


def steps_by_hand(solver, count, x, w, coupling):
    """The same steps without any of ours: Python's operators, differentiated by the backend."""

    def f(x, t):
        return -2.0 * w * t * x * x

    def change(x, t, h):
        slopes = []
        for node, row in zip(tableau.nodes, tableau.stages, strict=True):
            at = x + h * sum(a * k for a, k in zip(row, slopes, strict=True)) if row else x
            slopes.append(f(at, t + node * h))
        return h * sum(b * k for b, k in zip(tableau.weights, slopes, strict=True))

    h = 1.0 / count
    if solver == "alf":
        v = f(x, 0.0)
        for i in range(count):
            middle = x + 0.5 * h * v
            v = 2 * f(middle, (i + 0.5) * h) - v
            x = middle + 0.5 * h * v
        return x
    tableau = TABLEAUS[solver]
    if coupling is None:
        for i in range(count):
            x = x + change(x, i * h, h)
        return x
    y = z = x
    for i in range(count):
        y = coupling * y + (1 - coupling) * z + change(z, i * h, h)
        z = z - change(y, (i + 1) * h, -h)
    return y


EXACTLY = [
    ("rk4", {"gradient": "checkpoint"}),
    ("rk4", {"segments": 4}),
    ("alf", {"gradient": "reversible"}),
    ("heun", {"gradient": "reversible", "coupling": 0.995}),
]
EXACTLY_TOO = [
    *((solver, {"gradient": "checkpoint"}) for solver in FIXED if solver != "rk4"),
    ("alf", {"gradient": "checkpoint", "segments": 4}),
    ("rk4", {"gradient": "backprop"}),
    ("alf", {"gradient": "backprop"}),
    ("rk4", {"unroll": True}),
    ("heun", {"unroll": True, "segments": 4}),
    ("rk4", {"unroll": True, "gradient": "backprop"}),
    ("alf", {"gradient": "reversible", "unroll": True}),
    ("rk4", {"gradient": "reversible"}),
]


@pytest.mark.parametrize(
    ("solver", "arguments"), [*EXACTLY, *(pytest.param(*one, marks=pytest.mark.slow) for one in EXACTLY_TOO)]
)
def test_the_gradient_is_that_of_the_steps(solver, arguments):
    """Exactly, in float64: against automatic differentiation of a loop written out."""
    count = 64 if arguments.get("gradient") == "reversible" and "unroll" not in arguments else 8
    with double():
        block = rational(solver=solver, steps=count, **arguments)
        coupling = None
        if arguments.get("gradient") == "reversible":
            coupling = arguments.get("coupling", max(0.99, 1 - 1 / count))
        y, of_x, of_w = solved(block, X0)
        expected = gradients(lambda x, w: steps_by_hand(solver, count, x, w, coupling), X0, np.array(1.0))
        np.testing.assert_allclose(y, array(steps_by_hand(solver, count, X0, 1.0, coupling)), rtol=1e-12)
    tolerance = 1e-10 if arguments.get("gradient") == "reversible" else 1e-12
    assert relative(of_x, expected[0]) <= tolerance
    assert relative(of_w, expected[1]) <= tolerance


def test_the_gradient_of_the_steps_in_float32():
    x = noise(4, 3)
    block = ODEBlock(Timed(), steps=8)
    results = []
    for arguments in ({}, {"segments": 4}, {"unroll": True}, {"gradient": "backprop"}):
        other = ODEBlock(block.dynamics, steps=8, **arguments)
        results.append(solved(other, x))
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            assert relative(found, expected) <= 1e-5


@pytest.mark.parametrize("solver", some(("euler", "midpoint", "heun", "rk4", "dopri5"), ("heun", "rk4")))
def test_the_adjoint_with_equal_steps_has_the_order_of_its_solver(solver):
    with double():
        errors = []
        for count in (16, 32):
            _, of_x, of_w = solved(rational(solver=solver, steps=count, gradient="adjoint"), X0)
            errors.append([relative(of_x, EXACT_X), relative(of_w, EXACT_W)])
    assert (np.log2(np.divide(*errors)) >= ORDERS[solver] - 0.25).all()


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", "reversible"])
@pytest.mark.parametrize("solver", some(ADAPTIVE, ("dopri5",)))
@pytest.mark.parametrize("norm", some(("rms", "worst_sample"), ("rms",)))
def test_adaptive_steps_keep_their_tolerance(solver, gradient, norm):
    with double():
        block = rational(solver=solver, steps=None, rtol=1e-5, atol=1e-5, gradient=gradient, norm=norm)
        y, of_x, of_w = solved(block, X0)
    assert relative(y, EXACT) <= 1e-4 * (10 if solver == "bosh3" else 1)
    assert relative(of_x, EXACT_X) <= 1e-3
    assert relative(of_w, EXACT_W) <= 1e-3


@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", "reversible"])
def test_tight_tolerances_give_tight_gradients(gradient):
    with double():
        block = rational(solver="dopri5", steps=None, rtol=1e-9, atol=1e-9, gradient=gradient, max_steps=200)
        y, of_x, of_w = solved(block, X0)
    assert max(relative(y, EXACT), relative(of_x, EXACT_X), relative(of_w, EXACT_W)) <= 1e-7


def test_the_adaptive_adjoint_is_linear_in_the_cotangent():
    """A loss a million times smaller has a gradient that is as exact: its tolerance goes with it."""
    x = noise(4, 3)
    block = ODEBlock(Timed(), solver="dopri5", steps=None, gradient="adjoint")
    block(x)
    first = gradients(lambda x: block(x, training=True), x)[0]
    small = gradients(lambda x: 1e-6 * block(x, training=True), x)[0]
    assert relative(1e6 * small, first) <= 1e-5


def test_time_runs_backward_too():
    with double():
        there = rational(t=(0.0, 1.0), steps=32)
        back = ODEBlock(there.dynamics, t=(1.0, 0.0), steps=32, dtype="float64")
        np.testing.assert_allclose(array(back(there(X0))), X0, rtol=1e-5)
        adaptive = ODEBlock(there.dynamics, "dopri5", (1.0, 0.0), None, 1e-8, 1e-8, dtype="float64")
        np.testing.assert_allclose(array(adaptive(EXACT)), X0, rtol=1e-6)


def test_worst_sample_looks_at_each_sample():
    """One sample that moves among many that do not: over the batch its error is small."""
    x = np.zeros((4096, 1), "float32")
    x[0] = 2.0
    errors = {}
    for norm in ("rms", "worst_sample"):
        block = ODEBlock(Rational(), "dopri5", t=(0, 3), steps=None, rtol=1e-3, atol=1e-3, norm=norm)
        errors[norm] = abs(array(block(x))[0, 0] - 2 / 19)
    assert errors["worst_sample"] < 0.1 * errors["rms"]


# The ways to call dynamics ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t_shape", [(1,), ()])
def test_dynamics_of_two_inputs(t_shape):
    model, x = functional(t_shape=t_shape), noise(4, 3)
    block = ODEBlock(model, solver="midpoint", t=(0.5, 1.0), steps=1)
    t = np.ones((4, *t_shape), "float32")
    middle = x + 0.25 * array(model([x, 0.5 * t]))
    np.testing.assert_allclose(array(block(x)), x + 0.5 * array(model([middle, 0.75 * t])), rtol=1e-5, atol=1e-6)


def test_an_optional_second_argument_is_time_where_it_is_called_t():
    class Optional(keras.layers.Layer):
        def call(self, x, t=None):
            return x * 0 + (-1.0 if t is None else t)

    class Other(keras.layers.Layer):
        def call(self, x, scale=3.0, training=None):
            return x * 0 + scale

    x = np.zeros((2, 1), "float32")
    np.testing.assert_allclose(array(ODEBlock(Optional(), "midpoint", steps=1)(x)), 0.5)
    np.testing.assert_allclose(array(ODEBlock(Other(), "midpoint", steps=1)(x)), 3.0)


@pytest.mark.rest
def test_training_reaches_the_dynamics_in_both_passes():
    """The dynamics are another function in training; the exact gradient shows which one the backward pass took."""

    class Either(keras.layers.Layer):
        def call(self, x, training=None):
            return x * (2.0 if training else 1.0)

    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Either()

        def call(self, x):
            return self.inner(x)

    x = np.ones((1, 1), "float32")
    for dynamics in (Either(), Outer()):
        for gradient in ("checkpoint", "backprop", "adjoint", "reversible"):
            block = ODEBlock(dynamics, gradient=gradient, coupling=1.0)
            for training, rate in ((True, 2.0), (False, 1.0)):
                assert array(block(x, training=training)) == pytest.approx(np.exp(rate), rel=1e-3)
                found = gradients(lambda x: block(x, training=training), x)[0]  # noqa: B023
                assert found == pytest.approx(np.exp(rate), rel=1e-2)


@pytest.mark.parametrize("steps", [4, None])
def test_frozen_dynamics_let_the_gradient_through(steps):
    f = perceptron()
    f.trainable = False
    before = keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((3,)), before, ODEBlock(f, "dopri5", steps=steps)])
    model.compile("sgd", "mse")
    kernel, held = array(before.kernel), [array(weight) for weight in f.weights]
    assert held
    model.fit(noise(8, 3), noise(8, 3, seed=1), verbose=0)
    assert (array(before.kernel) != kernel).any()
    for weight, old in zip(f.weights, held, strict=True):
        np.testing.assert_array_equal(array(weight), old)


def test_what_is_frozen_later_does_not_train():
    f, x, y = perceptron(), noise(8, 3), noise(8, 3, seed=1)
    model = keras.Sequential([keras.Input((3,)), ODEBlock(f)])
    for trainable in (True, False):
        f.layers[0].trainable = trainable
        model.compile("sgd", "mse")
        kernel = array(f.layers[0].kernel)
        model.fit(x, y, verbose=0)
        assert (array(f.layers[0].kernel) != kernel).any() == trainable


def test_one_dynamics_in_two_blocks():
    f, x = perceptron(), noise(4, 3)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, ODEBlock(f, t=(1, 2))(ODEBlock(f)(inputs)))
    assert len(model.weights) == 4
    np.testing.assert_allclose(array(model(x)), array(ODEBlock(f, t=(0, 2), steps=16)(x)), rtol=1e-5, atol=1e-6)


class Convolutions(keras.layers.Layer):
    """torchdiffeq's odenet: group norm, and convolutions that see t as one more channel."""

    def __init__(self, channels):
        super().__init__()
        self.norms = [keras.layers.GroupNormalization(4) for _ in range(2)]
        self.convolutions = [keras.layers.Conv2D(channels, 3, padding="same") for _ in range(2)]

    def call(self, x, t):
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = keras.ops.relu(norm(x))
            x = convolution(keras.ops.concatenate([x, keras.ops.ones_like(x[..., :1]) * t], axis=-1))
        return x


@pytest.mark.rest
def test_convolutions_with_time_train():
    block = ODEBlock(Convolutions(8), solver="dopri5", steps=None, rtol=1e-3, atol=1e-3)
    layers = [keras.Input((6, 6, 8)), block, keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.002), "mse")
    history = model.fit(noise(12, 6, 6, 8), noise(12, 2), batch_size=12, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert all(np.isfinite(array(weight)).all() for weight in model.weights)


# Modes --------------------------------------------------------------------------------------------------------------

MODES = {"eager": {"run_eagerly": True}, "graph": {"jit_compile": False}, "xla": {"jit_compile": True}}
if BACKEND == "torch":
    MODES.pop("xla")  # covered by torch.compiler.disable: see test_torch_compile


def trained(combination, mode, dynamics, x, y, epochs=2):
    solver, steps, gradient = combination
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # short reversible solves may end apart
        block = ODEBlock(dynamics(), solver=solver, steps=steps, gradient=gradient, rtol=1e-4, atol=1e-5)
        model = keras.Sequential([keras.Input((3,)), block, keras.layers.Dense(2)])
        model.compile(keras.optimizers.SGD(0.05), "mse", **MODES[mode])
        history = model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)  # the last batch is shorter
    return history.history["loss"]


def same_in_all_modes(combination):
    x, y = noise(20, 3), noise(20, 2, seed=1)
    losses = [trained(combination, mode, Timed, x, y) for mode in MODES]
    assert losses[0][1] < losses[0][0]
    for loss in losses[1:]:
        np.testing.assert_allclose(loss, losses[0], rtol=1e-4)


@pytest.mark.parametrize("combination", SOME, ids=str)
def test_fits_alike_in_all_modes(combination):
    same_in_all_modes(combination)


@pytest.mark.slow
@pytest.mark.parametrize("combination", [one for one in COMBINATIONS if one not in SOME], ids=str)
def test_fits_alike_in_all_modes_in_every_way(combination):
    same_in_all_modes(combination)


@pytest.mark.parametrize("combination", SOME, ids=str)
def test_gradients_agree_in_training_and_inference(combination):
    solver, steps, gradient = combination
    x = noise(4, 3)
    block = ODEBlock(Timed(), solver=solver, steps=steps, gradient=gradient, rtol=1e-5, atol=1e-6)
    block(x)
    first, second = (solved(block, x, training=training) for training in (True, False))
    for a, b in zip(first, second, strict=True):
        # on TensorFlow inference is differentiated natively, which is no adjoint
        assert relative(a, b) <= (1e-5 if steps and gradient != "adjoint" else 1e-4)


def test_a_second_eager_call_traces_nothing():
    """On JAX, where each call would compile anew."""
    if BACKEND != "jax":
        pytest.skip("of JAX")

    class Counted(keras.layers.Layer):
        calls = 0

        def call(self, x):
            Counted.calls += 1
            return -x

    block, x = ODEBlock(Counted(), "dopri5", steps=None), keras.ops.ones((2, 3))
    for training in (False, True):
        block(x, training=training)
        gradients(lambda x: block(x, training=training), noise(2, 3))  # noqa: B023
    calls = Counted.calls
    for training in (False, True, False):
        block(x, training=training)
        gradients(lambda x: block(x, training=training), noise(2, 3))  # noqa: B023
    assert Counted.calls == calls


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's compiler, about itself
@pytest.mark.skipif(BACKEND != "torch", reason="of torch")
class TestTorch:
    def test_steps_are_traced_once(self):
        class Counted(keras.layers.Layer):
            calls = 0

            def call(self, x):
                Counted.calls += 1
                return keras.ops.tanh(x)

        block = ODEBlock(Counted())
        for batch in (2, 3):
            for _ in range(2):
                gradients(lambda x: block(x, training=True), noise(batch, 3))
                calls = Counted.calls
            gradients(lambda x: block(x, training=True), noise(batch, 3))
            assert Counted.calls == calls

    @pytest.mark.parametrize("gradient", ["checkpoint", "backprop"])
    @pytest.mark.parametrize("kind", ["a number", "a comparison"])
    def test_dynamics_that_branch_on_values_run_untraced(self, kind, gradient):
        class Branch(keras.layers.Layer):
            def call(self, x):
                total = keras.ops.sum(x)
                if kind == "a number":
                    total = float(keras.ops.convert_to_numpy(keras.ops.stop_gradient(total)))
                return x * (1.0 if total > 0 else -2.0)

        traced, plain = (
            ODEBlock(Branch(), steps=2, gradient=gradient, compile_dynamics=one) for one in ("auto", False)
        )
        x = np.ones((2, 3), "float32")
        with pytest.warns(UserWarning, match="cannot be traced"):
            found = [gradients(lambda x: traced(x, training=True), one)[0] for one in (x, -x)]
        expected = [gradients(lambda x: plain(x, training=True), one)[0] for one in (x, -x)]
        np.testing.assert_allclose(found, expected)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's compiler looks at it
    @pytest.mark.parametrize("gradient", ["checkpoint", "backprop"])
    def test_inductor(self, gradient):
        f, x = Timed(), noise(4, 3)
        plain, compiled = (ODEBlock(f, gradient=gradient, compile_dynamics=one) for one in (False, "inductor"))
        for found, expected in zip(solved(compiled, x), solved(plain, x), strict=True):
            assert relative(found, expected) <= 1e-5

    @pytest.mark.slow
    def test_torch_compile(self):
        x, y = noise(20, 3), noise(20, 2, seed=1)
        MODES["compiled"] = {"jit_compile": True}
        try:
            losses = [trained(("rk4", 4, "checkpoint"), mode, Timed, x, y) for mode in ("eager", "compiled")]
        finally:
            MODES.pop("compiled")
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


# Files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", [Timed, perceptron, functional], ids=["layer", "sequential", "functional"])
def test_saves_and_loads(dynamics, tmp_path):
    block = ODEBlock(dynamics(), "dopri5", steps=None)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), block])
    x = noise(4, 3)
    before = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras").predict(x, verbose=0), before)


def exported_alike(combination, folder):
    import tensorflow as tf

    solver, steps, gradient = combination
    block = ODEBlock(Timed(), solver=solver, steps=steps, gradient=gradient)
    model = keras.Sequential([keras.Input((3,)), block])
    if BACKEND == "tensorflow":
        model.compile("sgd", "mse")
        model.fit(noise(8, 3), noise(8, 3), verbose=0)
    # adaptive steps feel rounding, within their tolerance
    model.export(folder / "model", verbose=False)
    loaded = tf.saved_model.load(str(folder / "model"))
    for batch in (1, 5, 64):
        x = noise(batch, 3, seed=batch)
        np.testing.assert_allclose(np.array(loaded.serve(x)), array(model(x)), atol=1e-5 if steps else 5e-4)
    if BACKEND == "tensorflow":
        assert b"internal_grad" not in (folder / "model" / "saved_model.pb").read_bytes()  # stock operations alone


@pytest.mark.filterwarnings("ignore:.*native_serialization:DeprecationWarning")  # Keras's, on JAX
@pytest.mark.skipif(BACKEND == "torch", reason="Keras cannot write a SavedModel on torch")
@pytest.mark.parametrize("combination", [("rk4", 4, "checkpoint"), ("dopri5", None, "checkpoint")], ids=str)
def test_exports(combination, tmp_path):
    exported_alike(combination, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*native_serialization:DeprecationWarning")  # Keras's, on JAX
@pytest.mark.skipif(BACKEND == "torch", reason="Keras cannot write a SavedModel on torch")
@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_exports_in_every_way(combination, tmp_path):
    exported_alike(combination, tmp_path)


# Refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "rk5"}, "solver='rk5'"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 2.0}, "steps=2.0"),
        ({"t": (1.0, 1.0)}, r"t=\(1.0, 1.0\)"),
        ({"t": 1.0}, "t=1.0"),
        ({"t": (0.0, float("inf"))}, "t must be two different finite numbers"),
        ({"t": (0.0, np.ones(1))}, "t must be two different finite numbers"),
        ({"rtol": 0.0}, "rtol=0.0"),
        ({"atol": -1.0}, "atol=-1.0"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"first_step": 0.0}, "first_step=0.0"),
        ({"norm": "max"}, "norm='max'"),
        ({"gradient": "exact"}, "gradient='exact'"),
        ({"segments": 3}, "segments=3, steps=8"),
        ({"segments": 2, "gradient": "adjoint"}, "segments must divide steps, and count for gradient='checkpoint'"),
        ({"segments": 2, "solver": "dopri5", "steps": None}, "segments must divide steps"),
        ({"coupling": 0.0}, "coupling=0.0"),
        ({"noise": "keep"}, "noise='keep'"),
        ({"compile_dynamics": "fast"}, "compile_dynamics='fast'"),
        ({"compile_dynamics": True}, "compile_dynamics=True"),
        ({"unroll": 1}, "unroll=1"),
        ({"steps": None}, "solver='rk4', steps=None"),
        ({"steps": None, "solver": "alf"}, "solver='alf', steps=None"),
        ({"steps": None, "solver": "dopri5", "gradient": "backprop"}, "gradient='checkpoint' is the exact gradient"),
        ({"steps": None, "solver": "dopri5", "unroll": True}, "unroll=True, steps=None"),
        ({"solver": "alf", "gradient": "adjoint"}, "solver='alf'"),
        ({"dynamics": "tanh"}, "dynamics='tanh'"),
    ],
)
def test_refuses_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        ODEBlock(**{"dynamics": keras.layers.Dense(3), **arguments})


def test_refuses_several_states():
    with pytest.raises(ValueError, match="one tensor"):
        ODEBlock(perceptron()).build([(2, 3), (2, 3)])


def test_refuses_another_shape_and_says_both():
    with pytest.raises(ValueError, match=r"state \(2, 3\), dynamics\(state\) \(2, 4\)"):
        ODEBlock(keras.layers.Dense(4))(noise(2, 3))

    class Transposed(keras.layers.Layer):
        built = True

        def call(self, x):
            return keras.ops.transpose(x)

    with pytest.raises(ValueError, match=r"state \(2, 3\), dynamics\(state\) \(3, 2\)"):
        ODEBlock(Transposed())(noise(2, 3))


def dynamics_with(layer):
    return keras.Sequential([keras.layers.Dense(5), layer, keras.layers.Dense(3)])


REFUSED = {
    "batch normalisation": (lambda: keras.layers.BatchNormalization(), "batch_normalization.*GroupNormalization"),
    "seeded noise": (lambda: keras.layers.Dropout(0.5, seed=1), "seed_generator_state.*noise='frozen'"),
    "noise": (lambda: keras.layers.Dropout(0.5), "seed=|noise='frozen'"),
    "losses": (lambda: keras.layers.Dense(5, activity_regularizer="l2"), "activity_regularizer"),
}


@pytest.mark.parametrize("what", sorted(REFUSED))
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("steps", "compile_dynamics", "gradient"), [(2, False, "backprop"), (None, "auto", "auto")])
def test_refuses_dynamics_that_are_none(what, jit, steps, compile_dynamics, gradient):
    if jit and BACKEND == "torch":
        pytest.skip("the solve runs outside of torch.compile")
    make, message = REFUSED[what]
    block = ODEBlock(dynamics_with(make()), "dopri5", steps=steps, compile_dynamics=compile_dynamics, gradient=gradient)
    model = keras.Sequential([keras.Input((3,)), block])
    model.compile("sgd", "mse", jit_compile=jit)
    with pytest.raises(ValueError, match=message):
        model.fit(noise(4, 3), noise(4, 3), verbose=0)


@pytest.mark.rest
def test_allows_what_changes_nothing():
    frozen = keras.layers.BatchNormalization()
    frozen.trainable = False
    layers = [
        frozen,
        keras.layers.LayerNormalization(),
        keras.layers.GroupNormalization(5),
        keras.layers.Dense(5, kernel_regularizer="l2"),
    ]
    model = keras.Sequential([keras.Input((3,)), *(ODEBlock(dynamics_with(layer), steps=1) for layer in layers)])
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(noise(4, 3), noise(4, 3), verbose=0).history["loss"]).all()
    for make, _ in (REFUSED["batch normalisation"], REFUSED["noise"]):
        ODEBlock(dynamics_with(make()))(noise(2, 3), training=False)


def test_readings_inside_the_dynamics_are_silent():
    """A block within a block: the inner one is evaluated many times, and records nothing."""
    inner = ODEBlock(keras.layers.Dense(3), "euler", steps=1)
    model = keras.Sequential([keras.Input((3,)), ODEBlock(inner, steps=2)])
    model.compile("sgd", "mse")
    model.fit(noise(4, 3), noise(4, 3), verbose=0)
    assert inner.nfe == 0


# Noise --------------------------------------------------------------------------------------------------------------


@pytest.mark.rest
def test_frozen_noise_is_one_noise_for_every_gradient():
    losses, states = [], []
    for gradient in ("checkpoint", "backprop", "adjoint", "reversible"):
        keras.utils.set_random_seed(0)
        dropout = keras.layers.Dropout(0.5, seed=7)
        block = ODEBlock(dynamics_with(dropout), "rk4", steps=16, gradient=gradient, noise="frozen")
        model = keras.Sequential([keras.Input((3,)), block])
        model.compile(keras.optimizers.SGD(0.05), "mse")
        start = array(dropout.seed_generator.state.value)
        history = model.fit(noise(8, 3), noise(8, 3, seed=1), batch_size=4, epochs=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
        states.append(array(dropout.seed_generator.state.value) - start)
    np.testing.assert_allclose(losses, np.broadcast_to(losses[0], np.shape(losses)), rtol=1e-5)
    np.testing.assert_array_equal(states, [[0, 6]] * 4)  # one draw for each of six solves


@pytest.mark.rest
def test_frozen_noise_converges():
    """More steps, the same noise: there is a solution. Refused noise would be another at every step."""
    keras.utils.set_random_seed(0)
    x, answers = noise(8, 3), []
    f = dynamics_with(keras.layers.Dropout(0.5, seed=7))
    f.build((8, 3))
    for steps in (8, 64):
        f.layers[1].seed_generator.state.assign([0, 7])
        answers.append(array(ODEBlock(f, steps=steps, noise="frozen")(x, training=True)))
    np.testing.assert_allclose(*answers, rtol=1e-3, atol=1e-3)
    assert np.abs(answers[0] - array(ODEBlock(f)(x))).max() > 1e-2


@pytest.mark.skipif(BACKEND != "torch", reason="torch alone draws from a global generator")
def test_frozen_noise_needs_a_seed():
    with pytest.raises(ValueError, match="seed="):
        ODEBlock(dynamics_with(keras.layers.Dropout(0.5)), noise="frozen")(noise(2, 3), training=True)


# Precision ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_the_state_is_whole_under_mixed_precision(policy):
    """Rounding of the dynamics does not add up over the steps."""
    f = keras.Sequential([keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(3)])
    f.build((4, 3))
    half = keras.Sequential(
        [keras.layers.Dense(16, activation="tanh", dtype=policy), keras.layers.Dense(3, dtype=policy)]
    )
    half.build((4, 3))
    half.set_weights(f.get_weights())
    x = noise(64, 3)
    exact = array(ODEBlock(f, steps=16)(x))
    solves = ODEBlock(half, steps=8), graph(ODEBlock(half, steps=512))
    errors = [relative(array(solve(keras.ops.convert_to_tensor(x))), exact) for solve in solves]
    assert 0 < errors[1] <= 1.5 * errors[0]
    outputs = ODEBlock(half, dtype=policy, steps=1)(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")


def test_variables_are_read_whole_under_a_mixed_policy():
    """The block's own policy may be mixed: float32 dynamics inside it stay exact."""
    f, x = perceptron(), noise(4, 3)
    plain = array(ODEBlock(f, steps=2)(x))
    mixed = array(ODEBlock(f, steps=2, dtype="mixed_bfloat16")(x))
    np.testing.assert_allclose(mixed, array(keras.ops.cast(plain, "bfloat16")).astype("float32"), rtol=1e-6)


@pytest.mark.parametrize(
    ("policy", "rtol", "warned"),
    [
        ("mixed_bfloat16", 9e-4, True),
        ("mixed_bfloat16", 1e-3, False),
        ("mixed_float16", 9e-5, True),
        ("mixed_float16", 1e-4, False),
    ],
)
def test_warns_of_tolerances_below_the_precision(policy, rtol, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ODEBlock(keras.layers.Dense(3, dtype=policy), "dopri5", steps=None, rtol=rtol)
    assert [("below the precision" in str(one.message)) for one in caught] == [True] * warned


# Limits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["checkpoint", "reversible"])
def test_a_solve_that_does_not_arrive_is_never_finite(gradient):
    block = ODEBlock(Rational(), "dopri5", steps=None, t=(0, 10), max_steps=3, gradient=gradient)
    x = np.ones((2, 3), "float32")
    if BACKEND == "torch":
        with pytest.raises(RuntimeError, match="max_steps=3"):
            block(x)
        with pytest.raises(RuntimeError, match="max_steps=3"):
            gradients(lambda x: block(x, training=True), x)
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*halves of the reversible")
            assert np.isnan(array(block(x))).all()
        model = keras.Sequential([keras.Input((3,)), block])
        assert np.isnan(model.predict(x, verbose=0)).all()


def test_an_adjoint_that_does_not_arrive_is_never_finite():
    """x moves far and smoothly; its adjoint feels every ripple on the way."""

    class Ripple(keras.layers.Layer):
        def call(self, x):
            return 100.0 + 5.0 * keras.ops.sin(x)

    x = np.full((2, 3), 100.0, "float32")
    block = ODEBlock(Ripple(), "dopri5", steps=None, rtol=1e-3, gradient="adjoint", max_steps=8)
    assert np.isfinite(array(block(x))).all()
    if BACKEND == "torch":
        with pytest.raises(RuntimeError, match="did not reach t=0"):
            gradients(lambda x: block(x, training=True), x)
    else:
        assert np.isnan(gradients(lambda x: block(x, training=True), x)[0]).all()


def test_dynamics_that_are_not_finite_do_not_arrive():
    class Infinite(keras.layers.Layer):
        def call(self, x):
            return x / 0.0

    block = ODEBlock(Infinite(), "dopri5", steps=None)
    if BACKEND == "torch":
        with pytest.raises(RuntimeError, match="max_steps=64"):
            block(np.ones((2, 3), "float32"))
    else:
        assert np.isnan(array(block(np.ones((2, 3), "float32")))).all()


@pytest.mark.parametrize(
    ("arguments", "tolerance"),
    [
        ({"solver": "rk4", "steps": 8}, 2e-5),
        ({"solver": "heun", "steps": 16}, 2e-5),
        ({"solver": "dopri5", "steps": None, "rtol": 1e-3}, 2e-4),
        ({"solver": "alf", "steps": 32}, 2e-4),
    ],
)
def test_the_inverse_is_mended(arguments, tolerance):
    keras.utils.set_random_seed(0)
    block, x = ODEBlock(Timed(), **arguments), noise(16, 3)
    y = block(x)
    errors = [np.abs(array(block.inverse(y, refine=refine)) - x).max() for refine in (0, 2)]
    assert errors[1] <= tolerance
    assert errors[1] <= max(errors[0], 2e-6)


@pytest.mark.rest
def test_the_inverse_has_a_gradient():
    block, x = ODEBlock(Timed(), steps=8), noise(4, 3)
    y = array(block(x))
    found = gradients(lambda y: block(block.inverse(y, training=True), training=True), y)[0]
    np.testing.assert_allclose(found, 1.0, atol=1e-4)  # block of inverse is the identity
    with pytest.raises(ValueError, match="refine=-1"):
        block.inverse(y, refine=-1)


class Decaying(keras.layers.Layer):
    def __init__(self, rate):
        super().__init__()
        self.rate, self.inner = rate, Timed()

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x, t):
        return self.inner(x, t) - self.rate * x


@pytest.mark.rest
@pytest.mark.parametrize(
    "arguments", [{"solver": "rk4", "gradient": "reversible", "steps": 32}, {"solver": "alf", "steps": 128}]
)
def test_a_reversible_solver_says_where_it_is_unstable(arguments):
    healthy, sick = (ODEBlock(Decaying(rate), **arguments) for rate in (0.0, 10.0))
    healthy(noise(4, 3))
    assert healthy.gap < 0.01
    with pytest.warns(UserWarning, match="unstable on dynamics that decay"):
        sick(noise(4, 3))
    assert sick.gap > 0.1
    with pytest.raises(ValueError, match="reversible"):
        _ = ODEBlock(Timed()).gap


@pytest.mark.slow
def test_coupling_keeps_rounding_down():
    """float32, 1,024 steps: by default the reversed steps lose no more than three times what checkpoints do."""
    keras.utils.set_random_seed(0)
    f, x = Timed(), noise(8, 3)
    with double():
        exact = Timed(dtype="float64")
        exact.build(x.shape)
        f.build(x.shape)
        exact.set_weights(f.get_weights())
        reference = solved(ODEBlock(exact, steps=64, dtype="float64"), x.astype("float64"))
    errors = {}
    for gradient in ("checkpoint", "reversible"):
        found = solved(ODEBlock(f, "heun", steps=1024, gradient=gradient), x)
        errors[gradient] = [relative(a, b) for a, b in zip(found, reference, strict=True)]
    for ours, theirs in zip(errors["reversible"], errors["checkpoint"], strict=True):
        assert ours <= max(3 * theirs, 3e-6)


# Readings -----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*halves of the reversible")
@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_evaluations_are_counted(combination):
    """By Python, where a loop of Python runs."""
    solver, steps, gradient = combination

    class Counted(keras.layers.Layer):
        calls = 0

        def call(self, x):
            Counted.calls += 1
            return -x

    block = ODEBlock(Counted(), solver=solver, steps=steps, gradient=gradient, compile_dynamics=False)
    x = np.ones((2, 3), "float32")
    block.build(x.shape)
    with contextlib.ExitStack() as stack:
        if BACKEND == "jax":
            import jax

            stack.enter_context(jax.disable_jit())
        Counted.calls = 0
        block(keras.ops.convert_to_tensor(x), training=True)
    assert block.nfe == Counted.calls
    if not steps:
        assert block.rejected + block.accepted == (block.nfe - 2) / (
            TABLEAUS[solver].evaluations * (2 if gradient == "reversible" else 1) + (gradient == "reversible")
        )


def test_evaluations_are_as_many_as_torchdiffeq_needs():
    torchdiffeq = pytest.importorskip("torchdiffeq")
    import torch

    ours, theirs = 0, [0]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(8, 3), scale=3).astype("float32")
        f = Timed()
        f.build(x.shape)
        f.set_weights([rng.normal(size=weight.shape) for weight in f.weights])
        w, b, v, c = (torch.tensor(array(weight)) for weight in f.weights)

        def slope(t, x, w=w, b=b, v=v, c=c):
            theirs[0] += 1
            return torch.tanh(torch.cat([x, torch.ones_like(x[:, :1]) * t], 1) @ w + b) @ v + c

        for rtol in (1e-2, 1e-3, 1e-5):
            block = ODEBlock(f, "dopri5", (0, 2), None, rtol, rtol / 10, compile_dynamics=False)
            block(x)
            ours += block.nfe
            times = torch.tensor([0.0, 2.0])
            torchdiffeq.odeint(slope, torch.tensor(x), times, rtol=rtol, atol=rtol / 10, method="dopri5")
    assert ours <= 1.1 * theirs[0]


@pytest.mark.parametrize(("solver", "steps"), [("rk4", 4), ("dopri5", None)])
def test_readings_are_in_the_history(solver, steps):
    import zoo

    block = ODEBlock(Timed(), solver, steps=steps)
    model = keras.Sequential([keras.Input((3,)), block])
    model.compile("sgd", "mse")
    history = model.fit(noise(8, 3), noise(8, 3), epochs=2, verbose=0, callbacks=[zoo.LayerReadings()]).history
    if steps:
        assert history["nfe"] == [16.0, 16.0]
        assert history["nfe_backward"] == [16.0, 16.0]
    else:
        assert history["nfe"] == [
            2 + 6 * (a + r) for a, r in zip(history["accepted"], history["rejected"], strict=True)
        ]
        assert history["nfe_backward"] == [6 * accepted for accepted in history["accepted"]]


# Memory -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(BACKEND != "jax", reason="XLA tells what it reserves")
def test_memory_grows_as_the_gradient_says():
    import jax

    x = noise(128, 64)

    def reserved(steps, gradient, **arguments):
        f = perceptron(64, 64)
        block = ODEBlock(f, arguments.pop("solver", "rk4"), steps=steps, gradient=gradient, **arguments)
        block.build(x.shape)
        values = [variable.value for variable in block.trainable_variables]

        def loss(values, x):
            with keras.StatelessScope(list(zip(block.trainable_variables, values, strict=True))):
                return (block(x, training=True) ** 2).sum()

        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(values, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    state = x.nbytes
    assert reserved(64, "checkpoint") - reserved(16, "checkpoint") <= 48 * state * 1.5
    assert reserved(64, "checkpoint", segments=8) - reserved(16, "checkpoint", segments=4) <= 10 * state
    for solver, gradient in (("rk4", "adjoint"), ("rk4", "reversible"), ("alf", "reversible")):
        few, many = (reserved(steps, gradient, solver=solver) for steps in (16, 64))
        assert many <= 1.2 * few
