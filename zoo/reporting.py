"""`zoo.report`: a run as one page that a person reads.

The page and the learning curves are the same for every recipe. What is particular to a kind of problem is its task's:
`report_parts(outcome)` returns a list of `zoo.figures.Part`, which the page shows in that order.
"""

import dataclasses
import functools
import os
import pathlib
import shlex
import typing
from collections.abc import Iterator

from zoo import figures, registry, runs
from zoo.data import open_source, pipeline, progress
from zoo.errors import InputError, counted
from zoo.fields import show
from zoo.fields.texts import rounded, short, spoken
from zoo.figures import pages
from zoo.training.callbacks import readings

if typing.TYPE_CHECKING:
    from zoo.data.source import Source


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A trained network and a split that it did not train on: what a task makes its part of a report of.

    Attributes:
        model: the network with its best weights.
        reader: what reads raw inputs; it has the labels, where there are any.
        split: "test", or "validation" where the data have no test split.
        data: batches of that split, a `tf.data.Dataset`.
    """

    model: typing.Any
    reader: typing.Any
    split: str
    data: typing.Any

    def batches(self) -> Iterator[tuple[typing.Any, typing.Any, typing.Any]]:
        """(inputs, targets, outputs) of every batch as NumPy arrays, in the order of the split."""
        for inputs, targets, *_ in self.data.as_numpy_iterator():
            yield inputs, targets, self.model.predict_on_batch(inputs)


def report(
    run: runs.Run | str | os.PathLike[str],
    directory: str | os.PathLike[str] | None = None,
    *,
    dataset: typing.Any = None,
    data_dir: str | os.PathLike[str] | None = None,
    skip_bad: bool = False,
    trust: bool = False,
) -> pathlib.Path:
    """Writes a page about a run and its pictures, whole or not at all, and returns the page's path.

    The page needs no other file and no network. It is the same whenever it is written; it replaces an older one.

    Args:
        run: a `Run`, or its folder.
        directory: where `index.html` and the pictures go; None is the folder `report` of the run.
        dataset: the data of a run whose data were handed over in memory, or other data, by name. Without the former
            the page has the numbers and curves of the training alone, and says so.
        data_dir, skip_bad: as for `zoo.train`.
        trust: run the recipe file that the run names, whoever wrote it.
    Raises: `InputError` where there is no run, no checkpoint, data that cannot be opened, or a `directory` that holds
        anything but a report; `RunError` where it cannot be written.
    """
    run = runs.Run.open(run, trust)
    target = pathlib.Path(directory) if directory is not None else run.path / "report"
    pages.refuse_foreign(target)
    with progress.shown("Writing the report"):
        trained = _measure(run, dataset, data_dir, skip_bad)
        pages.put_in_place(target, pages.written("figures/report.html.j2", _facts(trained, skip_bad), _parts(trained)))
    return target / "index.html"


# What is measured ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Trained:
    """What a page tells of.

    Attributes:
        history: that of the run, in the units that a person reads.
        best: the row of `history` of the best weights.
        monitor: the key of `history` that they are best by, or None.
        source: the data; None where they cannot be read again.
        splits: {split: its batches} of those that the network did not train on, the one that counts first.
        measured: {split: {name: value}} of the loss and the metrics on those.
        readings: {key of `history`: the reading that it is of} of what layers tell about themselves.
    """

    run: runs.Run
    recipe: typing.Any
    model: typing.Any
    history: list[dict[str, typing.Any]]
    best: dict[str, typing.Any]
    monitor: str | None
    source: typing.Any
    splits: dict[str, typing.Any]
    measured: dict[str, dict[str, float]]
    readings: dict[str, str]


def _measure(run: runs.Run, dataset: typing.Any, data_dir: str | os.PathLike[str] | None, skip_bad: bool) -> _Trained:
    model, epoch = runs.load(run), run.best_epoch()
    recipe = model.recipe
    history = [recipe.in_units(model.reader, row) for row in run.history]
    best = next(row for row in history if row["epoch"] == epoch)
    source = _open(run, recipe, dataset, data_dir, skip_bad)
    splits = {} if source is None else _splits(model, source)
    return _Trained(
        run=run,
        recipe=recipe,
        model=model,
        history=history,
        best=best,
        monitor=recipe.monitor if recipe.monitor in best else None,
        source=source,
        splits=splits,
        measured={
            split: recipe.in_units(model.reader, model.evaluate(data, verbose=0, return_dict=True))
            for split, data in splits.items()
        },
        readings={column: reading for column, (_, _, reading) in readings(model).items()},
    )


def _in_memory(run: runs.Run) -> bool:
    return run.facts["data"]["name"].startswith(("arrays:", "batches:"))


def _open(
    run: runs.Run, recipe: typing.Any, dataset: typing.Any, data_dir: str | os.PathLike[str] | None, skip_bad: bool
) -> "Source | None":
    """The run's data, or other data of the same classes and channels; None where they were in memory."""
    if dataset is None and _in_memory(run):
        return None
    data = recipe.dataset if dataset is None else dataset
    source = recipe.view(open_source(data, data_dir=data_dir, skip_bad=skip_bad))
    for name, (value, why) in ({} if source.ready else recipe.adapt(source)).items():
        if getattr(recipe, name) != value:
            raise InputError(f"The run was trained with {name}={show(getattr(recipe, name))}, but {why}.")
    return source


def _splits(model: typing.Any, source: "Source") -> dict[str, typing.Any]:
    names = [split for split in ("test", "validation") if source.sizes.get(split)]
    preparation = model.recipe.make_preparation(model.reader, source)
    size = model.recipe.batch_size
    return {split: pipeline.evaluation(source, split, preparation, batch_size=size) for split in names}


def _parts(trained: _Trained) -> list[figures.Part]:
    """The learning curves, and the parts that the task adds where there is a split to judge by."""
    averaged = ", validation with averaged weights" if trained.recipe.ema else ""
    caption = (
        "Training values are means over an epoch in which the weights change, with augmentation and dropout where the "
        f"recipe has them{averaged}. They can be worse than the validation values."
    )
    common = [figures.learning(trained.history, trained.best["epoch"], trained.monitor, caption, [*trained.readings])]
    common += _readings(trained)
    if not trained.splits:
        return common
    split, data = next(iter(trained.splits.items()))
    return [*common, *trained.recipe.report_parts(Outcome(trained.model, trained.model.reader, split, data))]


def _readings(trained: _Trained) -> list[figures.Part]:
    """The `Part` with what layers told about themselves, where any did."""
    groups = {}
    for column, reading in trained.readings.items():
        if any(column in row for row in trained.history):
            groups.setdefault(reading.removesuffix("_backward"), []).append(column)
    if not groups:
        return []
    caption = "What layers report about themselves: means over the training steps of each epoch."
    if len(trained.history) > 1:
        draw = functools.partial(figures.readings, trained.history, groups)
        return [figures.Part("readings", "Readings of layers", caption, draw=draw)]
    (row,) = trained.history
    rows = [(spoken(column), row.get(column)) for columns in groups.values() for column in columns]
    return [figures.Part("readings", "Readings of layers", caption, table=figures.Table(("reading", "mean"), rows))]


# What is said -------------------------------------------------------------------------------------------------------


def _facts(trained: _Trained, skip_bad: bool) -> dict[str, typing.Any]:
    """What the page's template is filled with, beside the parts."""
    run, recipe, data = trained.run, trained.recipe, trained.run.facts["data"]
    return {
        "label": recipe.label,
        "summary": (type(recipe).__doc__ or "").strip().partition("\n")[0],
        "status": run.status.replace("_", " "),
        "reason": run.facts["reason"],
        "tiles": _tiles(trained),
        "numbers": _numbers(trained),
        "weights": _weights_line(trained),
        "notes": _notes(trained),
        "commands": _commands(trained, skip_bad),
        "data": data,
        "unit": "batches" if data["name"].startswith("batches:") else "examples",
        "versions": run.facts["versions"],
        "fields": _fields(trained),
    }


def _metrics(trained: _Trained) -> list[str]:
    """The names of the loss and the metrics, the loss first."""
    other = ("epoch", "learning_rate", *trained.readings)
    keys = [key for key in trained.best if key not in other and not key.startswith("val_")]
    return sorted(keys, key=lambda name: name != "loss")


def _tiles(trained: _Trained) -> list[tuple[str, typing.Any]]:
    """(what, value) of the few numbers that somebody looks for first: the loss comes after what it stands for."""
    names = [*_metrics(trained)[1:], "loss"]
    for split, measured in trained.measured.items():
        found = [(f"{split} {spoken(name)}", measured[name]) for name in names if name in measured]
        break
    else:
        found = [
            (spoken(f"val_{name}"), trained.best[f"val_{name}"]) for name in names if f"val_{name}" in trained.best
        ]
    epoch = f"{trained.best['epoch']} of {len(trained.history)}"
    return [
        *found,
        ("parameters", trained.model.count_params()),
        ("best epoch" if trained.monitor else "last epoch", epoch),
    ]


def _numbers(trained: _Trained) -> figures.Table:
    """The loss and the metrics of the best weights, by split."""
    best, metrics, source = trained.best, _metrics(trained), trained.source
    sizes = trained.run.facts["data"]["sizes"] if source is None else source.sizes
    if trained.recipe.dataset.startswith("batches:"):
        sizes = {}  # nobody counted the examples
    rows = [("training (during training)", sizes.get("train"), *(best[name] for name in metrics))]
    if "validation" not in trained.measured and f"val_{metrics[0]}" in best:
        values = (best.get(f"val_{name}") for name in metrics)
        rows.append(("validation (during training)", sizes.get("validation"), *values))
    for split, measured in reversed(trained.measured.items()):
        rows.append((split, sizes.get(split), *(measured.get(name) for name in metrics)))
    return figures.Table(("split", "examples", *map(spoken, metrics)), rows)


def _weights_line(trained: _Trained) -> str:
    epoch, monitor = trained.best["epoch"], trained.monitor
    best = (
        f"the best by {spoken(monitor)} ({rounded(trained.best[monitor])})"
        if monitor
        else "the last: nothing is monitored"
    )
    averaged = ", averaged over steps" if trained.recipe.ema else ""
    epochs = f"{len(trained.history):,} of {counted(trained.recipe.epochs, 'epoch')}"
    steps = counted(trained.run.facts["steps_per_epoch"], "step")
    return f"The weights are those of epoch {epoch}, {best}{averaged}. The run has trained {epochs}, of {steps} each."


def _notes(trained: _Trained) -> list[str]:
    """What a reader must know before believing the numbers."""
    source = trained.source
    if source is None:
        return [
            "The data were in memory and cannot be read again, so nothing was measured for this page. "
            "With the same data, zoo.report(run, dataset=...) adds what is missing."
        ]
    notes = []
    if source.fingerprint != trained.run.facts["data"]["fingerprint"]:
        notes.append(f"The data measured here, {source.name}, are not those that the run was trained on.")
    if not trained.splits:
        notes.append("The data have neither a test nor a validation split, so nothing was measured for this page.")
    elif "test" not in trained.splits:
        notes.append("The data have no test split: validation stands for it, by which the best epoch was chosen.")
    return notes


def _typed(trained: _Trained) -> dict[str, typing.Any]:
    """{field: value} of what makes this recipe of its name and variant: what was given, or set in code."""
    recipe, source = trained.recipe, trained.source
    bare = type(recipe).configured(recipe.name, recipe.variant).values()
    decided = {} if source is None or source.ready else registry.decided(recipe, source)
    return {
        name: value
        for name, value in recipe.values().items()
        if name in recipe.origin.given or (value != bare[name] and name not in decided)
    }


def _fields(trained: _Trained) -> list[tuple[str, str, str, str, str]]:
    """(name, value, default, where it is from, help) of every field that counts."""
    recipe, typed = trained.recipe, _typed(trained)
    values, variant = recipe.values(), recipe.variants.get(recipe.variant, {})
    rows = []
    for name, field in recipe.fields().items():
        if type(recipe).inactive(name, values):
            continue
        origin = "default" if values[name] == field.default else "data"
        if name in typed:
            origin = "given"
        elif origin == "data" and name in variant:
            origin = "variant"
        rows.append((name, short(values[name]), short(field.default), origin, field.help))
    return rows


def _commands(trained: _Trained, skip_bad: bool) -> list[tuple[str, str]]:
    """(what for, command) of how to train the same again, to export it and to ask it."""
    folder, name = str(trained.run.path), trained.run.path.name
    label, again = _label(trained), f"{folder}-again"
    if label is None or _in_memory(trained.run):
        train = _in_python(trained, label, again)
    else:
        pairs = [f"{field}={show(value)}" for field, value in _typed(trained).items()]
        options = ["--skip-bad"] if skip_bad else []
        train = shlex.join(["zoo", "train", label, *pairs, *options, "--directory", again])
    return [
        ("Train the same run again", train),
        ("Export it with its best weights", shlex.join(["zoo", "export", folder, f"exports/{name}"])),
        ("Predict with it", shlex.join(["zoo", "predict", folder, "TEXT" if trained.recipe.texts else "FILE"])),
    ]


def _label(trained: _Trained) -> str | None:
    """By what the command line finds the recipe; None where it is a class of code alone."""
    recipe, reference = trained.recipe, trained.run.facts["recipe"]["reference"]
    if reference.endswith(".py"):
        return f"{reference}/{recipe.variant}" if recipe.variant else reference
    if registry.is_file(recipe.label):  # the run's folder says so: nothing is imported for it
        return None
    try:
        return recipe.label if registry.find(recipe.label)[0] is type(recipe) else None
    except InputError:
        return None


def _in_python(trained: _Trained, label: str | None, directory: str) -> str:
    """The call of `zoo.train` where no command can say it: data in memory, or a class that has no name."""
    module, _, name = trained.run.facts["recipe"]["reference"].partition(":")
    in_memory = _in_memory(trained.run)
    fields = [f"{field}={value!r}" for field, value in _typed(trained).items() if field != "dataset" or not in_memory]
    data = ["dataset=data"] if in_memory else []
    lines = ["import zoo"]
    if label is None:
        lines.append(f"from {module} import {name}")
        arguments = [f"{name}({', '.join(fields)})", *data]
    else:
        arguments = [repr(label), *data, *fields]
    return "\n".join([*lines, "", f"run = zoo.train({', '.join(arguments)}, directory={directory!r})"])
