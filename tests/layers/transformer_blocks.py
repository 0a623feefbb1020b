"""The blocks of a Transformer, composed by hand of Keras's layers."""

import keras
import numpy as np

from tests.layers.arrays import numbers


def shake(layer, rng):
    """Moves all weights off their initial values."""
    for weight in layer.trainable_weights:
        weight.assign(numbers(weight) + 0.2 * rng.normal(size=weight.shape))


def part(block, name):
    """{what of a sublayer: array}, such as {"kernel": ...}."""
    found = {}
    for weight in block.weights:
        path = weight.path.split("/")[1:]
        if path[: name.count("/") + 1] == name.split("/"):
            found[path[-1]] = numbers(weight)
    return found


def attend(block, name, query, value, heads, **masks):
    """Keras's attention with the weights of the block's."""
    joined, count = ("query_key_value", 3) if part(block, f"{name}/query_key_value") else ("key_value", 2)
    split = {kind: np.split(array, count, axis=-1) for kind, array in part(block, f"{name}/{joined}").items()}
    if count == 2:
        split = {kind: [array, *split[kind]] for kind, array in part(block, f"{name}/query").items()}
    arrays = [split[kind][index] for index in range(3) for kind in split]
    arrays += part(block, f"{name}/output").values()
    layer = keras.layers.MultiHeadAttention(heads, query.shape[-1] // heads, use_bias="bias" in split)
    layer.build(query.shape, value.shape)
    layer.set_weights([array.reshape(weight.shape) for array, weight in zip(arrays, layer.weights, strict=True)])
    # with weights, because without them some backends take another way
    return layer(query, value, return_attention_scores=True, **masks)[0]


def norm(block, name, x):
    found = part(block, f"{name}_norm")
    if block.norm == "rms":
        layer = keras.layers.RMSNormalization(epsilon=block.epsilon)
    else:
        layer = keras.layers.LayerNormalization(epsilon=block.epsilon, center="beta" in found)
    layer.build(x.shape)
    layer.set_weights(list(found.values()))
    return layer(x)


def feed(block, x, activation):
    for name, function in (("hidden", activation), ("output", lambda x: x)):
        found = {
            kind: keras.ops.convert_to_tensor(array) for kind, array in part(block, f"feed_forward_{name}").items()
        }
        x = function(keras.ops.matmul(x, found["kernel"]) + found.get("bias", 0.0))
    return x


def composed(block, x, *sublayers):
    """`sublayers` [(name, function)] with their residual connections, before or after the norm."""
    for name, function in sublayers:
        if block.norm_first:
            x = x + function(norm(block, name, x))
        else:
            x = norm(block, name, x + function(x))
    return x
