"""`zoo.evaluate` and `zoo.predict`: a trained run, asked."""

import os
from typing import TYPE_CHECKING, Any

import keras

from zoo import runs
from zoo.errors import InputError, check_whole
from zoo.training import dataset as split_of

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe


def evaluate(
    run: str | os.PathLike[str] | runs.Trained | keras.Model,
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
        run: a `Run`, its folder, a pretrained source as for `zoo.load`, or a model of `zoo.load`.
        split: "train" (augmented and shuffled, as in training), "validation" or "test".
        dataset: other data, by name; or the data of a run whose data were handed over in memory.
        data_dir, skip_bad: as for `zoo.train`.
        quiet: without a progress bar.
        trust: run the recipe file that the run names, whoever wrote it.
    Raises: `InputError` where there is no such run or split, or the run has no checkpoint.
    """
    model = _model(run, trust)
    given = {} if dataset is None else {"dataset": dataset}
    data = split_of(model, split, data_dir=data_dir, skip_bad=skip_bad, **given)
    found = model.evaluate(data, verbose=0 if quiet else "auto", return_dict=True)
    found = model.recipe.in_units(model.reader, found) | model.recipe.judge(model, model.reader, data)
    return {key: float(value) for key, value in found.items()}


def predict(
    run: str | os.PathLike[str] | runs.Trained | keras.Model,
    inputs: Any,
    *,
    skip_bad: bool = False,
    strict: bool = False,
    tile: int | None = None,
    overlap: int | None = None,
    trust: bool = False,
) -> list[Any]:
    """Returns a run's predictions on raw inputs, a list: of `zoo.tasks.Prediction` where they are classified.

    Cells of categories that training did not have, and out-of-vocabulary tokens, are counted in a warning.

    Args:
        run: a `Run`, its folder, a pretrained source as for `zoo.load`, or a model of `zoo.load`.
        inputs: paths of files, or arrays; for images, (height, width, channels) of any size, or (n, height, width,
            channels): uint8, uint16, or floats from 0 to 1, or to 255 where one is above 1; or the bytes of image
            files; for tables, CSV files, or mappings from columns to a value or values, data frames too; or texts, and
            `pathlib.Path`s of files of which each line is a text. One or a list.
        skip_bad: leave out inputs that cannot be read.
        strict: refuse texts that the network can only read in part.
        tile, overlap: of an image that is segmented, as of `zoo.tiling.tiles`: for one that is too large to be asked
            whole. Without an overlap, tiles share what the network sees.
        trust: run the recipe file that the run names, whoever wrote it.
    Raises: `InputError` where an input cannot be read, with its name.
    """
    model = _model(run, trust)
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    if not inputs:
        raise InputError("Nothing to predict: give at least one input.")
    if strict and not model.recipe.texts:
        raise InputError(f"{model.recipe.name} reads no texts: leave strict out.")
    names, tensors = model.reader.read_raw(inputs, skip_bad, **({"strict": True} if strict else {}))
    if not names:
        return []
    outputs = model.recipe.ask(model, tensors, **_tiling(model.recipe, tile, overlap))
    return model.recipe.make_predictions(model.reader, names, outputs)


def _tiling(recipe: "Recipe", tile: int | None, overlap: int | None) -> dict[str, int]:
    """The options that `recipe.ask` takes of these, checked."""
    given = {name: value for name, value in (("tile", tile), ("overlap", overlap)) if value is not None}
    if given and not recipe.tiles:
        raise InputError(f"{recipe.name} takes its inputs whole: leave {' and '.join(given)} out.")
    if "overlap" in given and tile is None:
        raise InputError(f"overlap={overlap} has no effect without a tile.")
    return {name: check_whole(name, value, 0 if name == "overlap" else 1) for name, value in given.items()}


def _model(run: str | os.PathLike[str] | runs.Trained | keras.Model, trust: bool) -> Any:
    if isinstance(run, keras.Model):
        if not hasattr(run, "reader"):
            raise InputError("This model has no reader: give a run, or a model of zoo.load.")
        return run
    return runs.load(run, trust=trust)
