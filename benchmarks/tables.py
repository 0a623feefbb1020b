"""What each hidden layer of `mlp` learns of points in a plane, and its scores on small tables beside scikit-learn's.

    python benchmarks/tables.py
    python benchmarks/tables.py --only wide         # how long 10,000 rows of 2,000 columns take

Every network trains as `zoo train mlp` does, but for the fields that are named; it is judged on the test split by its
best weights, which the validation split chose. scikit-learn's models are of their defaults, on the same training rows
and the same numbers; only gradient boosting depends on the seed.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import zoo
from zoo.data import open_source
from zoo.readers.table_fitting import fit

PLANES = {"moons": {}, "xor": {}, "spirals": {}}
TABLES = {name: {"batch_size": 8} for name in ("iris", "wine", "breast_cancer")}  # 90 rows of 32 are 2 steps an epoch
MODULES = {
    "none": {"hidden": "none"},
    "dense": {"hidden": "dense"},
    "maxout": {"hidden": "maxout"},
    "quadratic": {"hidden": "quadratic"},
    "quadratic, one unit": {"hidden": "quadratic", "units": (1,)},
    "gated": {"hidden": "gated"},
    "moe, linear experts": {"hidden": "moe", "experts": "linear"},
    "moe, mlp experts": {"hidden": "moe", "experts": "mlp"},
}


def network(dataset, seed, fields):
    """Test accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        run = zoo.train("mlp", dataset=dataset, seed=seed, directory=f"{folder}/run", quiet=True, **fields)
        return zoo.evaluate(run, "test")["accuracy"]


def peer(make):
    """A function from a table and a seed to the test accuracy of scikit-learn's `make(seed)`."""

    def score(dataset, seed):
        source = open_source(dataset)
        reader = fit(source, source.target, regression=False)
        rows = reader.read(reader.parse(source.columns, source.where))
        labels = source.columns[source.target].astype(str)
        train, test = source.rows["train"], source.rows["test"]
        return make(seed).fit(rows[train], labels[train]).score(rows[test], labels[test])

    return score


def line(name, scores, datasets):
    """Prints the mean and the lowest of the seeds, in per cent, for each data set."""
    cells = [f"{np.mean(scores[one]):>9.1%} {min(scores[one]):>8.1%}" for one in datasets]
    print(f"{name:<24}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


def wide(rows=10_000, columns=2_000):
    """Prints the seconds from a CSV file of numbers to the rows that a network takes."""
    values = np.random.default_rng(0).normal(size=(rows, columns))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "train.csv")
        with open(path, "w", encoding="utf-8") as file:
            file.write(",".join([*(f"x{index}" for index in range(columns)), "y"]) + "\n")
            file.writelines(",".join([*(f"{one:.4f}" for one in row), "ab"[int(row[0] > 0)]]) + "\n" for row in values)
        start = time.perf_counter()
        source = open_source(f"csv:{folder}")
        opened = time.perf_counter()
        reader = fit(source, "y", regression=False)
        fitted = time.perf_counter()
        reader.read(reader.parse(source.columns, source.where, read=source.numbers))
        done = time.perf_counter()
    print(f"{rows:,} rows of {columns:,} columns: opened in {opened - start:.1f} s, columns learned in ", end="")
    print(f"{fitted - opened:.1f} s, read in {done - fitted:.1f} s; {done - start:.1f} s in all")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("wide",))
    given = parser.parse_args()
    if given.only == "wide":
        wide()
        return
    seeds = range(given.seeds)
    peers = {
        "LogisticRegression": peer(lambda seed: LogisticRegression(max_iter=1000)),
        "GradientBoosting": peer(lambda seed: GradientBoostingClassifier(random_state=seed)),
    }
    for datasets in (PLANES, TABLES):
        print(f"{'mean and lowest':<24}" + "".join(f"{name:>22}" for name in datasets))
        for name, score in peers.items():
            line(name, {one: [score(one, seed) for seed in seeds] for one in datasets}, datasets)
        for name, fields in MODULES.items():
            scores = {one: [network(one, seed, fields | own) for seed in seeds] for one, own in datasets.items()}
            line(f"mlp {name}", scores, datasets)
        print()


if __name__ == "__main__":
    main()
