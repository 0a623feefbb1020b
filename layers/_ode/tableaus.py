"""Butcher tableaus: frozen numbers that prove their order when they are made."""

import dataclasses
import functools
import itertools

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method: k_i = f(x + h sum_j a_ij k_j, t + c_i h), x(t + h) = x + h sum_i b_i k_i.

    Args:
        order: of accuracy.
        nodes: c, the first 0.
        stages: a, one row shorter than its index is large: ((), (a_21,), (a_31, a_32), ...).
        weights: b.
        error: b - b*, whose sum estimates the step's error, b* of order `order - 1`; None where there is none. Such a
            method's last stage is the slope at x(t + h), the next step's first ("first same as last").
    """

    order: int
    nodes: tuple
    stages: tuple
    weights: tuple
    error: tuple | None = None

    def __post_init__(self):
        count = len(self.nodes)
        rows = [len(row) for row in self.stages]
        if rows != list(range(count)) or len(self.weights) != count or len(self.error or self.weights) != count:
            raise ValueError(f"A tableau of {count} stages has rows of 0 to {count - 1}. Received: rows of {rows}")
        for node, row in zip(self.nodes, self.stages, strict=True):
            if abs(sum(row) - node) > 1e-12:
                raise ValueError(f"Row {row} must sum to its node. Received: node={node}")
        _check_order("weights", self, np.array(self.weights), self.order)
        if self.error is not None:
            if self.weights[-1] != 0 or self.stages[-1] != self.weights[:-1] or self.nodes[-1] != 1:
                raise ValueError(f"With an error estimate the last stage ends the step. Received: {self.stages[-1]}")
            _check_order("weights - error", self, np.array(self.weights) - self.error, self.order - 1)

    @property
    def evaluations(self):
        """Evaluations of f in one step: a last stage that is the next step's first counts there."""
        return len(self.nodes) - (self.error is not None)


def _check_order(name, tableau, weights, order):
    """Butcher's conditions: weights . phi(tree) = 1 / density(tree) for every rooted tree of at most `order` nodes."""
    matrix = np.zeros((len(tableau.nodes),) * 2)
    for index, row in enumerate(tableau.stages):
        matrix[index, :index] = row

    def phi(tree):
        return np.prod([np.ones(len(matrix)), *(matrix @ phi(branch) for branch in tree)], axis=0)

    for tree in itertools.chain.from_iterable(map(_trees, range(1, order + 1))):
        if abs(weights @ phi(tree) - 1 / _density(tree)) > 1e-12:
            raise ValueError(f"{name} are not of order {order}. Received: {weights.tolist()}")


@functools.cache
def _trees(size):
    """The rooted trees of `size` nodes; a tree is the sorted tuple of its branches."""
    if size == 1:
        return [()]
    smaller = [tree for part in range(1, size) for tree in _trees(part)]
    groups = itertools.chain.from_iterable(
        itertools.combinations_with_replacement(smaller, count) for count in range(1, size)
    )
    return [group for group in groups if sum(map(_size, group)) == size - 1]


def _size(tree):
    return 1 + sum(map(_size, tree))


def _density(tree):
    product = _size(tree)
    for branch in tree:
        product *= _density(branch)
    return product


EULER = Tableau(1, (0.0,), ((),), (1.0,))
MIDPOINT = Tableau(2, (0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0))
HEUN = Tableau(2, (0.0, 1.0), ((), (1.0,)), (1 / 2, 1 / 2))
RK4 = Tableau(
    4,
    (0.0, 1 / 2, 1 / 2, 1.0),
    ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
# Bogacki & Shampine 1989
BOSH3 = Tableau(
    3,
    (0.0, 1 / 2, 3 / 4, 1.0),
    ((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (2 / 9, 1 / 3, 4 / 9, 0.0),
    (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
)
# Dormand & Prince 1980
DOPRI5 = Tableau(
    5,
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)
# Tsitouras 2011
TSIT5 = Tableau(
    5,
    (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
    (
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
    ),
    (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774, 0.0),
    (
        -0.0017800110522257773,
        -0.0008164344596567463,
        0.007880878010261994,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918686,
        1 / 66,
    ),
)

TABLEAUS = {
    "euler": EULER,
    "midpoint": MIDPOINT,
    "heun": HEUN,
    "rk4": RK4,
    "bosh3": BOSH3,
    "dopri5": DOPRI5,
    "tsit5": TSIT5,
}
