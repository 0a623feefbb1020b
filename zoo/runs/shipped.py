"""`Shipped`: weights of our own that come with the package: `zoo:NAME`, such as `zoo:lenet/modern`.

A folder in `zoo/pretrained/` has what a run has: recipe.json, reader.keras, weights.safetensors (float16), and
card.json, which says how the weights were trained and what they reach. `zoo.reproducing` writes it.
"""

import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry, weights
from zoo.errors import InputError, unknown
from zoo.runs.run import read_reader
from zoo.weights import hub
from zoo.weights.tensors import open_tensors

if TYPE_CHECKING:
    import keras

    from zoo.base.recipe import Recipe


def shipped_names() -> list[str]:
    """Returns the names of the weights that come with the package, such as `lenet/modern`; sorted."""
    return sorted(json.loads(path.read_text())["name"] for path in hub.FOLDER.glob("*/card.json"))


class Shipped:
    """Weights that come with the package.

    Args:
        source: `zoo:NAME`.

    Attributes:
        source: as it was named.
        name: what stands behind `zoo:`.
        recipe: the recipe that was trained.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.source: str = str(source)
        self.name: str = self.source.removeprefix(hub.SHIPPED)
        if self.name not in shipped_names():
            raise unknown("weights", self.name, shipped_names())
        self._folder = hub.shipped_folder(self.name)
        self.recipe: Recipe = registry.restored(json.loads((self._folder / "recipe.json").read_text()))

    @property
    def card(self) -> dict[str, Any]:
        """How the weights were trained, on what, and what they reach; `zoo.reproducing.make_card` says the keys."""
        return json.loads((self._folder / "card.json").read_text())

    def reader(self) -> Any:
        """Returns what reads raw inputs for the network."""
        return read_reader(self._folder / "reader.keras")

    def weights(self) -> dict[str, np.ndarray]:
        """Returns {path: array} of the variables."""
        return dict(open_tensors(self._folder / "weights.safetensors"))

    def put(self, model: "keras.Model") -> None:
        """Sets every variable of `model`."""
        weights.put(model, self.weights())


def write_shipped(folder: pathlib.Path, run: Any, card: dict[str, Any]) -> None:
    """Writes a run and its card as such a folder."""
    from safetensors.numpy import save

    from zoo import files
    from zoo.runs.run import save_reader

    arrays = {
        path: array.astype("float16") if array.dtype.kind == "f" else array for path, array in run.weights().items()
    }
    for path, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{path} of {run.path} has numbers beyond float16.")
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "weights.safetensors", save(arrays))
    save_reader(run.reader(), folder / "reader.keras")
    files.write_json(folder / "recipe.json", registry.saved(run.recipe))
    files.write_json(folder / "card.json", card)
