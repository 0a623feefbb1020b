"""What there is to train: a recipe fitted to its data, its folder, and the run that lies there already."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from zoo import registry
from zoo.base.recipe import Recipe
from zoo.data import open_source
from zoo.data.source import Source
from zoo.errors import InputError
from zoo.fields import show
from zoo.runs import Run
from zoo.runs.run import KIND


@dataclasses.dataclass(frozen=True)
class Job:
    """What there is to train, before anything is written. `run` is what lies at `path` already, or None."""

    recipe: Recipe
    source: Source
    path: pathlib.Path
    run: Run | None


def named_job(
    recipe: str | Recipe,
    given: Mapping[str, Any],
    directory: str | os.PathLike[str] | None,
    data_dir: str | os.PathLike[str] | None,
    skip_bad: bool,
) -> Job:
    """Returns the job of a recipe; another recipe, fields or data in `directory` are an `InputError`."""
    recipe, source = registry.open_recipe(recipe, given, data_dir=data_dir, skip_bad=skip_bad)
    path = pathlib.Path(directory or KIND.default(recipe.name, recipe.variant, recipe.digest()))
    run = _lying_at(path, recipe, source)
    return Job(recipe if run is None else run.recipe, source, path, run)


def resumed_job(
    run: Run,
    recipe: str | Recipe | None,
    given: dict[str, Any],
    data_dir: str | os.PathLike[str] | None,
    skip_bad: bool,
) -> Job:
    """Returns the job of a run; a recipe, fields or data other than its own are an `InputError` that says which."""
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
    return Job(kept, source, run.path, run)


def _lying_at(path: pathlib.Path, recipe: Recipe, source: Source) -> Run | None:
    """Returns the run at `path`, if it is of this recipe and these data; None where none is, or a bare beginning."""
    KIND.refuse_foreign(path)
    if not Run.exists(path):
        return None
    run = Run.open(path)
    kept = run.recipe
    if type(kept) is not type(recipe):
        raise InputError(f"{path} is a run of {kept.label}, not of {recipe.label}. Name another --directory.")
    _refuse_changes(run, kept, _asked(recipe, kept))
    _refuse_other_data(run, source)
    return run


def _asked(recipe: Recipe, kept: Recipe) -> dict[str, Any]:
    """{field: value} of a recipe without the defaults that an older version may have had otherwise.

    They are of fields that are at their default and were set neither now nor in the run, whose recipe is `kept`.
    """
    values = recipe.values()
    if recipe.variant != kept.variant:
        return values
    default = recipe.configured(recipe.name, recipe.variant).values()
    given = kept.origin.given | recipe.origin.given
    return {name: value for name, value in values.items() if name in given or value != default[name]}


def _refuse_changes(run: Run, kept: Recipe, values: Mapping[str, Any]) -> None:
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


def _refuse_other_data(run: Run, source: Source) -> None:
    if run.facts["data"]["fingerprint"] != source.fingerprint:
        raise InputError(
            f"{run.path} was trained on other data than dataset={source.name} holds now: they have changed since. "
            "Put them back, or train in another --directory."
        )
