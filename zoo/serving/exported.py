"""`Exported`: a SavedModel that `zoo export` wrote, opened to be asked.

A SavedModel is a program. Only folders that are exports are opened, but that is a check against mistakes: whoever made
the folder chose the program (docs/security.md).
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.data._tensorflow import tensorflow
from zoo.errors import InputError, unknown

MODEL, FACTS = "saved_model.pb", "signature.json"
"""The files by which a folder is known as an export."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """An input or an output. `dtype` is NumPy's name, or "string"; sizes of `shape` that are not fixed are None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Signature:
    """What an export can be asked.

    Attributes:
        name: such as serving_default.
        inputs, outputs: {name: `Spec`}.
        batches: whether rows of different requests may be asked together.
    """

    name: str
    inputs: dict[str, Spec]
    outputs: dict[str, Spec]
    batches: bool


def locate(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the folder of the SavedModel: `folder` itself, or its subfolder of the highest version.

    Raises: `InputError` for a folder that is no export, with what to do about it.
    """
    path = pathlib.Path(folder)
    if not path.is_dir():
        raise InputError(f"{folder} is no folder: name an export, as zoo export RUN DIR writes one.")
    versions = [one for one in path.iterdir() if _is_version(one.name) and (one / MODEL).is_file()]
    if not (path / MODEL).is_file() and versions:
        path = max(versions, key=lambda one: int(one.name))
    facts = read_facts(path)
    if facts is None:
        if (path / "run.json").exists():
            hint = f"{folder} is a run: zoo export {folder} DIR makes an export of it, and zoo demo {folder} shows it."
        elif (path / "study.json").exists():
            hint = f"{folder} is a study: zoo export {folder} DIR makes an export of its best trial."
        elif (path / MODEL).is_file():
            hint = f"{folder} is a SavedModel, but zoo export did not write it: {FACTS} is missing, or damaged."
        else:
            hint = f"{folder} is no export: zoo export RUN DIR writes one."
        raise InputError(hint)
    if facts["format"] != "saved_model":
        raise InputError(f"{folder} is an export for {facts['format']}: export with --format saved_model to serve it.")
    if not (path / MODEL).is_file():
        raise InputError(f"{folder} is damaged: {MODEL} is missing. Export again.")
    return path


def read_facts(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns what `signature.json` says in the folder of an export; None where it is none."""
    try:
        facts = json.loads((path / FACTS).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    whole = (
        isinstance(facts, dict) and isinstance(facts.get("format"), str) and isinstance(facts.get("signatures"), dict)
    )
    return facts if whole else None


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 20


class Exported:
    """A SavedModel that `zoo export` wrote.

    Args:
        path: its folder, as `locate` returned it.

    Attributes:
        path: its folder.
        version: the folder's name, where that is a number; 1 else.
        signatures: {name: `Signature`}.
    Raises: `InputError` where it cannot be loaded.
    """

    def __init__(self, path: pathlib.Path) -> None:
        tf = tensorflow()

        self.path: pathlib.Path = path
        name = path.resolve().name
        self.version: int = int(name) if _is_version(name) else 1
        try:
            self._model = tf.saved_model.load(str(path))
            functions = dict(self._model.signatures)
        except Exception as error:  # of TensorFlow, of its protocol buffers, of the file system
            why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InputError(f"{path} cannot be loaded: {why[:200]} Export again.") from None
        facts = read_facts(path)
        if facts is None or set(functions) != set(facts["signatures"]):
            raise InputError(f"{path} is damaged: {FACTS} and {MODEL} have different signatures. Export again.")
        self._functions = functions
        self.signatures: dict[str, Signature] = {
            name: _signature(name, function, facts["signatures"][name]) for name, function in sorted(functions.items())
        }

    def signature(self, name: Any) -> Signature:
        """Returns a signature by its name. Raises: `InputError` where there is none."""
        if not isinstance(name, str) or name not in self.signatures:
            raise unknown("signature", name, self.signatures)
        return self.signatures[name]

    def ask(self, name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns {output: array} of a signature; texts go in and come out as arrays of `bytes` objects.

        Raises: `InputError` where the model refuses what it was given.
        """
        tf = tensorflow()

        specs = self.signatures[name].inputs
        try:
            tensors = {key: tf.constant(array, tf.as_dtype(specs[key].dtype)) for key, array in arrays.items()}
            found = self._functions[name](**tensors)
            return {key: np.asarray(found[key].numpy()) for key in self.signatures[name].outputs}
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            raise InputError(f"The model refuses its inputs: {_reason(error.message)}") from None

    def metadata(self) -> dict[str, Any]:
        """Returns {signature: its definition} as TensorFlow Serving writes it, with types as DT_FLOAT and so on."""
        from tensorflow.core.framework import types_pb2
        from tensorflow.core.protobuf import saved_model_pb2

        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((self.path / MODEL).read_bytes())

        def described(info: Any) -> dict[str, Any]:
            sizes = [{"size": str(one.size), "name": one.name} for one in info.tensor_shape.dim]
            shape = {"dim": sizes, "unknown_rank": info.tensor_shape.unknown_rank}
            return {"dtype": types_pb2.DataType.Name(info.dtype), "tensor_shape": shape, "name": info.name}

        return {
            name: {
                "inputs": {key: described(info) for key, info in sorted(one.inputs.items())},
                "outputs": {key: described(info) for key, info in sorted(one.outputs.items())},
                "method_name": one.method_name,
            }
            for name, one in sorted(saved.meta_graphs[0].signature_def.items())
            if name in self.signatures
        }


def _signature(name: str, function: Any, described: Any) -> Signature:
    """The `Signature` of a function of a SavedModel, in the order in which `described` has its inputs and outputs."""

    def specs(found: Mapping[str, Any], place: str) -> dict[str, Spec]:
        told = list(described.get(place, ())) if isinstance(described, dict) else []
        names = told if set(told) == set(found) else sorted(found)
        return {key: Spec(key, found[key].dtype.name, tuple(found[key].shape)) for key in names}

    inputs = specs(function.structured_input_signature[1], "inputs")
    outputs = specs(function.structured_outputs, "outputs")
    return Signature(name, inputs, outputs, _batches(inputs, outputs) and not _draws(function))


def _batches(inputs: Mapping[str, Spec], outputs: Mapping[str, Spec]) -> bool:
    """Whether a row of the answer belongs to a row of the inputs, and its shape does not depend on other rows.

    What a string holds, such as an image of some size or a long text, is not known here. So where there are strings,
    all sizes of the outputs must be fixed but the number of rows.
    """
    both = [*inputs.values(), *outputs.values()]
    if any(not spec.shape or spec.shape[0] is not None for spec in both):
        return False
    hidden = any(spec.dtype == "string" for spec in inputs.values())
    return not hidden or all(None not in spec.shape[1:] for spec in outputs.values())


def _draws(function: Any) -> bool:
    """Whether a function of a SavedModel draws random numbers: then an answer depends on its place in the batch."""
    graph = function.graph.as_graph_def()
    nodes = [graph.node, *(one.node_def for one in graph.library.function)]
    return any("Random" in node.op for part in nodes for node in part)


def _reason(message: str) -> str:
    """What TensorFlow says, without the node, the input and the trace that it names too."""
    return (message.splitlines() or [""])[0].split("}}")[-1].split(" [Op:")[0].strip()[:300] or "no reason given."
