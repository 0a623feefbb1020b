"""The probe: a few inputs whose answers every checkpoint stores, by which an export is verified."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from zoo import weights
from zoo.base.models import undrawn
from zoo.base.randomness import dtype_policy, reproducible
from zoo.base.recipe import Recipe
from zoo.data.source import Source

PROBE = 8
"""Examples in the probe batch."""


def make_probe(source: Source, recipe: Recipe, reader: Any) -> dict[str, np.ndarray]:
    """Returns {signature/input: array}: the first examples, as network inputs and, where there are any, as raw ones."""
    split = "validation" if "validation" in source.sizes else "train"
    if source.ready:
        (name,) = reader.signatures()["serve_tensors"][1]
        return {f"serve_tensors/{name}": np.asarray(next(iter(source.examples(split)))[0])[:PROBE]}
    return recipe.make_probe(reader, source.samples(split, PROBE))


def make_answers(recipe: Recipe, probe: Mapping[str, np.ndarray]) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Returns a function from weights to the network's float32 answers on the probe, on the CPU like an export's.

    Adapters among the weights are merged into their kernels.
    """
    with keras.device("cpu"), reproducible(recipe.seed), dtype_policy("float32"), undrawn():
        twin = recipe.network()
    inputs = [probe[f"serve_tensors/{one.name}"] for one in twin.inputs]

    def answers(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        weights.put(twin, recipe.merged(arrays))
        with keras.device("cpu"):
            tensors = [keras.ops.convert_to_tensor(values) for values in inputs]
            return keras.ops.convert_to_numpy(twin(tensors if len(tensors) > 1 else tensors[0], training=False))

    return answers
