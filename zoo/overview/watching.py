"""`zoo watch`: the curves of a run, or the trials of a study, while a process runs it.

It reads `history.csv`, which is replaced as a whole, and `study.sqlite`, in which a reader holds up no writer for
longer than a query. It takes no lock and writes nothing.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from zoo.errors import InputError, counted
from zoo.fields.texts import rounded, spoken
from zoo.overview.comparing import metrics
from zoo.overview.listing import DAMAGED, Entry, look
from zoo.overview.plotting import chart
from zoo.runs import Run, history
from zoo.tuning.folder import Folder
from zoo.tuning.report import live
from zoo.tuning.study import Study
from zoo.tuning.trial import PAUSED, RUNNING, Trial

if TYPE_CHECKING:
    from rich.console import RenderableType

PAUSE = 1.0
"""Seconds between two looks."""

DRAWN = 5
"""Curves of trials that are drawn at most: the best, and those that run."""

TALL = 7
"""Lines of a chart."""


class Watched(Protocol):
    """What is followed: a run or a study."""

    def running(self) -> bool:
        """Returns whether a living process holds it."""
        ...

    def picture(self, width: int, height: int) -> "RenderableType":
        """Returns what a terminal of `width` letters and `height` lines shows of it now."""
        ...

    def lines(self) -> Iterator[str]:
        """Yields a line for each epoch, or trial, that has ended since the last call."""
        ...


def watch(path: str | os.PathLike[str], wait: Callable[[float], object] = time.sleep) -> Entry:
    """Shows a run or a study until no process runs it, and returns what a list says of it then.

    In a terminal the picture is drawn anew each second. Where output goes to a file, there is a line for each epoch of
    a run, or each trial of a study that ends.

    Args:
        path: the folder of a run or of a study.
        wait: what passes the seconds between two looks.
    Raises: `InputError` where there is neither, or it is damaged.
    """
    study = Study.exists(path)
    if not study:
        Run.open(path)  # raises where there is none
    path = pathlib.Path(path)
    _refuse_damaged(look(path))
    watched = _Study(path) if study else _Run(path)
    if not watched.running():
        print(f"No process {'tunes' if study else 'trains'} {path}: this is what there is.", flush=True)
    with _shown(watched) as show:
        while True:
            alive = watched.running()  # first: what is written before the process ends is shown in any case
            show()
            if not alive:
                break
            wait(PAUSE)
    entry = look(path)
    _refuse_damaged(entry)
    print(_end(entry), flush=True)
    return entry


def _refuse_damaged(entry: Entry) -> None:
    if entry.status == DAMAGED:
        raise InputError(entry.reason)


@contextlib.contextmanager
def _shown(watched: Watched) -> Iterator[Callable[[], None]]:
    """Yields what shows the state of now: in a terminal the picture, in a file the lines that are new."""
    if not sys.stdout.isatty():

        def show() -> None:
            for line in watched.lines():
                print(line, flush=True)

        yield show
        return
    from rich.live import Live

    with Live(auto_refresh=False) as screen:
        yield lambda: screen.update(watched.picture(*screen.console.size), refresh=True)


def _end(entry: Entry) -> str:
    """How a run or a study stands."""
    score = ""
    if entry.score is not None:
        where = "trial" if entry.kind == "study" else "epoch"
        score = f"; best {spoken(entry.monitor or '')} {rounded(entry.score)} in {where} {entry.best}"
    after = f"epoch {entry.epochs:,} of {entry.of:,}" if entry.of is not None else counted(entry.trials or 0, "trial")
    why = f" ({entry.reason})" if entry.reason else ""
    return f"{entry.path}: {entry.status.replace('_', ' ')}{why} after {after}{score}."


class _Run:
    """A run that is followed."""

    def __init__(self, path: pathlib.Path) -> None:
        self._run = Run.open(path)
        self._told = 0

    def running(self) -> bool:
        return self._run.held()

    def picture(self, width: int, height: int) -> "RenderableType":
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text

        rows, entry = history.read(self._run.path), look(self._run.path)
        last = max(entry.of or 1, entry.epochs, 1)
        room = max(1, (height - 9) // (TALL + 2))
        charts = []
        for name in metrics(rows)[:room]:
            keys = {"training": name, "validation": f"val_{name}"}
            curves = {label: {row["epoch"]: row[key] for row in rows if key in row} for label, key in keys.items()}
            charts.append(chart(spoken(name), curves, width, TALL, last))
        columns = dict.fromkeys(key for row in rows for key in row)
        names = [name for name in columns if name in _measured(rows)]
        grid = Grid("epoch", *map(spoken, names))
        for row in rows[-5:]:
            style = "bold" if row["epoch"] == entry.best else None
            cells = [rounded(row[name]) if name in row else "-" for name in names]
            grid.add_row(f"{row['epoch']}/{entry.of}", *cells, style=style)
        head = Text(f"{entry.recipe} in {self._run.path}: {entry.status.replace('_', ' ')}")
        return Group(head, *charts, grid)

    def lines(self) -> Iterator[str]:
        rows = history.read(self._run.path)
        for row in rows[self._told :]:
            cells = "  ".join(f"{name} {rounded(row[name])}" for name in _measured(rows) if name in row)
            yield f"epoch {row['epoch']}  {cells}"
        self._told = len(rows)


def _measured(rows: list[dict[str, Any]]) -> list[str]:
    return [key for name in metrics(rows) for key in (name, f"val_{name}") if any(key in row for row in rows)]


@dataclasses.dataclass(frozen=True)
class _Running:
    """A trial that runs, as the live table takes it."""

    number: int
    values: dict[str, Any]
    until: int | None
    epochs: int
    seconds: float


class _Study:
    """A study that is followed."""

    def __init__(self, path: pathlib.Path) -> None:
        self._study = Study.open(path)
        self._folder = Folder.open(path)
        self._pace = live.Pace()
        self._told: set[int] = set()

    def running(self) -> bool:
        return self._study.running

    def picture(self, width: int, height: int) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        trials = {trial.number: trial for trial in self._study.trials}
        spent = self._folder.running()
        running = [
            _Running(number, trials[number].values, until, self._planned(trials[number]), seconds)
            for number, (until, seconds) in spent.items()
            if number in trials and trials[number].status == RUNNING
        ]
        now = [one.number for one in running]
        best = [trial.number for trial in self._study.ranked()[:1]]
        curves = {number: self._folder.curve(number) for number in dict.fromkeys([*best, *now])}
        named = {f"trial {number}": curve for number, curve in list(curves.items())[:DRAWN]}
        ends = [*(one.until or one.epochs for one in running), *(max(curve, default=1) for curve in named.values())]
        drawn = chart(spoken(self._study.objective), named, width, TALL, max(ends, default=1))
        room = height - TALL - 3
        table = live.picture(self._study, running, curves, self._pace, room, live.default_of(trials.values()))
        head = Text(
            f"{self._study.name} in {self._study.path}: {self._study.direction} {spoken(self._study.objective)}"
        )
        return Group(head, drawn, table)

    def _planned(self, trial: Trial) -> int:
        """How many epochs a trial is to have, as its run says it; before there is one, as the study does."""
        if trial.path is not None and Run.exists(trial.path):
            with contextlib.suppress(InputError, KeyError, TypeError, ValueError):
                return int(Run.open(trial.path).facts["recipe"]["values"]["epochs"])
        definition = self._folder.definition
        given = {**definition.recipe["values"], **definition.fixed, **trial.values}
        return int(given["epochs"])

    def lines(self) -> Iterator[str]:
        trials = self._study.trials
        for trial in trials:
            if trial.number not in self._told and trial.status not in (RUNNING, PAUSED):
                self._told.add(trial.number)
                yield live.line(trial, live.default_of(trials))
