"""What each hidden layer of `mlp` learns of points in a plane, and its scores on small tables beside scikit-learn's.

    python benchmarks/tables.py
    python benchmarks/tables.py --only wide         # how long 10,000 rows of 2,000 columns take, and an export of them

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


class Clock:
    """Says how many seconds have passed since it was last asked, and how many of a processor's."""

    def __init__(self):
        self._before = self._now()

    @staticmethod
    def _now():
        return np.array([time.perf_counter(), time.process_time()])

    def passed(self):
        before, self._before = self._before, self._now()
        return self._before - before


def wide(rows=10_000, columns=2_000):
    """Prints the seconds from a CSV file of numbers to the rows that a network takes, and those of an export."""
    values = np.random.default_rng(0).normal(size=(rows, columns))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "train.csv")
        with open(path, "w", encoding="utf-8") as file:
            file.write(",".join([*(f"x{index}" for index in range(columns)), "y"]) + "\n")
            file.writelines(",".join([*(f"{one:.4f}" for one in row), "ab"[int(row[0] > 0)]]) + "\n" for row in values)
        clock, taken = Clock(), {}
        source = open_source(f"csv:{folder}")
        taken["file opened"] = clock.passed()
        reader = fit(source, "y", regression=False)
        taken["columns learned"] = clock.passed()
        reader.read(reader.parse(source.columns, source.where, read=source.numbers))
        taken["rows read"] = clock.passed()
    taken["in all"] = sum(taken.values())
    print(f"{f'{rows:,} rows of {columns:,} columns':<40}{'seconds':>10}{'of CPU':>10}")
    for name, (wall, cpu) in taken.items():
        print(f"{name:<40}{wall:>10.1f}{cpu:>10.1f}")
    exported(columns)


def exported(columns, asked=50):
    """Prints the median milliseconds that an export of `columns` numbers takes to answer."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        model = zoo.build("mlp", inputs=columns, classes=2)
        signatures = tf.saved_model.load(zoo.export(model, f"{folder}/export", labels=["a", "b"])).signatures
    print(f"{f'an export of {columns:,} columns':<40}{'ms':>10}{'of CPU':>10}")
    for name in ("serving_default", "serve_rows", "serve_tensors"):
        for rows in (1, 100):
            if name not in signatures:
                continue
            specs = signatures[name].structured_input_signature[1]
            given = {key: tf.ones([rows, *spec.shape[1:]], spec.dtype) for key, spec in specs.items()}
            signatures[name](**given)
            clock, passed = Clock(), []
            for _ in range(asked):
                signatures[name](**given)["logits"].numpy()
                passed.append(1000 * clock.passed())
            wall, cpu = np.median(passed, axis=0)
            print(f"{f'{name}, {rows} row' + 's' * (rows > 1):<40}{wall:>10.2f}{cpu:>10.2f}")


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
