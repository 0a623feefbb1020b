"""The verbs about runs: evaluate, predict, export, report."""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import completing
from zoo.cli.answers import Failed, answers, say, wanted
from zoo.cli.given import open_run, open_source
from zoo.cli.options import data_dir, filled, quiet, skip_bad, trust
from zoo.cli.screen import hushed, load_backend
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.tuning.study import Study


@click.command()
@click.argument("run", callback=filled, shell_complete=completing.runs, metavar="RUN|STUDY|SOURCE")
@click.option("--split", default="test", show_default=True, help="Split: train, validation or test.")
@click.option("--dataset", help="Name of other data (default: those of the training).")
@data_dir
@skip_bad
@trust
@quiet
@answers("evaluate")
def evaluate(
    run: Any, split: str, dataset: str | None, data_dir: str | None, skip_bad: bool, trust: bool, quiet: bool
) -> dict[str, Any]:
    """Print the loss and metrics of a run, a study's best trial, or a pretrained source such as hf:OWNER/NAME."""
    run = open_source(_best_of(run, trust), trust)
    from zoo.serving.prediction import evaluate

    found = evaluate(run, split, dataset=dataset, data_dir=data_dir, skip_bad=skip_bad, quiet=quiet)
    for name, value in found.items():
        say(f"{name} {value:.6g}" if quiet else f"{split} {name:<12} {value:.6g}")
    return {"split": split, "scores": found}


@click.command()
@click.argument("run", callback=filled, shell_complete=completing.runs, metavar="RUN|STUDY|SOURCE")
@click.argument("inputs", nargs=-1, metavar="FILE|FOLDER|TEXT...")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Print the N likeliest classes.")
@click.option("--csv", is_flag=True, help="Print a table with a header line.")
@click.option("--tile", type=click.IntRange(1), metavar="N", help="Segment large images in tiles of N x N pixels.")
@click.option(
    "--overlap",
    type=click.IntRange(0),
    metavar="N",
    help="Overlap of neighbouring tiles, in pixels (default: the receptive field).",
)
@click.option(
    "--masks", metavar="DIR", callback=filled, default="predictions", show_default=True, help="Folder for the masks."
)
@click.option("--strict", is_flag=True, help="Refuse texts that are too long or have out-of-vocabulary tokens.")
@skip_bad
@trust
@quiet
@answers("predict")
def predict(
    run: Any,
    inputs: Any,
    top: int,
    csv: bool,
    tile: int | None,
    overlap: int | None,
    masks: str,
    strict: bool,
    skip_bad: bool,
    trust: bool,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Print what a run, a study's best trial, or a pretrained source such as hf:OWNER/NAME, predicts.

    A folder stands for the files below it that the run reads, sorted by path: images, .csv or .txt.

    Of a run that reads texts, an argument that names an existing file is a file of lines, each of them a text; any
    other is a text. Without inputs, texts are the lines of standard input, and each answer is a line.

    Segmentation prints each class's share of the pixels, and writes a mask: a PNG of class ids under the file's name.
    """
    if csv and wanted():
        raise InputError("--csv and --json are two formats: give one.")
    run = open_source(_best_of(run, trust), trust)
    from zoo.runs import load, table
    from zoo.serving.prediction import files_of, predict

    piped = run.recipe.texts and not inputs
    if piped:
        inputs = [line.rstrip(b"\r\n") for line in sys.stdin.buffer]
    if not inputs:
        raise InputError("Nothing to predict: give at least one input.")
    if run.recipe.texts and not piped:
        inputs = [pathlib.Path(one) if os.path.exists(one) else one for one in inputs]
    asked = {"skip_bad": skip_bad, "strict": strict, "tile": tile, "overlap": overlap}
    if run.recipe.tiles:
        model, predictions = load(run), []
        targets = _targets(files_of(inputs, model.reader), masks)
        for path, target in targets.items():  # one at a time: masks are as large as images
            for one in predict(model, [path], **asked):
                one.write(target)
                predictions.append(dataclasses.replace(one, mask=None))
    else:
        predictions = predict(run, list(inputs), **asked)
    rows = [{"input": one.name, **_numbers(one.row(top))} for one in predictions]
    if csv:
        say(table([{"input": one.name, **one.row(top)} for one in predictions]), nl=False)
        return rows
    width = max((len(one.name) for one in predictions), default=0)
    for one in predictions:
        say(one.show(top) if piped else f"{one.name:<{width}}  {one.show(top)}")
    return rows


@click.command()
@click.argument("run", callback=filled, shell_complete=completing.runs, metavar="RUN|STUDY|SOURCE")
@click.argument("directory", callback=filled)
@click.option("--format", default="saved_model", show_default=True, help="saved_model, onnx, litert or safetensors.")
@click.option(
    "--version", type=click.IntRange(1), metavar="N", help="Write to DIRECTORY/N, the layout of TensorFlow Serving."
)
@trust
@quiet
@answers("export")
def export(run: Any, directory: str, format: str, version: int | None, trust: bool, quiet: bool) -> dict[str, Any]:
    """Export a run, a study's best trial, or a pretrained source as a verified model.

    DIRECTORY must not exist; the model in it needs nothing of this package. With --format safetensors it is a
    checkpoint that transformers or timm loads.
    """
    from zoo.runs import Run
    from zoo.serving.exporting import export, needs_keras
    from zoo.weights import hub

    run = _best_of(run, trust)
    if isinstance(run, str) and hub.is_source(run):
        run = open_source(run, trust)
    else:
        run = Run.open(run, trust)
        if needs_keras(run, format):
            load_backend()
    folder = export(run, directory, format=format, version=version, quiet=quiet)
    return {"path": folder, "format": format}


@click.command()
@click.argument("run", callback=filled, shell_complete=completing.runs, metavar="RUN|STUDY")
@click.option("--directory", callback=filled, metavar="DIR", help="Folder of the report (default: RUN/report).")
@data_dir
@skip_bad
@trust
@quiet
@answers("report")
def report(
    run: Any, directory: str | None, data_dir: str | None, skip_bad: bool, trust: bool, quiet: bool
) -> dict[str, Any]:
    """Write an HTML report of a run or a study.

    Of a study, the folder events is written too: `tensorboard --logdir STUDY/events` shows its trials in HParams.
    """
    from zoo.tuning.study import Study

    if Study.exists(run):
        if data_dir is not None or skip_bad:
            raise InputError("The report of a study reads no data: leave --data-dir and --skip-bad out.")
        page = _study_report(Study.open(run, trust), directory)
    else:
        run = open_run(run, trust)
        from zoo.data import progress
        from zoo.reporting import report

        with progress.silent(quiet):
            page = report(run, directory, data_dir=data_dir, skip_bad=skip_bad)
    if not quiet:
        say(f"Report written to {page}")
    return {"path": page}


@click.command()
@click.argument("name", callback=filled)
@click.option("--directory", callback=filled, metavar="RUN", help="The run's folder (default: a temporary one).")
@data_dir
@quiet
@answers("reproduce")
def reproduce(name: str, directory: str | None, data_dir: str | None, quiet: bool) -> dict[str, Any]:
    """Retrain weights that come with the package, and compare the score with their card.

    Status 0 where the score is within the card's band, or better; 1 where it is not.
    """
    load_backend()
    from zoo.reproducing import reproduce

    found = reproduce(name, directory=directory, data_dir=data_dir, quiet=quiet)
    low, high = found.band
    told = f"zoo:{found.name}: {found.metric} {found.score:.4g}, {{}} the card's band, {low:.4g} to {high:.4g}"
    if not found.within:
        raise Failed(told.format("not within"), dataclasses.asdict(found))
    say(told.format("within"))
    return dataclasses.asdict(found)


def _numbers(row: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a prediction's table, all but labels and texts as numbers."""
    return {name: text if name.startswith(("label", "text")) else float(text) for name, text in row.items()}


def _best_of(run: str, trust: bool) -> str | os.PathLike[str]:
    """The folder of the best trial's run where `run` is that of a study; else `run`."""
    from zoo.tuning.study import Study

    return Study.open(run, trust).best_run() if Study.exists(run) else run


def _targets(inputs: Iterable[str], folder: str) -> dict[str, pathlib.Path]:
    """{picture: where its mask goes}; a file that is there, or would be written twice, is an `InputError`."""
    targets = {path: pathlib.Path(folder, f"{pathlib.Path(path).stem}.png") for path in inputs}
    places = list(targets.values())
    for place in places:
        if place.exists() or places.count(place) > 1:
            why = "exists" if place.exists() else "would be the mask of two images"
            raise InputError(f"{place} {why}: name another folder with --masks.")
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    return targets


def _study_report(study: "Study", directory: str | None) -> pathlib.Path:
    """Writes what is told of a study; the page's path."""
    from zoo.tuning.report.page import report
    from zoo.tuning.report.tensorboard import write_events

    page = report(study, directory)
    with hushed():
        write_events(study)
    return page
