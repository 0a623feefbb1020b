"""The probe: a few inputs whose answers every checkpoint stores, by which an export is verified."""

import keras
import numpy as np

from zoo import weights
from zoo.base.randomness import dtype_policy, reproducible

PROBE = 8
"""Examples in the probe batch."""


def make_probe(source, recipe, reader):
    """{signature/input: array}: the first examples, as network inputs and, where there are raw ones, as those."""
    split = "validation" if "validation" in source.sizes else "train"
    if source.ready:
        (name,) = reader.signatures()["serve_tensors"][1]
        return {f"serve_tensors/{name}": np.asarray(next(iter(source.examples(split)))[0])[:PROBE]}
    return recipe.make_probe(reader, source.examples(split).take(PROBE))


def make_answers(recipe, probe):
    """A function from weights to the network's float32 answers on the probe, on the CPU: as exports are verified."""
    with keras.device("cpu"), reproducible(recipe.seed), dtype_policy("float32"):
        twin = recipe.network()
    inputs = [probe[f"serve_tensors/{one.name}"] for one in twin.inputs]

    def answers(arrays):
        weights.put(twin, arrays)
        with keras.device("cpu"):
            tensors = [keras.ops.convert_to_tensor(values) for values in inputs]
            return keras.ops.convert_to_numpy(twin(tensors if len(tensors) > 1 else tensors[0], training=False))

    return answers
