"""Test accuracy on the digits, over seeds, beside scikit-learn's SVC on the same split.

    python benchmarks/digits.py

Every network trains as `zoo train NAME` does (its recipe's own data, epochs and augmentation), and is judged on the
test split by its best weights, which the validation split chose. A name may have fields behind it:

    python benchmarks/digits.py "resnet norm=group batch_size=4 epochs=20"
"""

import argparse

from _training import rows
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from zoo.data.memory_source import stratified


def support_vectors():
    """Accuracy of SVC(gamma=0.001) on pixels 0-16."""
    digits = load_digits()
    rows = stratified(digits.target)
    pixels = digits.images.reshape(len(digits.images), -1)
    model = SVC(gamma=0.001).fit(pixels[rows["train"]], digits.target[rows["train"]])
    return model.score(pixels[rows["test"]], digits.target[rows["test"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("names", nargs="*", default=["lenet", "lenet/modern", "resnet", "odenet", "vit"])
    options = parser.parse_args()
    print(f"{'model':<42}{'mean':>9}{'lowest':>9}{'highest':>9}{'seconds':>9}{'parameters':>12}")
    score = support_vectors()
    print(f"{'SVC(gamma=0.001)':<42}{score:>9.2%}{score:>9.2%}{score:>9.2%}", flush=True)
    rows(options.names, "accuracy", options.seeds, width=42, digits=2)


if __name__ == "__main__":
    main()
