"""`zoo.build`: from a name to a compiled model, started from other weights where the recipe says so."""

import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo import fields, registry, weights
from zoo.base import finetuning
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
        say: called with a table of what was taken, what is new and what was left out, and why, and then with one line.
    Returns: what a run keeps of a published checkpoint, {"source", "commit", "sha256"}; empty for a source of ours.
    Raises: `InputError` where no layer matches, or there is nothing at `source`.
    """
    arrays, theirs, facts = _load(source, model)
    target: dict[str, list[keras.Variable]] = {}
    for variable in weights.variables(model):
        target.setdefault(variable.path.rpartition("/")[0], []).append(variable)
    reasons: dict[str, str | None] = {}
    for layer, variables in target.items():
        own = [variable for variable in variables if not weights.is_adapter(variable.path)]
        found = {variable.path: arrays[variable.path] for variable in own if variable.path in arrays}
        reasons[layer] = _mismatch(layer, own, found, labels, theirs)
        if reasons[layer] is None:
            for variable in own:
                variable.assign(found[variable.path])
    taken = [layer for layer, reason in reasons.items() if reason is None]
    if not taken:
        raise InputError(f"init_from={source} shares no layer with {model.name} (by path and shape).")
    surplus = getattr(arrays, "surplus", None)
    if surplus is None:  # of a source of ours: whole layers
        surplus = list(dict.fromkeys(path.rpartition("/")[0] for path in arrays))
        surplus = [layer for layer in surplus if layer not in target]
    rows, held = _rows(model, target, reasons)
    heading = ("layer", "parameters", "weights", "training", "rate")
    left = [(name, "", "left out: it has no place here", "", "") for name in surplus]
    say("\n".join(fields.aligned([heading, *rows, *left])))
    unlike = [reason for reason in (_UNKNOWN, _DIFFER) if reason in reasons.values()]
    head = f"; the head starts with new weights: {' and '.join(unlike)}" if unlike else ""
    trained = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    say(
        f"Started from {source}: {len(taken)} of {len(target)} layers taken{head}; "
        f"{trained:,} of {model.count_params():,} parameters train."
    )
    if held:
        say(f"Frozen as it was drawn, because {source} lacks it: {', '.join(held)}.")
    return facts


def _rows(
    model: Any, target: Mapping[str, Sequence[keras.Variable]], reasons: Mapping[str, str | None]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Returns the table's rows, one a layer, and the names of layers that are new and frozen all the same."""
    told = finetuning.described(model.recipe, model, weights.inner(model.optimizer))
    rows, held = [], []
    for layer, variables in target.items():
        how = [told[variable.path] for variable in variables]
        training, rate = next((one for one in how if one[0] != "frozen"), how[0])
        reason = reasons[layer]
        count = sum(math.prod(variable.shape) for variable in variables)
        rows.append((layer, f"{count:,}", "taken" if reason is None else f"new: {reason}", training, rate))
        if reason is not None and not training.startswith("trains"):
            held.append(layer)
    return rows, held


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
