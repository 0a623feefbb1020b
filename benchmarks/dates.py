"""Texts of the dates written without a fault, of 4,000 whose dates training did not see, over seeds.

    python benchmarks/dates.py

Every network trains as `zoo train NAME` does, and is judged by its greedy answers to the test split with the weights
that the validation split chose. A name may have fields behind it, as of `zoo train`. What writes no text is judged by
another metric:

    python benchmarks/dates.py sentence_encoder --metric recall_at_1
"""

import argparse

from _training import rows

NAMES = (
    "seq2seq",
    "transformer",
    "seq2seq dataset=dates:train=5000 batch_size=64 epochs=16",
    "transformer dataset=dates:train=5000 batch_size=32 epochs=24 dropout=0.1",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--metric", default="exact_match", help="a part of 1, of those that zoo.evaluate returns")
    parser.add_argument("names", nargs="*", default=NAMES)
    options = parser.parse_args()
    print(f"{options.metric:<64}{'mean':>10}{'lowest':>10}{'highest':>10}{'seconds':>9}{'parameters':>12}")
    rows(options.names, options.metric, options.seeds, width=64, digits=3)


if __name__ == "__main__":
    main()
