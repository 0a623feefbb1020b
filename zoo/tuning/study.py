"""`Study`: what a person may ask of a study, and tell it."""

import pathlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo import runs
from zoo.errors import InputError, check_whole
from zoo.fields import from_json
from zoo.tuning.definition import KIND
from zoo.tuning.ledger import Ledger
from zoo.tuning.options import Options
from zoo.tuning.report import leaderboard
from zoo.tuning.trial import COMPLETED, HYPERBAND, RUNNING, Trial

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from zoo.base.recipe import Recipe


class Study:
    """A study: a folder in which trials of one recipe are proposed, run and ranked.

    `Study.open(path)` opens one, `Study.make` makes one; `zoo.tune` makes one and runs it. Reading needs no lock;
    `ask`, `tell` and `enqueue` hold the study for a moment.
    """

    def __init__(self, ledger: Ledger):
        self._ledger = ledger

    @classmethod
    def make(
        cls,
        recipe: "str | Recipe",
        *,
        space: Mapping[str, Any] | str | None = None,
        fixed: Mapping[str, Any] | None = None,
        oracle: str = "bayesian",
        objective: str | None = None,
        seed: int = 0,
        pruner: str | None = None,
        max_parameters: int | None = None,
        max_trials: int | None = None,
        directory: str | pathlib.Path | None = None,
        data_dir: str | pathlib.Path | None = None,
        skip_bad: bool = False,
    ) -> "Study":
        """Makes the study that `zoo.tune` makes of the same arguments, or opens it, and trains nothing.

        Raises: `InputError` as `zoo.tune`.
        """
        with Options.of(locals()).checked() as made:
            return cls(Ledger.make(*made))

    @classmethod
    def open(cls, path: "str | pathlib.Path | Study", trust: bool = False) -> "Study":
        """Opens the study in the folder `path`.

        Args:
            path: a folder, or a `Study`, which is returned.
            trust: whether its recipe may be a file, or a module, that this user has not trained on this machine.
                Whoever wrote the study chose it, and making the recipe of a trial runs its code.
        Raises: `InputError` for a study that is missing, damaged or of a newer schema.
        """
        if isinstance(path, cls):
            path._ledger.trusted = path._ledger.trusted or trust
            return path
        return cls(Ledger.open(path, trust))

    @staticmethod
    def exists(path: str | pathlib.Path) -> bool:
        """Whether the folder `path` is a study."""
        return KIND.exists(path)

    # What never changes -----------------------------------------------------------------------------------------

    @property
    def path(self) -> pathlib.Path:
        """The study's folder."""
        return self._ledger.path

    @property
    def name(self) -> str:
        """The recipe's name, with its variant where there is one: `lenet/modern`."""
        return self._ledger.definition.name

    @property
    def objective(self) -> str:
        """The column of a run's history that is to become best, such as `val_loss`."""
        return self._ledger.definition.objective

    @property
    def direction(self) -> str:
        """Which scores are better: "min" or "max"."""
        return self._ledger.definition.direction

    @property
    def space(self) -> dict[str, str]:
        """{field: text of its range}."""
        return {name: range.text for name, range in self._ledger.definition.ranges.items()}

    @property
    def fixed(self) -> dict[str, Any]:
        """{field: value} of the fields that were given and are not searched."""
        return from_json(self._ledger.definition.fixed)

    @property
    def running(self) -> bool:
        """Whether a living process runs the study, or writes to it at this moment."""
        return KIND.held(self.path)

    def recipe(self, trial: Trial) -> "Recipe":
        """Returns the recipe of a trial."""
        return self._ledger.recipe(trial)

    # Trials -----------------------------------------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """Every trial, by number."""
        return self._ledger.trials()

    def ranked(self) -> list[Trial]:
        """Returns the trials with a score, the best first; of equal ones, the earlier.

        A trial that runs on its next rung has the score of its last.
        """
        sign = 1 if self.direction == "min" else -1
        scored = [one for one in self.trials if one.score is not None]
        return sorted(scored, key=lambda one: (sign * one.score, one.number))

    def best(self) -> "keras.Model":
        """Returns the trained model of the best trial, as `zoo.load` does: with `recipe`, `reader` and `run`."""
        return runs.load(self.best_run(), trust=self._ledger.trusted)

    def best_run(self) -> pathlib.Path:
        """Returns the folder of the best trial's run.

        Raises: `InputError` where a loop of the user's own trained it.
        """
        trial = self.best_trial()
        if trial.path is None:
            raise InputError(
                f"The best, trial {trial.number} of {self.path}, was trained by a loop of your own and has no run: "
                f"zoo train --best-of {self.path} trains its fields."
            )
        return trial.path

    def best_trial(self) -> Trial:
        """Returns the best trial.

        Raises: `InputError` where none has a score.
        """
        best = self._ledger.best(1)
        if not best:
            raise InputError(f"No trial of {self.path} has a score yet. `zoo tune` goes on with it.")
        return self._ledger.trial(best[0])

    def curve(self, trial: Trial) -> dict[int, float]:
        """Returns {epoch: value of the objective} of the epochs that a trial's run has finished, from 1."""
        return self._ledger.curve(trial.number)

    def to_dataframe(self) -> "pd.DataFrame":
        """Returns the trials, ranked ones first, one a row; `zoo.tuning.report.leaderboard.rows` says which columns."""
        return leaderboard.to_dataframe(self)

    # A loop of one's own ----------------------------------------------------------------------------------------

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Puts a trial of your own next: {field: value} of searched fields, the others at their defaults.

        Raises: `InputError` for values that cannot be, or that a trial has already.
        """
        with self._ledger.writing() as ledger:
            ledger.enqueue(values)

    def ask(self) -> Trial | None:
        """Returns the next trial, for a loop of your own; `recipe` makes its recipe.

        Returns None if the space is exhausted, or if the oracle must first be told of trials that it gave out.

        Raises: `InputError` for hyperband, whose rungs only `zoo.tune` can train.
        """
        if self._ledger.definition.oracle == HYPERBAND:
            raise InputError("hyperband stops trials and takes them up again, which ask and tell cannot: use zoo.tune.")
        with self._ledger.writing() as ledger:
            number = ledger.propose()
            return ledger.trial(number) if isinstance(number, int) else None

    def tell(
        self,
        trial: Trial,
        score: float | None = None,
        *,
        epoch: int | None = None,
        epochs: int = 0,
        reason: str | None = None,
    ) -> None:
        """Ends a trial of `ask`.

        Args:
            trial: what `ask` returned.
            score: a number; without one, or if it is not finite, the trial has failed.
            epoch: the epoch of the score, from 1, where there are epochs.
            epochs: how many epochs were trained.
            reason: why the trial failed.
        """
        if not isinstance(trial, Trial):
            raise InputError(f"tell takes a trial of ask. Received: {trial!r}.")
        try:
            score = None if score is None else float(score)
        except (TypeError, ValueError):
            raise InputError(f"A trial is told a number as its score. Received: score={score!r}.") from None
        epoch = None if epoch is None else check_whole("epoch", epoch, 1)
        epochs = check_whole("epochs", epochs, 0)
        with self._ledger.writing() as ledger:
            now = ledger.trial(trial.number)
            if now.status != RUNNING:
                raise InputError(f"Trial {now.number} has ended: it is {now.status}.")
            ledger.note(ledger.elapsed(), {now.number: (time.time() - now.started, epochs)})
            ledger.end(now.number, COMPLETED, score, epoch=epoch, epochs=epochs, reason=reason)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the leaderboard."""
        return leaderboard.as_html(self)

    def __repr__(self) -> str:
        return f"Study({str(self.path)!r}, {self.name})"
