"""What padding costs on the built-in sets of text, and how fast texts are read.

    python benchmarks/sequences_data.py

`padding` is the part of all positions of an epoch's batches that is padding;
`random` the same of batches as large that are drawn at random and padded to their own longest, on average; `shapes` how
many shapes of batches there are, which is what a compiled step is traced for. Then seconds: to learn the vocabulary, to
read the training split once, and to give an epoch of batches, nobody training.
"""

import time
import warnings

import numpy as np
import tensorflow as tf

from zoo.data import open_source, pipeline
from zoo.data.source import Text
from zoo.data.text_preparations import LabelledPreparation, PairPreparation
from zoo.readers.texts import TextReader
from zoo.readers.vocabulary import fit

LENGTH = 512
"""Tokens of a text at most."""

CASES = [
    ("dates", "characters", None, 128, None),
    ("dates", "characters", None, None, 4096),
    ("dates:train=5000", "characters", None, 64, None),
    ("dates", "subwords", 1000, 128, None),
    ("sections", "characters", None, 16, None),
    ("sections", "subwords", 1000, 16, None),
    ("sections", "subwords", 1000, None, 2048),
]
"""(set, tokens, size of the vocabulary, examples of a batch, positions of a batch)."""


def random_batches(lengths, sizes):
    """The part that is padding where batches of `sizes` are drawn of `lengths` (n, sequences)."""
    order = np.random.default_rng(0).permutation(len(lengths))[: sum(sizes)]
    batches = np.split(lengths[order], np.cumsum(sizes)[:-1])
    return 1 - sum(batch.sum() for batch in batches) / sum(len(one) * one.max(axis=0).sum() for one in batches)


def seconds(work):
    start = time.perf_counter()
    done = work()
    return done, time.perf_counter() - start


def line(name, kind, size, batch_size, positions):
    """Prints what a set costs: tokens of `kind`, a vocabulary of `size`, batches of examples or positions."""
    source = open_source(name)
    prepare = LabelledPreparation if "label" in source.features else PairPreparation
    names = [feature for feature, what in source.features.items() if isinstance(what, Text)]
    tokenizer, learning = seconds(lambda: fit(source, names, kind, size))
    preparation = prepare(source, TextReader(tokenizer, LENGTH), tokens=positions)
    with warnings.catch_warnings(action="ignore"):  # that some texts are cut
        made, reading = seconds(lambda: preparation.training(batch_size))
    batches = pipeline.training(source, preparation, batch_size=batch_size, seed=0, epochs=range(1))
    found, giving = seconds(lambda: [tuple(part.shape for part in tf.nest.flatten(batch)) for batch in batches])
    random = random_batches(made.lengths, [shape[0][0] for shape in found])
    batch = f"{batch_size} texts" if positions is None else f"{positions:,} places"
    print(f"{name:<18}{kind:<12}{batch:>14}{source.sizes['train']:>8,}{len(set(found)):>8}", end="")
    print(f"{made.waste:>9.1%}{random:>8.1%}{learning:>8.1f}s{reading:>6.1f}s{giving:>6.2f}s", flush=True)


def main():
    print(f"{'set':<18}{'tokens':<12}{'batch':>14}{'texts':>8}{'shapes':>8}{'padding':>9}{'random':>8}", end="")
    print(f"{'learn':>9}{'read':>7}{'epoch':>7}")
    for case in CASES:
        line(*case)


if __name__ == "__main__":
    main()
