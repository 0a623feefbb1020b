"""Test accuracy on the digits, over seeds, beside scikit-learn's SVC on the same split.

    python benchmarks/digits.py

Every network trains as `zoo train NAME` does (its recipe's own data, epochs and augmentation), and is judged on the
test split by its best weights, which the validation split chose.
"""

import argparse
import tempfile
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import zoo
from zoo.data.digits import splits


def support_vectors():
    """Accuracy of SVC(gamma=0.001) on pixels 0-16."""
    digits = load_digits()
    rows = splits(digits.target)
    pixels = digits.images.reshape(len(digits.images), -1)
    model = SVC(gamma=0.001).fit(pixels[rows["train"]], digits.target[rows["train"]])
    return model.score(pixels[rows["test"]], digits.target[rows["test"]])


def network(name, seed):
    """(test accuracy, seconds of training)."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = zoo.train(name, seed=seed, directory=f"{folder}/run", quiet=True)
        seconds = time.perf_counter() - start
        return zoo.evaluate(run, "test")["accuracy"], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--names", nargs="*", default=["lenet", "lenet/modern"])
    options = parser.parse_args()
    print(f"{'model':<24}{'mean':>8}{'lowest':>8}{'highest':>9}{'seconds':>9}")
    score = support_vectors()
    print(f"{'SVC(gamma=0.001)':<24}{score:>8.2%}{score:>8.2%}{score:>9.2%}", flush=True)
    for name in options.names:
        scores, seconds = zip(*(network(name, seed) for seed in range(options.seeds)), strict=True)
        print(
            f"{name:<24}{np.mean(scores):>8.2%}{min(scores):>8.2%}{max(scores):>9.2%}{np.mean(seconds):>9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
