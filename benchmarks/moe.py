"""Mixtures of experts against one dense feed-forward layer of the same active work: forward and backward.

    KERAS_BACKEND=tensorflow python benchmarks/moe.py       (or jax, torch)

4,096 tokens of width 256, hidden 1,024, two experts a token of 4, 8, 16, 32 or 64, beside one feed-forward layer of
hidden 2,048. A ratio is the median over rounds of the two in turn, with its 95 % interval. "Doubling" is the ratio of
the dropless layers with that many experts and with half as many; "every expert" is how many times as long KerasHub's
form takes, which computes every expert on every token.
"""

import argparse

import keras
import numpy as np
from _pairs import paired, show
from _steps import modes, step

from zoo.layers import ExpertFeedForward

TOKENS, WIDTH, HIDDEN, TOP_K = 4096, 256, 1024, 2
EXPERTS = (4, 8, 16, 32, 64)
DROPLESS = {"graph": "at most 2.0", "XLA": "at most 2.8"}
CAPACITY = "at most 1.6"
DOUBLING = {"graph": "at most 1.3", "XLA": "at most 1.45"}
EVERY = "at least 10"


class EveryExpert(keras.layers.Layer):
    """The same function as KerasHub's mixtures compute it: all experts on all tokens, most of them times 0."""

    def __init__(self, sparse):
        super().__init__()
        self.sparse = sparse

    def call(self, inputs, training=None):
        layer = self.sparse
        routing = layer.router(inputs, training=training)
        chosen = keras.ops.one_hot(routing.experts, layer.num_experts)  # (n, k, experts)
        weights = keras.ops.sum(chosen * keras.ops.expand_dims(routing.weights, -1), axis=1)  # (n, experts)
        hidden = keras.ops.einsum("td,edh->eth", inputs, layer.kernel_in)
        hidden = keras.ops.relu(hidden + keras.ops.expand_dims(layer.bias_in, 1))
        outputs = keras.ops.einsum("eth,ehd->etd", hidden, layer.kernel_out)
        outputs = outputs + keras.ops.expand_dims(layer.bias_out, 1)  # (experts, n, width)
        return keras.ops.einsum("etd,te->td", outputs, weights)


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def runner(layer, x, mode):
    """A step of a loss whose gradient needs the outputs: else a compiler leaves out the last product."""
    layer(keras.ops.convert_to_tensor(x))
    return step(lambda tensor: keras.ops.mean(keras.ops.square(layer(tensor, training=True))), [x], mode, [layer])


def main(mode, experts, rounds):
    x = normal(TOKENS, WIDTH)
    layers = keras.layers
    dense = keras.Sequential([layers.Dense(TOP_K * HIDDEN, activation="relu"), layers.Dense(WIDTH)])
    dense = runner(dense, x, mode)
    half = None
    for count in experts:
        layer = ExpertFeedForward(count, HIDDEN, TOP_K)
        limited = ExpertFeedForward(count, HIDDEN, TOP_K, capacity_factor=1.25)
        ours = runner(layer, x, mode)
        show(f"dropless, {count} experts, {mode}", paired(ours, dense, rounds=rounds), DROPLESS.get(mode, ""))
        limited = paired(runner(limited, x, mode), dense, rounds=rounds)
        show(f"capacity_factor=1.25, {count} experts, {mode}", limited, CAPACITY)
        if half is not None:
            show(f"doubling to {count} experts, {mode}", paired(ours, half, rounds=rounds), DOUBLING.get(mode, ""))
        half = ours
    every = paired(runner(EveryExpert(layer), x, mode), ours, rounds=max(rounds // 4, 5), warmup=1)
    show(f"every expert, {count} experts, {mode}", every, EVERY)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", nargs="*", default=modes(), choices=modes())
    parser.add_argument("--experts", nargs="*", type=int, default=EXPERTS)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(f"{'mixture, on ' + keras.backend.backend():<48}  ratio   interval         ours / theirs")
    for mode in options.modes:
        main(mode, options.experts, options.rounds)
