"""What is known of one trial of a study."""

import csv
import dataclasses
import pathlib

STATUSES = ("completed", "pruned", "failed", "skipped", "running")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a study.

    Attributes:
        number: from 0, in the order in which they were proposed.
        values: {field: value} of the fields that are searched and active.
        status: "running", "completed", "pruned", "failed" or "skipped"; failed and skipped ones have no score.
        score: of the objective, at its best epoch; None where there is none. Always finite.
        epoch: the epoch of the score, from 1.
        epochs: epochs that were trained.
        reason: why it failed, was pruned or skipped, one line; None else.
        origin: "default", "enqueued" or "oracle".
        started, ended: seconds since 1970 (UTC), or None.
        seconds: how long it ran, without its pauses; None where that is not known.
        host: the machine that ran it.
        path: folder of its run (pathlib.Path), below STUDY/trials/NUMBER; None where it was never begun.
    """

    number: int
    values: dict
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


def curve(folder, objective):
    """{epoch: value} of what a run's history says of `objective`, not a number where it says nothing; epochs from 1."""
    try:
        with open(folder / "history.csv", newline="") as file:
            return {int(row["epoch"]): float(row.get(objective) or "nan") for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
