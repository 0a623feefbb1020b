"""`zoo.train` and `zoo.dataset`: from a recipe and its data to a run that survives."""

import contextlib
import dataclasses
import pathlib
import sys
import warnings

import keras
import numpy as np

from zoo import devices, registry, weights
from zoo.base import Recipe, dtype_policy, reproducible
from zoo.building import initialize
from zoo.callbacks import (
    AveragedWeights,
    EpochSeeds,
    FiniteLoss,
    Interruptible,
    LayerReadings,
    Recorder,
    StopAfter,
)
from zoo.data import open_source, pipeline
from zoo.data.source import SPLITS, Source
from zoo.errors import InputError, Interrupted, RunError, check_whole, unknown
from zoo.fields import show
from zoo.runs import Run

PROBE = 8
"""Examples in the probe batch."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a recipe, its data and this machine resolve to."""

    device: devices.Resolved
    steps_per_epoch: int
    epochs: int
    monitor: str | None
    mode: str
    patience: int | None
    averages: bool
    init_from: str | None


def dataset(recipe, split="train", *, data_dir=None, skip_bad=False, trust=False, **given):
    """A split as the network of `recipe` takes it: a `tf.data.Dataset` of batches.

    `model.fit(zoo.dataset(model, "train"), shuffle=False)`: training batches are shuffled and augmented already, anew
    in every pass.

    Args:
        recipe: a name, a recipe, a model of `zoo.build`, or a run.
        split: "train", "validation" or "test"; the latter two come whole, in order, without augmentation.
        data_dir, skip_bad, trust: as for `zoo.train`.
        given: values of fields.
    Raises: `InputError` for what `zoo.recipe` refuses, and a split that is not there.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    reader = None
    if isinstance(recipe, keras.Model):
        if not hasattr(recipe, "recipe"):
            raise InputError("This model has no recipe: zoo.dataset takes a model of zoo.build or zoo.load.")
        recipe, reader = recipe.recipe, getattr(recipe, "reader", None)
    elif isinstance(recipe, Run) or (isinstance(recipe, str) and Run.exists(recipe)):
        run = Run.open(recipe, trust)
        recipe, reader = run.recipe, run.reader()
    recipe, source = registry.open_recipe(recipe, given, reader is None, data_dir=data_dir, skip_bad=skip_bad)
    preparation = recipe.make_preparation(reader or recipe.make_reader(source), source)
    if split == "train":
        return pipeline.training(source, preparation, batch_size=recipe.batch_size, seed=recipe.seed)
    data = pipeline.evaluation(source, split, preparation, batch_size=recipe.batch_size)
    if data is None:
        raise InputError(f"dataset={source.name} has no {split} split. It has: {', '.join(source.sizes)}.")
    return data


def train(
    recipe=None,
    *,
    directory=None,
    resume=None,
    until=None,
    callbacks=(),
    data_dir=None,
    skip_bad=False,
    quiet=False,
    trust=False,
    **given,
):
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
        skip_bad: leave out pictures that cannot be read.
        quiet: print nothing.
        trust: of a run to go on with, run the recipe file that it names, whoever wrote it.
        given: values of fields.
    Raises: `InputError` (nothing is written), `RunError` (NaN, no room on the disk), `Interrupted` (Ctrl-C).
    """
    if until is not None:
        until = check_whole("until", until, 1)
    say = _silent if quiet else print
    if resume is not None:
        job = _resumed(Run.open(resume, trust), recipe, given, data_dir, skip_bad)
    elif recipe is not None:
        job = _named(recipe, given, directory, data_dir, skip_bad)
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


@dataclasses.dataclass(frozen=True)
class _Job:
    """What there is to train, before anything is written. `run` is what lies at `path` already, or None."""

    recipe: Recipe
    source: Source
    path: pathlib.Path
    run: Run | None


def _named(recipe, given, directory, data_dir, skip_bad):
    recipe, source = registry.open_recipe(recipe, given, data_dir=data_dir, skip_bad=skip_bad)
    path = pathlib.Path(directory or _default_directory(recipe))
    return _Job(recipe, source, path, _lying_at(path, recipe, source))


def _resumed(run, recipe, given, data_dir, skip_bad):
    """The job of a run; a recipe, fields or data other than its own are an `InputError` that says which."""
    if recipe is not None and not isinstance(recipe, Recipe):
        asked = registry.find(recipe)  # first: a file that is named here may run
    kept = run.recipe
    source = kept.view(open_source(given.pop("dataset", kept.dataset), data_dir=data_dir, skip_bad=skip_bad))
    values = {"dataset": source.name, **{name: kept.field(name).check(name, value) for name, value in given.items()}}
    if recipe is not None:
        cls, name, variant = (type(recipe), recipe.name, None) if isinstance(recipe, Recipe) else asked
        if cls is not type(kept) or variant not in (None, kept.variant):
            raise InputError(f"{run.path} is a run of {kept.label}, not of {f'{name}/{variant}' if variant else name}.")
        values = {**(recipe.values() if isinstance(recipe, Recipe) else cls.variants.get(variant, {})), **values}
    _refuse_changes(run, kept, values)
    _refuse_other_data(run, source)
    return _Job(kept, source, run.path, run)


def _lying_at(path, recipe, source):
    """The run at `path`, if it is of this recipe and these data; None where there is nothing but a bare beginning."""
    if not path.exists():
        return None
    if not path.is_dir():
        raise InputError(f"{path} is a file, not a folder. Name another --directory.")
    if not Run.exists(path):
        if Run.only_begun(path):
            return None
        raise InputError(f"{path} exists and is not a run. Name another --directory.")
    run = Run.open(path)
    kept = run.recipe
    if type(kept) is not type(recipe):
        raise InputError(f"{path} is a run of {kept.label}, not of {recipe.label}. Name another --directory.")
    _refuse_changes(run, kept, recipe.values())
    _refuse_other_data(run, source)
    return run


def _refuse_changes(run, kept, values):
    changed = [
        f"{name}={show(value)} (there {show(getattr(kept, name))})"
        for name, value in values.items()
        if getattr(kept, name) != value
    ]
    if changed:
        raise InputError(
            f"{run.path} holds a run with other fields: {', '.join(changed)}. "
            f"Go on with it by `zoo train --resume {run.path}`, or name another --directory."
        )


def _refuse_other_data(run, source):
    if run.facts["data"]["fingerprint"] != source.fingerprint:
        raise InputError(
            f"{run.path} was trained on other data than dataset={source.name} holds now: they have changed since. "
            "Put them back, or train in another --directory."
        )


def _train(job, until, callbacks, quiet, say):
    recipe, source = job.recipe, job.source
    reader = recipe.make_reader(source) if job.run is None else job.run.reader()
    preparation = recipe.make_preparation(reader, source)
    steps = pipeline.steps_per_epoch(source, preparation, recipe.batch_size)
    validation = pipeline.evaluation(source, "validation", preparation, batch_size=recipe.batch_size)
    plan = make_plan(recipe, steps, validation is not None)
    fresh = job.run is None or job.run.checkpoint() is None
    taken = []
    with reproducible(recipe.seed), dtype_policy(plan.device.precision):
        model = recipe.build(steps)
        if recipe.init_from is not None and fresh:
            initialize(model, recipe.init_from, None if source.ready else reader.labels, taken.append)
        say("\n".join([plan.device.line(model.jit_compile, recipe.jit_compile), _data_line(source, plan), *taken]))
        run = job.run or Run.create(job.path, recipe, source, plan)
        with run.lock():
            if job.run is None and Run.exists(run.path):
                raise InputError(f"{run.path} was begun by another process meanwhile: run the same command again.")
            probe = _probe(source, recipe, reader)
            if job.run is None:
                run.begin(reader, probe)
            else:
                say(_changes_since(run, plan), end="")
            recorder = Recorder(run, plan, make_answers(recipe, probe), _with_state(callbacks))
            start = _restore(run, model, recorder)
            if until is not None and start >= until:
                say(f"{run.path} has {start} epochs already.")
                return run
            run.set_status("running")
            verb = "Going on with" if start else "Training"
            say(f"{verb} {recipe.label} in {run.path}, epoch {start + 1} of {plan.epochs}.")
            made = make_callbacks(recipe, run, plan, recorder, callbacks, until)
            with _told(run), Interruptible() as interruptible:
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
            _end(run, recorder, plan, say)
    return run


def _silent(*_, end=None):
    """Says nothing."""


@contextlib.contextmanager
def _told(run):
    """Notes in the run how `fit` ended, and says where things stand."""
    try:
        yield
    except RunError as error:
        run.set_status("failed", str(error))
        raise RunError(f"{error} The run is in {run.path}{_kept(run)}.") from error
    except KeyboardInterrupt:
        run.set_status("interrupted", "Ctrl-C")
        raise Interrupted(f"Stopped{_kept(run)}. To go on: zoo train --resume {run.path}") from None
    except BaseException as error:
        run.set_status("failed", f"{type(error).__name__}: {error}")
        raise


def make_plan(recipe, steps_per_epoch, validates):
    """The `Plan`; a monitor that no epoch will report is an `InputError`."""
    monitor, names = recipe.monitor, reported(recipe, validates)
    if monitor is not None and monitor not in names:
        if not validates and monitor.startswith("val_") and "monitor" not in recipe.origin.given:
            monitor = None  # the default, and no split to validate on: the last epoch counts
        else:
            raise unknown("monitor", monitor, names)
    return Plan(
        device=devices.resolve(recipe),
        steps_per_epoch=steps_per_epoch,
        epochs=recipe.epochs,
        monitor=monitor,
        mode=direction(recipe, monitor),
        patience=recipe.patience,
        averages=recipe.ema > 0,
        init_from=recipe.init_from,
    )


def reported(recipe, validates):
    """Names of what each epoch reports, with or without a validation split."""
    names = ["loss", *(metric.name for metric in recipe.make_metrics())]
    return names + [f"val_{name}" for name in names] if validates else names


def direction(recipe, monitor):
    """ "min" or "max": which values are better of `monitor`, the loss or a metric, or None.

    A metric says it as Keras's own do, by `_direction`; of one that does not, more is better.
    """
    says = {metric.name: getattr(metric, "_direction", "up") for metric in recipe.make_metrics()}
    return "max" if says.get((monitor or "").removeprefix("val_")) == "up" else "min"


def make_callbacks(recipe, run, plan, recorder, callbacks=(), until=None):
    """The callbacks of a run, in the order in which they act."""
    made = [EpochSeeds(recipe.seed), FiniteLoss(), LayerReadings()]
    if plan.averages:
        made.append(AveragedWeights())
    made.append(_events(run.path / "events"))
    made.extend(callbacks)
    if until is not None and until < plan.epochs:
        made.append(StopAfter(until))
    return [*made, recorder]


def _verbosity(quiet):
    """Keras's progress bar where somebody watches, one line an epoch where output goes to a file."""
    if quiet:
        return 0
    return 1 if (sys.stdout is not None and sys.stdout.isatty()) or "ipykernel" in sys.modules else 2


def _events(path):
    """Keras's TensorBoard callback: scalars once an epoch; its graph and histograms would cost more than they tell."""
    return keras.callbacks.TensorBoard(log_dir=str(path), write_graph=False, update_freq="epoch")


def _default_directory(recipe):
    parts = [pathlib.Path(recipe.name).stem, recipe.variant, recipe.digest()]
    return pathlib.Path("runs", "-".join(part for part in parts if part))


def _data_line(source, plan):
    sizes = ", ".join(f"{size:,} {split}" for split, size in source.sizes.items())
    notes = "".join(f" ({note})" for note in source.notes)
    steps = f"{plan.steps_per_epoch:,} step{'s' if plan.steps_per_epoch > 1 else ''} an epoch"
    return f"Data {source.name}: {sizes}{notes}; {steps}."


def _changes_since(run, plan):
    """What somebody who goes on with a run should know; empty where there is nothing."""
    said = ""
    before = run.facts["device"]["backend"]
    if before != plan.device.backend:
        said += f"The run was started on {before}: under {plan.device.backend} it goes on, but not bit for bit.\n"
    if run.checkpoint() is None and (run.path / "last").exists():
        said += "Its checkpoints are gone or damaged: it starts over.\n"
    return said


def _with_state(callbacks):
    stateful = [c for c in callbacks if hasattr(c, "get_state") and hasattr(c, "set_state")]
    others = [type(c).__name__ for c in callbacks if c not in stateful]
    if others:
        warnings.warn(
            f"{', '.join(others)} start afresh when the run is resumed: they have no get_state and set_state.",
            stacklevel=3,
        )
    return stateful


def _probe(source, recipe, reader):
    """{signature/input: array}: the first examples, as network inputs and, where there are raw ones, as those."""
    split = "validation" if "validation" in source.sizes else "train"
    if source.ready:
        (name,) = reader.signatures()["serve_tensors"][1]
        return {f"serve_tensors/{name}": np.asarray(next(iter(source.examples(split)))[0])[:PROBE]}
    return recipe.make_probe(reader, source.examples(split).take(PROBE))


def make_answers(recipe, probe):
    """A function from weights to the network's float32 answers on the probe, on the CPU: as exports are verified."""
    with keras.device("cpu"), reproducible(recipe.seed), dtype_policy("float32"):
        twin = recipe.network()
    inputs = [probe[f"serve_tensors/{one.name}"] for one in twin.inputs]

    def answers(arrays):
        weights.put(twin, arrays)
        with keras.device("cpu"):
            tensors = [keras.ops.convert_to_tensor(values) for values in inputs]
            return keras.ops.convert_to_numpy(twin(tensors if len(tensors) > 1 else tensors[0], training=False))

    return answers


def _restore(run, model, recorder):
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


def _end(run, recorder, plan, say):
    if recorder.stopped_early:
        run.set_status("stopped_early", f"no better {plan.monitor} for {plan.patience} epochs")
        how = f"Stopped early, {run.facts['reason']}"
    elif len(recorder.history) < plan.epochs:
        run.set_status("paused")
        how = f"Paused after epoch {len(recorder.history)} of {plan.epochs}"
    else:
        run.set_status("done")
        how = "Done"
    best = "nothing was monitored, the last epoch counts"
    if recorder.best_epoch is not None:
        best = f"best {plan.monitor} {recorder.best:.6g} in epoch {recorder.best_epoch}"
    say(f"{how}: {best}. The run is in {run.path}")
    say(f"Next: zoo evaluate {run.path}, zoo report {run.path}, zoo export {run.path} DIR")


def _kept(run):
    checkpoint = run.checkpoint()
    return "; no epoch was finished" if checkpoint is None else f"; epoch {int(checkpoint.name)} is kept"
