"""Trains a recipe as `zoo train` does and judges it on the test split, for the benchmarks of what is learned."""

import tempfile
import time
import typing

import numpy as np

import zoo
from zoo import registry


class Trained(typing.NamedTuple):
    """
    Attributes:
        scores: {metric: value} on the test split, by the weights that the validation split chose.
        seconds: of `zoo.train`.
        parameters: of the network.
    """

    scores: dict
    seconds: float
    parameters: int


def trained(words, **given):
    """`Trained` of "NAME field=value ...", as on the command line, and of more fields."""
    name, *pairs = words.split()
    recipe = registry.find(name)[0]
    for field, _, text in (pair.partition("=") for pair in pairs):
        given[field] = recipe.field(field).parse(field, text)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = zoo.train(name, directory=f"{folder}/run", quiet=True, **given)
        seconds = time.perf_counter() - start
        return Trained(zoo.evaluate(run, "test", quiet=True), seconds, zoo.load(run).count_params())


def rows(names, metric, seeds, width, digits):
    """Prints a line for each of `names`: what `metric` is over seeds, of a part of 1, and what training costs."""
    for name in names:
        scores, seconds, sizes = zip(*(trained(name, seed=seed) for seed in range(seeds)), strict=True)
        found = [score[metric] for score in scores]
        told = "".join(f"{one:>{digits + 7}.{digits}%}" for one in (np.mean(found), min(found), max(found)))
        print(f"{name:<{width}}{told}{np.mean(seconds):>9.1f}{sizes[0]:>12,}", flush=True)
