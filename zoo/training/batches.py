"""`zoo.dataset`: a split of data as the network of a recipe takes it."""

import os
from typing import TYPE_CHECKING, Any

import keras

from zoo import registry
from zoo.data import pipeline
from zoo.data.source import SPLITS
from zoo.errors import InputError, unknown
from zoo.runs import Run

if TYPE_CHECKING:
    import tensorflow as tf

    from zoo.base.recipe import Recipe


def dataset(
    recipe: "str | os.PathLike[str] | Recipe | keras.Model | Run",
    split: str = "train",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    skip_bad: bool = False,
    trust: bool = False,
    **given: Any,
) -> "tf.data.Dataset[Any]":
    """Returns a split as the network of `recipe` takes it: a `tf.data.Dataset` of batches.

    `model.fit(zoo.dataset(model, "train"), shuffle=False)`: training batches are shuffled and augmented already, anew
    in every pass.

    Args:
        recipe: a name, a recipe, a model of `zoo.build`, or a run.
        split: "train", "validation" or "test"; the latter two come whole, in order, without augmentation.
        data_dir, skip_bad, trust: as for `zoo.train`.
        given: values of fields.
    Raises: `InputError` for what `zoo.recipe` refuses, and a split that is not there.
    """
    if not isinstance(split, str) or split not in SPLITS:
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
