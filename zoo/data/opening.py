"""From a name, a path or data in memory to a `Source`."""

import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError, nearest

if TYPE_CHECKING:
    from zoo.data.source import Source

BUILT_IN = {
    "cells": "zoo.data.cells",
    "dates": "zoo.data.dates",
    "digits": "zoo.data.digits",
    "english": "zoo.data.english",
    "sections": "zoo.data.english",
}
"""Sets that are in the package and need no network: name -> the module of its TFDS builder."""

TABLES = ("breast_cancer", "iris", "moons", "spirals", "wine", "xor")
"""Tables of `zoo.data.tables`, made whenever they are opened."""

FORMS = "tfds:NAME[:VERSION], folder:PATH, csv:PATH, text:PATH"


def open_source(spec: Any, *, data_dir: str | os.PathLike[str] | None = None, skip_bad: bool = False) -> "Source":
    """The `Source` that `spec` names, prepared where it was not.

    Args:
        spec: `digits`, `cells:seed=1` (a set that is drawn takes options), `tfds:NAME[:VERSION]`, `folder:PATH` (a
            subfolder a class, or `images` and `masks`), `csv:PATH` (a file, or a folder of train.csv and more; a
            table, which `zoo.data.text_source.as_texts` reads as texts), `text:PATH` (a file, or a folder of them); or
            data in memory: `(x, y)` of arrays or of lists of texts, a `tf.data.Dataset` of batches, or a mapping from
            split to either. A `pathlib.Path` is a name as `name_of` tells.
        data_dir: where prepared data lie; None is `ZOO_DATA`, else TensorFlow Datasets' own folder.
        skip_bad: leave out images, rows and numbers that cannot be read, instead of an error.
    Raises: `InputError` for a name that is unknown, or data that cannot be used.
    """
    if isinstance(spec, os.PathLike):
        spec = name_of(spec)
    if not isinstance(spec, str):
        return _in_memory(spec)
    kind, _, rest = spec.partition(":")
    if kind in BUILT_IN:
        from zoo.data.tfds_source import BuiltInSource

        return BuiltInSource(kind, BUILT_IN[kind], data_dir, rest)
    if spec in TABLES:
        from zoo.data.table_source import BuiltInTable

        return BuiltInTable(spec)
    if kind == "csv" and rest:
        from zoo.data.table_source import CsvSource

        return CsvSource(spec, skip_bad)
    if kind == "text" and rest:
        from zoo.data.text_source import TextFile

        return TextFile(spec)
    if kind == "tfds" and rest:
        from zoo.data.tfds_source import TfdsSource

        return TfdsSource(spec, data_dir)
    if kind == "folder" and rest:
        from zoo.data.folder_source import FolderSource
        from zoo.data.mask_folder_source import MaskFolderSource, has_masks

        return (MaskFolderSource if has_masks(rest) else FolderSource)(spec, data_dir, skip_bad)
    raise _unknown(spec)


def check_name(spec: str) -> None:
    """Raises `InputError` where `spec` names no data set, or a path that is not there; nothing is opened."""
    kind, _, rest = spec.partition(":")
    if kind in BUILT_IN or spec in TABLES or (kind == "tfds" and rest):
        return
    if kind not in _PATHS or not rest:
        raise _unknown(spec)
    if not pathlib.Path(rest).expanduser().exists():
        raise InputError(f"dataset={spec}: {rest} is not there.")


_PATHS = ("csv", "folder", "text")


def _unknown(spec: str) -> InputError:
    """The `InputError` for a name that opens nothing."""
    kind, colon, _ = spec.partition(":")
    if kind in ("arrays", "batches") and colon:
        return InputError(
            f"dataset={spec} was handed over in memory and is not here. Pass the same data again: "
            "zoo.train(..., dataset=(x, y))."
        )
    if spec in ("tfds:", "folder:", "csv:", "text:"):
        return InputError(f"dataset={spec} needs a {'name' if kind == 'tfds' else 'path'} behind the colon: {FORMS}.")
    known = [*BUILT_IN, *TABLES, "tfds:", "folder:", "csv:", "text:"]
    near = f" Did you mean {name_of(pathlib.Path(spec))!r}?" if os.path.isdir(spec) else nearest(spec, known)
    return InputError(
        f"Unknown dataset {spec!r}.{near} There are: {', '.join([*BUILT_IN, *TABLES])}, {FORMS}; "
        "`zoo data list` shows them."
    )


def name_of(path: os.PathLike[str]) -> str:
    """The name of the data at a path: `csv:`, `text:` or `folder:` before it, by what lies there.

    A path that says its kind itself, such as `Path("folder:pets")`, or at which nothing lies, is a name already.
    """
    path = pathlib.Path(path)
    if not path.expanduser().exists():
        return str(path)
    for kind, ending in (("csv", ".csv"), ("text", ".txt")):
        if path.suffix.lower() == ending or path.expanduser().joinpath(f"train{ending}").is_file():
            return f"{kind}:{path}"
    return f"folder:{path}"


def _in_memory(data: Any) -> "Source":
    from zoo.data.memory_source import ArraySource, BatchSource
    from zoo.data.text_source import TextLists, of_texts

    splits = dict(data) if isinstance(data, Mapping) else {"train": data}
    if all(map(of_texts, splits.values())):
        return TextLists(splits)
    if all(isinstance(value, tuple) and len(value) == 2 for value in splits.values()):
        if all(getattr(x, "ndim", None) == 2 for x, _ in splits.values()):
            from zoo.data.table_source import ArrayTable

            return ArrayTable(splits)
        return ArraySource(splits)
    if all(hasattr(value, "element_spec") for value in splits.values()):
        return BatchSource(splits)
    raise InputError(
        "dataset must be a name, (x, y) arrays, a tf.data.Dataset, or a mapping from split to either. "
        f"Received: {type(data).__name__}."
    )
