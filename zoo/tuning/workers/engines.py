"""Engines: where trials run. `opened` gives the one of a name."""

import pathlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from zoo.errors import InputError, check_whole, unknown
from zoo.tuning.trial import MOST_WORKERS
from zoo.tuning.workers.local import Local
from zoo.tuning.workers.trial import Job

ENGINES = ("local", "ray")


class Worker(Protocol):
    """A trial's process, near or far; `zoo.tuning.workers.process.Process` documents the methods."""

    @property
    def waits(self) -> bool: ...
    def hear(self) -> tuple: ...
    def answer(self, value: Any) -> None: ...
    def end(self) -> int: ...
    def kill(self) -> Any: ...
    def died_of_memory(self) -> bool: ...


class Engine(Protocol):
    """What the loop needs of an engine.

    Attributes:
        slots: one for each trial that may run at once.
    """

    slots: Sequence[Any]

    def start(self, job: Job, log: pathlib.Path, slot: Any) -> Worker:
        """Starts the process of a trial in a slot."""

    def wait(self, running: Sequence[Any], timeout: float) -> list[Any]:
        """Waits until a process of `running` has something to say, `timeout` seconds at most, and returns those."""


def opened(
    engine: str, address: str | None, workers: int, gpus_per_trial: int | None
) -> AbstractContextManager[Engine]:
    """Returns the engine of a name, as a context manager. The arguments are those of `zoo.tune`.

    Raises: `InputError` for an unknown engine, or options that it cannot have.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    workers = check_whole("workers", workers, 1, MOST_WORKERS)
    if gpus_per_trial is not None:
        gpus_per_trial = check_whole("gpus_per_trial", gpus_per_trial, 0)
    if engine == "local":
        if address is not None:
            raise InputError(f"address={address} is of a Ray cluster: give engine=ray with it, or leave it out.")
        return Local(workers, gpus_per_trial)
    from zoo.tuning.workers.ray import Ray

    return Ray(address, workers, gpus_per_trial)
