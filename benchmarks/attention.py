"""Attention and blocks of Transformers against what Keras users have today: forward and backward, ratios in one run.

    KERAS_BACKEND=tensorflow python benchmarks/attention.py       (or jax, torch)

MultiHeadAttention against `keras.layers.MultiHeadAttention`; a TransformerEncoderBlock against
`keras_hub.layers.TransformerEncoder`, where KerasHub is installed. A ratio is the median over rounds of the two in
turn, with its 95 % interval; below 1, ours is quicker.
"""

import argparse
import importlib.util

import keras
import numpy as np
from _steps import against, padding

from zoo.layers import MultiHeadAttention, TransformerEncoderBlock

BATCH, TIME, WIDTH, HEADS = 32, 64, 256, 8


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


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


PARTS = {"multi_head_attention": multi_head_attention, "encoder_block": encoder_block}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    print(f"{'layer, on ' + keras.backend.backend():<48}  ratio   interval         ours / theirs")
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments.rounds)
