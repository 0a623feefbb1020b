"""Weights by path: taken from a model, put into one, written and read; and `.keras` files, opened in safe mode."""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import files
from zoo.errors import InputError, RunError

if TYPE_CHECKING:
    import keras


def variables(model: "keras.Model") -> "list[keras.Variable]":
    """Returns a model's variables without the state of its seed generators, which training derives from seed and
    epoch, and without the readings of its layers."""
    return model.weights


def is_seed(variable: "keras.Variable") -> bool:
    """Returns whether a variable is the state of a seed generator."""
    return variable.path.endswith("seed_generator_state")


ADAPTERS = ("lora_kernel_a", "lora_kernel_b")
"""What Keras calls the variables of an adapter; their product is added to the kernel beside them."""


def is_adapter(path: str) -> bool:
    """Returns whether the path of a variable is that of one of an adapter (LoRA)."""
    return path.rpartition("/")[2] in ADAPTERS


def merged(arrays: Mapping[str, np.ndarray], alpha: float | None = None) -> dict[str, np.ndarray]:
    """Returns `arrays` {path: array} with each adapter added to its kernel, as a network without adapters has them.

    Args:
        alpha: what an adapter, the product of its two matrices, counts times its rank; None is its rank.
    """
    plain = {path: value for path, value in arrays.items() if not is_adapter(path)}
    for path, first in arrays.items():
        layer, _, name = path.rpartition("/")
        if name == ADAPTERS[0]:
            scale = 1.0 if alpha is None else alpha / first.shape[-1]
            product = np.matmul(first, arrays[f"{layer}/{ADAPTERS[1]}"])
            plain[f"{layer}/kernel"] = plain[f"{layer}/kernel"] + np.float32(scale) * product
    return plain


def array(variable: "keras.Variable") -> np.ndarray:
    """Returns a copy of a variable's value; on torch, NumPy's view of it would change with the next step."""
    return np.asarray(variable).copy()


def of(model: "keras.Model") -> dict[str, np.ndarray]:
    """Returns {path: array} of every variable of a model, such as `c1/kernel`."""
    found = {variable.path: array(variable) for variable in variables(model)}
    if len(found) != len(variables(model)):
        raise RunError(f"Two variables of {model.name} have one path: name its layers.")
    return found


def put(model: "keras.Model", arrays: Mapping[str, np.ndarray]) -> None:
    """Sets every variable of `model` from `arrays`; a path or shape that differs raises `RunError`."""
    target = {variable.path: variable for variable in variables(model)}
    if set(target) != set(arrays):
        odd = sorted(set(target) ^ set(arrays))
        raise RunError(f"The weights are of another network: {', '.join(odd[:3])} stands on one side only.")
    for path, variable in target.items():
        array = arrays[path]  # once: a mapping may read a file for it
        if tuple(variable.shape) != array.shape:
            raise RunError(f"The weights are of another network: {path} is {array.shape}, not {variable.shape}.")
        variable.assign(array)


def of_optimizer(optimizer: "keras.optimizers.Optimizer") -> dict[str, np.ndarray]:
    """Returns {number and path: array} of an optimizer's variables, which are told apart by their order."""
    return {f"{index:05d}|{variable.path}": array(variable) for index, variable in enumerate(optimizer.variables)}


def put_optimizer(optimizer: "keras.optimizers.Optimizer", arrays: Mapping[str, np.ndarray]) -> None:
    """Sets every variable of `optimizer` from what `of_optimizer` returned."""
    for variable, key in zip(optimizer.variables, sorted(arrays), strict=True):
        variable.assign(arrays[key])


def averages(model: "keras.Model") -> dict[str, np.ndarray]:
    """Returns {path: array}: the variables of `of` with the optimizer's moving averages in place of trained ones."""
    arrays = of(model)
    optimizer = inner(model.optimizer)
    for variable, average in zip(model.trainable_variables, optimizer._model_variables_moving_average, strict=True):
        arrays[variable.path] = array(average)
    return arrays


def inner(optimizer: "keras.optimizers.Optimizer") -> Any:
    """Returns the optimizer itself, also where Keras has wrapped it to scale the loss for float16."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes {key: array} as an .npz file of float32 and integers."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write(path, buffer.getvalue())


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns {key: array} of a file of `write`; a damaged one raises `RunError` with its path."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from error


def open_keras(path: str | os.PathLike[str], called: str) -> Any:
    """Returns the model or layer of a `.keras` file, not compiled; Python code in it is never run.

    Args:
        path: the file.
        called: what an error calls it, such as `init_from=x.keras`.
    Raises: `InputError` for a file with code (a `Lambda` layer), and for one that is missing or damaged.
    """
    import keras

    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, OSError, RecursionError, zipfile.BadZipFile) as error:
        if "safe_mode" in str(error):  # Keras goes on to say how to run the code nevertheless
            raise InputError(
                f"{called} has a Lambda layer, or another Python function, which is code that zoo never runs from a "
                "file. Save the model with a layer class in its place."
            ) from None
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{called} is missing, or not a whole .keras file: {reason}") from error


def labels(path: str | os.PathLike[str]) -> list[str] | None:
    """Returns the labels that a saved model of `zoo.build` or `zoo.load` carries; None where there are none."""
    with zipfile.ZipFile(path) as file:
        saved = json.loads(file.read("config.json"))
    return (saved.get("build_config") or {}).get("labels")
