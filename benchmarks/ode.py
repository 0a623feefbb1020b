"""ODEBlock beside torchdiffeq, diffrax, and a loop written out: ratios of time, and memory.

    python benchmarks/ode.py [--rounds N] [--only WORD] [--inductor]

Runs the part of Keras's backend. One core, one thread, and process CPU time, so that other work on the machine counts
little. A perceptron on 128 x 64 (Dense 64, plus a time term, tanh, Dense 64) and two 3 x 3 convolutions on
8 x 32 x 32 x 16; a solve, the sum of its squares, and the gradient of x and of all weights. A ratio below 1 is ours.
"""

import argparse
import ctypes
import gc
import os
import sys
import time

CORE = max(os.sched_getaffinity(0))
os.sched_setaffinity(0, {CORE})
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from _pairs import paired, show  # noqa: E402

import zoo.layers  # noqa: E402

TOLERANCES = {"rtol": 1e-4, "atol": 1e-5}


@keras.saving.register_keras_serializable("benchmarks")
class Perceptron(keras.layers.Layer):
    def build(self, shape):
        self.inner, self.outer = keras.layers.Dense(64), keras.layers.Dense(64)
        self.inner.build(shape)
        self.outer.build(shape)
        self.u = self.add_weight(name="u", shape=(64,))

    def call(self, x, t):
        return self.outer(keras.ops.tanh(self.inner(x) + self.u * t))


@keras.saving.register_keras_serializable("benchmarks")
class Convolutional(keras.layers.Layer):
    def build(self, shape):
        self.inner, self.outer = (keras.layers.Conv2D(16, 3, padding="same") for _ in range(2))
        self.inner.build(shape)
        self.outer.build(shape)

    def call(self, x):
        return keras.ops.tanh(self.outer(keras.ops.tanh(self.inner(x))))


def problem(kind):
    """(dynamics, x)"""
    keras.utils.set_random_seed(0)
    dynamics, shape = {"MLP": (Perceptron(), (128, 64)), "conv": (Convolutional(), (8, 32, 32, 16))}[kind]
    dynamics.build(shape)
    return dynamics, np.random.default_rng(0).normal(size=shape).astype("float32")


def block(dynamics, solver, **arguments):
    made = zoo.layers.ODEBlock(dynamics, solver, **{**TOLERANCES, **arguments})
    return lambda x: made(x, training=True)


def report(name, ours, theirs, limit, options):
    """Prints a ratio with the limit that the issue asks for."""
    if options.only in name:
        show(name, paired(ours, theirs, rounds=options.rounds, clock=time.process_time), limit and f"at most {limit}")


def grown(step):
    """MiB that a step takes beyond what the process had: the median of five."""
    step()
    found = []
    for _ in range(5):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        before = _peak(reset=True)
        step()
        found.append((_peak() - before) / 1024)
    return float(np.median(found))


def _peak(reset=False):
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def memory(make, options):
    """MiB of one forward and backward pass with 16 and 64 steps."""
    ways = {
        "backprop": ("rk4", {"gradient": "backprop"}),
        "checkpoint": ("rk4", {}),
        "checkpoint, segments": ("rk4", {"segments": 8}),
        "adjoint": ("rk4", {"gradient": "adjoint"}),
        "reversible": ("rk4", {"gradient": "reversible"}),
        "alf": ("alf", {}),
    }
    for name, (solver, arguments) in ways.items():
        if options.only in f"memory {name}":
            dynamics, x = problem("MLP")
            few, many = (make(dynamics, block(dynamics, solver, steps=steps, **arguments), x) for steps in (16, 64))
            print(f"{f'memory, MLP rk4 16 and 64 steps: {name}':<60}{few:>8.2f} MiB {many:>8.2f} MiB", flush=True)


# torch ----------------------------------------------------------------------------------------------------------------


def torch_part(options):
    import torch
    import torchdiffeq

    torch.set_num_threads(1)

    class NativePerceptron(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
            self.u = torch.nn.Parameter(torch.zeros(64))

        def forward(self, t, x):
            return self.outer(torch.tanh(self.inner(x) + self.u * t))

    class NativeConvolutional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = (torch.nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))

        def forward(self, t, x):
            return torch.tanh(self.outer(torch.tanh(self.inner(x))))

    def native(kind, dynamics):
        module = {"MLP": NativePerceptron, "conv": NativeConvolutional}[kind]()
        with torch.no_grad():
            for ours, theirs in ((dynamics.inner, module.inner), (dynamics.outer, module.outer)):
                kernel = ours.kernel.value.detach()
                theirs.weight.copy_(kernel.T if kind == "MLP" else kernel.permute(3, 2, 0, 1))
                theirs.bias.copy_(ours.bias.value.detach())
            if kind == "MLP":
                module.u.copy_(dynamics.u.value.detach())
        return module

    def step(solve, parameters, x):
        leaf = torch.tensor(x, requires_grad=True)

        def run():
            torch.autograd.grad((solve(leaf) ** 2).sum(), [leaf, *parameters])

        return run

    times = torch.tensor([0.0, 1.0])
    for kind in ("MLP", "conv"):
        dynamics, x = problem(kind)
        module = native(kind, dynamics)
        theirs_x = x if kind == "MLP" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        ours_weights = [variable.value for variable in dynamics.trainable_variables]
        theirs_weights = list(module.parameters())
        count = 16 if kind == "MLP" else 8

        def ours(solver, weights=ours_weights, dynamics=dynamics, x=x, **arguments):
            return step(block(dynamics, solver, **arguments), weights, x)

        def theirs(function, weights=theirs_weights, module=module, x=theirs_x, **arguments):
            return step(lambda x: function(module, x, times, **arguments)[-1], weights, x)

        adaptive = {**TOLERANCES, "method": "dopri5"}
        fixed = {"method": "rk4", "options": {"step_size": 1 / count}}
        direct, adjoint = torchdiffeq.odeint, torchdiffeq.odeint_adjoint
        limit = {"MLP": 0.75, "conv": 0.85}[kind]
        checkpoint = ours("dopri5", steps=None)
        report(f"{kind} dopri5 checkpoint / odeint", checkpoint, theirs(direct, **adaptive), limit, options)
        report(f"{kind} dopri5 checkpoint / odeint_adjoint", checkpoint, theirs(adjoint, **adaptive), 0.35, options)
        backprop = ours("rk4", steps=count, gradient="backprop")
        report(f"{kind} rk4 backprop / odeint", backprop, theirs(direct, **fixed), 1.15, options)
        report(f"{kind} rk4 checkpoint / odeint", ours("rk4", steps=count), theirs(direct, **fixed), "", options)
        if options.inductor:
            compiled = ours("rk4", steps=count, compile_dynamics="inductor")
            report(f"{kind} rk4 checkpoint inductor / odeint", compiled, theirs(direct, **fixed), 0.9, options)

    def grown_by(dynamics, solve, x):
        return grown(step(solve, [variable.value for variable in dynamics.trainable_variables], x))

    memory(grown_by, options)


# JAX ------------------------------------------------------------------------------------------------------------------


def jax_part(options):
    import diffrax
    import jax
    import jax.numpy as jnp

    dynamics, x = problem("MLP")
    values = [variable.value for variable in dynamics.trainable_variables]

    def compiled(dynamics, solve, x):
        def loss(values, x):
            with keras.StatelessScope(list(zip(dynamics.trainable_variables, values, strict=True))):
                return (solve(x) ** 2).sum()

        values = [variable.value for variable in dynamics.trainable_variables]
        return jax.jit(jax.grad(loss, argnums=(0, 1))).lower(values, x).compile()

    def theirs(solver, controller, dt, **arguments):
        names = [variable.path.rpartition("/")[0] + variable.name for variable in dynamics.trainable_variables]
        assert len(names) == 5
        u = [v.name for v in dynamics.trainable_variables].index("u")
        inner_w, inner_b, outer_w, outer_b = [one for one in range(5) if one != u]

        def slope(t, y, values):
            hidden = jnp.tanh(y @ values[inner_w] + values[inner_b] + values[u] * t)
            return hidden @ values[outer_w] + values[outer_b]

        def loss(values, x):
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(slope),
                solver,
                0.0,
                1.0,
                dt,
                x,
                values,
                stepsize_controller=controller,
                max_steps=64,
                **arguments,
            )
            return (solution.ys[-1] ** 2).sum()

        return jax.jit(jax.grad(loss, argnums=(0, 1))).lower(values, x).compile()

    def run(function):
        return lambda: jax.block_until_ready(function(values, x))

    for name, ours, native in (
        ("heun 32", {"solver": "heun", "steps": 32}, (diffrax.Heun(), diffrax.ConstantStepSize(), 1 / 32)),
        ("dopri5", {"solver": "dopri5", "steps": None}, (diffrax.Dopri5(), diffrax.PIDController(**TOLERANCES), None)),
    ):
        function = compiled(dynamics, block(dynamics, **ours), x)
        report(f"MLP {name} checkpoint / diffrax's default", run(function), run(theirs(*native)), 0.7, options)

    def reserved(dynamics, solve, x):
        return compiled(dynamics, solve, x).memory_analysis().temp_size_in_bytes / 2**20

    memory(reserved, options)


# TensorFlow -----------------------------------------------------------------------------------------------------------


def tensorflow_part(options):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def unrolled(dynamics, count):
        """Classical Runge-Kutta as one writes it."""
        h = 1 / count

        def solve(x):
            for i in range(count):
                t = i * h
                start, middle, end = (tf.constant(one, "float32") for one in (t, t + h / 2, t + h))
                k1 = dynamics(x, start)
                k2 = dynamics(x + h / 2 * k1, middle)
                k3 = dynamics(x + h / 2 * k2, middle)
                k4 = dynamics(x + h * k3, end)
                x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return x

        return solve

    def step(dynamics, solve, x, jit):
        weights = dynamics.trainable_variables
        x = tf.constant(x)

        @tf.function(jit_compile=jit)
        def run(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(solve(x) ** 2)
            return tape.gradient(loss, [x, *(variable.value for variable in weights)])

        return lambda: run(x)[0].numpy()

    class WithoutTime(keras.layers.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, x, t):
            return self.inner(x)

    for kind, count in (("MLP", 16), ("conv", 8)):
        dynamics, x = problem(kind)
        native = dynamics if kind == "MLP" else WithoutTime(dynamics)
        for mode, jit in (("graph", False), ("XLA", True)):
            if kind == "conv" and jit:
                continue  # XLA runs convolutions in loops 25 times slower: docs/layers.md
            theirs = step(dynamics, unrolled(native, count), x, jit)
            for gradient, limit in (("backprop", 1.1), ("checkpoint", 1.2 if jit else 1.35)):
                ours = step(dynamics, block(dynamics, "rk4", steps=count, gradient=gradient), x, jit)
                report(f"{kind} rk4 {gradient} / loop written out, {mode}", ours, theirs, limit, options)

    memory(lambda dynamics, solve, x: grown(step(dynamics, solve, x, False)), options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--inductor", action="store_true", help="torch: compiled steps too")
    options = parser.parse_args()
    print(f"{keras.backend.backend()}, Python {sys.version.split()[0]}, Keras {keras.__version__}")
    globals()[f"{keras.backend.backend()}_part"](options)


if __name__ == "__main__":
    main()
