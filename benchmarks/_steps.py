"""Forward and backward passes of functions of tensors, ready to be timed, on whatever backend Keras runs."""

import keras
import numpy as np
from _pairs import paired, show


def modes():
    """The ways in which this backend runs a step: names for `step`."""
    return {"tensorflow": ["graph", "XLA"], "jax": ["jit"], "torch": ["eager"]}[keras.backend.backend()]


def step(function, arrays, mode, layers=()):
    """A callable without arguments that runs `function(*tensors)` and its gradients, and waits for them.

    Args:
        function: tensors -> a tensor, or several; the upstream gradient is fixed noise.
        arrays: NumPy arrays; gradients go to those of a floating type.
        mode: one of `modes()`.
        layers: built layers that `function` calls, to whose trainable weights gradients go as well.
    """
    trained = [variable for layer in layers for variable in layer.trainable_variables]
    others = [(variable, variable.value) for layer in layers for variable in layer.non_trainable_variables]

    def stateless(tensors, values):
        with keras.StatelessScope([*zip(trained, values, strict=True), *others]):
            return keras.tree.flatten(function(*tensors))

    return globals()[f"_{keras.backend.backend()}"](stateless, arrays, trained, mode)


def against(name, ours, theirs, arrays, rounds, goals=None):
    """Times `ours` and `theirs`, each (function, layer, ...), in every mode of the backend; `goals` are by mode."""
    for mode in modes():
        first, second = (step(function, arrays, mode, layers) for function, *layers in (ours, theirs))
        show(f"{name}, {mode}", paired(first, second, rounds=rounds), (goals or {}).get(mode, ""))


def padding(batch, time):
    """Sentences from a half of the length to the whole."""
    return np.arange(time) < np.linspace(time / 2, time, batch)[:, None]


def _noise(shapes):
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def _tensorflow(stateless, arrays, trained, mode):
    import tensorflow as tf

    tensors = [tf.constant(array) for array in arrays]
    values = [tf.identity(variable.value) for variable in trained]
    shapes = [tensor.shape for tensor in stateless(tensors, values)]
    upstream = [tf.constant(array) for array in _noise(shapes)]

    @tf.function(jit_compile=mode == "XLA")
    def run(tensors, values, upstream):
        sources = [tensor for tensor in tensors if tensor.dtype.is_floating] + values
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            results = stateless(tensors, values)
        return tape.gradient(results, sources, upstream, unconnected_gradients="zero")

    return lambda: [one.numpy() for one in run(tensors, values, upstream)[-1:]]


def _jax(stateless, arrays, trained, mode):
    import jax

    tensors = [jax.numpy.asarray(array) for array in arrays]
    values = [jax.numpy.asarray(variable.value) for variable in trained]
    floats = [index for index, array in enumerate(arrays) if array.dtype.kind == "f"]

    def run(tensors, values, upstream):
        def function(some, values):
            whole = list(tensors)
            for index, tensor in zip(floats, some, strict=True):
                whole[index] = tensor
            return stateless(whole, values)

        return jax.vjp(function, [tensors[index] for index in floats], values)[1](upstream)

    shapes = [one.shape for one in jax.eval_shape(stateless, tensors, values)]
    upstream = [jax.numpy.asarray(array) for array in _noise(shapes)]
    compiled = jax.jit(run)
    return lambda: jax.block_until_ready(compiled(tensors, values, upstream))


def _torch(stateless, arrays, trained, mode):
    import torch

    tensors = [torch.tensor(array, requires_grad=array.dtype.kind == "f") for array in arrays]
    values = [variable.value.detach().clone().requires_grad_() for variable in trained]
    sources = [tensor for tensor in tensors if tensor.requires_grad] + values
    upstream = None

    def run():
        nonlocal upstream
        results = stateless(tensors, values)
        if upstream is None:
            upstream = [torch.tensor(array) for array in _noise([one.shape for one in results])]
        return torch.autograd.grad(results, sources, upstream, allow_unused=True)

    return run
