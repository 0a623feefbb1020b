"""`Trial`: what a study knows about one trial, and the words that the study uses for trials and oracles."""

import dataclasses
import math
import pathlib
import warnings
from typing import Any

ORACLES = ("random", "grid", "bayesian", "hyperband")
"""The oracles, by the names that `zoo.tune` takes."""

MOST_SEED, MOST_WORKERS, MOST_DISK = 2**31 - 1, 10_000, 1e9
"""The largest seed of an oracle, number of workers, and GB of `max_disk`."""

ENDLESS = ("random", "bayesian")
"""Oracles that always have one more trial."""

HYPERBAND = "hyperband"
"""The oracle that trains a trial in parts: it stops a trial at the end of its rung, and may take it up again."""

RUNNING, PAUSED, COMPLETED = "running", "paused", "completed"
PRUNED, FAILED, SKIPPED = "pruned", "failed", "skipped"
"""The states of a trial."""

STATUSES = (COMPLETED, PRUNED, FAILED, SKIPPED, PAUSED, RUNNING)
"""All states, in the order in which people see them counted."""

UNSCORED = (FAILED, SKIPPED)
"""The states in which a trial has ended without a score."""

WAIT = "wait"
"""What an oracle, and `Ledger.propose`, answer if running trials must end before there is a next one."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a study.

    Attributes:
        number: from 0, in the order in which trials were proposed.
        values: {field: value} of the searched fields that are active.
        status: "running", "paused", "completed", "pruned", "failed" or "skipped". A trial is paused if `zoo.tune` began
            it and no process runs the study now; `zoo.tune` goes on with it.
        score: the objective at its best epoch, always finite; None where there is none. Failed and skipped trials
            have none.
        epoch: the epoch of the score, from 1.
        epochs: how many epochs were trained.
        reason: one line on why the trial failed, was pruned or was skipped; None otherwise.
        origin: "default", "enqueued" or "oracle".
        started, ended: seconds since 1970 (UTC), or None.
        seconds: how long the trial ran, without its pauses; None where that is not known.
        host: the name of the machine that ran it.
        path: the folder of its run, STUDY/trials/NUMBER; None where the run was never begun.
    """

    number: int
    values: dict[str, Any]
    status: str
    score: float | None = None
    epoch: int | None = None
    epochs: int = 0
    reason: str | None = None
    origin: str = "oracle"
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    host: str | None = None
    path: pathlib.Path | None = None


def curve(folder: pathlib.Path, objective: str) -> dict[int, float]:
    """Reads {epoch: value of `objective`} from the history of a run, epochs from 1.

    A value that the history does not have is NaN. A run without a history has an empty curve, and so has one whose
    history is damaged, which is a warning.
    """
    from zoo.runs import history  # the command line reads the constants above, and needs no run for them

    try:
        return {row["epoch"]: row.get(objective, math.nan) for row in history.read(folder)}
    except history.UNREADABLE as error:
        damaged = f"{folder / 'history.csv'} is damaged ({type(error).__name__})"
        warnings.warn(f"{damaged}: the curve of this trial is left out.", stacklevel=2)
        return {}
