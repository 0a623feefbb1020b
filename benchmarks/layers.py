"""Layers against what Keras users have today: forward and backward, ratios in one run.

    KERAS_BACKEND=tensorflow python benchmarks/layers.py       (or jax, torch)

GroupNorm against `keras.layers.GroupNormalization`, on three sizes of images, and what both get wrong where the mean
is a thousand times the deviation; a step of BahdanauAttention against Keras's AdditiveAttention and the two Dense
layers that it lacks; Quadratic of low rank against the two Dense layers that it equals in work; BatchNorm against
`keras.layers.BatchNormalization`, alone and in a step of a small residual network. A ratio is the median over rounds of
the two in turn, with its 95 % interval; below 1, ours is quicker.
"""

import argparse

import keras
import numpy as np
from _steps import against, modes, padding

from zoo.layers import BahdanauAttention, BatchNorm, GroupNorm, Quadratic


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def compare(name, ours, theirs, arrays, rounds, goals=None, **arguments):
    """Two layers, called with `arguments`."""
    for layer in (ours, theirs):
        layer(*(keras.ops.convert_to_tensor(array) for array in arrays), **arguments)
    first, second = ((lambda *xs, layer=layer: layer(*xs, **arguments), layer) for layer in (ours, theirs))
    against(name, first, second, arrays, rounds, goals)


def group_norm(rounds):
    goals = {"graph": "at most 0.67", "XLA": "at most 1"}
    for shape in ((32, 32, 32, 64), (16, 28, 28, 128), (8, 64, 64, 32)):
        ours, theirs = GroupNorm(8), keras.layers.GroupNormalization(8, epsilon=1e-5)
        compare(f"GroupNorm {shape}", ours, theirs, [normal(*shape)], rounds, goals, training=True)


def bahdanau_attention(rounds):
    """The step of a decoder: one query to 32 annotations."""
    query, value = normal(64, 256), normal(64, 32, 512)
    mask = keras.ops.convert_to_tensor(padding(64, 32))
    ours = BahdanauAttention(256)
    ours.build(query.shape, value.shape)
    first, second = (keras.layers.Dense(256, use_bias=False) for _ in range(2))
    theirs = keras.layers.AdditiveAttention()
    first.build(query.shape)
    second.build(value.shape)
    theirs.build([(64, 1, 256), (64, 32, 512), (64, 32, 256)])

    def keras_attention(query, value):
        inputs = [first(query)[:, None], value, second(value)]
        return theirs(inputs, mask=[None, mask], return_attention_scores=True)

    def own_attention(query, value):
        return ours(query, value, value_mask=mask)

    peer, goals = (keras_attention, first, second, theirs), dict.fromkeys(modes(), "at most 1")
    against("Bahdanau, a step", (own_attention, ours), peer, [query, value], rounds, goals)

    def own_given_keys(query, value, keys):
        return ours(query, value, keys, value_mask=mask)

    def keras_given_keys(query, value, keys):
        return theirs([first(query)[:, None], value, keys], mask=[None, mask], return_attention_scores=True)

    arrays = [query, value, normal(64, 32, 256)]
    against("Bahdanau, keys given", (own_given_keys, ours), (keras_given_keys, first, theirs), arrays, rounds)


def quadratic(rounds):
    for features, units, rank in ((256, 256, 1), (256, 64, 4)):
        ours = Quadratic(units, rank=rank, use_linear=False)
        first, second = (keras.layers.Dense(units * rank) for _ in range(2))
        x = normal(4096, features)
        ours.build(x.shape)
        first.build(x.shape)
        second.build(x.shape)
        dense = (lambda x, first=first, second=second: (first(x), second(x)), first, second)
        goals = dict.fromkeys(modes(), "at most 1.5")
        against(f"Quadratic {features} to {units}, rank {rank}", (ours, ours), dense, [x], rounds, goals)


def batch_norm(rounds):
    for shape in ((128, 32, 32, 16), (32, 28, 28, 128)):
        ours, theirs = BatchNorm(), keras.layers.BatchNormalization()
        compare(f"BatchNorm {shape}", ours, theirs, [normal(*shape)], rounds, training=True)
    networks = [residual_network(norm) for norm in (BatchNorm, keras.layers.BatchNormalization)]
    compare("BatchNorm in a residual network", *networks, [normal(64, 32, 32, 3)], rounds, training=True)


def residual_network(norm):
    """Nine convolutions, each with a norm: a third of ResNet-20, with its widths."""

    def convolve(x, filters, strides=1):
        x = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        return norm()(x)

    x = inputs = keras.Input((32, 32, 3))
    x = keras.ops.relu(convolve(x, 16))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = keras.ops.relu(convolve(x, filters, strides))
        y = convolve(y, filters)
        short = x if strides == 1 else keras.layers.Conv2D(filters, 1, strides=strides)(x)
        x = keras.ops.relu(y + short)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def exactness(rounds):
    """Largest errors against float64 where the mean is a thousand times the deviation."""
    x = normal(8, 32, 32, 64) + np.float32(1000)
    wide = x.astype("float64").reshape(8, -1, 8, 8)
    mean, variance = wide.mean((1, 3), keepdims=True), wide.var((1, 3), keepdims=True)
    exact = ((wide - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
    layers = {"GroupNorm": GroupNorm(8), "keras GroupNormalization": keras.layers.GroupNormalization(8, epsilon=1e-5)}
    if keras.backend.backend() == "torch":
        import torch

        def native(x):
            return torch.nn.functional.group_norm(torch.tensor(x).permute(0, 3, 1, 2), 8, eps=1e-5).permute(0, 2, 3, 1)

        layers["torch group_norm, channels last"] = native
    for name, layer in layers.items():
        error = np.abs(keras.ops.convert_to_numpy(layer(x)) - exact).max()
        print(f"{'largest error, ' + name:<44}{error:>7.0e}")


PARTS = {
    "group_norm": group_norm,
    "exactness": exactness,
    "bahdanau_attention": bahdanau_attention,
    "quadratic": quadratic,
    "batch_norm": batch_norm,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    print(f"{'layer, on ' + keras.backend.backend():<48}  ratio   interval         ours / theirs")
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.rounds)
