"""What the process of a trial does: train it, or describe the data for the study before its first trial."""

import contextlib
import dataclasses
import pathlib
import warnings
from multiprocessing.connection import Connection
from typing import Any

import keras

from zoo import files, registry, training
from zoo.base.recipe import Recipe
from zoo.data import pipeline
from zoo.errors import InputError, unknown
from zoo.tuning.workers.handed import read_data


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process is to train. It is pickled, so it holds plain values only.

    Attributes:
        saved: the recipe, as `registry.saved` writes it.
        data: the folder of data handed over in memory; None where the recipe names its data.
        data_dir, skip_bad: as for `zoo.train`.
        directory: the run's folder.
        until: the epoch at which the rung ends; None is the last.
        max_parameters: a network with more parameters is skipped; None is no limit.
    """

    saved: dict[str, Any]
    data: str | None = None
    data_dir: str | None = None
    skip_bad: bool = False
    directory: str | None = None
    until: int | None = None
    max_parameters: int | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe, rebuilt."""
        return registry.restored(self.saved, trusted=True)  # the process that asks has loaded it

    def given(self) -> dict[str, Any]:
        """Returns the `dataset` argument for `zoo.train`, as a mapping; empty where the recipe names its data."""
        return {} if self.data is None else {"dataset": read_data(self.data)}


def train(job: Job, connection: Connection) -> tuple:
    """Trains the run of a job, or goes on with it, and reports each epoch to the study.

    Returns: ("trained",), or ("skipped", reason).
    """
    recipe = job.recipe
    given = job.given()
    lock = pathlib.Path(job.directory, "run.lock")
    if lock.exists():
        with contextlib.suppress(BlockingIOError), files.locked(lock, patience=120):
            pass  # a process whose study was killed takes a moment to die, a node that lost its cluster a minute
    if job.max_parameters is not None:
        size = registry.open_recipe(recipe, given, data_dir=job.data_dir, skip_bad=job.skip_bad)[0]
        size = size.network().count_params()
        if size > job.max_parameters:
            return ("skipped", f"{size:,} parameters, above max_parameters={job.max_parameters:,}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="_Reporter restart from scratch")
        training.train(
            recipe,
            directory=job.directory,
            until=job.until,
            callbacks=[_Reporter(connection, recipe.monitor)],
            data_dir=job.data_dir,
            skip_bad=job.skip_bad,
            **given,
        )
    return ("trained",)


def describe(job: Job, connection: Connection) -> tuple:
    """Reads a recipe's data.

    Returns: ("found", {"direction", "data", "fingerprint"}), which the study needs before its first trial.
    Raises: `InputError` where training would not report the recipe's monitor.
    """
    recipe, source = registry.open_recipe(job.recipe, job.given(), data_dir=job.data_dir, skip_bad=job.skip_bad)
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    validation = pipeline.evaluation(source, "validation", preparation, batch_size=recipe.batch_size)
    reported = training.reported(recipe, validation is not None)
    if recipe.monitor not in reported:
        raise unknown("objective", recipe.monitor, reported)
    facts = {
        "direction": training.direction(recipe, recipe.monitor),
        "data": source.name,
        "fingerprint": source.fingerprint,
    }
    return ("found", facts)


def refuse_unimportable(recipe: Any) -> None:
    """Raises `InputError` for what is no recipe, or for one whose class no other process could import."""
    if not isinstance(recipe, Recipe):
        raise InputError(f"zoo.tune takes a recipe's name or a recipe. Received: {type(recipe).__name__}.")
    reference = registry.reference(recipe)
    if reference.startswith("__main__:") or "<locals>" in reference:
        raise InputError(
            f"The recipe {type(recipe).__name__} was defined in a script, a notebook or a function, and no other "
            "process can import it: move it into a .py file, or tune zoo.hypermodel(...) by hand."
        )


class _Reporter(keras.callbacks.Callback):
    """Sends each epoch's objective to the study, and stops training when the study says so."""

    def __init__(self, connection, objective):
        super().__init__()
        self._connection = connection
        self._objective = objective

    def on_epoch_end(self, epoch, logs=None):
        self._connection.send(("epoch", epoch + 1, float(logs[self._objective])))
        if not self._connection.recv():
            self.model.stop_training = True
