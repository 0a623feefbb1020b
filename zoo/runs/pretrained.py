"""`Pretrained`: weights from elsewhere, which have what a run has: a recipe, a reader and weights."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry
from zoo.errors import InputError, RunError
from zoo.weights import hub
from zoo.weights.layout import labels_of
from zoo.weights.tensors import refuse_pickle

if TYPE_CHECKING:
    import keras

    from zoo.base.recipe import Recipe


class Pretrained:
    """A checkpoint of another library: `hf:OWNER/NAME[@REVISION]`, a folder with a config.json, or a file of weights.

    Attributes:
        source: as it was named.
        located: where it lies, a `zoo.weights.hub.Located`.
        recipe: the recipe with the values of the checkpoint.
    """

    def __init__(self, source: str | os.PathLike[str], recipe: "Recipe | None" = None) -> None:
        self.source: str = str(source)
        self.located: hub.Located = hub.locate(source)
        refuse_pickle(self.located.path)
        self.recipe: Recipe = registry.recipe_of(self.located) if recipe is None else recipe
        self._tokenizer = self.recipe.read_tokenizer(self.located.home)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The names of the classes; None where the checkpoint does not name them and is not known to be of ImageNet."""
        return labels_of(registry.config_of(self.located, [type(self.recipe)]) or {})

    def reader(self) -> Any:
        """Returns what reads raw inputs for the network, as the checkpoint's own library does."""
        return self.recipe.pretrained_reader(self._tokenizer, self.labels)

    def weights(self, model: "keras.Model") -> Mapping[str, np.ndarray]:
        """Returns {path: array} of the variables of `model` that the checkpoint has, each read when it is asked for.

        Attributes of it name what is `missing` from the checkpoint, and `surplus` in it.
        """
        from zoo import weights

        if self.located.commit is not None:
            _ = self.located.digests  # raises for a file that is not the hub's
        shapes = {v.path: tuple(v.shape) for v in weights.variables(model) if not weights.is_adapter(v.path)}
        rows = None if self._tokenizer is None else self._tokenizer.rows
        return registry.checkpoint(self.recipe, self.located, shapes, rows)

    def put(self, model: "keras.Model") -> None:
        """Sets every variable of `model`; what is missing or has no place is an `InputError` that names it."""
        from zoo import weights

        arrays = self.weights(model)
        if arrays.missing:
            raise InputError(f"{self.source} lacks weights of {self.recipe.label}: {_listed(arrays.missing)}.")
        if arrays.surplus:
            raise InputError(
                f"{self.source} has weights that {self.recipe.label} does not have: {_listed(arrays.surplus)}."
            )
        try:
            weights.put(model, arrays)
        except RunError as error:  # of another shape than config.json says
            raise InputError(f"{self.source} contradicts its config.json. {error}") from None

    def facts(self) -> dict[str, Any]:
        """Returns {"source", "commit", "sha256"}, as a run keeps them that was started from here."""
        return {"source": self.source, "commit": self.located.commit, "sha256": self.located.digests}


def _listed(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
