"""Compiled, a layer answers as it does eagerly."""

import keras
import numpy as np

from zoo.testing.layers._case import KERAS_OPS, flat, functional_model, one_or_list


def check_compiled(case, layer, axes):
    """A functional model of the layer, which answers compiled as the layer does eagerly."""
    sizes = [
        [None if axis in own else size for axis, size in enumerate(array.shape)][1:]
        for array, own in zip(case.arrays, axes, strict=True)
    ]
    with case.doing(f"in a functional model of {[(None, *size) for size in sizes]}", KERAS_OPS):
        model = functional_model(case, layer, sizes)
    lengths = [case.arrays]
    if any(axes):
        lengths.append([_doubled(array, own) for array, own in zip(case.arrays, axes, strict=True)])
    ways = {"tensorflow": {"in a graph": False, "by XLA": True}, "jax": {"by jax.jit": True}}
    for arrays in lengths:
        with case.doing(f"on inputs of {[array.shape for array in arrays]}"):
            expected = case.answers(layer, arrays)
        said, real = [tuple(one.shape) for one in model.outputs], [one.shape for one in expected]
        fits = [
            len(spec) == len(shape) and all(size in (None, own) for size, own in zip(spec, shape, strict=True))
            for spec, shape in zip(said, real, strict=True)
        ]
        assert all(fits), f"{case.name}.compute_output_shape says {said}, which {real} is not"
        for way, jit in ways.get(keras.backend.backend(), {"in a functional model": False}).items():
            if jit and arrays is not case.arrays and keras.backend.backend() == "tensorflow":
                continue  # XLA compiles each size anew
            with case.doing(f"when compiled {way}", KERAS_OPS):
                model.compile(jit_compile=jit)
                found = flat(model.predict_on_batch(one_or_list(arrays)))
            case.agree(found, expected, f"answers otherwise when compiled {way}")
    return model


def _doubled(array, axes):
    for axis in axes:
        array = np.concatenate([array, array], axis=axis)
    return array
