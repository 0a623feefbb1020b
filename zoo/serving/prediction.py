"""`zoo.evaluate` and `zoo.predict`: a trained run, asked."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import keras

from zoo import runs
from zoo.data import progress
from zoo.data.folder_source import visible_files
from zoo.errors import InputError, check_whole
from zoo.readers.images import ImageReader
from zoo.training import dataset as split_of

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe


class HasBest(Protocol):
    """What has trained several models and knows the best: a `zoo.Study`."""

    def best(self) -> keras.Model:
        """Returns the best model, as `zoo.load` does."""
        ...


def evaluate(
    run: str | os.PathLike[str] | runs.Trained | HasBest | keras.Model,
    split: str = "test",
    *,
    dataset: Any = None,
    data_dir: str | os.PathLike[str] | None = None,
    skip_bad: bool = False,
    quiet: bool = True,
    trust: bool = False,
) -> dict[str, float]:
    """Returns {name: value} of the loss and the metrics of a run's best weights on a split of its data.

    The `absolute_error` of a regression is in the unit of its target; its loss is what training minimizes. Categories
    that training did not have are counted in a warning, and so are out-of-vocabulary tokens of texts that are read
    whole.

    Args:
        run: a `Run`, its folder, a `Study` (its best trial), a pretrained source as for `zoo.load`, or a model of
            `zoo.load`.
        split: "train" (augmented and shuffled, as in training), "validation" or "test".
        dataset: other data, by name; or the data of a run whose data were handed over in memory.
        data_dir, skip_bad: as for `zoo.train`.
        quiet: show no progress bar, which stands on stderr, if that is a terminal, after a few seconds.
        trust: run the recipe file that the run names, whoever wrote it.
    Raises: `InputError` where there is no such run or split, or the run has no checkpoint.
    """
    model = _model(run, trust)
    given = {} if dataset is None else {"dataset": dataset}
    data = split_of(model, split, data_dir=data_dir, skip_bad=skip_bad, **given)
    steps = int(data.cardinality())  # negative where it is not known
    with progress.silent(quiet), progress.shown("Evaluating", steps if steps > 0 else None) as advance:
        each = keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: advance(1))
        found = model.evaluate(data, verbose=0, return_dict=True, callbacks=[each])
        found = model.recipe.in_units(model.reader, found) | model.recipe.judge(model, model.reader, data)
    return {key: float(value) for key, value in found.items()}


def predict(
    run: str | os.PathLike[str] | runs.Trained | HasBest | keras.Model,
    inputs: Any,
    *,
    labels: Sequence[str] | None = None,
    skip_bad: bool = False,
    strict: bool = False,
    tile: int | None = None,
    overlap: int | None = None,
    trust: bool = False,
) -> list[Any]:
    """Returns a run's predictions on raw inputs, a list: of `zoo.tasks.Prediction` where they are classified.

    Cells of categories that training did not have, and out-of-vocabulary tokens, are counted in a warning.

    Args:
        run: a `Run`, its folder, a `Study` (its best trial), a pretrained source as for `zoo.load`, a model of
            `zoo.load`, or a model of `zoo.build` for images that its owner fitted.
        inputs: paths of files, or arrays; for images, (height, width, channels) of any size, or (n, height, width,
            channels): uint8, uint16, or floats from 0 to 1, or to 255 where one is above 1; or the bytes of image
            files; for tables, CSV files, or mappings from columns to a value or values, data frames too; or texts, and
            `pathlib.Path`s of files of which each line is a text. One or a list. The path of a folder (for texts, a
            `pathlib.Path`) stands for the files below it that are read (images, .csv or .txt), sorted by path; what is
            hidden is skipped.
        labels: the names of the classes of a model that its owner fitted, in the order of its outputs. Defaults to
            '0' to 'n-1'.
        skip_bad: leave out inputs that cannot be read.
        strict: refuse texts that the network can only read in part.
        tile, overlap: of an image that is segmented, as of `zoo.tiling.tiles`: for one that is too large to be asked
            whole. Without an overlap, tiles share what the network sees.
        trust: run the recipe file that the run names, whoever wrote it.
    Raises: `InputError` where an input cannot be read, with its name, and for a folder without a file that is read.
    """
    model = _model(run, trust)
    reader = _reader(model, labels)
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    if not inputs:
        raise InputError("Nothing to predict: give at least one input.")
    if strict and not model.recipe.texts:
        raise InputError(f"{model.recipe.name} reads no texts: leave strict out.")
    inputs = files_of(inputs, reader, model.recipe.texts)
    names, tensors = reader.read_raw(inputs, skip_bad, **({"strict": True} if strict else {}))
    if not names:
        return []
    outputs = model.recipe.ask(model, tensors, **_tiling(model.recipe, tile, overlap))
    return model.recipe.make_predictions(reader, names, outputs)


def files_of(inputs: Iterable[Any], reader: Any, texts: bool = False) -> list[Any]:
    """Returns `inputs`, in which the files below each folder that `reader` reads, sorted by path, stand for it.

    Args:
        texts: whether a string is a text, and never the path of a folder.
    Raises: `InputError` for a folder without such a file.
    """
    endings, found = getattr(reader, "endings", (".txt",) if texts else (".csv",)), []
    for one in inputs:
        if not isinstance(one, os.PathLike if texts else (str, os.PathLike)) or not os.path.isdir(one):
            found.append(one)
            continue
        files = [path for path in visible_files(pathlib.Path(one)) if path.suffix.lower() in endings]
        if not files:
            raise InputError(f"{one} is a folder without a file to predict: {', '.join(endings)}.")
        found += files
    return found


def _tiling(recipe: "Recipe", tile: int | None, overlap: int | None) -> dict[str, int]:
    """The options that `recipe.ask` takes of these, checked."""
    given = {name: value for name, value in (("tile", tile), ("overlap", overlap)) if value is not None}
    if given and not recipe.tiles:
        raise InputError(f"{recipe.name} takes its inputs whole: leave {' and '.join(given)} out.")
    if "overlap" in given and tile is None:
        raise InputError(f"overlap={overlap} has no effect without a tile.")
    return {name: check_whole(name, value, 0 if name == "overlap" else 1) for name, value in given.items()}


def _model(run: str | os.PathLike[str] | runs.Trained | HasBest | keras.Model, trust: bool) -> Any:
    """The model to ask."""
    if isinstance(run, keras.Model):
        if not hasattr(run, "recipe"):
            raise InputError("This model has no recipe and no reader: give a run, or a model of zoo.load.")
        return run
    return run.best() if hasattr(run, "best_run") else runs.load(run, trust=trust)


def _reader(model: Any, labels: Sequence[str] | None) -> Any:
    """What reads raw inputs for `model`; for one that its owner fitted, a reader of images with these `labels`."""
    if hasattr(model, "reader"):
        if labels is not None:
            raise InputError("This model has labels of its own: leave labels= out.")
        return model.reader
    reader = None if model.recipe.texts else model.recipe.default_reader(labels)
    if not isinstance(reader, ImageReader):
        raise InputError(f"This model of {model.recipe.name} has no reader: give a run, or a model of zoo.load.")
    return reader
