"""Laws of eager calls, in inference and in training, and of their gradients."""

import random
import sys

import keras
import numpy as np

from zoo.testing._gradients import gradients
from zoo.testing.layers._attributes import noted
from zoo.testing.layers._case import KERAS_OPS, TENSORS, flat, number, one_or_list

_TRACE = "{}.call changes {}: a compiled call would do so only once, so keep state in weights"

DRAWS = 8
"""Calls in training, one of which must differ from the first: of a batch of 2, half the draws may be equal."""


def check_inference(case, layer):
    name = case.name
    with noted(layer) as trace:
        first = _elsewhere(1, lambda: case.answers(layer))
        second = _elsewhere(2, lambda: case.answers(layer))
    for index, output in enumerate(first):
        assert np.isfinite(output.astype("float64")).all(), f"{name} answers NaN or infinity, in output {index}"
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other), (
            f"{name} answers the same input differently in inference: does something random act there, or NumPy's or "
            "Python's generator, or a state that a call changes?"
        )
    assert not trace, _TRACE.format(name, ", ".join(trace))
    with case.doing("in a symbolic call", KERAS_OPS):
        specs = flat(case.call(case.layer(), [keras.Input(batch_shape=a.shape, dtype=a.dtype) for a in case.arrays]))
    said, real = [tuple(one.shape) for one in specs], [one.shape for one in first]
    assert said == real, f"{name}.compute_output_shape says {said}, the outputs have {real}"


def check_training(case, layer):
    """Randomness comes from seed generators: it is there where they are, and nowhere else."""
    name = case.name
    seeds = [variable for variable in layer.variables if variable.name == "seed_generator_state"]
    others = [variable for variable in layer.non_trainable_variables if not any(variable is seed for seed in seeds)]
    state = [(variable, number(variable)) for variable in others]
    drawn = [(seed, number(seed)) for seed in seeds]

    def train(elsewhere):
        for variable, value in state:
            variable.assign(value)
        return _elsewhere(elsewhere, lambda: case.answers(layer, training=True))

    def rewind():
        for seed, value in drawn:
            seed.assign(value)
        if "torch" in sys.modules:  # where Keras draws from torch's generator in spite of the seed
            sys.modules["torch"].manual_seed(0)

    rewind()
    first = train(1)
    rewind()
    with noted(layer) as trace:
        again = train(2)
    assert all(map(np.array_equal, first, again)), (
        f"{name} answers the same input differently in training, "
        + ("from equal seeds" if seeds else "and holds no seed generator")
        + ": draw from keras.random with seed=self.seed_generator, not from NumPy or Python"
    )
    assert not trace, _TRACE.format(name, ", ".join(trace))
    if seeds:
        draws = (train(draw) for draw in range(DRAWS))
        assert any(not all(map(np.array_equal, first, draw)) for draw in draws), (
            f"{name} holds a seed generator and answers the same in {DRAWS} calls with training=True: "
            "is its randomness never on?"
        )


def check_rows(case, layer, model):
    """Each example is answered as it is alone; `model` is that of the layer, compiled."""
    compiled = keras.backend.backend() == "jax"  # which would compile each operation anew for a batch of 1
    together = case.answers(layer)
    for row in range(min(case.batch, 3)):
        arrays = [array[row : row + 1] for array in case.arrays]
        alone = flat(model.predict_on_batch(one_or_list(arrays))) if compiled else case.answers(layer, arrays)
        kept = [index for index, output in enumerate(together) if output.shape[:1] == (case.batch,)]
        case.agree(
            [alone[index] for index in kept],
            [together[index][row : row + 1] for index in kept],
            f"mixes its batch: example {row} is answered otherwise alone",
        )


def check_gradients(case, layer):
    with case.doing("when its gradient is taken", TENSORS):
        weights, inputs = gradients(
            layer, lambda function, arrays: case.call(function, arrays, training=True), case.arrays
        )
    for weight, gradient in zip(layer.trainable_weights, weights, strict=True):
        assert _reaches(gradient), (
            f"{case.name}: {weight.path} gets no gradient: is it used, and is there a stop_gradient, a cast to whole "
            "numbers or NumPy behind it?"
        )
        assert np.isfinite(gradient).all(), f"{case.name}: the gradient of {weight.path} is not finite"
    assert not inputs or any(map(_reaches, inputs)), (
        f"{case.name} passes no gradient on to its inputs: does call use NumPy or stop_gradient?"
    )
    assert all(one is None or np.isfinite(one).all() for one in inputs), f"{case.name}: a gradient of inputs is NaN"


def _reaches(gradient):
    return gradient is not None and bool(np.any(gradient))


def _elsewhere(seed, function):
    """`function()` with NumPy's and Python's generators somewhere else."""
    np.random.seed(seed)
    random.seed(seed)
    return function()
