"""Gradients of a layer as each backend takes them: eagerly, and compiled on JAX, which would compile each operation."""

import keras
import numpy as np


def gradients(layer, call, inputs):
    """([gradient of each trainable weight], [of each float input]): arrays, or None where nothing reaches.

    They are those of the sum of all float outputs, each number weighed by noise, and of the layer's own losses.

    Args:
        layer: built.
        call: `call(function, inputs)` calls `function` as the layer is called, on a list of tensors.
        inputs: a list of arrays.
    """
    floats = [index for index, value in enumerate(inputs) if np.issubdtype(value.dtype, np.floating)]
    backend = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()]
    found = backend(layer, call, [keras.ops.convert_to_tensor(value) for value in inputs], floats)
    found = [None if one is None else np.asarray(keras.ops.convert_to_numpy(one)) for one in found]
    count = len(layer.trainable_weights)
    return found[:count], found[count:]


def _total(outputs, losses):
    rng = np.random.default_rng(0)
    parts = [keras.ops.cast(loss, "float32") for loss in losses]
    for output in keras.tree.flatten(outputs):
        if output is not None and keras.backend.is_float_dtype(output.dtype):
            noise = keras.ops.convert_to_tensor(rng.normal(size=output.shape).astype("float32"))
            parts.append(keras.ops.sum(keras.ops.cast(output, "float32") * noise))
    return sum(parts)


def _tensorflow(layer, call, inputs, floats):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch([inputs[index] for index in floats])
        total = _total(call(layer, inputs), layer.losses)
    wanted = [weight.value for weight in layer.trainable_weights] + [inputs[index] for index in floats]
    return [None if one is None else tf.convert_to_tensor(one) for one in tape.gradient(total, wanted)]


def _jax(layer, call, inputs, floats):
    import jax

    others = [(variable, variable.value) for variable in layer.non_trainable_variables]

    def total(weights, values):
        given = dict(enumerate(inputs)) | dict(zip(floats, values, strict=True))
        state = [*zip(layer.trainable_weights, weights, strict=True), *others]
        with keras.StatelessScope(state, collect_losses=True) as scope:
            outputs = call(layer, list(given.values()))
        return _total(outputs, scope.losses)

    weights = [weight.value for weight in layer.trainable_weights]
    found = jax.jit(jax.grad(total, argnums=(0, 1)))(weights, [inputs[index] for index in floats])
    return [*found[0], *found[1]]


def _torch(layer, call, inputs, floats):
    for index in floats:
        inputs[index] = inputs[index].detach().clone().requires_grad_()
    layer.zero_grad()
    total = _total(call(layer, inputs), layer.losses)
    if total.requires_grad:
        total.backward()
    found = [weight.value.grad for weight in layer.trainable_weights] + [inputs[index].grad for index in floats]
    layer.zero_grad()
    return found
