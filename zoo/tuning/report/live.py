"""`Table`: what a study says while it runs."""

import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from zoo.runs import Run
from zoo.tuning.pruning import best
from zoo.tuning.report.leaderboard import duration, short
from zoo.tuning.report.snapshot import Snapshot, Source
from zoo.tuning.trial import STATUSES, Trial

if TYPE_CHECKING:
    from rich.table import Table as Grid

SHOWN = 12
"""How many trials that have ended the live table shows: the best."""


class Running(Protocol):
    """A trial that runs, as the loop has it."""

    number: int
    values: dict[str, Any]
    until: int | None
    epochs: int

    @property
    def seconds(self) -> float: ...


class Table:
    """Shows a live table in a terminal; where output goes to a file, prints a line for each trial that ends.

    Args:
        study: the `Study`.
        quiet: show nothing.
    """

    def __init__(self, study: Source, quiet: bool):
        self._study = study
        self._quiet = quiet
        self._live = None
        self._shown = 0.0

    def __enter__(self) -> "Table":
        if self._quiet:
            return self
        where = f"Tuning {self._study.name} in {self._study.path}: {self._study.direction} {self._study.objective}."
        print(where, flush=True)
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, running: Iterable[Running], curves: Mapping[int, dict[int, float]], remaining: float | None) -> None:
        """Shows the trials that run, with {number: curve}, and the seconds left or None; at most once a second."""
        if self._live is None or time.monotonic() - self._shown < 1:
            return
        self._shown = time.monotonic()
        self._live.update(grid(self._study, list(running), curves, remaining), refresh=True)

    def ended(self, trial: Trial) -> None:
        """Says how a trial ended."""
        if self._quiet or self._live is not None:
            return
        print(line(trial), flush=True)

    def end(self, why: str) -> None:
        """Says why the study ended, and what to do next."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.update("", refresh=True)
        study = Snapshot.of(self._study)
        ranked = study.ranked
        counts = {status: sum(trial.status == status for trial in study.trials) for status in STATUSES}
        print(f"Ended: {why}. {', '.join(f'{count} {status}' for status, count in counts.items() if count)}.")
        if ranked:
            print(f"Best: trial {ranked[0].number}, {_outcome(ranked[0])}; {_fields(ranked[0].values)}")
            if gain := _gain(study, ranked[0]):
                print(gain)
            if ranked[0].path is not None and (unlearned := Run.open(ranked[0].path).unlearned):
                print(unlearned)
            path = shlex.quote(str(study.path))
            export = "" if ranked[0].path is None else f"zoo export {path} DIR, "
            print(f"Next: {export}zoo train --best-of {path} --seeds 3")


def line(trial: Trial) -> str:
    """Returns how a trial ended, with its fields."""
    return f"Trial {trial.number}: {_outcome(trial)}; {_fields(trial.values)}"


def grid(
    study: Source,
    running: Iterable[Running],
    curves: Mapping[int, Mapping[int, float]],
    remaining: float | None = None,
) -> "Grid":
    """Returns the live table: the best trials that have ended, and those that run.

    Args:
        study: the `Study`.
        running: the trials that run.
        curves: {number: curve} of those.
        remaining: the seconds left, or None.
    """
    from rich.table import Table as Grid

    running = list(running)
    table = Grid("trial", "fields", "score", "epoch", "time left")
    now = {one.number for one in running}
    for trial in [trial for trial in study.ranked() if trial.number not in now][:SHOWN]:
        table.add_row(str(trial.number), _fields(trial.values), f"{trial.score:.6g}", str(trial.epochs), trial.status)
    for one in running:
        curve = curves[one.number]
        score, _ = best(curve, study.direction)
        goal = one.until or one.epochs
        left = "" if not curve else duration(one.seconds / len(curve) * (goal - len(curve)))
        score = "" if score is None else f"{score:.6g}"
        table.add_row(str(one.number), _fields(one.values), score, f"{len(curve)}/{goal}", left, style="bold")
    if remaining is not None:
        table.caption = f"{duration(remaining)} left"
    return table


def _gain(study, best):
    """Returns how much the best trial gains on the default; None where the default has no score."""
    default = study.default
    if default is None or default.score is None:
        return None
    if default.number == best.number:
        return f"Default: trial {default.number} is the default, and no trial is better."
    word = "lower" if study.direction == "min" else "higher"
    gain = abs(best.score - default.score)
    return f"Default: trial {default.number}, {default.score:.6g}; the best is {gain:.2g} {word}, by one seed of each."


def _outcome(trial):
    score = "" if trial.score is None else f" {trial.score:.6g}"
    epoch = "" if trial.epoch is None else f" in epoch {trial.epoch} of {trial.epochs}"
    return f"{trial.status}{score}{epoch}{f' ({trial.reason})' if trial.reason else ''}"


def _fields(values):
    """`learning_rate=0.01 norm=batch`."""
    return " ".join(f"{name}={short(value)}" for name, value in values.items())
