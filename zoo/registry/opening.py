"""From a name and values to a recipe, alone or fitted to the data that it is to train on."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError
from zoo.registry.finding import find, refuse_no_recipe
from zoo.registry.pretrained import started

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe
    from zoo.data.source import Source


def recipe(name: "str | Recipe", /, **given: Any) -> "Recipe":
    """Returns the recipe `name`, such as `lenet/modern`, with the values that are `given`.

    Data are read only where `dataset=` is given; then channels and classes come from them.
    Raises: `InputError` for an unknown name, variant or field, and for a value that cannot be.
    """
    return open_recipe(name, given)[0] if "dataset" in given else configured(name, given)


def open_recipe(
    recipe: "str | Recipe", given: Mapping[str, Any], adapt: bool = True, **options: Any
) -> "tuple[Recipe, Source]":
    """Returns (the recipe fitted to its data, the opened `Source`).

    Args:
        recipe: a name, or a `Recipe`.
        given: {field: value}; `dataset` may be data in memory.
        adapt: whether the data decide fields; what is trained already reads other data as it learned to.
        options: those of `zoo.data.open_source`.
    """
    from zoo.data import open_source

    recipe = configured(recipe, {})
    data = given.get("dataset", recipe.dataset)
    if data is None or (isinstance(data, (str, list, tuple, Mapping)) and not data):
        raise InputError(f"{recipe.name} has no data of its own: give dataset=, such as folder:PATH.")
    for name, value in given.items():
        if name != "dataset" or isinstance(value, str):
            recipe.field(name).check(name, value)
    source = recipe.view(open_source(data, **options))
    if "dataset" in given:
        given = {**given, "dataset": source.name}
    if given.get("init_from") is not None:  # a checkpoint has values of its own
        origin = dataclasses.replace(recipe.origin, given=recipe.origin.given | set(given))
        recipe = started(recipe.restored(origin, recipe.normal({**recipe.values(), **given})))
    if source.ready or not adapt:
        return recipe.replace(**given), source
    # what is given may decide how data are read, and may count on these data only
    hopeful = recipe.restored(recipe.origin, recipe.normal({**recipe.values(), **given}))
    recipe = recipe.adapted(decided(hopeful, source)).replace(**given)
    return recipe.adapted(decided(recipe, source)), source


def decided(recipe: "Recipe", source: "Source") -> dict[str, tuple[Any, str]]:
    """Returns {field: (value, why)} of what the data of `source` decide or suggest, as `Recipe.adapted` takes it."""
    return recipe.fitted(source) | recipe.adapt(source)


def configured(recipe: "str | Recipe", given: Mapping[str, Any]) -> "Recipe":
    """Returns the recipe of a name, or `recipe` itself, with the values that are `given`."""
    if not isinstance(recipe, str):
        refuse_no_recipe(recipe)
        return started(recipe.replace(**given)) if given else recipe
    cls, base, variant = find(recipe)
    return started(cls.configured(base, variant, given))
