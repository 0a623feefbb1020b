"""Which fields a study's scores depend on: permutation importance by a random forest, on trials that it did not see."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from zoo.tuning.report.scales import Scale
from zoo.tuning.trial import Trial

FEWEST = 10
"""How many ranked trials there must be."""

FOLDS = 5
TREES = 50
REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Importance:
    """What a random forest says of the fields.

    Attributes:
        shares: {field: share of all importance}, the largest first; they add up to 1, or are all 0.
        explained: the share of the variance of the ranks that the forest predicts of trials that it has not seen; 1 is
            all of it.
    """

    shares: dict[str, float]
    explained: float


def measure(ranked: Sequence[Trial], scales: Mapping[str, Scale]) -> Importance | None:
    """Measures how much each field matters; None if there are fewer than `FEWEST` trials, or all have one score.

    A random forest predicts a trial's rank, not its score: otherwise a few trials that went very wrong would decide
    alone. The value of an inactive field is missing. The importance of a field is how much the squared error on trials
    left out grows when the field's values are shuffled between them.

    Args:
        ranked: trials with a score, the best first.
        scales: {field: `Scale`}.
    """
    from scipy.stats import rankdata
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    scores = [trial.score for trial in ranked]
    if len(ranked) < FEWEST or not scales or len(set(scores)) == 1:
        return None
    ranks = rankdata(scores)
    values = np.array([[_place(trial, name, scales[name]) for name in scales] for trial in ranked])  # (trials, fields)
    errors, grown = np.zeros(len(ranked)), []
    for seen, left in KFold(FOLDS, shuffle=True, random_state=0).split(values):
        forest = RandomForestRegressor(TREES, random_state=0).fit(values[seen], ranks[seen])
        errors[left] = (forest.predict(values[left]) - ranks[left]) ** 2
        options = {"scoring": "neg_mean_squared_error", "n_repeats": REPEATS, "random_state": 0}
        grown.append(permutation_importance(forest, values[left], ranks[left], **options).importances_mean)
    weights = np.mean(grown, axis=0).clip(0)  # (fields,)
    shares = dict(zip(scales, (weights / (weights.sum() or 1.0)).tolist(), strict=True))
    return Importance(
        shares=dict(sorted(shares.items(), key=lambda one: -one[1])),
        explained=float(1 - errors.mean() / ranks.var()),
    )


def _place(trial, name, scale):
    return scale.at(trial.values[name]) if name in trial.values else math.nan
