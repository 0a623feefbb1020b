"""`Oracle`: keras-tuner's oracles, as a study asks them. They write no files, print nothing and keep all their state.

`zoo.tuning.memory` says how the state is kept.
"""

import collections
import contextlib
import dataclasses
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from zoo.tuning.memory import Items, Tracked
from zoo.tuning.space import Space
from zoo.tuning.surrogate import Surrogate
from zoo.tuning.trial import WAIT

_RUNNING, _IDLE, _COMPLETED, _FAILED = "RUNNING", "IDLE", "COMPLETED", "FAILED"
"""keras-tuner's words for the states of a proposal."""

_DRAWS = 20
"""How many of bayesian's first draws may be impossible, or tried, before one is drawn as by random."""

_COLLISIONS = 2000
"""How many draws in a row may have been tried before until the space counts as exhausted; keras-tuner's own are 20."""


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A trial that an oracle wants to see.

    Attributes:
        id: the oracle's own name for the proposal.
        kept: the values as keras-tuner keeps them.
        until: the epoch at which the trial's rung ends; None is its last epoch.
        past: the id of the proposal whose trial is to go on; None is a new trial.
    """

    id: str
    kept: dict[str, Any]
    until: int | None = None
    past: str | None = None


class _Ours(Tracked):
    """Keeps its state in memory, and draws no values that `possible` refuses."""

    possible = staticmethod(lambda kept: True)

    def save(self):
        """Does nothing: the study saves."""

    def _save_trial(self, trial):
        """Does nothing: the study saves."""

    def _check_consecutive_failures(self):
        """Does nothing: the study counts failures, and this would go through all trials at each end."""

    def _random_values(self):
        while (kept := super()._random_values()) is not None:
            if self.possible(kept):
                return kept
            self._tried_so_far.add(self._compute_values_hash(kept))  # a space of such alone is exhausted in the end
        return None


class _Random(_Ours, keras_tuner.oracles.RandomSearchOracle):
    """keras-tuner's oracle."""


class _Bayesian(_Ours, keras_tuner.oracles.BayesianOptimizationOracle):
    """keras-tuner's oracle with another model of the scores: `zoo.tuning.surrogate`.

    keras-tuner's own places alternatives in a row, so that one lies between two others; it gives inactive fields the
    values of others, has one length scale for all fields, and takes a loss of 10^11 as it is.
    """

    surrogate: Surrogate
    space: Space

    def take(self, space):
        """Takes the study's `Space`."""
        self.space = space
        self.surrogate = Surrogate(space.ranges, space.conditions, space.default())
        self._points = {}

    def _point(self, trial):
        """Returns the point of a trial, which never changes."""
        if trial.trial_id not in self._points:
            self._points[trial.trial_id] = self.space.read(trial.hyperparameters.values)
        return self._points[trial.trial_id]

    def populate_space(self, trial_id):
        known, running = [], []
        for trial in self.trials.values():
            point = self._point(trial)
            if trial.status == _COMPLETED:
                known.append((point, trial.score if self.objective.direction == "min" else -trial.score))
            elif trial.status == _FAILED:
                known.append((point, math.inf))
            else:
                running.append(point)
        if sum(score < math.inf for _, score in known) < self.num_initial_points:
            count = len(known) + len(running)
            points = (self.surrogate.draw_first(count, self._random_state) for _ in range(_DRAWS))
        else:
            points = self.surrogate.propose(*zip(*known, strict=True), running, self._random_state)
        for point in points:
            values = self.space.write(self.space.active(point))
            if self._compute_values_hash(values) not in self._tried_so_far and self.possible(values):
                return {"status": _RUNNING, "values": values}
        return self._random_populate_space()

    def get_state(self):
        """Includes the random generator, which keras-tuner would start again."""
        name, keys, *rest = self._random_state.get_state()
        return {**super().get_state(), "generator": [name, keys.tolist(), *rest]}

    def set_state(self, state):
        super().set_state(state)
        name, keys, *rest = state["generator"]
        self._random_state.set_state((name, np.array(keys, np.uint32), *rest))


class _Hyperband(_Ours, keras_tuner.oracles.HyperbandOracle):
    """keras-tuner's oracle, with rungs that fill: a failed trial is replaced, and in a small space rungs shrink."""

    exhausted = False

    def end_trial(self, trial):
        super().end_trial(trial)
        if trial.status == _FAILED:  # as if it had not been drawn
            id = trial.trial_id
            for bracket in self._brackets:
                for rung in reversed(bracket["rounds"]):
                    for info in [info for info in rung if info["id"] == id]:
                        rung.remove(info)
                        id = info["past_id"]

    def _random_trial(self, trial_id, bracket):
        found = super()._random_trial(trial_id, bracket)
        if found["status"] == _RUNNING:
            return found
        self.exhausted = True
        return self.populate_space(trial_id)

    def _get_size(self, bracket_num, round_num):
        """Returns how many trials a rung has. If the space is exhausted, that is a share of those that are there."""
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
    """keras-tuner's oracle, which remembers the order of what was tried."""

    def end_trial(self, trial):
        super().end_trial(trial)
        known = self._ordered_ids._data_to_index  # not those that were added
        self._populate_next = [id for id in self._populate_next if id in known]

    def track(self):
        super().track()
        self._ordered_ids._next_index = Items(self._ordered_ids._next_index, None)

    def lists(self):
        return {**super().lists(), "ordered": self._ordered_ids._memory}

    def mappings(self):
        return {**super().mappings(), "next": self._ordered_ids._next_index}

    def get_state(self):
        """Includes the order of what was tried, which keras-tuner forgets; `changes` has the order itself."""
        return {**super().get_state(), "last": self._ordered_ids._last_index, "populate_next": self._populate_next}

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
        name: one of `zoo.tuning.trial.ORACLES`.
        space: the study's `Space`.
        objective: the name of the score.
        direction: whether scores are to become small ("min") or large ("max").
        seed: a whole number of at least 0.
        epochs: how long hyperband trains a whole trial.
        initial_points: how many trials bayesian draws at random before its first model.
        possible: a function that says whether {field: value} can be a trial, and was none yet.
    """

    def __init__(
        self,
        name: str,
        space: Space,
        objective: str,
        direction: str,
        seed: int,
        epochs: int,
        initial_points: int,
        possible: Callable[[dict[str, Any]], bool],
    ):
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
                self._oracle.take(space)
            case "hyperband":
                self._oracle = _Hyperband(max_epochs=epochs, **options)
        self._space = space
        self._epochs = epochs
        self._oracle.verbose = 0
        self._oracle._max_collisions = _COLLISIONS
        self._oracle.possible = lambda kept: possible(space.read(kept))
        self._oracle.track()

    def ask(self) -> Proposal | str | None:
        """Returns the next `Proposal`; `WAIT` if running trials must end first; None if there is none any more."""
        with _quiet():
            trial = self._oracle.create_trial(self._next_id())
        if trial.status != _RUNNING:
            return WAIT if trial.status == _IDLE else None
        kept = dict(trial.hyperparameters.values)
        until = kept.get("tuner/epochs")
        return Proposal(trial.trial_id, kept, until if until != self._epochs else None, kept.get("tuner/trial_id"))

    def add(self, kept: Mapping[str, Any]) -> str:
        """Adds a proposal that somebody else made, as if it were the oracle's, and returns its id."""
        trial = self._trial(self._next_id(), kept, _RUNNING, None)
        self._oracle.trials[trial.trial_id] = trial
        self._oracle.ongoing_trials[trial.trial_id] = trial
        self._oracle._record_values(trial)
        return trial.trial_id

    def tell(self, id: str, score: float | None) -> None:
        """Ends a proposal with the score of its trial, or None if the trial failed."""
        trial = self._oracle.trials[id]
        trial.status = _FAILED if score is None else _COMPLETED
        with _quiet():
            if score is not None:
                self._oracle.update_trial(id, {self._oracle.objective.name: score})
            self._oracle.end_trial(trial)

    def promising(self) -> set[str]:
        """Returns the ids of proposals that may still go on to another rung."""
        brackets = getattr(self._oracle, "_brackets", ())
        return {info["id"] for bracket in brackets for one in bracket["rounds"][:-1] for info in one}

    # Its memory -------------------------------------------------------------------------------------------------

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Yields (name, JSON) of the parts of the state that have changed since the last call.

        `memory.GONE` stands for a part that is no more. The proposals themselves are no part of the state.
        """
        return self._oracle.changes()

    def load(
        self,
        proposals: Iterable[tuple[str, dict[str, Any], bool, float | None]],
        parts: Mapping[str, Any],
        whole: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes up the state again.

        Args:
            proposals: (id, kept values, whether it was told, score or None) of every proposal.
            parts: {name: JSON} of all parts, by name.
            whole: the state in one piece, as older studies keep it, in place of `parts`.
        """
        self._oracle.trials = {
            id: self._trial(id, kept, _RUNNING if not told else _FAILED if score is None else _COMPLETED, score)
            for id, kept, told, score in proposals
        }
        if whole is None:
            self._oracle.restore(parts)
        else:
            self._oracle.set_state(whole)
            self._oracle.track()

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
    """Hides the deprecation warnings of keras-tuner's own code, and the warning of a fit that ends at a bound."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
