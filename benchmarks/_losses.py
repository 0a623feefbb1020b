"""Three problems of tuning as tables: each network of a grid was trained once, and studies search the table.

A loss between the points of a grid is interpolated: linearly in dropout and in the logarithm of the learning rate. A
search then costs no training, so that many seeds can be searched. `python benchmarks/tuning.py --tabulate NAME` trains
what the table `losses/NAME.csv` lacks; a table that is interrupted goes on.
"""

import csv
import dataclasses
import functools
import itertools
import math
import pathlib
import sys
import tempfile
from collections.abc import Callable

import keras
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

import zoo
from zoo.data.memory_source import stratified

FOLDER = pathlib.Path(__file__).with_name("losses")

RATES = tuple(float(f"{rate:.3g}") for rate in np.geomspace(1e-4, 1e-1, 7))


def digits():
    """200 digits to train on, and the validation and test splits of all."""
    found = load_digits()
    rows = stratified(found.target)
    images = np.round(found.images[..., None] * 255 / 16).astype("uint8")
    rows["train"] = rows["train"][:: len(rows["train"]) // 200][:200]
    return {split: (images[chosen], found.target[chosen]) for split, chosen in rows.items()}


def tumors():
    """30 measurements of 569 tumors, benign or malignant."""
    found = load_breast_cancer()
    return {split: (found.data[rows], found.target[rows]) for split, rows in stratified(found.target).items()}


@dataclasses.dataclass(frozen=True)
class Problem:
    """A recipe, and the values of fields that are tried.

    Attributes:
        recipe: the recipe's name.
        data: a function that returns its data.
        fixed: {field: value} of fields that are not searched.
        grid: {field: values}; those of the fields in `between` are points of a continuous range.
        when: {field: (other field, value)}: the field counts only if the other one has this value.
    """

    recipe: str
    data: Callable
    fixed: dict
    grid: dict
    when: dict = dataclasses.field(default_factory=dict)
    between: tuple[str, ...] = ("learning_rate", "dropout")

    def active(self, values):
        """Returns the part of {field: value} that counts."""
        return {
            name: value
            for name, value in values.items()
            if name not in self.when or values[self.when[name][0]] == self.when[name][1]
        }

    def points(self):
        """Returns {field: value} of each different point of the grid."""
        found = []
        for values in itertools.product(*self.grid.values()):
            point = self.active(dict(zip(self.grid, values, strict=True)))
            if point not in found:
                found.append(point)
        return found

    def space(self):
        """Returns the space as `zoo.tune` takes it."""
        return {
            name: f"{values[0]}..{values[-1]}{':log' if name == 'learning_rate' else ''}"
            if name in self.between
            else [list(one) if isinstance(one, tuple) else one for one in values]
            for name, values in self.grid.items()
        }

    def train(self, point):
        """Trains a network; returns (its lowest validation loss, the test loss of that epoch's weights)."""
        data = self.data()
        with tempfile.TemporaryDirectory() as folder:
            run = zoo.train(
                self.recipe, **self.fixed, **point, monitor="val_loss", dataset=data, directory=folder, quiet=True
            )
            model = zoo.load(run)
            given = {} if isinstance(data, str) else {"dataset": data}
            test = model.evaluate(zoo.dataset(model, "test", **given), verbose=0, return_dict=True)["loss"]
            return min(row["val_loss"] for row in run.history), test


PROBLEMS = {
    "lenet": Problem(
        "lenet",
        digits,
        {"epochs": 9},
        {
            "learning_rate": RATES,
            "batch_size": (16, 32, 64, 128),
            "dropout": (0.0, 0.25, 0.5),
            "activation": ("tanh", "relu"),
        },
    ),
    "mlp": Problem(
        "mlp",
        tumors,
        {"epochs": 20},
        {
            "learning_rate": RATES,
            "hidden": ("dense", "maxout", "quadratic", "gated"),
            "activation": ("relu", "tanh"),
            "units": ((8,), (32,), (128,)),
            "dropout": (0.0, 0.25, 0.5),
        },
        {"activation": ("hidden", "dense")},
    ),
    "transformer": Problem(
        "transformer",
        lambda: "dates:train=1000,validation=200,test=200",
        {"epochs": 12, "width": 64, "hidden": 128, "heads": 4},
        {
            "learning_rate": RATES[1:6],
            "batch_size": (16, 64),
            "dropout": (0.0, 0.2),
            "depth": (1, 2),
        },
    ),
}


def tabulate(name):
    """Trains the points of a problem that its table lacks, and adds them to it."""
    problem, path = PROBLEMS[name], FOLDER / f"{name}.csv"
    FOLDER.mkdir(exist_ok=True)
    known = _read(path) if path.exists() else {}
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not known:
            writer.writerow([*problem.grid, "val_loss", "test_loss"])
        for number, point in enumerate(points := problem.points(), 1):
            if _key(problem, point) not in known:
                losses = problem.train(point)
                writer.writerow([*_key(problem, point), *(f"{loss:.6g}" for loss in losses)])
                file.flush()
                print(f"{number} of {len(points)}: {point} {losses[0]:.4f} {losses[1]:.4f}", flush=True)
                keras.backend.clear_session()


def _key(problem, point):
    return tuple(_text(point.get(field)) for field in problem.grid)


def _text(value):
    return "" if value is None else "-".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _read(path):
    """Returns {texts of a point: (validation loss, test loss)} of a table; a last line that was cut off is left out."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {tuple(row[:-2]): (float(row[-2]), float(row[-1])) for row in rows if row and row[-1]}


@functools.cache
def _table(name):
    path = FOLDER / f"{name}.csv"
    if not path.exists() or len(found := _read(path)) < len(PROBLEMS[name].points()):
        sys.exit(f"{path} is not complete: python benchmarks/tuning.py --tabulate {name} trains what it lacks.")
    return found


def loss(name, values):
    """Returns (validation loss, test loss) of {field: value}; between points of the grid, in proportion."""
    problem, table = PROBLEMS[name], _table(name)
    point = problem.active({field: values[field] for field in problem.grid if field in values})
    corners = [({}, 1.0)]
    for field, value in point.items():
        near = _neighbours(field, problem.grid[field], value) if field in problem.between else [(value, 1.0)]
        corners = [({**one, field: at}, share * part) for one, share in corners for at, part in near if part > 0]
    found = [(table[_key(problem, corner)], share) for corner, share in corners]
    return tuple(sum(losses[which] * share for losses, share in found) for which in (0, 1))


def lowest(name):
    """Returns the lowest validation loss of a table."""
    return min(losses[0] for losses in _table(name).values())


def _neighbours(field, grid, value):
    """Returns the two points of a grid around a value, each with its share."""
    scale = math.log if field == "learning_rate" else float
    above = next(index for index, point in enumerate(grid) if index and (value <= point or index == len(grid) - 1))
    low, high = grid[above - 1], grid[above]
    part = (scale(value) - scale(low)) / (scale(high) - scale(low))
    part = min(max(part, 0.0), 1.0)
    return [(low, 1 - part), (high, part)]
