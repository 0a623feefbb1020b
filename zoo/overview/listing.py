"""What runs and studies stand under a folder, read without Keras and without a lock."""

import contextlib
import dataclasses
import os
import pathlib
import stat
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from zoo.errors import InputError, printable
from zoo.fields.texts import rounded, spoken
from zoo.runs import Run, history
from zoo.runs.run import KIND as RUN
from zoo.tuning.definition import KIND as STUDY
from zoo.tuning.study import Study
from zoo.tuning.trial import PAUSED, RUNNING

DAMAGED = "damaged"
"""The status of an entry that cannot be read, or that a newer zoo wrote; its reason says which."""

_WRONG = (*history.UNREADABLE, AttributeError, OverflowError, RecursionError, ArithmeticError)

_INSIDE = ("trials", "data", "report", "events")
"""Folders of a study in which no run of its own is looked for: its trials are in its leaderboard."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run or a study, as a list shows it.

    Attributes:
        path: its folder.
        kind: "run" or "study".
        recipe: the recipe's name, with its variant where there is one; None where it cannot be read.
        status: of a run, one of `zoo.runs.run.STATUSES`; of a study "running", "interrupted" (trials are unfinished and
            no process runs them) or "ended"; or `DAMAGED`. Only what a living process holds is running.
        epochs: how many epochs are trained; of a study, in all its trials.
        of: how many epochs the run is to have in all; None of a study.
        trials: how many trials the study has; None of a run.
        monitor: the key of the history by which the best epoch, or trial, is chosen; None where there is none.
        score: its best value, or None.
        best: the epoch, or the number of the trial, of that score; or None.
        written: seconds since 1970 (UTC) at which it last changed.
        reason: why it ended early, or why it cannot be read; "" otherwise.
    """

    path: pathlib.Path
    kind: str
    recipe: str | None
    status: str
    epochs: int = 0
    of: int | None = None
    trials: int | None = None
    monitor: str | None = None
    score: float | None = None
    best: int | None = None
    written: float = 0.0
    reason: str = ""


def entries(folder: str | os.PathLike[str] = ".") -> list[Entry]:
    """Returns an `Entry` for each run and study in a folder and below it, the one that changed last first.

    The trials of a study are not listed; the runs of `zoo train --best-of` are. What is damaged is an entry too, and
    hidden folders are passed over. Links are followed, and no folder is looked at twice.

    Raises: `InputError` where there is no such folder.
    """
    folder = pathlib.Path(folder)
    with contextlib.suppress(OSError):  # a name that no file system takes
        if folder.is_dir():
            found = [look(path) for path in _walk(folder)]
            return sorted(found, key=lambda entry: (-entry.written, str(entry.path)))
    raise InputError(f"There is no folder {str(folder)[:200]}.")


def look(path: pathlib.Path) -> Entry:
    """Returns the `Entry` of the run or the study in the folder `path`; a damaged one is an entry too."""
    study = STUDY.exists(path)
    kind, written = "study" if study else "run", _written(path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            entry = _study(path) if study else _run(path)
        except _WRONG as error:
            text = str(error) if isinstance(error, InputError) else f"{path} is damaged ({type(error).__name__})."
            return Entry(path, kind, None, DAMAGED, written=written, reason=printable(text))
    reason = entry.reason or next((printable(str(one.message)) for one in told), "")
    return dataclasses.replace(entry, written=written, reason=reason)


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the folders of runs and studies, `folder` itself included."""
    seen = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        here = os.stat(name)
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        told = {*files, *folders}  # a folder called run.json is a damaged run
        if RUN.file in told or STUDY.file in told:
            yield pathlib.Path(name)
        inside = folders if RUN.file in told else _INSIDE if STUDY.file in told else ()
        folders[:] = sorted(one for one in folders if one not in inside and not one.startswith("."))


def _written(path: pathlib.Path) -> float:
    """When a file that changes with a run or a study was written last, in seconds since 1970."""
    times = [0.0]
    for name in (RUN.file, "history.csv", STUDY.file, "study.sqlite"):
        with contextlib.suppress(OSError):
            facts = os.stat(path / name)
            if stat.S_ISREG(facts.st_mode):
                times.append(facts.st_mtime)
    return max(times)


def _run(path: pathlib.Path) -> Entry:
    run = Run.open(path)
    facts, rows = run.facts, history.read(path)
    monitor = facts["recipe"]["values"]["monitor"]
    best = history.best(path, rows, monitor)
    return Entry(
        path=path,
        kind="run",
        recipe=_label(facts["recipe"]),
        status=run.status,
        epochs=rows[-1]["epoch"] if rows else 0,
        of=int(facts["recipe"]["values"]["epochs"]),
        monitor=None if best is None else str(monitor),
        score=None if best is None else best[1],
        best=None if best is None else best[0],
        reason=printable(facts.get("reason", "")),
    )


def _study(path: pathlib.Path) -> Entry:
    study = Study.open(path)
    trials, ranked = study.trials, study.ranked()
    unfinished = any(trial.status in (RUNNING, PAUSED) for trial in trials)
    return Entry(
        path=path,
        kind="study",
        recipe=study.name,
        status="running" if study.running else "interrupted" if unfinished else "ended",
        epochs=sum(trial.epochs for trial in trials),
        trials=len(trials),
        monitor=study.objective,
        score=ranked[0].score if ranked else None,
        best=ranked[0].number if ranked else None,
    )


def _label(recipe: dict[str, Any]) -> str:
    name, variant = recipe["name"], recipe["variant"]
    return str(name) if variant is None else f"{name}/{variant}"


# As a table, and as JSON -------------------------------------------------------------------------------------------


def as_cells(found: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Returns a header and rows of text, for a table that a person reads."""
    rows = [("folder", "recipe", "status", "epochs", "best", "when", "")]
    for entry in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.written)) if entry.written else "-"
        done = f"{entry.epochs:,}" if entry.of is None else f"{entry.epochs:,}/{entry.of:,}"
        if entry.trials is not None:
            done = f"{done} in {entry.trials:,} trial{'' if entry.trials == 1 else 's'}"
        score = "-" if entry.score is None else f"{spoken(entry.monitor or '')} {rounded(entry.score)}"
        if entry.status == DAMAGED:
            done = "-"
        status = entry.status.replace("_", " ")
        path = printable(str(entry.path))
        rows.append((path, printable(entry.recipe or "-"), status, done, score, when, entry.reason))
    return rows


def as_json(entry: Entry) -> dict[str, Any]:
    """Returns {attribute: value} of an entry, for JSON."""
    return {**dataclasses.asdict(entry), "path": str(entry.path)}
