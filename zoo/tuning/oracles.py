"""keras-tuner's oracles, as a study asks them: no files, no printing, and a state that is all of their state."""

import collections
import contextlib
import dataclasses
import math
import sys
import warnings

import keras_tuner
import numpy as np
import scipy.optimize
from keras_tuner.engine.trial import Trial

NAMES = ("random", "grid", "bayesian", "hyperband")

WAIT = object()
"""What `Oracle.ask` answers where it first has to be told of trials that are running."""

_STARTS = 50
"""Points from which bayesian looks for the best one, as many as in keras-tuner."""

_COLLISIONS = 2000
"""How often in a row what is drawn was there before, until a space counts as exhausted; keras-tuner's own are 20."""

_STEP = np.finfo(float).eps ** 0.5
"""Of its differences, as scipy's own."""


@dataclasses.dataclass(frozen=True)
class Proposal:
    """What an oracle wants to know.

    Attributes:
        id: the oracle's own name for it.
        kept: the values as keras-tuner keeps them.
        until: the epoch at which the trial's rung ends; None is its last epoch.
        past: the id of the proposal whose trial is to go on; None is a new trial.
    """

    id: str
    kept: dict
    until: int | None = None
    past: str | None = None


class _Ours:
    """Keeps its state in memory alone, and draws no values that `possible` refuses."""

    possible = staticmethod(lambda kept: True)

    def save(self):
        """The study does."""

    def _save_trial(self, trial):
        """The study does."""

    def _random_values(self):
        while (kept := super()._random_values()) is not None:
            if self.possible(kept):
                return kept
            self._tried_so_far.add(self._compute_values_hash(kept))  # a space of such alone is exhausted in the end
        return None


class _Random(_Ours, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(_Ours, keras_tuner.oracles.BayesianOptimizationOracle):
    """keras-tuner's, which asks its model for each difference of a gradient alone: seconds for a dozen fields.

    Here one prediction is the value and all its differences; the point is the same.
    """

    def populate_space(self, trial_id):
        done = sum(trial.status == "COMPLETED" for trial in self.trials.values())
        if done < self.num_initial_points:
            return self._random_populate_space()
        self.gpr.fit(*self._vectorize_trials())
        bounds = self._get_hp_bounds()
        starts = self._random_state.uniform(*bounds.T, (_STARTS, len(bounds)))
        options = {"jac": True, "bounds": bounds, "method": "L-BFGS-B"}
        found = [scipy.optimize.minimize(self._confidence_bound, start, **options) for start in starts]
        values = self._vector_to_values(min(found, key=lambda one: one.fun).x)
        if not self.possible(values):
            return self._random_populate_space()
        return {"status": "RUNNING", "values": values}

    def _confidence_bound(self, x):
        """(lower confidence bound of the score at a point of the unit cube, its gradient by one-sided differences)."""
        steps = np.where(x + _STEP > 1, -_STEP, _STEP)
        mean, deviation = self.gpr.predict(np.vstack([x, x + np.diag(steps)]), return_std=True)
        value, *others = mean - self.beta * deviation
        return value, (others - value) / steps

    def get_state(self):
        """The generator too, which keras-tuner starts afresh."""
        name, keys, *rest = self._random_state.get_state()
        return {**super().get_state(), "generator": [name, keys.tolist(), *rest]}

    def set_state(self, state):
        super().set_state(state)
        name, keys, *rest = state["generator"]
        self._random_state.set_state((name, np.array(keys, np.uint32), *rest))


class _Hyperband(_Ours, keras_tuner.oracles.HyperbandOracle):
    """keras-tuner's, but that rungs fill: another is drawn for a trial that fails, and a small space is halved."""

    exhausted = False

    def end_trial(self, trial):
        super().end_trial(trial)
        if trial.status == "FAILED":  # as if it had not been drawn
            id = trial.trial_id
            for bracket in self._brackets:
                for rung in reversed(bracket["rounds"]):
                    for info in [info for info in rung if info["id"] == id]:
                        rung.remove(info)
                        id = info["past_id"]

    def _random_trial(self, trial_id, bracket):
        found = super()._random_trial(trial_id, bracket)
        if found["status"] == "RUNNING":
            return found
        self.exhausted = True
        return self.populate_space(trial_id)

    def _get_size(self, bracket_num, round_num):
        """How many trials a rung has: of an exhausted space, a share of those that are there."""
        size = super()._get_size(bracket_num, round_num)
        there = [len(one["rounds"][0]) for one in self._brackets if one["bracket_num"] == bracket_num]
        if not self.exhausted or not there:
            return size
        return min(size, math.ceil(there[0] / self.factor**round_num))

    def get_state(self):
        return {**super().get_state(), "exhausted": self.exhausted}

    def set_state(self, state):
        super().set_state(state)
        self.exhausted = state["exhausted"]


class _Grid(_Ours, keras_tuner.oracles.GridSearchOracle):
    def end_trial(self, trial):
        super().end_trial(trial)
        known = self._ordered_ids._data_to_index  # not those that were added
        self._populate_next = [id for id in self._populate_next if id in known]

    def get_state(self):
        """The order of what was tried too, which keras-tuner forgets."""
        ordered = self._ordered_ids
        return {
            **super().get_state(),
            "ordered": ordered._memory,
            "next": [[index, following] for index, following in ordered._next_index.items()],
            "last": ordered._last_index,
            "populate_next": self._populate_next,
        }

    def set_state(self, state):
        super().set_state(state)
        ordered = self._ordered_ids
        ordered._memory = list(state["ordered"])
        ordered._data_to_index = {id: index for index, id in enumerate(ordered._memory)}
        ordered._next_index = collections.defaultdict(lambda: None, map(tuple, state["next"]))
        ordered._last_index = state["last"]
        self._populate_next = list(state["populate_next"])


class Oracle:
    """One of keras-tuner's oracles.

    Args:
        name: one of `NAMES`.
        space: the study's `Space`.
        objective, direction: what is to become small ("min") or large ("max").
        seed: a whole number of at least 0.
        epochs: of a whole trial; for hyperband.
        initial_points: random trials before the first that is modelled; for bayesian.
        possible: a function from {field: value} to whether such a trial can be, and was not.
    """

    def __init__(self, name, space, objective, direction, seed, epochs, initial_points, possible):
        options = {
            "objective": keras_tuner.Objective(objective, direction),
            "hyperparameters": space.parameters(),
            "allow_new_entries": False,
            # keras-tuner takes 0 for none, and draws from seed, seed + 1, ...: near seeds would be much alike
            "seed": 1 + int(np.random.SeedSequence(seed).generate_state(1)[0]) % 2**31,
            "max_consecutive_failed_trials": sys.maxsize,
        }
        match name:
            case "random":
                self._oracle = _Random(max_trials=None, **options)
            case "grid":
                self._oracle = _Grid(**options)
            case "bayesian":
                self._oracle = _Bayesian(max_trials=None, num_initial_points=initial_points, **options)
            case "hyperband":
                self._oracle = _Hyperband(max_epochs=epochs, **options)
        self._space = space
        self._epochs = epochs
        self._oracle.verbose = 0
        self._oracle._max_collisions = _COLLISIONS
        self._oracle.possible = lambda kept: possible(space.read(kept))

    def ask(self):
        """The next `Proposal`; `WAIT`, or None where there is none any more."""
        with _quiet():
            trial = self._oracle.create_trial(self._next_id())
        if trial.status != "RUNNING":
            return WAIT if trial.status == "IDLE" else None
        kept = dict(trial.hyperparameters.values)
        until = kept.get("tuner/epochs")
        return Proposal(trial.trial_id, kept, until if until != self._epochs else None, kept.get("tuner/trial_id"))

    def add(self, kept):
        """The id of a proposal that is somebody else's, as if the oracle had made it."""
        trial = self._trial(self._next_id(), kept, "RUNNING", None)
        self._oracle.trials[trial.trial_id] = trial
        self._oracle.ongoing_trials[trial.trial_id] = trial
        self._oracle._record_values(trial)
        return trial.trial_id

    def tell(self, id, score):
        """Ends a proposal with its score; None where its trial failed."""
        trial = self._oracle.trials[id]
        trial.status = "FAILED" if score is None else "COMPLETED"
        with _quiet():
            if score is not None:
                self._oracle.update_trial(id, {self._oracle.objective.name: score})
            self._oracle.end_trial(trial)

    def promising(self):
        """Ids of proposals that may still go on to another rung."""
        brackets = getattr(self._oracle, "_brackets", ())
        return {info["id"] for bracket in brackets for one in bracket["rounds"][:-1] for info in one}

    def get_state(self):
        """All but the proposals themselves, as JSON."""
        return self._oracle.get_state()

    def set_state(self, state, proposals):
        """Takes the state again, with `proposals` [(id, kept, status, score)] of all that was asked."""
        self._oracle.trials = {id: self._trial(id, kept, status, score) for id, kept, status, score in proposals}
        self._oracle.set_state(state)

    def _next_id(self):
        return f"{len(self._oracle.trials):04d}"

    def _trial(self, id, kept, status, score):
        parameters = self._oracle.get_space()
        parameters.values = dict(kept)
        trial = Trial(parameters, trial_id=id, status=status)
        trial.score = score
        return trial


@contextlib.contextmanager
def _quiet():
    """Without the deprecation warnings of keras-tuner's own code, and of a fit that found a bound."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
