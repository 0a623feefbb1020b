"""`zoo.build`: from a name to a compiled model, started from other weights where the recipe says so."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo import registry, weights
from zoo.base.models import attach
from zoo.errors import InputError
from zoo.runs import Pretrained, Run, Shipped
from zoo.weights import h5, hub

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe


def build(name: "str | Recipe", /, *, steps_per_epoch: int | None = None, **given: Any) -> keras.Model:
    """Returns a compiled `keras.Model`, ready for `model.fit`; `model.recipe` is its recipe.

    Args:
        name: `lenet`, `lenet/modern`, `./my_recipe.py`, or a recipe.
        steps_per_epoch: makes the schedule and warm-up act, which need the number of steps.
        given: values of fields; without `dataset=` no data are read.
    Raises: as `recipe`.
    """
    labels = None
    if "dataset" in given:
        recipe, source = registry.open_recipe(name, given)
        labels = None if source.ready else recipe.make_reader(source).labels
    else:
        recipe = registry.configured(name, given)
    model = recipe.build(steps_per_epoch)
    if labels:
        attach(model, labels=labels)
    if recipe.init_from is not None:
        initialize(model, recipe.init_from, labels)
    return model


def initialize(
    model: keras.Model,
    source: str | os.PathLike[str],
    labels: Sequence[str] | None = None,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Starts `model` from the weights of `source`: whole layers, matched by path and shape.

    The layers named `head...` are taken only where the labels are the same, or unknown on the model's side.

    Args:
        source: a run's folder (its best weights); an `.h5` file of Keras, without labels; a `.keras` file, which has
            labels where a model of `zoo.load`, or of `zoo.build` with a data set, was saved; or a checkpoint of another
            library, as for `zoo.load`.
        labels: the labels of the data that `model` will train on; None where they are unknown.
        say: called with one line a layer: what was taken and what was left, and why.
    Returns: what a run keeps of a published checkpoint, {"source", "commit", "sha256"}; empty for a source of ours.
    Raises: `InputError` where no layer matches, or there is nothing at `source`.
    """
    arrays, theirs, facts = _load(source, model)
    target: dict[str, list[keras.Variable]] = {}
    for variable in weights.variables(model):
        target.setdefault(variable.path.rpartition("/")[0], []).append(variable)
    taken, unlike = 0, set()
    for layer, own in target.items():
        found = {variable.path: arrays[variable.path] for variable in own if variable.path in arrays}
        reason = _mismatch(layer, own, found, labels, theirs)
        if reason in (_UNKNOWN, _DIFFER):
            unlike.add(reason)
        if reason is None:
            taken += 1
            for variable in own:
                variable.assign(found[variable.path])
        say(f"  {layer}: {'taken' if reason is None else 'left as it was, ' + reason}")
    if not taken:
        raise InputError(f"init_from={source} shares no layer with {model.name} (by path and shape).")
    head = f"; the head starts afresh: {' and '.join(unlike)}" if unlike else ""
    say(f"Started from {source}: {taken} of {len(target)} layers taken{head}.")
    surplus = getattr(arrays, "surplus", ())
    if surplus:
        say(f"Not taken from {source}, for want of a place: {', '.join(surplus)}.")
    return facts


_UNKNOWN, _DIFFER = "the labels there are unknown", "the labels differ"


def _mismatch(
    layer: str,
    own: list[keras.Variable],
    arrays: Mapping[str, np.ndarray],
    labels: Sequence[str] | None,
    theirs: Sequence[str] | None,
) -> str | None:
    """Returns why `layer` cannot be taken; None where it can."""
    if any(variable.path not in arrays for variable in own):
        return "it is not there"
    for variable in own:
        if arrays[variable.path].shape != tuple(variable.shape):
            return f"{variable.path} is {arrays[variable.path].shape} there and {tuple(variable.shape)} here"
    if layer.startswith("head") and labels is not None:
        if theirs is None:
            return _UNKNOWN
        if tuple(theirs) != tuple(labels):
            return _DIFFER
    return None


def _load(
    source: str | os.PathLike[str], model: Any
) -> tuple[Mapping[str, np.ndarray], Sequence[str] | None, dict[str, Any]]:
    """Returns ({path: array}, labels or None, facts of a checkpoint) of what `model` can be started from."""
    path = pathlib.Path(source)
    if path.suffix == ".keras":
        if not path.is_file():
            raise InputError(f"init_from={source}: there is no such file.")
        return weights.of(weights.open_keras(path, f"init_from={source}")), weights.labels(path), {}
    if path.suffix in h5.SUFFIXES:
        return h5.read_h5(path, [variable.path for variable in weights.variables(model)]), None, {}
    if hub.is_shipped(source):
        shipped = Shipped(source)
        return shipped.weights(), shipped.reader().labels, {}
    if hub.is_pretrained(source):
        pretrained = Pretrained(source, model.recipe)
        labels = pretrained.labels if "classes" in model.recipe.fields() else ()
        return pretrained.weights(model), labels, pretrained.facts()
    run = Run.open(source)
    return run.weights(), run.reader().labels, {}
