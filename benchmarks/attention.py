"""Attention and blocks of Transformers against what Keras users have today: forward and backward, ratios in one run.

    KERAS_BACKEND=tensorflow python benchmarks/attention.py       (or jax, torch)

MultiHeadAttention against `keras.layers.MultiHeadAttention`; a TransformerEncoderBlock against
`keras_hub.layers.TransformerEncoder`, where KerasHub is installed; a step of BahdanauAttention against Keras's
AdditiveAttention and the two Dense layers that it lacks. A ratio is the median over rounds of the two in turn, with its
95 % interval; below 1, ours is quicker.
"""

import argparse
import importlib.util

import keras
import numpy as np
from _pairs import paired, show
from _steps import modes, step

from zoo.layers import BahdanauAttention, MultiHeadAttention, TransformerEncoderBlock

BATCH, TIME, WIDTH, HEADS = 32, 64, 256, 8


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def padding(batch, time):
    """Sentences from a half of the length to the whole."""
    return np.arange(time) < np.linspace(time / 2, time, batch)[:, None]


def multi_head_attention(rounds):
    x, value = normal(BATCH, TIME, WIDTH), normal(BATCH, TIME, WIDTH)
    mask = keras.ops.convert_to_tensor(padding(BATCH, TIME))
    for name, masks in (
        ("no mask", {}),
        ("causal", {"use_causal_mask": True}),
        ("padding", {"query_mask": mask, "value_mask": mask}),
        ("padding, causal", {"query_mask": mask, "value_mask": mask, "use_causal_mask": True}),
    ):
        ours, theirs = MultiHeadAttention(HEADS), keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
        ours.build(x.shape)
        theirs.build(x.shape, x.shape)
        own = {key: value for key, value in masks.items() if key != "value_mask"}
        against(
            f"self-attention, {name}",
            (lambda x, own=own, ours=ours: ours(x, **own), ours),
            (lambda x, masks=masks, theirs=theirs: theirs(x, x, **masks), theirs),
            [x],
            rounds,
        )
    ours, theirs = MultiHeadAttention(HEADS), keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
    for layer in (ours, theirs):
        layer.build(x.shape, value.shape)
    against(
        "attention to a value, padding",
        (lambda x, value: ours(x, value, value_mask=mask), ours),
        (lambda x, value: theirs(x, value, value_mask=mask), theirs),
        [x, value],
        rounds,
    )


def encoder_block(rounds):
    if importlib.util.find_spec("keras_hub") is None:
        print("TransformerEncoderBlock: KerasHub is not installed")
        return
    import keras_hub

    x, mask = normal(BATCH, TIME, WIDTH), keras.ops.convert_to_tensor(padding(BATCH, TIME))
    for dropout in (0.0, 0.1):
        ours = TransformerEncoderBlock(HEADS, 4 * WIDTH, dropout=dropout, attention_dropout=dropout)
        theirs = keras_hub.layers.TransformerEncoder(4 * WIDTH, HEADS, dropout=dropout)
        for layer in (ours, theirs):
            layer.build(x.shape)
        against(
            f"encoder block, dropout {dropout}",
            (lambda x, ours=ours: ours(x, mask=mask, training=True), ours),
            (lambda x, theirs=theirs: theirs(x, padding_mask=mask, training=True), theirs),
            [x],
            rounds,
        )


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

    against("Bahdanau, a step", (own_attention, ours), (keras_attention, first, second, theirs), [query, value], rounds)

    def own_given_keys(query, value, keys):
        return ours(query, value, keys, value_mask=mask)

    def keras_given_keys(query, value, keys):
        return theirs([first(query)[:, None], value, keys], mask=[None, mask], return_attention_scores=True)

    arrays = [query, value, normal(64, 32, 256)]
    against("Bahdanau, keys given", (own_given_keys, ours), (keras_given_keys, first, theirs), arrays, rounds)


def against(name, ours, theirs, arrays, rounds):
    """`ours` and `theirs`, each (function, layer, ...), in every mode of the backend."""
    for mode in modes():
        first, second = (step(function, arrays, mode, layers) for function, *layers in (ours, theirs))
        show(f"{name}, {mode}", paired(first, second, rounds=rounds))


PARTS = {
    "multi_head_attention": multi_head_attention,
    "encoder_block": encoder_block,
    "bahdanau_attention": bahdanau_attention,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    print(f"{'layer, on ' + keras.backend.backend():<44}  ratio   interval         ours / theirs")
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.rounds)
