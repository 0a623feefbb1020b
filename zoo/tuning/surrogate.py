"""`Surrogate`: a Gaussian process that predicts the scores of points in a space, and proposes the next one.

A point is {field: value} of the active fields. Numbers are placed between 0 and 1 on the scale of their range, and so
are alternatives that are numbers, by their order. Other alternatives are one column each (one-hot), so that none lies
between two others. A field that is inactive has a constant in place of its value. The process has a length scale for
each column (Matern 5/2) and noise; the next point is the one of largest expected improvement (Mockus 1975; Jones,
Schonlau & Welch 1998) among points drawn from the whole space and around the best.
"""

import functools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.tuning.ranges import Range

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

Point = Mapping[str, Any]
"""{field: value} of active fields."""

_CANDIDATES = 750
"""How many points are drawn from the whole space, and as many around the best."""

_BEST = 4
"""Around how many of the best points candidates are drawn."""

_NEAR = (0.02, 0.06, 0.15)
"""How far candidates are from the best ones: deviations on the scale from 0 to 1."""

_CHANGE = 0.25
"""The probability that a candidate around a point has another alternative than that point, for each field."""

_FITTED = 200
"""How many points the process is fitted to at most: the best half, and the newest half."""

_STEPS = 30
"""How many steps the search for length scales and noise takes at most."""


class Surrogate:
    """Proposes points from the scores of others.

    Args:
        ranges: {field: `Range`}.
        conditions: {field: {parent: values under which the field is active}}.
        default: a point; the first draws stay near it.
    """

    def __init__(
        self, ranges: Mapping[str, Range], conditions: Mapping[str, Mapping[str, Sequence[Any]]], default: Point
    ):
        self._ranges = ranges
        self._conditions = conditions
        self._default = default

    def draw(self, generator: np.random.RandomState) -> dict[str, Any]:
        """Returns a point drawn uniformly from the whole space."""
        return self._active({name: range.at(generator.uniform()) for name, range in self._ranges.items()})

    def _active(self, values):
        """Returns the part of {field: value} whose parents are active and have the values that it needs."""
        found = dict(values)
        while inactive := [name for name in found if not self._holds(name, found)]:
            for name in inactive:
                del found[name]
        return found

    def _holds(self, name, values):
        return all(parent in values and values[parent] in holding for parent, holding in self._conditions[name].items())

    def draw_first(self, count: int, generator: np.random.RandomState) -> dict[str, Any]:
        """Returns a point for when too few are known: near the default, and anywhere, in turn of `count`."""
        return self._near(self._default, _NEAR[-1], generator) if count % 2 else self.draw(generator)

    def propose(
        self,
        points: Sequence[Point],
        scores: Sequence[float],
        running: Sequence[Point],
        generator: np.random.RandomState,
    ) -> list[dict[str, Any]]:
        """Returns points that should be tried next, the most promising first.

        Args:
            points, scores: what is known; scores are to become small, and infinite where a point failed.
            running: points whose scores are not known yet. They count as if they got what the process expects.
            generator: draws the candidates.
        """
        order = np.argsort(scores, kind="stable")
        best = [points[index] for index in order[:_BEST]]
        candidates = [self.draw(generator) for _ in range(_CANDIDATES)]
        for number in range(_CANDIDATES):
            candidates.append(self._near(best[number % len(best)], _NEAR[number % len(_NEAR)], generator))
        kept = sorted({*order[: _FITTED // 2], *range(max(len(points) - _FITTED // 2, 0), len(points))})
        x, y = self._encoded([points[index] for index in kept]), softened([scores[index] for index in kept])
        model = _fitted(_process(x.shape[1]), x, y)
        if running:
            added = self._encoded(running)
            x, y = np.vstack([x, added]), np.concatenate([y, model.predict(added)])
            model = _fitted(model.set_params(kernel=model.kernel_, optimizer=None), x, y)
        mean, deviation = model.predict(self._encoded(candidates), return_std=True)
        gain = expected_improvement(mean, deviation, y.min())
        return [candidates[index] for index in np.argsort(-gain, kind="stable")]

    def _near(self, point, distance, generator):
        """Returns a point near another: numbers a little off, some alternatives changed."""
        found = {}
        for name, range in self._ranges.items():
            if name not in point:
                found[name] = range.at(generator.uniform())
                continue
            value = point[name]
            if not range.values:
                found[name] = range.at(range.place(value) + distance * generator.normal())
            elif generator.uniform() >= _CHANGE:
                found[name] = value
            elif range.ordered:
                found[name] = range.at(range.place(value) + generator.choice([-1, 1]) / len(range.values))
            else:
                found[name] = range.at(generator.uniform())
        return self._active(found)

    def _encoded(self, points):
        """Returns points as an array (points, columns)."""
        return np.array(
            [[number for name in self._ranges for number in self._columns(name, point)] for point in points]
        )

    def _columns(self, name, point):
        range = self._ranges[name]
        if range.ordered:
            return [range.place(point[name]) if name in point else 0.5]
        return [math.sqrt(0.5) if name in point and point[name] == value else 0.0 for value in range.values]


def softened(scores: Sequence[float]) -> np.ndarray:
    """Returns scores with mean 0 and deviation 1, bad ones cut off.

    A score that is further above the median than the median is above the best says no more than that it is bad. A
    failure, infinity, counts as such a one.
    """
    known = np.asarray(scores, float)
    best, middle = known.min(), np.median(known)
    if not math.isfinite(middle):  # most have failed
        finite = known[np.isfinite(known)]
        middle = finite.max() if finite.size else 0.0
        best = finite.min() if finite.size else 0.0
    cut = np.minimum(known, middle + max(middle - best, 1e-12 * max(abs(middle), 1.0)))
    return (cut - cut.mean()) / (cut.std() or 1.0)


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """Returns E[max(best - Y, 0)] for each Y, normal with this mean and standard deviation."""
    from scipy.stats import norm

    deviation = np.maximum(deviation, 1e-12)
    z = (best - mean) / deviation
    return deviation * (z * norm.cdf(z) + norm.pdf(z))


def _fitted(process: "GaussianProcessRegressor", x: np.ndarray, y: np.ndarray) -> "GaussianProcessRegressor":
    """Returns a process, fitted. A length scale may end at a bound: that field says little, or much."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(x, y)


def _process(columns: int) -> "GaussianProcessRegressor":
    """Returns an unfitted process."""
    import scipy.optimize
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    def minimize(function, start, bounds):
        found = scipy.optimize.minimize(
            function, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": _STEPS}
        )
        return found.x, found.fun

    scales = Matern(np.full(columns, 0.5), (0.1, 10.0), nu=2.5)
    kernel = ConstantKernel(1.0, (0.1, 10.0)) * scales + WhiteKernel(1e-2, (1e-4, 0.3))
    return GaussianProcessRegressor(kernel, optimizer=functools.partial(minimize))
