"""GGUF files: metadata and tensors in one file, whose tensors may be quantised; they are read as float32."""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from zoo.errors import InputError, install_line

SUFFIX = ".gguf"

INTERLEAVED = ("gguf:llama",)
"""Architectures, as `config` has them, whose rows of queries and keys stand in pairs."""


def open_gguf(path: pathlib.Path) -> "GGUF":
    """Returns the `GGUF` of a file, which is parsed once in a process until it changes.

    Raises: `InputError` for a file that is missing or not whole.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    return _parsed(path.resolve(), path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _parsed(path: pathlib.Path, changed: int) -> "GGUF":
    return GGUF(path)


class GGUF(Mapping[str, np.ndarray]):
    """{name: array} of a GGUF file, which stays mapped; an array is made float32 when it is asked for.

    The rows of queries and keys, which GGUF has interleaved for its rotary positions, stand as in safetensors.

    Args:
        path: of the file.

    Attributes:
        metadata: {key: value}.
    """

    def __init__(self, path: pathlib.Path) -> None:
        try:
            import gguf
        except ImportError:
            raise InputError(f"{path} needs gguf: {install_line('gguf')}.") from None
        try:
            reader = gguf.GGUFReader(path)
            self.metadata: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
            self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        except (ValueError, KeyError, IndexError, TypeError, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not a complete GGUF file: {str(error).splitlines()[0].rstrip('.')}.") from None
        self._dequantize = gguf.dequantize

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        array = self._dequantize(tensor.data, tensor.tensor_type).astype("float32", copy=False)
        kind = self.metadata.get("general.architecture")
        if f"gguf:{kind}" in INTERLEAVED and name.endswith((".attn_q.weight", ".attn_k.weight")):
            key = "head_count" if name.endswith("attn_q.weight") else "head_count_kv"
            heads = int(self.metadata[f"{kind}.attention.{key}"])
            array = array.reshape(heads, -1, 2, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        return array

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def config(self) -> dict[str, Any]:
        """Returns the metadata as a config: {"architecture": "gguf:llama", "block_count": 30, ...}, without the prefix
        of the architecture, and without the tokenizer."""
        kind = self.metadata.get("general.architecture")
        own = {name.removeprefix(f"{kind}."): value for name, value in self.metadata.items()}
        own = {name: value for name, value in own.items() if not name.startswith(("tokenizer.", "GGUF."))}
        if "rope_freqs.weight" in self:
            own["rope_freqs"] = self["rope_freqs.weight"].tolist()
        return {**own, "architecture": f"gguf:{kind}", "tied": "output.weight" not in self}
