"""`zoo.hypermodel`: a recipe as a `keras_tuner.HyperModel`, for whoever drives a tuner by hand."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras_tuner

from zoo import building, registry, training
from zoo.data import pipeline
from zoo.errors import InputError
from zoo.training.callbacks import EpochSeeds
from zoo.tuning.ranges import read
from zoo.tuning.space import Space

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe


def hypermodel(
    recipe: "str | Recipe",
    *,
    space: Mapping[str, Any] | str | None = None,
    fixed: Mapping[str, Any] | None = None,
    data_dir: str | pathlib.Path | None = None,
    skip_bad: bool = False,
    **given: Any,
) -> keras_tuner.HyperModel:
    """Returns a recipe as a model for tuners: `keras_tuner.RandomSearch(zoo.hypermodel("lenet"), ...).search()`.

    `search()` trains on the recipe's data, with its batch size and epochs; data and epochs that are given to `search`
    replace them.

    Args:
        recipe: a name such as `lenet/modern`, or a recipe.
        space, fixed: as for `zoo.tune`; `dataset` may be arrays or a `tf.data.Dataset`.
        data_dir, skip_bad: as for `zoo.train`.
        given: values of fields, as for `zoo.build`: they are fixed.
    Raises: `InputError` for what cannot be searched or fixed, and for a field that is fixed twice.
    """
    base = registry.configured(recipe, {})
    twice = sorted(set(given) & set(fixed or {}))
    if twice:
        raise InputError(f"{twice[0]} is given twice, in fixed= and by itself: leave one out.")
    fixed = {**(fixed or {}), **given}
    data = fixed.pop("dataset") if not isinstance(fixed.get("dataset", ""), str) else None
    ranges, fixed = read(base, space, fixed)
    searched = Space(base, ranges, fixed, named=isinstance(space, Mapping))
    return _HyperModel(searched, {} if data is None else {"dataset": data}, data_dir, skip_bad)


class _HyperModel(keras_tuner.HyperModel):
    def __init__(self, space, data, data_dir, skip_bad):
        super().__init__(name="recipe")
        self._space = space
        self._data = data
        self._options = {"data_dir": data_dir, "skip_bad": skip_bad}

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Declares every range, those of training included, before the first trial."""
        self._space.declare(hp)

    def recipe(self, hp: keras_tuner.HyperParameters) -> "Recipe":
        """Returns the recipe that `hp` chooses."""
        self._space.declare(hp)
        kept = {name: value for name, value in hp.values.items() if hp.is_active(name)}
        return self._space.recipe(self._space.read(kept))

    def build(self, hp):
        recipe = self.recipe(hp)
        if not self._data and recipe.dataset is None:
            return building.build(recipe)
        recipe, source = registry.open_recipe(recipe, self._data, **self._options)
        preparation = recipe.make_preparation(recipe.make_reader(source), source)
        return building.build(recipe, steps_per_epoch=pipeline.steps_per_epoch(source, preparation, recipe.batch_size))

    def fit(self, hp, model, *args, callbacks=(), **kwargs):
        recipe = model.recipe
        options = {"epochs": recipe.epochs, "callbacks": [EpochSeeds(recipe.seed), *callbacks], **kwargs}
        if not args and "x" not in kwargs:
            _, source = registry.open_recipe(recipe, self._data, **self._options)
            args = [training.dataset(recipe, "train", **self._data, **self._options)]
            options["shuffle"] = False
            if "validation" in source.sizes:
                validation = training.dataset(recipe, "validation", **self._data, **self._options)
                options.setdefault("validation_data", validation)
        return model.fit(*args, **options)
