"""`zoo.train`: resolves a job, plans it, locks its run, restores, calls `model.fit`, and records how it ended."""

import contextlib
import os
import pathlib
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import keras

from zoo import weights
from zoo.base.randomness import dtype_policy, reproducible
from zoo.base.recipe import Recipe
from zoo.building import initialize
from zoo.data import pipeline, progress
from zoo.data.source import Source
from zoo.errors import InputError, Interrupted, RunError, check_whole
from zoo.runs import Run
from zoo.training.callbacks import (
    AveragedWeights,
    EpochSeeds,
    FiniteLoss,
    Interruptible,
    LayerReadings,
    Recorder,
    StopAfter,
)
from zoo.training.job import Job, named_job, resumed_job
from zoo.training.plan import Plan, make_plan
from zoo.training.probe import make_answers, make_probe


def train(
    recipe: str | Recipe | None = None,
    *,
    directory: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | Run | None = None,
    until: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    data_dir: str | os.PathLike[str] | None = None,
    skip_bad: bool = False,
    quiet: bool = False,
    trust: bool = False,
    **given: Any,
) -> Run:
    """Trains `recipe` through `model.fit`, and returns its `Run`.

    The same call on the same folder goes on where it stopped, and ends with the weights of an uninterrupted run, bit
    for bit on a CPU.

    Args:
        recipe: a name such as `lenet/modern`, or a recipe.
        directory: the run's folder; None is `runs/<recipe>-<variant>-<digest of the fields>`.
        resume: the folder of a run to go on with; then `recipe` may be left out.
        until: stop after so many epochs in all; the run is paused, its schedule stays that of all its epochs.
        callbacks: Keras callbacks; those with `get_state` and `set_state` (JSON) are resumed exactly.
        data_dir: where prepared data lie; None is ZOO_DATA, else TensorFlow Datasets' own folder.
        skip_bad: leave out images that cannot be read.
        quiet: print nothing.
        trust: of a run to go on with, run the recipe file that it names, whoever wrote it.
        given: values of fields.
    Raises: `InputError` (nothing is written), `RunError` (NaN, no room on the disk), `Interrupted` (Ctrl-C, SIGTERM,
        SIGHUP).
    """
    with progress.silent(quiet):
        if until is not None:
            until = check_whole("until", until, 1)
        say = _silent if quiet else print
        if resume is not None:
            job = resumed_job(Run.open(resume, trust), recipe, given, data_dir, skip_bad)
        elif recipe is not None:
            job = named_job(recipe, given, directory, data_dir, skip_bad)
        else:
            raise InputError("Name a recipe to train, or a run to resume.")
        if until is not None and until > job.recipe.epochs:
            raise InputError(f"until={until} is beyond the last epoch: epochs={job.recipe.epochs}.")
        if job.run is not None and job.run.held():
            with job.run.lock():  # raises, with the process that holds it
                pass
        if job.run is not None and job.run.status in ("done", "stopped_early"):
            reason = job.run.facts["reason"] or f"all {job.recipe.epochs} epochs were trained"
            say(f"{job.path} is done: {reason}. More epochs are a new run, with init_from={job.path}")
            return job.run
        return _train(job, until, callbacks, quiet, say)


def _train(
    job: Job,
    until: int | None,
    callbacks: Sequence[keras.callbacks.Callback],
    quiet: bool,
    say: Callable[..., object],
) -> Run:
    recipe, source = job.recipe, job.source
    reader = recipe.make_reader(source) if job.run is None else job.run.reader()
    preparation = recipe.make_preparation(reader, source)
    steps = pipeline.steps_per_epoch(source, preparation, recipe.batch_size)
    validation = pipeline.evaluation(source, "validation", preparation, batch_size=recipe.batch_size)
    plan = make_plan(recipe, steps, validation is not None)
    fresh = job.run is None or job.run.checkpoint() is None
    taken: list[str] = []
    started: dict[str, Any] = {}
    with reproducible(recipe.seed), dtype_policy(plan.device.precision):
        model = recipe.build(steps)
        if recipe.init_from is not None and fresh:
            started = initialize(model, recipe.init_from, None if source.ready else reader.labels, taken.append)
        read, warned = _told_of_reading(recipe, reader, source, preparation)
        device = plan.device.line(model.jit_compile, recipe.jit_compile)
        say("\n".join([device, _data_line(source, plan), *read, *taken]))
        constant = _constant_loss(recipe, reader, source)
        run = job.run or Run.create(job.path, recipe, source, plan, constant, started, [*read, *warned])
        run = run.anchored()
        with run.lock():
            if job.run is None and Run.exists(run.path):
                raise InputError(f"{job.path} was begun by another process meanwhile: run the same command again.")
            probe = make_probe(source, recipe, reader)
            if job.run is None:
                run.begin(reader, probe)
            else:
                say(_changes_since(run, plan), end="")
            recorder = Recorder(run, plan, make_answers(recipe, probe), _with_state(callbacks))
            start = _restore(run, model, recorder)
            if until is not None and start >= until:
                say(f"{job.path} has {start} epochs already.")
                return run
            run.set_status("running")
            verb = "Going on with" if start else "Training"
            may_stop = plan.standstill and (plan.patience or 0) < plan.epochs
            early = f"; it stops earlier if {plan.standstill}" if may_stop else ""
            say(f"{verb} {recipe.label} in {job.path}, epoch {start + 1} of {plan.epochs}{early}.")
            made = make_callbacks(recipe, run, plan, recorder, callbacks, until)
            with _told(run, job.path), Interruptible() as interruptible:
                if start < plan.epochs and not recorder.stopped_early:
                    epochs = range(start, plan.epochs)
                    model.fit(
                        pipeline.training(
                            source, preparation, batch_size=recipe.batch_size, seed=recipe.seed, epochs=epochs
                        ),
                        validation_data=validation,
                        initial_epoch=start,
                        epochs=plan.epochs,
                        steps_per_epoch=None if source.ready else steps,  # one iterator for all epochs
                        shuffle=False,
                        verbose=_verbosity(quiet),
                        callbacks=[*made, interruptible],
                    )
            _end(run, job.path, recorder, plan, say)
    return run


def _silent(*_: object, end: str | None = None) -> None:
    """Says nothing."""


@contextlib.contextmanager
def _told(run: Run, path: pathlib.Path) -> Iterator[None]:
    """Notes in the run how `fit` ended, and says where things stand; `path` is where, as it was given."""
    try:
        yield
    except RunError as error:
        run.set_status("failed", str(error))
        raise RunError(f"{error} The run is in {path}{_kept(run)}.") from error
    except KeyboardInterrupt as error:
        stopped = Interrupted(f"Stopped{_kept(run)}. To go on: zoo train --resume {path}", by=error)
        run.set_status("interrupted", "Ctrl-C" if stopped.signal == signal.SIGINT else stopped.signal.name)
        raise stopped from None
    except BaseException as error:
        run.set_status("failed", f"{type(error).__name__}: {error}")
        raise


def make_callbacks(
    recipe: Recipe,
    run: Run,
    plan: Plan,
    recorder: Recorder,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    until: int | None = None,
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks of a run, in the order in which they act."""
    made: list[keras.callbacks.Callback] = [EpochSeeds(recipe.seed), FiniteLoss(), LayerReadings()]
    if plan.averages:
        made.append(AveragedWeights())
    made.append(_events(run.path / "events"))
    made.extend(callbacks)
    if until is not None and until < plan.epochs:
        made.append(StopAfter(until))
    return [*made, recorder]


def _verbosity(quiet: bool) -> Literal[0, 1, 2]:
    """Keras's progress bar where somebody watches, one line an epoch where output goes to a file."""
    if quiet:
        return 0
    return 1 if (sys.stdout is not None and sys.stdout.isatty()) or "ipykernel" in sys.modules else 2


def _events(path: pathlib.Path) -> keras.callbacks.Callback:
    """Keras's TensorBoard callback: scalars once an epoch; its graph and histograms would cost more than they tell."""
    return keras.callbacks.TensorBoard(log_dir=str(path), write_graph=False, update_freq="epoch")


def _data_line(source: Source, plan: Plan) -> str:
    sizes = ", ".join(f"{size:,} {split}" for split, size in source.sizes.items())
    notes = "".join(f" ({note})" for note in source.notes)
    steps = f"{plan.steps_per_epoch:,} step{'s' if plan.steps_per_epoch > 1 else ''} an epoch"
    return f"Data {source.name}: {sizes}{notes}; {steps}."


def _told_of_reading(
    recipe: Recipe, reader: Any, source: Source, preparation: pipeline.AnyPreparation
) -> tuple[list[str], list[str]]:
    """(lines about how data are read, those that were warnings already)."""
    if source.ready:
        return [], []
    lines = recipe.describe(reader, source)
    return [*lines, *getattr(preparation, "unknown", ())], list(getattr(preparation, "cuts", ()))


def _constant_loss(recipe: Recipe, reader: Any, source: Source) -> float | None:
    """The recipe's `constant_loss`; None of batches that are ready, and where a subclass has another loss."""
    owner = next(cls for cls in type(recipe).__mro__ if {"make_loss", "constant_loss"} & set(vars(cls)))
    return None if source.ready or "constant_loss" not in vars(owner) else recipe.constant_loss(reader, source)


def _changes_since(run: Run, plan: Plan) -> str:
    """What somebody who goes on with a run should know; empty where there is nothing."""
    said = ""
    before = run.facts["device"]["backend"]
    if before != plan.device.backend:
        said += f"The run was started on {before}: under {plan.device.backend} it goes on, but not bit for bit.\n"
    if run.checkpoint() is None and (run.path / "last").exists():
        said += "Its checkpoints are gone or damaged: it starts over.\n"
    return said


def _with_state(callbacks: Iterable[keras.callbacks.Callback]) -> list[Any]:
    stateful = [c for c in callbacks if hasattr(c, "get_state") and hasattr(c, "set_state")]
    others = [type(c).__name__ for c in callbacks if c not in stateful]
    if others:
        warnings.warn(
            f"{', '.join(others)} restart from scratch when the run is resumed: they have no get_state and set_state.",
            stacklevel=3,
        )
    return stateful


def _restore(run: Run, model: keras.Model, recorder: Recorder) -> int:
    """Puts the newest whole checkpoint into `model` and `recorder`; returns the number of epochs done."""
    checkpoint = run.checkpoint()
    if checkpoint is None:
        return 0
    weights.put(model, weights.read(checkpoint / "weights.npz"))
    weights.put_optimizer(model.optimizer, weights.read(checkpoint / "optimizer.npz"))
    state = run.state(checkpoint)
    recorder.set_state(state)
    run.point(state["epoch"], state["best_epoch"], state["history"])  # a kill may have come before they were written
    return state["epoch"]


def _end(run: Run, path: pathlib.Path, recorder: Recorder, plan: Plan, say: Callable[..., object]) -> None:
    best = "nothing was monitored, the last epoch counts"
    if recorder.best_epoch is not None:
        best = f"best {plan.monitor} {recorder.best:.6g} in epoch {recorder.best_epoch}"
    if recorder.stopped_early:
        run.set_status("stopped_early", plan.standstill or "")
        told = f"Stopped after epoch {len(recorder.history)}: {plan.standstill}. {best[0].upper()}{best[1:]}"
    elif len(recorder.history) < plan.epochs:
        run.set_status("paused")
        told = f"Paused after epoch {len(recorder.history)} of {plan.epochs}: {best}"
    else:
        run.set_status("done")
        told = f"Done: {best}"
    say(f"{told}. The run is in {path}")
    if run.unlearned:
        say(run.unlearned)
    say(f"Next: zoo evaluate {path}, zoo report {path}, zoo export {path} DIR")


def _kept(run: Run) -> str:
    checkpoint = run.checkpoint()
    return "; no epoch was finished" if checkpoint is None else f"; epoch {int(checkpoint.name)} is kept"
