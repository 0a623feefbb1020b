"""What tests of the networks on text share: small ones, with weights that make them say something."""

import keras
import numpy as np

import zoo
from zoo import decoding

BLOCKS = {"width": 8, "heads": 2, "hidden": 12, "depth": 2}
TRANSLATOR = {"vocabulary": 11, "target_vocabulary": 9, "length": 12, "target_length": 12}
SEQ2SEQ = {**TRANSLATOR, "units": 6, "attention": 5, "embedding": 4, "readout": 5}
MODEL = {**BLOCKS, "vocabulary": 11, "length": 16}
GPT = {**MODEL, "answer_length": 4}
LLAMA = {**GPT, "heads": 4}  # and two of keys and values

WRITERS = [
    ("seq2seq", SEQ2SEQ),
    ("seq2seq", {**SEQ2SEQ, "cell": "lstm"}),
    ("seq2seq", {**SEQ2SEQ, "cell": "rnn"}),
    ("transformer", {**TRANSLATOR, **BLOCKS}),
    ("transformer", {**TRANSLATOR, **BLOCKS, "target_vocabulary": 11, "tied": True, "norm": "post"}),
    ("transformer", {**TRANSLATOR, **BLOCKS, "positions": "learned", "ffn": "gated", "depth": 1}),
    ("transformer", {**TRANSLATOR, **BLOCKS, "ffn": "quadratic"}),
    ("transformer", {**TRANSLATOR, **BLOCKS, "positions": "rotary", "kv_heads": 1, "norm_kind": "rms", "bias": False}),
    ("transformer", {**TRANSLATOR, **BLOCKS, "ffn": "moe", "experts": 3}),
]
"""Recipes from a source and a target to logits of the target's vocabulary."""


def names(cases):
    """What pytest calls each of `cases`."""
    plain = {**BLOCKS, **SEQ2SEQ}
    return ["-".join([name, *(str(v) for k, v in fields.items() if plain.get(k) != v)]) for name, fields in cases]


def make(name, **fields):
    """(recipe, network) whose weights are drawn wide, so that no two answers are alike."""
    recipe = zoo.recipe(name, **fields)
    network = recipe.network()
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if "seed_generator" not in weight.path:
            size = 0.7 if len(weight.shape) > 1 else 0.2
            weight.assign(keras.ops.convert_to_numpy(weight) * 0.1 + rng.normal(0, size, weight.shape))
    return recipe, network


def texts(vocabulary, lengths, time, seed=0):
    """Ids (texts, time): so many tokens, END the last of them, then padding."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((len(lengths), time), "int32")
    for row, length in enumerate(lengths):
        ids[row, :length] = [*rng.integers(4, vocabulary, length - 1), 2] if length else []
    return ids


def says(network, inputs):
    """What `network` answers; on JAX compiled, where a loop is otherwise compiled anew in every call."""
    if keras.backend.backend() == "jax":
        return network.predict_on_batch(inputs)
    return numbers(network(inputs))


def decoded(recipe, network, search, inputs):
    """(tokens, scores) (n, width, ...) that `search` finds."""
    return decoding.Decoding(network, recipe.make_decoder(network), search).predict_on_batch(inputs)


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)
