"""`zoo compare`: the fields in which runs differ, their scores, and their curves over each other on one page."""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo import figures
from zoo.errors import InputError
from zoo.fields import from_json, show
from zoo.fields.texts import rounded, short, spoken
from zoo.figures import pages
from zoo.overview import listing
from zoo.overview.listing import DAMAGED, Entry, look
from zoo.runs import Run, history
from zoo.tuning.study import Study

MOST = 16
"""Runs that are compared at most: as many lines as colours and markers tell apart."""

_RECIPE = "recipe"


@dataclasses.dataclass(frozen=True)
class Compared:
    """A run as it is compared.

    Attributes:
        entry: what a list says of it.
        fields: {field: value} of the fields that count in it.
        rows: its history, a mapping for each epoch.
        epoch: the epoch of its best weights; the last where nothing was monitored.
        data: name and fingerprint of its data.
        versions: {distribution: version} that it was trained with.
    """

    entry: Entry
    fields: dict[str, Any]
    rows: list[dict[str, Any]]
    epoch: int
    data: tuple[str, str]
    versions: dict[str, str]

    @property
    def scores(self) -> dict[str, float]:
        """{key of the history: value} at `epoch`: on the validation split, or of training where there is none."""
        row = next((row for row in self.rows if row["epoch"] == self.epoch), {})
        validated = {key: value for key, value in row.items() if key.startswith("val_")}
        return validated or {key: row[key] for key in metrics(self.rows) if key in row}


def read(paths: Iterable[str | os.PathLike[str]], trust: bool = False) -> list[Compared]:
    """Returns the runs in folders, in this order; of a study, its best trial.

    Args:
        paths: 2 to `MOST` folders.
        trust: whether the fields of a run may be read from a recipe file that this user has not trained.
    Raises: `InputError` for folders that are no runs, for one that is named twice, and for a run without an epoch.
    """
    paths = [Study.open(path).best_run() if Study.exists(path) else pathlib.Path(path) for path in paths]
    if not 2 <= len(paths) <= MOST:
        raise InputError(f"Name 2 to {MOST} runs to compare. Received: {len(paths)}.")
    for path in paths:
        if [os.path.realpath(one) for one in paths].count(os.path.realpath(path)) > 1:
            raise InputError(f"{path} is named twice: leave it out once.")
    return [_read(path, trust) for path in paths]


def _read(path: pathlib.Path, trust: bool) -> Compared:
    run, entry = Run.open(path, trust), look(path)
    if entry.status == DAMAGED:
        raise InputError(entry.reason)
    if not entry.epochs:
        raise InputError(f"{path} has no epoch to compare: zoo train --resume {path} goes on with it.")
    rows = history.read(path)
    values = from_json(run.facts["recipe"]["values"])
    sketch = run.sketch
    return Compared(
        entry=entry,
        fields={name: value for name, value in values.items() if sketch is None or not _inactive(sketch, name, values)},
        rows=rows,
        epoch=entry.best if entry.best is not None else entry.epochs,
        data=(str(run.facts["data"].get("name")), str(run.facts["data"].get("fingerprint"))),
        versions={str(name): str(version) for name, version in run.facts.get("versions", {}).items()},
    )


def _inactive(sketch: Any, name: str, values: Mapping[str, Any]) -> bool:
    return name in sketch.fields() and sketch.inactive(name, values)


def metrics(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the loss and the metrics of a history, the loss first, without what layers tell and the learning rate."""
    keys = dict.fromkeys(key for row in rows for key in row)
    validated = [key.removeprefix("val_") for key in keys if key.startswith("val_")]
    found = validated or [key for key in keys if key not in ("epoch", "learning_rate")]
    return sorted(found, key=lambda name: name != "loss")


def differing(runs: Sequence[Compared]) -> list[str]:
    """Returns the fields that are not the same in all runs; `recipe` first, if the runs are not all of one."""
    names = dict.fromkeys(name for run in runs for name in run.fields)
    shown = {name: {show(run.fields[name]) if name in run.fields else None for run in runs} for name in names}
    recipe = [_RECIPE] if len({run.entry.recipe for run in runs}) > 1 else []
    return [*recipe, *(name for name in names if len(shown[name]) > 1)]


def _field(run: Compared, name: str) -> str | None:
    if name == _RECIPE:
        return run.entry.recipe
    return short(run.fields[name]) if name in run.fields else None


def names_of(runs: Sequence[Compared]) -> list[str]:
    """Returns a short name of each run: the end of its path that tells it from the others."""
    parts = [pathlib.Path(os.path.abspath(run.entry.path)).parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            break
    return names


def as_table(runs: Sequence[Compared]) -> figures.Table:
    """Returns the table of the fields that differ and the scores of each run's best epoch.

    A row is a run; if that makes more columns than rows, a column is a run instead.
    """
    fields, scores = differing(runs), list(dict.fromkeys(key for run in runs for key in run.scores))
    header = ("run", *fields, "epoch", *map(spoken, scores))
    rows = [
        (
            name,
            *(_field(run, field) for field in fields),
            f"{run.epoch}/{len(run.rows)}",
            *(_finite(run.scores.get(key)) for key in scores),
        )
        for name, run in zip(names_of(runs), runs, strict=True)
    ]
    if len(header) - 1 > len(rows):
        rows = [tuple("-" if cell is None else rounded(cell) for cell in row) for row in rows]
        header, *rows = zip(("", *header[1:]), *rows, strict=True)
    return figures.Table(header, rows)


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None


def as_cells(runs: Sequence[Compared]) -> list[tuple[str, ...]]:
    """Returns the same as text, for a terminal."""
    table = as_table(runs)
    texts = [tuple(_text(cell) for cell in row) for row in table.rows]
    return [table.header, *texts]


def _text(cell: object) -> str:
    return "-" if cell is None else rounded(cell) if isinstance(cell, float) else str(cell)


def as_json(runs: Sequence[Compared], page: pathlib.Path) -> dict[str, Any]:
    """Returns the same for JSON, with the path of the page."""
    names = differing(runs)
    found = [
        {
            **listing.as_json(run.entry),
            "fields": {name: run.fields.get(name) for name in names if name != _RECIPE},
            "scores": {"epoch": run.epoch, **run.scores},
        }
        for run in runs
    ]
    return {"page": page, "differing": names, "runs": found}


def write(runs: Sequence[Compared], directory: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a page about runs and its pictures, whole or not at all, and returns the page's path.

    The page needs no other file and no network; it replaces an older one.

    Args:
        runs: what `read` returned.
        directory: where `index.html` and the pictures go.
    Raises: `InputError` where `directory` holds anything but a report; `RunError` where it cannot be written.
    """
    target = pathlib.Path(directory)
    pages.refuse_foreign(target)
    names, table = names_of(runs), as_table(runs)
    found = differing(runs)
    facts = {
        "title": f"{len(runs)} runs compared",
        "summary": f"They differ in {', '.join(found)}." if found else "They have the same fields.",
        "notes": _notes(runs),
        "runs": [
            (name, f"{run.entry.recipe}, {run.entry.status.replace('_', ' ')}, {run.entry.path}")
            for name, run in zip(names, runs, strict=True)
        ],
    }
    lines = {name: (run.rows, run.epoch) for name, run in zip(names, runs, strict=True)}
    shared = list(dict.fromkeys(name for run in runs for name in metrics(run.rows)))
    parts = [
        figures.Part(
            name="scores",
            title="Fields and scores",
            caption="The fields that differ, and the scores as training reported them at each run's best epoch.",
            table=table,
        ),
        figures.Part("curves", "Curves", "Each run has trained one epoch, so there are no curves to compare.")
        if all(len(run.rows) == 1 for run in runs)
        else figures.Part(
            name="curves",
            title="Curves",
            caption="Validation where a run has it, else training; the dotted lines are training beside validation. "
            "A ring is the epoch of the best weights.",
            draw=functools.partial(figures.compared, lines, shared),
        ),
    ]
    pages.put_in_place(target, pages.written("overview/compare.html.j2", facts, parts))
    return target / "index.html"


def _notes(runs: Sequence[Compared]) -> list[str]:
    """What a reader must know before believing the scores."""
    notes = []
    if len({run.data for run in runs}) > 1:
        notes.append("The runs were trained on different data, so their scores are not of the same examples.")
    unequal = [name for name in ("keras-zoo", "keras") if len({run.versions.get(name) for run in runs}) > 1]
    if unequal:
        notes.append(f"The runs were trained with different versions of {' and '.join(unequal)}.")
    unfinished = sum(run.entry.status in ("running", "paused", "interrupted", "failed") for run in runs)
    if unfinished:
        notes.append(f"{unfinished} of {len(runs)} runs have not trained all their epochs.")
    return notes
