"""Files of tensors: safetensors, whole or in shards, GGUF, and PyTorch's state dictionaries. No file's code is run."""

import json
import pathlib
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from zoo.errors import InputError, install_line
from zoo.weights.gguf import SUFFIX, open_gguf

SUFFIXES = (".safetensors", ".pth", ".pt", SUFFIX)
"""Of the files that are read."""

PICKLES = (".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy")
"""Of files that may run code when they are opened, and are refused."""

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def open_tensors(path: pathlib.Path) -> Mapping[str, np.ndarray]:
    """Returns {name: array} of a file, or of the safetensors in a folder; each array is read when it is asked for.

    Raises: `InputError` for a file that is missing, cut off or of another kind.
    """
    if path.is_dir():
        return _of_folder(path)
    refuse_pickle(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is not a weights file that the zoo reads: {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if path.suffix == SUFFIX:
        return open_gguf(path)
    return _Safetensors([path]) if path.suffix == ".safetensors" else _of_torch(path)


def refuse_pickle(path: pathlib.Path) -> None:
    """Raises `InputError` for a file that may run code when it is opened."""
    if path.suffix in PICKLES:
        raise InputError(f"{path} may be a pickle, which can run code, and is not opened: give it as .safetensors.")


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that `open_tensors` reads, sorted."""
    return [path] if path.is_file() else sorted(set(_shards(path)))


def _of_folder(path: pathlib.Path) -> Mapping[str, np.ndarray]:
    shards = _shards(path)
    if not shards:
        found = sorted(one.name for one in path.iterdir() if one.suffix in PICKLES + SUFFIXES + (".h5",))
        listed = f" It has {', '.join(found)}, which is not opened." if found else ""
        raise InputError(f"{path} has no {_WHOLE}.{listed}")
    for shard in shards:
        if not shard.is_file():
            raise InputError(f"{path} is not whole: {shard.name} is missing.")
    return _Safetensors(sorted(set(shards)))


def _shards(path: pathlib.Path) -> list[pathlib.Path]:
    """The safetensors files of a folder."""
    if (path / _WHOLE).is_file():
        return [path / _WHOLE]
    if not (path / _INDEX).is_file():
        return []
    try:
        names = set(json.loads((path / _INDEX).read_text())["weight_map"].values())
        if not all(isinstance(name, str) and pathlib.PurePath(name).name == name for name in names):
            raise ValueError("a shard is no file beside it")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path / _INDEX} is damaged: {error}.") from None
    return [path / name for name in sorted(names)]


class _Safetensors(Mapping[str, np.ndarray]):
    """{name: array} of safetensors files; an array is copied when it is asked for.

    A file is mapped anew for each, because pages that were read count as memory of the process while it stays mapped.
    """

    def __init__(self, paths: list[pathlib.Path]) -> None:
        self._paths: dict[str, pathlib.Path] = {}
        for path in paths:
            with _opened(path) as file:
                self._paths.update(dict.fromkeys(file.keys(), path))

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            with _opened(self._paths[name]) as file:
                array = file.get_tensor(name)
        except (AttributeError, TypeError) as error:  # float8 and its like, which NumPy does not have
            raise InputError(f"{name} is of a kind that is not read: {error}.") from None
        return array.astype("float32") if array.dtype.kind == "V" or array.dtype.name == "bfloat16" else array

    def __contains__(self, name: object) -> bool:
        return name in self._paths  # Mapping's own would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _opened(path: pathlib.Path) -> Any:
    """A safetensors file, mapped, as a context."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a complete safetensors file: {str(error).rstrip('.')}.") from None


class _Torch(Mapping[str, np.ndarray]):
    """{name: array} of a state dictionary of PyTorch."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._state[name].detach()
        try:
            return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        except (TypeError, RuntimeError, NotImplementedError) as error:  # sparse, quantised, or without values
            raise InputError(f"{name} is of a kind that is not read: {_first_line(error)}.") from None

    def __contains__(self, name: object) -> bool:
        return name in self._state

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


def _of_torch(path: pathlib.Path) -> Mapping[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path.suffix} files need torch ({install_line('torch')}); safetensors need nothing more."
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old files, which are read or refused below
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, LookupError, TypeError, OSError) as error:
        why = _first_line(error)
        if isinstance(error, pickle.UnpicklingError) and "weights only" in str(error).lower():
            why = "it holds more than tensors, and its code is not run"
        raise InputError(f"{path} is not a complete state dictionary: {why}.") from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in state.items()
    ):
        raise InputError(f"{path} is no state dictionary: it holds more than tensors by name.")
    return _Torch(state)


def _first_line(error: Exception) -> str:
    """What an error says first; its kind, where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
