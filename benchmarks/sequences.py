"""Recipes on text against the same networks in KerasHub and PyTorch, and decoding with and without a cache: ratios.

    KERAS_BACKEND=tensorflow python benchmarks/sequences.py       (or jax, torch)

A step is forward, backward and Adam on a batch that is ready in memory. The Transformer has 4 + 4 blocks of width 256,
8 heads, feed-forward 1,024, a vocabulary of 1,000 and no dropout, and takes 32 pairs of 64 tokens; seq2seq has 256
units, a bidirectional GRU, embeddings of 128 and a vocabulary of 2,000, and takes 64 pairs of 32. PyTorch runs in a
process of its own. A ratio is the median over rounds of the two in turn, with its 95 % interval; below 1, ours is
quicker.

Decoding is greedy and writes all its tokens. Without a cache the whole network runs at each step, in the same loop.
The exported recipes are those of the dates.
"""

import functools
import importlib.util
import pathlib
import tempfile

import keras
import numpy as np
from _pairs import paired, run, show, timed
from vision import Batches, modes

import zoo
from zoo import decoding

BATCHES = 4
PEERS = ("eager", "compiled")


def pairs(vocabulary, batch, count):
    """((source, target), labels), without padding."""
    rng = np.random.default_rng(0)
    source, target, labels = (rng.integers(4, vocabulary, (batch, count)).astype("int32") for _ in range(3))
    return (source, target), labels


def trainer(model, batch, jit_compile):
    """A callable that trains `model` on a few batches."""
    loss = zoo.objective.losses.TokenLoss() if hasattr(model, "recipe") else None
    model.compile(
        keras.optimizers.Adam(1e-4),
        loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensors(batch).repeat(BATCHES).prefetch(2)
    else:
        batches = Batches(*batch)
    return lambda: model.fit(batches, shuffle=False, verbose=0)


def steps(name, ours, theirs, batch, options, goals):
    """`theirs` is a function that makes a Keras model, or None; `goals` {who: text}."""
    for mode, jit in modes().items():
        step = trainer(ours(), batch, jit)
        if theirs is not None:
            result = paired(step, trainer(theirs(), batch, jit), rounds=options.rounds)
            show(f"{name}, {mode}, to KerasHub", result, goals[mode])
        for peer in options.peers:
            from _torch_networks import Worker

            worker = Worker(name, peer, str(pathlib.Path(__file__).with_name("_torch_sequences.py")))
            result = paired(step, functools.partial(worker, BATCHES), rounds=options.rounds)
            worker.close()
            show(f"{name}, {mode}, to PyTorch {peer}", result, goals["torch"])


def make_transformer(**fields):
    sizes = {"depth": 4, "width": 256, "heads": 8, "hidden": 1024, "vocabulary": 1000, "target_vocabulary": 1000}
    return zoo.build("transformer", **{**sizes, "dropout": 0.0, "length": 64, "target_length": 64, **fields})


def in_keras_hub():
    """The Transformer as a user of KerasHub writes it."""
    import keras_hub

    def embedded(ids):
        return keras_hub.layers.TokenAndPositionEmbedding(1000, 64, 256, mask_zero=True)(ids)

    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    x = embedded(source)
    for _ in range(4):
        x = keras_hub.layers.TransformerEncoder(1024, 8, normalize_first=True)(x)
    y = embedded(target)
    for _ in range(4):
        y = keras_hub.layers.TransformerDecoder(1024, 8, normalize_first=True)(y, x)
    return keras.Model([source, target], keras.layers.Dense(1000)(y))


def transformer(options):
    hub = importlib.util.find_spec("keras_hub")
    goals = {"graph": "at most 0.75", "XLA": "at most 1.0", "jit": "", "eager": "", "torch": "at most 1.3"}
    steps("transformer", make_transformer, hub and in_keras_hub, pairs(1000, 32, 64), options, goals)


def seq2seq(options):
    sizes = {"embedding": 128, "units": 256, "attention": 256, "readout": 256}
    words = {"vocabulary": 2000, "target_vocabulary": 2000}
    make = functools.partial(zoo.build, "seq2seq", **sizes, **words)
    steps("seq2seq", make, None, pairs(2000, 64, 32), options, {"torch": "at most 1.05"})


class Endless:
    """A decoder that never ends, of a cache of `length` where it is given."""

    def __init__(self, decoder, length=None):
        self._decoder, self._length = decoder, length

    def start(self, inputs, length):
        return self._decoder.start(inputs, self._length or length)

    def step(self, tokens, index, state, memory):
        logits, state = self._decoder.step(tokens, index, state, memory)
        return keras.ops.where(keras.ops.arange(logits.shape[-1]) == decoding.END, -1e9, logits), state


class Whole:
    """A decoder that runs the whole network over all that was written, at each step."""

    def __init__(self, model, length):
        self._model, self._length = model, length

    def start(self, source, length):
        return keras.ops.zeros((keras.ops.shape(source)[0], self._length), "int32"), source

    def step(self, tokens, index, state, memory):
        place = keras.ops.arange(self._length) == index
        state = keras.ops.where(place, tokens[:, None], state)
        logits = self._model([memory, state])
        return keras.ops.sum(keras.ops.where(place[:, None], logits, 0.0), axis=1), state


def asker(model, decoder, search, source, jit):
    """A callable that decodes."""
    compiled = decoding.Decoding(model, decoder, search, jit_compile=jit)
    return lambda: compiled.predict_on_batch(source)


def cache(options):
    for mode, jit in modes().items():
        model = make_transformer(depth=4)
        for batch, goal in ((1, "at most 0.14"), (32, "at most 0.11")):
            (source, _), _ = pairs(1000, batch, 64)
            search = decoding.Search(64)
            ours = asker(model, Endless(model.recipe.make_decoder(model)), search, source, jit)
            theirs = asker(model, Endless(Whole(model, 64)), search, source, jit)
            result = paired(ours, theirs, rounds=max(3, options.rounds // 5), warmup=1)
            show(f"64 tokens, batch {batch}, {mode}, to no cache", result, goal)


def growth(options):
    """Seconds for 16 to 128 tokens of a cache of 128: the exponent, by least squares of the logarithms."""
    for mode, jit in modes().items():
        model = make_transformer(length=128, target_length=128)
        (source, _), _ = pairs(1000, 8, 64)

        decoder = Endless(model.recipe.make_decoder(model), 128)
        lengths, seconds = (16, 32, 64, 128), []
        for length in lengths:
            ask = asker(model, decoder, decoding.Search(length), source, jit)
            ask()
            seconds.append(np.median([timed(ask) for _ in range(max(3, options.rounds // 4))]))
        exponent = np.polyfit(np.log(lengths), np.log(seconds), 1)[0]
        told = ", ".join(f"{length}: {1e3 * one:.0f} ms" for length, one in zip(lengths, seconds, strict=True))
        print(f"{f'time over tokens, {mode}: the exponent':<48}{exponent:>7.3f}   at most 1.2   ({told})")


def saved(options):
    """Milliseconds in which an export answers one date, from string to string: ten characters and the end."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    for name in ("seq2seq", "transformer"):
        for width, goal in ((1, 10), (4, 20)):
            with tempfile.TemporaryDirectory() as folder:
                exported = zoo.export(zoo.build(name, beam_width=width, target_length=11), f"{folder}/export")
                serve = tf.saved_model.load(exported).signatures["serving_default"]
                ask = functools.partial(serve, text=tf.constant(["3 March 2011"]))
                ask()
                times = [timed(ask) for _ in range(10 * options.rounds)]
            search = "greedy" if width == 1 else f"beam {width}"
            print(f"{f'exported {name}, one date, {search}: ms':<48}{1e3 * np.median(times):>7.2f}   at most {goal}")


PARTS = {"transformer": transformer, "seq2seq": seq2seq, "cache": cache, "growth": growth, "saved": saved}

if __name__ == "__main__":
    run(__doc__, PARTS, PEERS, f"on {keras.backend.backend()}")
