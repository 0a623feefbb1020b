"""Bits per character on held-out topics of `english`: what counting n-grams and `gpt` reach, on three splits.

    python benchmarks/english.py

Every character of the test split is scored once, the ends of topics too, by n-grams and by networks. `gpt` trains as
`zoo train gpt` does; the other network is of the size and the length of training that nanoGPT has for a CPU.
"""

import argparse

from _kneser_ney import KneserNey
from _training import trained

from zoo.data import open_source
from zoo.readers.vocabulary import fit

SPLITS = range(3)
ORDERS = (5, 7)
NETWORKS = ("gpt", "gpt length=64 answer_length=32 batch_size=12 dropout=0 epochs=5")


def characters(source, tokenizer, split):
    """The texts of a split end to end, a character an id."""
    found = [tokenizer.encode(example["text"][None]) for example in source.examples(split)]
    return chr(1) + "".join(chr(one) for ids in found for one in ids.flat_values.numpy())


def data(split):
    return f"english:split={split}" if split else "english"


def counted(split, order):
    source = open_source(data(split))
    tokenizer = fit(source, ["text"], "characters")
    train, test = (characters(source, tokenizer, part) for part in ("train", "test"))
    return KneserNey(train, order, tokenizer.size).bits(test)


def line(name, cells):
    print(f"{name:<72}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("n-grams", "networks"))
    parser.add_argument("names", nargs="*", default=NETWORKS, help='networks, such as "gpt learning_rate=1e-3"')
    options = parser.parse_args()
    line("bits per character", [f"split {split}" for split in SPLITS])
    if options.only != "networks":
        for order in ORDERS:
            scores = [f"{counted(split, order):.3f}" for split in SPLITS]
            line(f"interpolated modified Kneser-Ney, order {order}", scores)
    if options.only != "n-grams":
        for name in options.names:
            found = [trained(name, dataset=data(split), seed=0) for split in SPLITS]
            line(name, [f"{one.scores['bits_per_character']:.3f}" for one in found])
            line(f"  seconds of training, {found[0].parameters:,} parameters", [f"{one.seconds:.0f}" for one in found])


if __name__ == "__main__":
    main()
