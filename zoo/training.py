"""`zoo.train` and `zoo.dataset`: from a recipe and its data to a run that survives."""

import dataclasses
import pathlib
import warnings

import keras
import numpy as np

from zoo import devices, registry, weights
from zoo.base import Recipe, dtype_policy, reproducible
from zoo.callbacks import AveragedWeights, EpochSeeds, FiniteLoss, Interruptible, Recorder, StopAfter
from zoo.data import open_source, pipeline
from zoo.errors import InputError, Interrupted, RunError, unknown
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


def dataset(recipe, split="train", *, data_dir=None, skip_bad=False, **given):
    """A split as the network of `recipe` takes it: a `tf.data.Dataset` of batches.

    `model.fit(zoo.dataset(model, "train"), shuffle=False)`: training batches are shuffled and augmented already, anew
    in every pass.

    Args:
        recipe: a name, a recipe, a model of `zoo.build`, or a run.
        split: "train", "validation" or "test"; the latter two come whole, in order, without augmentation.
        data_dir, skip_bad: as for `zoo.train`.
        given: values of fields.
    Raises: `InputError` for what `zoo.recipe` refuses, and a split that is not there.
    """
    reader = None
    if isinstance(recipe, keras.Model):
        if not hasattr(recipe, "recipe"):
            raise InputError("This model has no recipe: zoo.dataset takes a model of zoo.build or zoo.load.")
        recipe = recipe.recipe
    elif isinstance(recipe, Run) or (isinstance(recipe, str) and Run.exists(recipe)):
        run = Run.open(recipe)
        recipe, reader = run.recipe, run.reader()
    recipe, source = registry.open_recipe(recipe, given, data_dir=data_dir, skip_bad=skip_bad)
    if split not in ("train", "validation", "test"):
        raise unknown("split", split, ("train", "validation", "test"))
    preparation = recipe.make_preparation(reader or recipe.make_reader(source), source)
    if split == "train":
        return pipeline.training(source, preparation, batch_size=recipe.batch_size, seed=recipe.seed, advance=True).data
    return _evaluation(recipe, source, split, preparation)


def _evaluation(recipe, source, split, preparation):
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
        given: values of fields.
    Raises: `InputError` (nothing is written), `RunError` (NaN, no room on the disk), `Interrupted` (Ctrl-C).
    """
    say = (lambda *_: None) if quiet else print
    if until is not None and (isinstance(until, bool) or not isinstance(until, int) or until < 1):
        raise InputError(f"until must be a whole number of at least 1. Received: until={until!r}.")
    if resume is not None:
        recipe = _resumed_recipe(Run.open(resume), recipe, given)
        if isinstance(given.get("dataset"), str):
            given = {}
        given = {key: value for key, value in given.items() if key == "dataset"}
        directory = resume
    elif recipe is None:
        raise InputError("Name a recipe to train, or a run to resume.")
    data = given.get("dataset")
    recipe, source = registry.open_recipe(recipe, given, data_dir=data_dir, skip_bad=skip_bad)
    path = pathlib.Path(directory or _default_directory(recipe))
    run = _open_or_none(path, recipe, source, data)
    if run is not None and run.status == "done":
        say(f"{path} is done: all {recipe.epochs} epochs were trained. More epochs are a new run: init_from={path}")
        return run
    if run is not None and run.status == "stopped_early":
        say(f"{path} is done: it stopped early, {run.facts['reason']}.")
        return run
    reader = run.reader() if run is not None else recipe.make_reader(source)
    preparation = recipe.make_preparation(reader, source)
    batches = pipeline.training(source, preparation, batch_size=recipe.batch_size, seed=recipe.seed, advance=False)
    validation = pipeline.evaluation(source, "validation", preparation, batch_size=recipe.batch_size)
    plan = make_plan(recipe, batches.steps, validation is not None)
    say(_first_line(recipe, source, plan))
    fresh = run is None or run.checkpoint() is None
    labels = None if source.ready else reader.labels
    with reproducible(recipe.seed), dtype_policy(plan.device.precision):
        model = recipe.build(batches.steps, initialize=fresh, labels=labels, say=say)
        model.optimizer.build(model.trainable_variables)
        say(plan.device.line(model.jit_compile))
        run = run or Run.create(path, recipe, source, batches.steps)
        with run.lock() if path.is_dir() else _new_folder(run):
            probe = _probe(source, recipe, reader, preparation)
            if not Run.exists(path):
                run.begin(reader, probe)
            recorder = Recorder(run, plan, _make_answers(recipe, probe), _with_state(callbacks))
            start = _restore(run, model, recorder)
            if until is not None and start >= until:
                say(f"{path} has {start} epochs already.")
                return run
            run.set_status("running")
            say(
                f"{'Going on with' if start else 'Training'} {recipe.label} in {path}, epoch {start + 1} of {plan.epochs}."
            )
            try:
                _fit(model, recipe, run, plan, batches, validation, recorder, callbacks, start, until, quiet)
            except RunError as error:
                run.set_status("failed", str(error))
                raise RunError(f"{error} The run is in {path}{_kept(run)}.") from error
            except KeyboardInterrupt:
                run.set_status("interrupted", "Ctrl-C")
                raise Interrupted(f"Stopped. {_finished(run)} To go on: zoo train --resume {path}") from None
            except BaseException as error:
                run.set_status("failed", f"{type(error).__name__}: {error}")
                raise
            _end(run, recorder, plan, say)
    return run


def make_plan(recipe, steps_per_epoch, validates):
    """The `Plan`; a monitor that no epoch will report is an `InputError`."""
    names = ["loss", *(metric.name for metric in recipe.make_metrics())]
    reported = names + [f"val_{name}" for name in names] if validates else names
    monitor = recipe.monitor
    if monitor is not None and monitor not in reported:
        if not validates and monitor.startswith("val_") and "monitor" not in recipe.origin.given:
            monitor = None  # the default, and no split to validate on: the last epoch counts
        else:
            raise unknown("monitor", monitor, reported)
    return Plan(
        device=devices.resolve(recipe),
        steps_per_epoch=steps_per_epoch,
        epochs=recipe.epochs,
        monitor=monitor,
        mode="min" if monitor is None or "loss" in monitor or "error" in monitor else "max",
        patience=recipe.patience,
        averages=recipe.ema > 0,
        init_from=recipe.init_from,
    )


def make_callbacks(recipe, run, plan, epoch_variable, recorder, callbacks=(), until=None):
    """The callbacks of a run, in the order in which they act."""
    made = [EpochSeeds(recipe.seed, epoch_variable), FiniteLoss()]
    if plan.averages:
        made.append(AveragedWeights())
    made.append(_events(run.path / "events"))
    made.extend(callbacks)
    if until is not None and until < plan.epochs:
        made.append(StopAfter(until))
    return [*made, recorder]


def _fit(model, recipe, run, plan, batches, validation, recorder, callbacks, start, until, quiet):
    if recorder.stopped_early:
        return
    with Interruptible() as interruptible:
        model.fit(
            batches.data,
            validation_data=validation,
            initial_epoch=start,
            epochs=plan.epochs,
            shuffle=False,
            verbose=0 if quiet else "auto",
            callbacks=[
                *make_callbacks(recipe, run, plan, batches.epoch, recorder, callbacks, until),
                interruptible,
            ],
        )


def _events(path):
    """Keras's TensorBoard callback: scalars once an epoch; its graph and histograms would cost more than they tell."""
    return keras.callbacks.TensorBoard(log_dir=str(path), write_graph=False, update_freq="epoch")


def _resumed_recipe(run, recipe, given):
    """The recipe of `run`; other values than it was started with are an `InputError` that says which."""
    kept = run.recipe
    if isinstance(recipe, Recipe):
        given = {**recipe.values(), **given}
    elif recipe is not None:
        cls, name, variant = registry.find(recipe)
        if name != kept.name:
            raise InputError(f"{run.path} is a run of {kept.name}, not of {name}.")
        given = {**cls.variants.get(variant, {}), **given} if variant != kept.variant else given
    _refuse_changes(
        run, kept, {k: kept.field(k).check(k, v) for k, v in given.items() if isinstance(v, str) or k != "dataset"}
    )
    return kept


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


def _open_or_none(path, recipe, source, data):
    """The run that lies at `path` already, if it is the same recipe on the same data; None where nothing is there."""
    if not path.exists() or not any(p for p in path.iterdir() if p.name != "run.lock"):
        return None
    if not Run.exists(path):
        if (path / "checkpoints").is_dir():  # killed before run.json was written: nothing was trained
            return None
        raise InputError(f"{path} exists and is not a run. Name another --directory.")
    run = Run.open(path)
    kept = run.recipe
    if type(kept) is not type(recipe):
        raise InputError(f"{path} is a run of {kept.label}, not of {recipe.label}. Name another --directory.")
    _refuse_changes(run, kept, recipe.values())
    if run.facts["data"]["fingerprint"] != source.fingerprint:
        raise InputError(
            f"{path} was trained on other data than dataset={source.name} holds now: they have changed since. "
            "Put them back, or train in another --directory."
        )
    return run


def _new_folder(run):
    """Holds the lock of a folder that is made with it."""
    run.path.mkdir(parents=True, exist_ok=True)
    return run.lock()


def _default_directory(recipe):
    parts = [pathlib.Path(recipe.name).stem, recipe.variant, recipe.digest()]
    return pathlib.Path("runs", "-".join(part for part in parts if part))


def _first_line(recipe, source, plan):
    sizes = ", ".join(f"{size:,} {split}" for split, size in source.sizes.items())
    notes = "".join(f" ({note})" for note in source.notes)
    return f"Data {source.name}: {sizes}{notes}; {plan.steps_per_epoch} steps an epoch."


def _with_state(callbacks):
    stateful = [c for c in callbacks if hasattr(c, "get_state") and hasattr(c, "set_state")]
    others = [type(c).__name__ for c in callbacks if c not in stateful]
    if others:
        warnings.warn(
            f"{', '.join(others)} start afresh when the run is resumed: they have no get_state and set_state.",
            stacklevel=3,
        )
    return stateful


def _probe(source, recipe, reader, preparation):
    """{signature/input: array}: the first examples, as network inputs and, where there are raw ones, as those."""
    split = "validation" if "validation" in source.sizes else "train"
    if source.ready:
        inputs = next(iter(source.examples(split)))[0]
        return {"serve_tensors/images": np.asarray(inputs)[:PROBE]}
    examples = list(source.examples(split).take(PROBE))
    inputs = next(iter(pipeline.evaluation(source, split, preparation, batch_size=PROBE)))[0]
    return {"serve_tensors/images": np.asarray(inputs), **reader.raw_probe(examples)}


def _make_answers(recipe, probe):
    """A function from weights to the network's float32 answers on the probe, on the CPU: as exports are verified."""
    with keras.device("cpu:0"), reproducible(recipe.seed), dtype_policy("float32"):
        twin = recipe.network()
    inputs = probe["serve_tensors/images"]

    def answers(arrays):
        weights.put(twin, arrays)
        with keras.device("cpu:0"):
            return keras.ops.convert_to_numpy(twin(keras.ops.convert_to_tensor(inputs), training=False))

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
    return state["epoch"]


def _end(run, recorder, plan, say):
    if recorder.stopped_early:
        reason = f"no better {plan.monitor} for {plan.patience} epochs"
        run.set_status("stopped_early", reason)
    elif len(recorder.history) < plan.epochs:
        reason = ""
        run.set_status("paused")
    else:
        reason = ""
        run.set_status("done")
    if recorder.best_epoch is not None:
        best = f"Best {plan.monitor} {recorder.best:.6g} in epoch {recorder.best_epoch}"
    else:
        best = "Nothing was monitored: the last epoch counts"
    say(
        f"{run.status.replace('_', ' ').capitalize()}{': ' + reason if reason else ''}. {best}. The run is in {run.path}"
    )


def _kept(run):
    checkpoint = run.checkpoint()
    return "; nothing was kept" if checkpoint is None else f", its last good checkpoint is epoch {int(checkpoint.name)}"


def _finished(run):
    checkpoint = run.checkpoint()
    return "No epoch was finished." if checkpoint is None else f"Epoch {int(checkpoint.name)} is kept."


__all__ = ["Plan", "dataset", "make_callbacks", "make_plan", "open_source", "train"]
