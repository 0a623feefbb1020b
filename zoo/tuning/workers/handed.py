"""Data handed over in memory: a study writes them once, and the process of each trial reads them."""

import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.data.source import Source


def write_data(folder: str | pathlib.Path, data: Any) -> "Source":
    """Writes {split: (x, y)} of arrays or lists of texts, or one such pair, into a folder: one file for each part.

    Returns: the data as `zoo.data` sees them, with their name and fingerprint.
    Raises: `InputError` for a `tf.data.Dataset`, which cannot be written.
    """
    from zoo.data import open_source
    from zoo.data.text_source import of_texts

    source = open_source(data)
    if source.ready:
        raise InputError(
            "A tf.data.Dataset cannot be handed to other processes: give arrays or a name, "
            "or tune zoo.hypermodel(...) by hand."
        )
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    splits = data if isinstance(data, Mapping) else {"train": data}
    for split, pair in splits.items():
        texts = of_texts(pair)
        for part, values in zip("xy", pair, strict=True):
            if texts:
                plain = [value if isinstance(value, str) else np.asarray(value).tolist() for value in values]
                (folder / f"{split}_{part}.json").write_text(json.dumps(plain))
            else:
                array = np.asarray(values)
                if array.dtype == object and all(isinstance(value, str) for value in array.flat):
                    array = array.astype(str)  # NumPy would pickle objects
                np.save(folder / f"{split}_{part}.npy", array, allow_pickle=False)
    return source


def read_data(folder: str | pathlib.Path) -> dict[str, tuple]:
    """Returns the {split: (x, y)} that `write_data` wrote."""
    parts = {}
    for path in sorted(pathlib.Path(folder).iterdir()):
        split, _, part = path.stem.partition("_")
        values = json.loads(path.read_text()) if path.suffix == ".json" else np.load(path, allow_pickle=False)
        parts.setdefault(split, {})[part] = values
    return {split: (pair["x"], pair["y"]) for split, pair in parts.items()}
