"""Weights by path: taken from a model, put into one, written and read."""

import io
import zipfile

import numpy as np

from zoo import files
from zoo.errors import RunError


def variables(model):
    """A model's variables but for its seed generators, whose state training makes a function of seed and epoch, and
    the readings of its layers."""
    return model.weights


def is_seed(variable):
    return variable.path.endswith("seed_generator_state")


def array(variable):
    """A copy of a variable's value; on torch, NumPy's view of it would change with the next step."""
    return np.asarray(variable).copy()


def of(model):
    """{path: array} of every variable of a model, such as `c1/kernel`."""
    found = {variable.path: array(variable) for variable in variables(model)}
    if len(found) != len(variables(model)):
        raise RunError(f"Two variables of {model.name} have one path: name its layers.")
    return found


def put(model, arrays):
    """Sets every variable of `model` from `arrays`; a path or shape that differs raises `RunError`."""
    target = {variable.path: variable for variable in variables(model)}
    if set(target) != set(arrays):
        odd = sorted(set(target) ^ set(arrays))
        raise RunError(f"The weights are of another network: {', '.join(odd[:3])} stands on one side only.")
    for path, variable in target.items():
        if tuple(variable.shape) != arrays[path].shape:
            raise RunError(f"The weights are of another network: {path} is {arrays[path].shape}, not {variable.shape}.")
        variable.assign(arrays[path])


def of_optimizer(optimizer):
    """{number and path: array} of an optimizer's variables, which are told apart by their order."""
    return {f"{index:05d}|{variable.path}": array(variable) for index, variable in enumerate(optimizer.variables)}


def put_optimizer(optimizer, arrays):
    for variable, key in zip(optimizer.variables, sorted(arrays), strict=True):
        variable.assign(arrays[key])


def averages(model):
    """{path: array}: the model's variables with the optimizer's moving averages in place of the trained ones."""
    arrays = of(model)
    optimizer = inner(model.optimizer)
    for variable, average in zip(model.trainable_variables, optimizer._model_variables_moving_average, strict=True):
        arrays[variable.path] = array(average)
    return arrays


def inner(optimizer):
    """The optimizer itself, where Keras has wrapped it to scale the loss for float16."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def write(path, arrays):
    """Writes {key: array} as an .npz file of float32 and integers."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write(path, buffer.getvalue())


def read(path):
    """{key: array} of a file of `write`; a damaged one raises `RunError` with its path."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from error
