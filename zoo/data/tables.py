"""Tables that need no network: three that are drawn, and three that scikit-learn ships."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns {name: array (rows,)} of numbers or text, and the name of the one to predict."""

    columns: dict[str, np.ndarray]
    target: str


def moons() -> Table:
    """Two half circles that reach into each other: 2,000 points, Gaussian noise of 0.1."""
    from sklearn.datasets import make_moons

    return _plane(*make_moons(2000, noise=0.1, random_state=0), ("upper", "lower"))


def spirals() -> Table:
    """Two arms that wind around each other one and a half times: 2,000 points, Gaussian noise of 0.02."""
    rng = np.random.default_rng(0)
    arm = np.arange(2000) % 2
    angle = 3 * np.pi * np.sqrt(rng.uniform(0.02, 1, 2000))
    points = np.stack([np.cos(angle + np.pi * arm), np.sin(angle + np.pi * arm)], axis=1)
    points = points * angle[:, None] / (3 * np.pi) + rng.normal(0, 0.02, (2000, 2))
    return _plane(points, arm, ("first", "second"))


def xor() -> Table:
    """2,000 points of four squares: "same" where both coordinates have one sign, "different" where they have not."""
    rng = np.random.default_rng(0)
    sides = np.stack([np.arange(2000) % 2, np.arange(2000) // 2 % 2], axis=1)  # as many points in every square
    points = rng.uniform(0.05, 1, (2000, 2)) * (2 * sides - 1)
    return _plane(points, sides[:, 0] ^ sides[:, 1], ("same", "different"))


def iris() -> Table:
    """150 irises of three species by four lengths (Fisher 1936)."""
    from sklearn.datasets import load_iris

    return _shipped(load_iris(), "species")


def wine() -> Table:
    """178 wines of three growers by thirteen chemical measures (Forina 1991, UCI)."""
    from sklearn.datasets import load_wine

    return _shipped(load_wine(), "grower")


def breast_cancer() -> Table:
    """569 tumours, malignant or benign, by thirty measures of cell nuclei (Wolberg 1995, UCI)."""
    from sklearn.datasets import load_breast_cancer

    return _shipped(load_breast_cancer(), "diagnosis")


def _plane(points: np.ndarray, classes: np.ndarray, names: tuple[str, str]) -> Table:
    columns = {"x": points[:, 0], "y": points[:, 1], "label": np.array(names, object)[classes]}
    return Table(columns, "label")


def _shipped(data: Any, target: str) -> Table:
    columns = dict(zip(map(str, data.feature_names), data.data.T, strict=True))
    return Table({**columns, target: data.target_names.astype(object)[data.target]}, target)


TABLES: dict[str, Callable[[], Table]] = {
    made.__name__: made for made in (breast_cancer, iris, moons, spirals, wine, xor)
}
"""{name of a data set: what makes its `Table`}."""
