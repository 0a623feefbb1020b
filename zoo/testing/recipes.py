"""`check_recipe`: the laws that every recipe keeps."""

import functools
import hashlib
import json
import os
import random
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from zoo import building, registry, weights
from zoo.data import open_source, pipeline
from zoo.errors import InputError
from zoo.fields import sweep
from zoo.training import make_plan


def check_recipe(
    name: str,
    *,
    samples: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike | None = None,
    **given: Any,
) -> None:
    """Raises AssertionError where a recipe breaks a law that all recipes keep; needs keras-tuner.

    Every default is legal and within its search range; sampling nothing is the default; `tuned` names at most three
    fields, which declare ranges; the network is the same twice, and building it leaves global state alone; it has a
    layer `features`, and only `head...` behind it; and every field that counts changes something.

    Args:
        name: the recipe's name, with or without a variant.
        samples: {field: value} for fields of text, whose other values cannot be guessed.
        data_dir: where its data lie.
        given: fields, such as those that make a network small.
    """
    recipe = registry.recipe(name, **given)
    _check_defaults(type(recipe))
    _check_sampling(recipe)
    _check_network(recipe)
    _check_fields(recipe, samples or {}, data_dir)


def _check_defaults(cls):
    for name, field in cls.fields().items():
        field.check(name, field.default)
        for value in field.search or ():
            field.check(name, value)
        low_high = getattr(field, "legal", None)
        if field.search is not None and low_high is None:
            assert field.default in field.search, f"{cls.__name__}.{name}: the default is not searched"
        elif field.search is not None and field.default not in (None, 0):
            low, high = field.search
            assert low <= field.default <= high, f"{cls.__name__}.{name}: the default is outside the search range"


def _check_sampling(recipe):
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    assert recipe.sample(hp) == recipe, f"{recipe.label}: sampling nothing is not the default"
    assert hp.space, f"{recipe.label} has nothing to search"
    assert len(recipe.tuned) <= 3, f"{recipe.label}.tuned names more than three fields"
    for name in recipe.tuned:
        assert recipe.field(name).search is not None, f"{recipe.label}.tuned: {name} declares no range"


def _check_network(recipe):
    states = random.getstate(), np.random.get_state()[1].tolist(), keras.config.dtype_policy()
    first, second = recipe.build(), recipe.build()
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), keras.config.dtype_policy()), "global state"
    ours, theirs = weights.of(first), weights.of(second)
    assert list(ours) == list(theirs), f"{recipe.label}: names of weights differ from one build to the next"
    for path, array in ours.items():
        np.testing.assert_array_equal(array, theirs[path], f"{recipe.label}: {path} is not reproducible")
    names = [layer.name for layer in first.layers]
    assert "features" in names, f"{recipe.label} has no layer named features"
    after = names[names.index("features") + 1 :]
    assert after, f"{recipe.label} ends at its features"
    assert all(name.startswith("head") for name in after), f"{recipe.label}: {after} behind features"
    assert recipe.features().output.shape == first.get_layer("features").output.shape


def _check_fields(recipe, samples, data_dir):
    """Every override of a field that counts changes network, weights, objective, batches, schedule or plan."""
    source = open_source(recipe.dataset, data_dir=data_dir)
    known = functools.cache(lambda effect, recipe: effect(recipe, source))
    changed, tried = set(), set()
    for name, active, other in sweep(type(recipe), recipe.values(), samples):
        try:
            first, second = (type(recipe).restored(recipe.origin, type(recipe).normal(v)) for v in (active, other))
        except InputError:
            continue  # two fields make each other impossible
        if name in changed or name == "dataset":
            continue
        try:
            differs = any(known(effect, first) != effect(second, source) for effect in (_told, _made, _fed, _stepped))
        except InputError:
            continue  # the field and the data do
        tried.add(name)
        if differs:
            changed.add(name)
    assert tried == changed, f"{recipe.label}: {sorted(tried - changed)} change nothing"


# Everything that a recipe decides, but for the outcome of training; what is quickly seen comes first.


def _told(recipe, source):
    """What a network is compiled with, as far as it can be told without one."""
    parts = {"optimizer": recipe.make_optimizer(10), "loss": recipe.make_loss()}
    return {
        "search": repr(recipe.make_search()),
        **{name: json.dumps(keras.saving.serialize_keras_object(part), sort_keys=True, default=str)
           for name, part in parts.items()},
    }  # fmt: skip


def _made(recipe, source):
    """The network, its weights, and the rest of what it is compiled with."""
    model = building.build(recipe, steps_per_epoch=10)
    return {
        "network": model.to_json(),
        "weights": {path: _hash(array) for path, array in weights.of(model).items()},
        "trainable": [variable.path for variable in model.trainable_variables],
        "optimizer": json.dumps(keras.saving.serialize_keras_object(model.optimizer), sort_keys=True, default=str),
        "jit": model.jit_compile,
    }


def _fed(recipe, source):
    """The first batch of two epochs, and the plan of training."""
    reader = recipe.make_reader(source)
    preparation = recipe.make_preparation(reader, source)
    training = pipeline.training(source, preparation, batch_size=recipe.batch_size, seed=recipe.seed)
    batches = [next(iter(training)) for _ in range(2)]
    return {
        "reader": json.dumps(keras.saving.serialize_keras_object(reader), sort_keys=True, default=str),
        "batches": [[_hash(part) for part in keras.tree.flatten(batch)] for batch in batches],
        "plan": make_plan(recipe, len(training), True),
    }


def _stepped(recipe, source):
    """The weights after one step, for what shows nowhere else, such as which variables decay."""
    model = building.build(recipe, steps_per_epoch=10)
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    batch = next(iter(pipeline.training(source, preparation, batch_size=8, seed=recipe.seed)))
    for variable in model.trainable_variables:
        variable.assign(weights.array(variable) + 0.01)  # biases start at 0, where nothing decays
    model.train_on_batch(*keras.tree.map_structure(np.asarray, batch))
    return {path: _hash(array) for path, array in weights.of(model).items()}


def _hash(array):
    array = np.ascontiguousarray(array)
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
