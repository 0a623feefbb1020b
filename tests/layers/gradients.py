"""Gradients on any backend, for tests of layers."""

import keras
import numpy as np


def gradients(function, *arrays, compiled=False):
    """d sum(function(*tensors)) / d each of `arrays`, as NumPy arrays.

    With `compiled`, for a function without side effects, JAX compiles it as a whole and not each operation alone.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(array) for array in arrays]
        with tf.GradientTape() as tape:
            for tensor in tensors:
                tape.watch(tensor)
            total = tf.reduce_sum(function(*tensors))
        return [np.asarray(found) for found in tape.gradient(total, tensors, unconnected_gradients="zero")]
    if backend == "jax":
        import jax

        total = jax.grad(lambda *tensors: function(*tensors).sum(), argnums=tuple(range(len(arrays))))
        total = jax.jit(total) if compiled else total
        return [np.asarray(found) for found in total(*(jax.numpy.asarray(array) for array in arrays))]
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    found = torch.autograd.grad(function(*tensors).sum(), tensors, allow_unused=True)
    return [np.zeros_like(array) if one is None else one.numpy() for one, array in zip(found, arrays, strict=True)]


def of_all(layer, inputs, **arguments):
    """(d sum(layer(inputs)) / d inputs, {path: d of it / d weight}), by one pass through a built layer."""
    trained = layer.trainable_variables
    others = [(variable, variable.value) for variable in layer.non_trainable_variables]

    def total(inputs, *values):
        with keras.StatelessScope([*zip(trained, values, strict=True), *others]):
            return layer(inputs, **arguments)

    values = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in trained]
    of_inputs, *found = gradients(total, inputs, *values)
    return of_inputs, {variable.path: gradient for variable, gradient in zip(trained, found, strict=True)}
