"""`Local`: trials in processes of this machine."""

import dataclasses
import pathlib
import warnings
from collections.abc import Sequence
from multiprocessing import connection
from typing import Any

from zoo.errors import InputError
from zoo.tuning.workers import process, trial


@dataclasses.dataclass(frozen=True)
class Slot:
    """What one worker may use.

    Attributes:
        cores: processor cores; None are all.
        gpus: ids of GPUs; None are all.
    """

    cores: tuple[int, ...] | None
    gpus: tuple[str, ...] | None


class Local:
    """The engine of this machine: its workers share the cores and the GPUs.

    Args:
        workers: how many trials run at once.
        gpus_per_trial: how many GPUs each trial sees; None shares them out.
    """

    slots: list[Slot]

    def __init__(self, workers: int, gpus_per_trial: int | None):
        self.slots = _slots(workers, gpus_per_trial)

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def start(self, job: trial.Job, log: pathlib.Path, slot: Slot) -> process.Process:
        """Starts the process of a trial in a slot."""
        return process.Process(trial.train, job, log, slot.gpus, slot.cores)

    def wait(self, running: Sequence[process.Process], timeout: float) -> list[process.Process]:
        """Waits until a process of `running` has something to say, `timeout` seconds at most, and returns those."""
        ready = connection.wait([one.connection for one in running], timeout)
        return [one for one in running if one.connection in ready]


def _slots(workers, gpus_per_trial):
    """Returns a `Slot` for each worker."""
    cores, gpus = process.cores(), process.gpus()
    if workers > len(cores):
        warnings.warn(f"workers={workers} share {len(cores)} cores: each is slower than one alone.", stacklevel=5)
    if gpus_per_trial is None and workers > 1:
        gpus_per_trial = len(gpus) // workers or None
    if gpus_per_trial is not None and workers * gpus_per_trial > len(gpus):
        raise InputError(
            f"workers={workers} with gpus_per_trial={gpus_per_trial} need {workers * gpus_per_trial} GPUs; "
            f"there are {len(gpus)}. Fewer workers need less."
        )
    each = len(cores) // workers
    return [
        Slot(
            cores=tuple(cores[index * each : (index + 1) * each]) if workers > 1 and each else None,
            gpus=None if gpus_per_trial is None else tuple(gpus[index * gpus_per_trial :][:gpus_per_trial]),
        )
        for index in range(workers)
    ]
