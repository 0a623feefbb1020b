"""Texts of the dates written without a fault, of 4,000 whose dates training did not see, over seeds.

    python benchmarks/dates.py

Every network trains as `zoo train NAME` does, and is judged by its greedy answers to the test split with the weights
that the validation split chose. A name may have fields behind it, as of `zoo train`.
"""

import argparse

import numpy as np
from _training import trained

NAMES = (
    "seq2seq",
    "transformer",
    "seq2seq dataset=dates:train=5000 batch_size=64 epochs=16",
    "transformer dataset=dates:train=5000 batch_size=32 epochs=24 dropout=0.1",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("names", nargs="*", default=NAMES)
    options = parser.parse_args()
    print(f"{'exact match':<64}{'mean':>9}{'lowest':>9}{'highest':>9}{'seconds':>9}{'parameters':>12}")
    for name in options.names:
        scores, seconds, sizes = zip(*(trained(name, seed=seed) for seed in range(options.seeds)), strict=True)
        exact = [score["exact_match"] for score in scores]
        numbers = f"{np.mean(exact):>9.3%}{min(exact):>9.3%}{max(exact):>9.3%}{np.mean(seconds):>9.1f}"
        print(f"{name:<64}{numbers}{sizes[0]:>12,}", flush=True)


if __name__ == "__main__":
    main()
