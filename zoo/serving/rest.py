"""JSON of TensorFlow Serving's REST API: values to the arrays of a signature, and its answers to values.

Both formats of its predict API are read: rows (`instances`) and columns (`inputs`); bytes are `{"b64": "..."}`.
https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import InputError, nearest

if TYPE_CHECKING:
    from zoo.serving.exported import Signature, Spec

FORMATS = {"instances": "predictions", "inputs": "outputs"}
"""Key of a request -> key of its answer: rows, and columns."""


def read_body(data: bytes) -> dict[str, Any]:
    """Returns the JSON object in the body of a request. Raises: `InputError` for anything else."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise InputError("The body is nested too deeply.") from None
    except ValueError as error:
        raise InputError(f"The body is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InputError(f"The body must be a JSON object. Received: {_kind(found)}.")
    keys = [key for key in FORMATS if key in found]
    if len(keys) != 1:
        raise InputError(
            f"The body must have one of instances (rows) and inputs (columns). It has {len(keys)} of them."
        )
    unknown = sorted(set(found) - {"signature_name", *FORMATS})
    if unknown:
        raise InputError(f"Unknown key {unknown[0]!r}.{nearest(unknown[0], ['signature_name', *FORMATS])}")
    return found


def read_arrays(body: Mapping[str, Any], signature: "Signature") -> dict[str, np.ndarray]:
    """Returns {input: array} of a request that `read_body` returned; texts and bytes are arrays of `bytes` objects.

    Raises: `InputError` for values that the signature does not take.
    """
    columns = _columns(body["instances"], signature) if "instances" in body else _named(body["inputs"], signature)
    lacking = sorted(set(signature.inputs) - set(columns))
    surplus = sorted(set(columns) - set(signature.inputs))
    if lacking or surplus:
        wrong = f"lacks the input {lacking[0]!r}" if lacking else f"has an input {surplus[0]!r}, which it does not take"
        takes = ", ".join(signature.inputs)
        raise InputError(f"The request {wrong}. The signature {signature.name} takes: {takes}.")
    return {name: _array(columns[name], spec) for name, spec in signature.inputs.items()}


def written(outputs: Mapping[str, np.ndarray], key: str) -> bytes:
    """Returns the JSON of an answer in the format of a request.

    Args:
        outputs: {output: array}; texts are arrays of `bytes` objects.
        key: "instances" or "inputs", the key of the request.
    Raises: `InputError` where rows are asked for and the outputs have none, or different numbers of them.
    """
    if key == "inputs":
        found = {name: _values(array, name) for name, array in outputs.items()}
        return _json({"outputs": next(iter(found.values())) if len(found) == 1 else found})
    if len({np.shape(array)[:1] for array in outputs.values()}) != 1 or not next(iter(outputs.values())).ndim:
        raise InputError("The outputs of this signature have no rows in common: ask with inputs (columns).")
    columns = {name: _values(array, name) for name, array in outputs.items()}
    if len(columns) == 1:
        return _json({"predictions": next(iter(columns.values()))})
    return _json({"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]})


# Within ---------------------------------------------------------------------------------------------------------------


def _columns(rows: Any, signature: "Signature") -> dict[str, list[Any]]:
    """{input: list of its values} of `instances`."""
    if not isinstance(rows, list) or not rows:
        raise InputError(f"instances must be a list of at least one row. Received: {_kind(rows)}.")
    single = [name for name, spec in signature.inputs.items() if not spec.shape]
    if single:
        raise InputError(f"{single[0]} is one value for all rows: ask {signature.name} with inputs (columns).")
    named = [isinstance(row, dict) and not _is_bytes(row) for row in rows]
    if not any(named):
        if len(signature.inputs) > 1:
            takes = ", ".join(signature.inputs)
            raise InputError(
                f"Each of instances must be an object with the inputs {takes}. Received: {_kind(rows[0])}."
            )
        return {next(iter(signature.inputs)): rows}
    for number, row in enumerate(rows):
        if not named[number] or set(row) != set(rows[0]):
            raise InputError(f"instances[{number}] does not have the inputs of the others.")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _named(columns: Any, signature: "Signature") -> dict[str, Any]:
    """{input: value} of `inputs`, which is the value itself where the signature takes one input."""
    if isinstance(columns, dict) and not _is_bytes(columns):
        return columns
    if len(signature.inputs) > 1:
        takes = ", ".join(signature.inputs)
        raise InputError(f"inputs must be an object with the inputs {takes}. Received: {_kind(columns)}.")
    return {next(iter(signature.inputs)): columns}


def _array(value: Any, spec: "Spec") -> np.ndarray:
    if spec.dtype == "string":
        shape = _shape(value)
        array = np.empty(shape, object)
        array.reshape(-1)[:] = _flat(value, shape, spec.name)
    else:
        array = _numbers(value, spec)
    if len(array.shape) != len(spec.shape) or any(
        want is not None and have != want for have, want in zip(array.shape, spec.shape, strict=True)
    ):
        want = ", ".join("any" if size is None else str(size) for size in spec.shape)
        raise InputError(f"{spec.name} must have the shape ({want}). Received: {array.shape}.")
    if 0 in array.shape:
        raise InputError(f"{spec.name} is empty.")
    return array


def _numbers(value: Any, spec: "Spec") -> np.ndarray:
    wanted = np.dtype(spec.dtype)
    try:
        array = np.array(value)
    except ValueError:
        raise InputError(f"{spec.name} has lists of different lengths.") from None
    if array.dtype.kind not in ("b" if wanted.kind == "b" else "iuf"):
        if array.dtype.kind == "O" and all(isinstance(one, int) for one in array.flat):  # beyond 64 bits
            raise InputError(f"{spec.name} has numbers outside {spec.dtype}.")
        raise InputError(f"{spec.name} must be of {spec.dtype}. Received: {_kind(_first(value))}.")
    if wanted.kind in "iu":
        limits = np.iinfo(wanted)
        whole = array.dtype.kind != "f" or (np.isfinite(array).all() and (array == np.floor(array)).all())
        if not whole or (array.size and (array.min() < limits.min or array.max() > limits.max)):
            raise InputError(f"{spec.name} must be whole numbers from {limits.min:,} to {limits.max:,}.")
    with np.errstate(over="ignore"):  # 1e300 is infinite in float32, as in TensorFlow Serving
        return array.astype(wanted)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of nested lists, by their first elements."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _flat(value: Any, shape: tuple[int, ...], name: str) -> list[bytes]:
    """The strings in nested lists of a shape."""
    if shape:
        if not isinstance(value, list) or len(value) != shape[0]:
            raise InputError(f"{name} has lists of different lengths.")
        return [one for part in value for one in _flat(part, shape[1:], name)]
    if isinstance(value, str):
        try:
            return [value.encode()]
        except UnicodeEncodeError:
            raise InputError(f"{name} has half a character (a lone surrogate), which is no text.") from None
    if _is_bytes(value):
        try:
            return [base64.b64decode(value["b64"], validate=True)]
        except (binascii.Error, TypeError, ValueError) as error:
            raise InputError(f"{name} is not base64: {error}.") from None
    raise InputError(f'{name} must be strings, or {{"b64": "..."}} for bytes. Received: {_kind(value)}.')


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"}


def _values(array: np.ndarray, name: str) -> Any:
    """Nested lists of an output; bytes are base64 where the output's name says so, or where they are no text."""
    if array.dtype != object:
        return array.tolist()
    binary = name.endswith("_bytes")
    values = np.empty(array.shape, object)
    values.reshape(-1)[:] = [_text(one, binary) for one in array.flat]
    return values.tolist()


def _text(value: bytes, binary: bool) -> str | dict[str, str]:
    if not binary:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _first(value: Any) -> Any:
    while isinstance(value, list) and value:
        value = next((one for one in value if isinstance(one, list) or not isinstance(one, (int, float))), value[0])
    return value


def _kind(value: Any) -> str:
    """What a JSON value is called."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return "an empty list" if value == [] else names.get(type(value), "a number")
