"""Bits per character on held-out topics of `english`: what counting n-grams reaches, on three splits.

    python benchmarks/english.py

Every character of the test split is scored once, the ends of topics too, as a language model of ours is scored.
"""

import argparse

from _kneser_ney import KneserNey

from zoo.data import open_source
from zoo.text_reader import fit

SPLITS = range(3)
ORDERS = (5, 7)


def characters(source, tokenizer, split):
    """The texts of a split end to end, a character an id."""
    found = [tokenizer.encode(example["text"][None]) for example in source.examples(split)]
    return chr(1) + "".join(chr(one) for ids in found for one in ids.flat_values.numpy())


def counted(split, order):
    source = open_source(f"english:split={split}" if split else "english")
    tokenizer = fit(source, ["text"], "characters")
    train, test = (characters(source, tokenizer, part) for part in ("train", "test"))
    return KneserNey(train, order, tokenizer.size).bits(test)


def main():
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    print(f"{'bits per character':<44}" + "".join(f"{f'split {split}':>10}" for split in SPLITS))
    for order in ORDERS:
        scores = "".join(f"{counted(split, order):>10.3f}" for split in SPLITS)
        print(f"{f'interpolated modified Kneser-Ney, order {order}':<44}{scores}", flush=True)


if __name__ == "__main__":
    main()
