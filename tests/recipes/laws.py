"""The laws of recipes on a sample of the fields that a recipe shares with others of its task."""

import functools
import random

import pytest

from tests.sampling import SEED
from zoo import registry, testing

SHARED = 4
"""How many of the shared fields are in a sample."""


def check_sampled(name, monkeypatch, **options):
    """`check_recipe`, where all fields count that the recipe declares or has another default of, and a few others."""
    cls = type(registry.recipe(name))
    task = next(base for base in cls.__mro__ if base.__module__.startswith("zoo.tasks"))
    fields, theirs = cls.fields(), task.fields()
    shared = sorted(one for one in theirs if fields[one].default == theirs[one].default)
    kept = {*fields} - {*shared} | {*random.Random(f"{SEED} {name}").sample(shared, SHARED)}
    sweep = testing.recipes.sweep

    @functools.wraps(sweep)
    def sampled(*arguments):
        return (one for one in sweep(*arguments) if one[0] in kept)

    monkeypatch.setattr(testing.recipes, "sweep", sampled)
    testing.check_recipe(name, **options)


def check_whole(name, monkeypatch, **options):
    """`check_recipe`; what `check_sampled` is a part of."""
    testing.check_recipe(name, **options)


CHECKS = [
    pytest.param(check_sampled, id=f"sample of seed {SEED}"),
    pytest.param(check_whole, id="whole", marks=pytest.mark.slow),
]
"""For `pytest.mark.parametrize`: the quick suite has a sample, the slow one the whole."""
