"""`.h5` files of Keras: weights as `save_weights` writes them, and whole models of older ones. No code is run."""

import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zoo.errors import InputError

SUFFIXES = (".h5", ".hdf5")
"""Of files that are read."""

ROOM, SWELL = 1 << 26, 1000
"""Bytes of an array that may be more than so many times what the file holds of it."""


def read_h5(path: pathlib.Path, wanted: Iterable[str]) -> dict[str, np.ndarray]:
    """Returns {path: array} of the variables `wanted` that a file has, of layers with as many weights.

    Args:
        path: of the file.
        wanted: paths of a network's variables, in its order.
    Raises: `InputError` for a file that is missing, damaged or of another kind; for one of a Keras that left out the
        names of layers; and for one that leads to other files.
    """
    import h5py

    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    layers: dict[str, list[str]] = {}
    for one in wanted:
        layers.setdefault(one.rpartition("/")[0], []).append(one)
    try:
        with h5py.File(path, "r") as file:
            whole = _linked(file, "model_weights") if "model_weights" in file else file
            if "layer_names" in whole.attrs or "layer_names0" in whole.attrs:
                return {one: array for one, array in _by_weight(whole) if one.rpartition("/")[0] in layers}
            stored = dict(_by_layer(file, "", ""))
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{path} {error}") from None
        why = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path} is not a complete .h5 file of Keras: {why}.") from None
    if not stored:
        raise InputError(f"{path} has no weights of Keras: save them by model.save_weights('x.weights.h5').")
    return {
        path: array
        for layer, paths in layers.items()
        if len(stored.get(layer, ())) == len(paths)
        for path, array in zip(paths, stored[layer], strict=True)
    }


def _by_layer(group: Any, place: str, name: str) -> Iterator[tuple[str, list[np.ndarray]]]:
    """(path of a layer, its arrays) of all in a group of Keras 3, which stands at `place` and is called `name`."""
    if "vars" in group:
        variables = _linked(group, "vars")
        called = variables.attrs.get("name")
        count = len(variables)
        if called is None and count:
            raise InputError("does not name its layers: save the weights again with a newer Keras.")
        if called is not None:
            name = f"{name}/{called}" if name else str(called)
        name = "" if not place else name  # the model's own name is no part of a path
        if count and all(str(number) in variables for number in range(count)):
            yield name, [_array(variables, str(number)) for number in range(count)]
    for key in group:
        if key not in ("vars", "optimizer", "_functional") and not hasattr(_linked(group, key), "shape"):
            yield from _by_layer(_linked(group, key), f"{place}/{key}", name)


def _by_weight(group: Any) -> Iterator[tuple[str, np.ndarray]]:
    """(path of a variable, its array) of all in a group of Keras 2, or of a whole model."""
    for layer in _listed(group, "layer_names"):
        for weight in _listed(_linked(group, layer), "weight_names"):
            yield weight.partition(":")[0], _array(_linked(group, layer), weight)


def _listed(group: Any, name: str) -> list[str]:
    """The names in an attribute, which may stand in pieces."""
    pieces = [name] if name in group.attrs else sorted(
        (one for one in group.attrs if one.removeprefix(name).isdigit()), key=lambda one: int(one.removeprefix(name))
    )  # fmt: skip
    return [one.decode() if isinstance(one, bytes) else str(one) for piece in pieces for one in group.attrs[piece]]


def _linked(group: Any, name: str) -> Any:
    """What `name` is in a group, no link to elsewhere."""
    import h5py

    for part in name.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise InputError(f"has {name}, which is not in the file itself.")
        group = group[part]
    return group


def _array(group: Any, name: str) -> np.ndarray:
    """The array of a dataset, which lies in the file."""
    found = _linked(group, name)
    if found.external or found.is_virtual:
        raise InputError(f"has {name}, which is not in the file itself.")
    if found.nbytes > ROOM and found.nbytes > SWELL * found.id.get_storage_size():
        raise InputError(f"has {name} of {found.nbytes:,} bytes, of which it holds next to none.")
    return np.asarray(found)
