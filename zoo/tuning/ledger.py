"""`Ledger`: what happens in a study, one event after another, and what its oracle knows of it.

The loop of `zoo.tune` writes it, and so do `Study.ask`, `tell` and `enqueue`. An event is one transaction.
"""

import contextlib
import json
import math
import pathlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from zoo.errors import InputError
from zoo.fields import from_json
from zoo.tuning.definition import Definition
from zoo.tuning.folder import Folder
from zoo.tuning.memory import GONE
from zoo.tuning.pruning import PRUNERS
from zoo.tuning.trial import COMPLETED, FAILED, HYPERBAND, PRUNED, RUNNING, UNSCORED, WAIT

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe
    from zoo.tuning.oracles import Oracle, Proposal


class Ledger(Folder):
    """A study's folder, and the events in it: every method of its own works inside `writing` only."""

    def __init__(self, path: str | pathlib.Path, definition: Definition, trusted: bool = False):
        super().__init__(path, definition, trusted)
        self._oracle = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Self]:
        """Holds the study for this process; inside, more of the same does nothing.

        Raises: `InputError` where another process holds it.
        """
        outer = self._store is None
        with super().writing():
            try:
                yield self
            finally:
                if outer:
                    self._oracle = None

    # Proposing --------------------------------------------------------------------------------------------------

    def enqueue(self, given: Mapping[str, Any]) -> None:
        """Puts a trial before the recipe's default, behind those enqueued already: {field: value} of searched fields,
        the others at their defaults.

        Raises: `InputError` for values that cannot be, or that a trial has already.
        """
        given = self.space.check(given)
        values = self.space.active({**self.space.defaults(), **given})
        missing = [name for name in given if name not in values]
        if missing:
            raise InputError(f"{', '.join(missing)} would have no effect beside the other values: leave it out.")
        wanted = form(self.space.recipe(values))
        known, queue = self._store.of_form(wanted), self._store.get("queue")
        if known is not None:
            raise InputError(f"Trial {known} has these values already.")
        if wanted in [form(self.space.recipe(from_json(entry["values"]))) for entry in queue]:
            raise InputError("A trial with these values comes next already.")
        with self._transaction():
            own = [entry for entry in queue if entry["origin"] != "default"]
            rest = [entry for entry in queue if entry["origin"] == "default"]
            self._store.set("queue", [*own, {"values": values, "origin": "enqueued"}, *rest])

    def propose(self, max_trials: int | None = None) -> int | str:
        """Takes the next trial, and notes it as running.

        Args:
            max_trials: how many trials there may be, without those skipped.

        Returns: the trial's number; or `WAIT` if running trials must end first; or why there is none any more.
        """
        queue = self._store.get("queue")
        full = max_trials is not None and self._store.count() - self._store.skipped() >= max_trials
        spent = f"max_trials={max_trials} is reached"
        while queue and not full:
            entry, *queue = queue
            number = self._enqueued(entry, queue)
            if number is not None:
                return number
        if full and self.definition.oracle != HYPERBAND:
            return spent
        while True:
            proposal = self._loaded().ask()
            if proposal is None:
                done = self.definition.oracle == HYPERBAND
                return "hyperband's brackets are done" if done else "the space is exhausted"
            if proposal == WAIT:
                return WAIT
            if full and proposal.past is None:
                self._oracle = None  # what it has just done is forgotten
                return spent
            number = self._proposed(proposal)
            if number is not None:
                return number

    def _enqueued(self, entry, queue):
        """Returns the number of the next trial of the queue; None if there is one with its values already."""
        values = from_json(entry["values"])
        wanted = form(self.space.recipe(values))
        with self._transaction():
            self._store.set("queue", queue)
            if self._store.of_form(wanted) is not None:
                return None
            kept = self.space.write(values)
            id = self._loaded().add(kept)
            number = self._add_trial(values, wanted, entry["origin"], None)
            self._store.add_proposal(id, kept, number)
            self._save_oracle()
        return number

    def _proposed(self, proposal: "Proposal") -> int | None:
        """Returns the number of the trial that runs a proposal; None if none need run, which the oracle is told."""
        if proposal.past is not None:
            number = self._store.trial_of(proposal.past)
            with self._transaction():
                self._store.add_proposal(proposal.id, proposal.kept, number)
                self._store.change_trial(number, status=RUNNING, reason=None, until=proposal.until)
                self._save_oracle()
            return number
        values = self.space.read(proposal.kept)
        try:
            wanted = form(self.space.recipe(values))
        except InputError:  # fields that make each other impossible
            with self._transaction():
                self._store.add_proposal(proposal.id, proposal.kept, None)
                self._tell(proposal.id, None)
                self._save_oracle()
            return None
        with self._transaction():
            known = self._store.of_form(wanted)
            if known is None:
                number = self._add_trial(values, wanted, "oracle", proposal.until)
                self._store.add_proposal(proposal.id, proposal.kept, number)
                self._save_oracle()
                return number
            self._store.add_proposal(proposal.id, proposal.kept, known)
            row = self._store.trial(known)
            if row["status"] != RUNNING:
                self._tell(proposal.id, row["score"])
            self._save_oracle()
        return None

    def _add_trial(self, values, form, origin, until):
        number = self._store.count()
        self._store.add_trial(
            number=number, values=json.dumps(values), form=form, status=RUNNING, epochs=0, origin=origin,
            started=time.time(), host=socket.gethostname(), until=until, seconds=0.0, begun=0,
        )  # fmt: skip
        return number

    # Running ----------------------------------------------------------------------------------------------------

    def begin(self, number: int, host: str | None = None) -> None:
        """Notes that the run of a trial has a folder, and the machine that trains it; None is this one."""
        with self._transaction():
            self._store.change_trial(number, begun=1, host=host or socket.gethostname())

    def note(self, elapsed: float, running: Mapping[int, tuple[float, int]]) -> None:
        """Notes what was spent: seconds of the study, and {trial: (its seconds, its epochs)} of those that run."""
        with self._transaction():
            self._store.set("elapsed", elapsed)
            for number, (seconds, epochs) in running.items():
                self._store.change_trial(number, seconds=seconds, epochs=epochs)

    def end(
        self,
        number: int,
        status: str,
        score: float | None = None,
        *,
        epoch: int | None = None,
        epochs: int = 0,
        reason: str | None = None,
    ) -> None:
        """Ends a trial, or its rung, and tells the oracle. A score that is not finite is a failure."""
        if status in (COMPLETED, PRUNED) and (score is None or not math.isfinite(score)):
            status = FAILED
            reason = reason or f"{self.definition.objective} was {'missing' if score is None else score}"
        if status in UNSCORED:
            score = epoch = None
        with self._transaction():
            self._store.change_trial(
                number, status=status, score=score, epoch=epoch, epochs=epochs, reason=reason, ended=time.time()
            )
            for id in self._store.untold(number):
                self._tell(id, score)
            self._save_oracle()

    def verdict(self, number: int, curves: Mapping[int, dict[int, float]], epoch: int) -> str | None:
        """Returns why the pruner stops a trial after `epoch`, or None; `curves` are {number: curve} of all trials."""
        if self.definition.pruner is None:
            return None
        others = [curve for other, curve in curves.items() if other != number]
        return PRUNERS[self.definition.pruner](curves[number], others, epoch, self.definition.direction)

    def promising(self) -> set[int]:
        """Returns the numbers of the trials that may still go on to another rung."""
        return {self._store.trial_of(id) for id in self._loaded().promising()} - {None}

    # The oracle -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self):
        """A transaction of the store; one that fails makes the oracle forget what it did in it."""
        try:
            with self._store.transaction():
                yield
        except BaseException:
            self._oracle = None
            raise

    def _loaded(self) -> "Oracle":
        """Returns the oracle, as the last transaction left it."""
        if self._oracle is None:
            from zoo.tuning.oracles import Oracle

            definition = self.definition
            self._oracle = Oracle(
                definition.oracle,
                self.space,
                definition.objective,
                definition.direction,
                definition.seed,
                self.space.recipe(self.space.default()).epochs,
                definition.initial_points,
                self._possible,
            )
            whole = self._store.get("oracle")  # before the memory was kept in parts
            parts = {} if whole is not None else self._store.named("oracle:")
            if whole is not None or parts:
                self._oracle.load(self._store.proposals(), parts, whole)
        return self._oracle

    def _tell(self, id, score):
        self._loaded().tell(id, score)
        self._store.tell_proposal(id, score)

    def _save_oracle(self):
        """Writes what has changed in the oracle's memory."""
        for name, value in self._loaded().changes():
            if value is GONE:
                self._store.drop(f"oracle:{name}")
            else:
                self._store.set(f"oracle:{name}", value)
        self._store.drop("oracle")

    def _possible(self, values):
        """Whether {field: value} is a recipe, and one that no trial has."""
        try:
            return self._store.of_form(form(self.space.recipe(values))) is None
        except InputError:
            return False


def form(recipe: "Recipe") -> str:
    """Returns text that is equal for equal recipes."""
    return json.dumps(recipe.values(), sort_keys=True)
