"""`Table`: what a study says while it runs."""

import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from zoo.data import progress
from zoo.figures import cut
from zoo.runs import Run
from zoo.tuning.report.leaderboard import duration, pairs
from zoo.tuning.report.snapshot import Snapshot, Source
from zoo.tuning.trial import STATUSES, Trial

if TYPE_CHECKING:
    from rich.console import Group

SHOWN = 12
"""How many trials that have ended the live table shows at most: the best."""

LINES = 8
"""How many trials that run have a line at most."""

BAR = 16
"""Letters of a bar at most."""

_FRAME = 6
"""Lines of a screen that are not of trials: the frame and the header of the table, and what stands above it."""


class Running(Protocol):
    """A trial that runs, as the loop has it."""

    number: int
    values: dict[str, Any]
    until: int | None
    epochs: int

    @property
    def seconds(self) -> float: ...


class Pace:
    """How long the epochs of running trials take."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float, int, float]] = {}

    def left(self, one: Running, epochs: int) -> float | None:
        """Returns how many seconds a trial has left, by the epochs that it has finished; None before the first.

        What a trial needs before its first epoch counts until there are two.
        """
        if not epochs:
            return None
        first, then, last, since = self._seen.get(one.number, (epochs, one.seconds, epochs, one.seconds))
        if last != epochs:
            last, since = epochs, one.seconds
        self._seen[one.number] = first, then, last, since
        each = since / last if last == first else (since - then) / (last - first)
        return max(each * ((one.until or one.epochs) - last) - (one.seconds - since), 0.0)


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
        self._pace = Pace()
        self._default: dict[str, Any] | None = None

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
        height = self._live.console.size.height
        shown = picture(self._study, list(running), curves, self._pace, height, self._defaults(), remaining)
        self._live.update(shown, refresh=True)

    def ended(self, trial: Trial) -> None:
        """Says how a trial ended."""
        if self._quiet or self._live is not None:
            return
        print(line(trial, self._defaults()), flush=True)

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
            best = f"Best: trial {ranked[0].number}, {_outcome(ranked[0])}; "
            best += pairs(ranked[0].values, study.default and study.default.values)
            width = progress.line_width()
            print(best if width is None else cut(best, width))
            if gain := _gain(study, ranked[0]):
                print(gain)
            if ranked[0].path is not None and (unlearned := Run.open(ranked[0].path).unlearned):
                print(unlearned)
            path = shlex.quote(str(study.path))
            export = "" if ranked[0].path is None else f"zoo export {path} DIR, "
            print(f"Next: {export}zoo train --best-of {path} --seeds 3")

    def _defaults(self) -> dict[str, Any] | None:
        """The fields of the default, which never change; None where there is no such trial."""
        if self._default is None:
            self._default = default_of(self._study.trials)
        return self._default


def default_of(trials: Iterable[Trial]) -> dict[str, Any] | None:
    """Returns the fields of the trial of the default; None where there is none."""
    return next((trial.values for trial in trials if trial.origin == "default"), None)


def line(trial: Trial, default: Mapping[str, Any] | None = None) -> str:
    """Returns how a trial ended, with its fields: first those that differ from the default's."""
    return f"Trial {trial.number}: {_outcome(trial)}; {pairs(trial.values, default)}"


def picture(
    study: Source,
    running: Sequence[Running],
    curves: Mapping[int, Mapping[int, float]],
    pace: Pace,
    height: int,
    default: Mapping[str, Any] | None = None,
    remaining: float | None = None,
) -> "Group":
    """Returns what a terminal shows: the best trials that have ended, and a line for each that runs.

    Each is one line, whose end is cut: the fields that differ from the default's.

    Args:
        study: the `Study`.
        running: the trials that run.
        curves: {number: curve} of those.
        pace: what is known of their epochs.
        height: lines that may be shown.
        default: the fields of the default, if they are known.
        remaining: the seconds left, or None.
    """
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    lines = Grid.grid(padding=(0, 2, 0, 0))
    for most in (None, BAR, None, None, None):
        lines.add_column(no_wrap=most is None, max_width=most)
    lines.add_column()  # this and the bar shrink first
    for one in running[:LINES]:
        lines.add_row(*_cells(one, curves[one.number], study.objective, pace, default))
    told = [lines]
    if len(running) > LINES:
        told.append(Text(f"and {len(running) - LINES:,} more that run"))
    if remaining is not None:
        told.append(Text(f"{duration(remaining)} left of the study"))
    now = {one.number for one in running}
    ended = [trial for trial in study.ranked() if trial.number not in now]
    room = max(1, min(SHOWN, height - _FRAME - len(told) - min(len(running), LINES)))
    table = Grid("trial", "score", "epochs", "status", "fields unlike the default" if default else "fields")
    for trial in ended[:room]:
        fields = _one_line(pairs(trial.values, default, rest=False))
        table.add_row(str(trial.number), f"{trial.score:.6g}", str(trial.epochs), trial.status, fields)
    return Group(*([table] if ended else []), *told)


def _cells(one, curve, objective, pace, default):
    """The parts of the line of a trial that runs: trial, bar, epochs, the last value, the time left, and fields."""
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    goal, left = one.until or one.epochs, pace.left(one, len(curve))
    value = f"{objective} {curve[max(curve)]:.4g}" if curve else ""
    time = f"{duration(one.seconds)} so far" if left is None else f"{duration(left)} left"
    parts = (f"trial {one.number}", f"epoch {len(curve)} of {goal}", value, time)
    number, *others = map(Text, parts)
    return (
        number,
        ProgressBar(total=goal, completed=len(curve)),
        *others,
        _one_line(pairs(one.values, default, rest=False)),
    )


def _one_line(text):
    from rich.text import Text

    return Text(text, no_wrap=True, overflow="ellipsis")


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
