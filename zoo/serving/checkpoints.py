"""Weights out: a run or a model as a checkpoint that another library loads, read back by `zoo.load` and compared."""

import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import files, registry, runs, weights
from zoo.errors import InputError, RunError
from zoo.serving import vocabularies
from zoo.weights.parts import ABSENT

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-5
"""How far answers may be off, as a part of the largest."""


class Checkpoint:
    """What a checkpoint is made of; all that cannot be written is refused here, before anything is.

    Args:
        what: a run, a pretrained source, or a model of `zoo.build` or `zoo.load`.
        labels: for a model, the names of its classes.
        reader: for a model, what reads its inputs.
    Raises: `InputError` for a recipe that no other library has, and for fields and vocabularies that its files cannot
        express.
    """

    def __init__(
        self, what: "runs.Trained | keras.Model", labels: Sequence[str] | None = None, reader: Any = None
    ) -> None:
        source, config = None, None
        if isinstance(what, runs.Pretrained):
            source, config = what.source, what.located.config()
        if isinstance(what, runs.Run):
            self._refuse_given(labels, reader)
            self.recipe, self.reader, self.arrays = what.recipe, what.reader(), what.weights()
            self._probe = what.probe()
        else:
            model = runs.load(what) if isinstance(what, (runs.Pretrained, runs.Shipped)) else what
            self.recipe = getattr(model, "recipe", None)
            if self.recipe is None:
                raise InputError("This model has no recipe. Export a run, or a model of zoo.build.")
            if reader is None and labels is None:
                reader = getattr(model, "reader", None)
            self.reader = reader or self.recipe.default_reader(labels)
            self.arrays = weights.of(model)
            self._probe = None
            source = source or getattr(model, "source", None)
        self._family, self.config = registry.written_as(self.recipe, config)
        self._files: dict[str, Any] = {}
        values, rows, self.note = self.recipe.values(), None, ""
        if self.recipe.texts:
            words = vocabularies.words_of(self.recipe, self.reader, source, self.arrays)
            self._files |= words.files
            rows = words.rows
            self.config |= words.config()
            self.note = words.note(self.config)
            if "generation" in self.config:
                self.config["generation"] |= words.generation()
        if "classes" in values:
            self._name_classes(tuple(self.reader.labels))
        try:
            self._tensors = self._family.tensors(self.arrays, values, rows)
        except InputError as error:
            raise InputError(f"{self.recipe.label} cannot be written for another library: {error}.") from None
        if self._family.target.beside is not None:
            self._files |= self._family.target.beside(values)

    @staticmethod
    def _refuse_given(labels: Sequence[str] | None, reader: Any) -> None:
        if labels is not None or reader is not None:
            raise InputError("A run has its own labels and reader: leave labels= and reader= out.")

    def _name_classes(self, labels: tuple[str, ...]) -> None:
        if "architecture" in self.config:  # timm
            numbered = labels == tuple(map(str, range(len(labels))))
            self.config |= {"num_classes": len(labels), **({} if numbered else {"label_names": list(labels)})}
        else:
            self.config["id2label"] = {str(number): name for number, name in enumerate(labels)}
            self.config["label2id"] = {name: number for number, name in enumerate(labels)}

    def write(self, folder: pathlib.Path) -> None:
        """Writes the files to `folder`, which must not exist."""
        from safetensors.numpy import save_file

        folder.mkdir()
        save_file(self._tensors, folder / "model.safetensors", metadata={"format": "pt"})
        said = {"config.json": {**self.config, "dtype": "float32"}}
        for name in ("preprocessor", "generation"):
            if name in self.config:
                said[f"{name}_config.json"] = said["config.json"].pop(name)
        for name, content in {**said, **self._files}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            data = content if isinstance(content, bytes) else json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            files.write(folder / name, data)

    def verify(self, folder: pathlib.Path) -> str:
        """Returns what was found: `zoo.load` of the folder reads inputs and answers as what was exported does.

        Raises: `RunError` where it does not.
        """
        from zoo.training import PROBE, make_answers

        model = runs.load(folder)
        probe = self._probe
        if probe is None:
            probe = self.recipe.make_probe(self.reader, self.recipe.make_noise(PROBE))
        if tuple(model.reader.labels) != tuple(self.reader.labels):
            raise RunError("The export could not be verified: its classes have other names.")
        for name, read in (("text", "read_texts"), ("images", "fit_images")):
            raw = probe.get("serving_default/text" if name == "text" else "serve_images/images")
            if raw is not None:
                ours, theirs = (np.asarray(_read(getattr(one, read), raw)) for one in (self.reader, model.reader))
                if not np.array_equal(ours, theirs):
                    raise RunError(f"The export could not be verified: it reads {name} otherwise.")
        ours = make_answers(self.recipe, probe)(self.arrays)
        theirs = make_answers(model.recipe, probe)(weights.of(model))
        ours = ours[..., : theirs.shape[-1]]  # ids that no text has are at the end
        known = ours > ABSENT / 2
        scale = max(1e-6, float(np.abs(ours[known]).max()))
        worst = float(np.abs(ours - theirs)[known].max()) / scale
        if not worst <= TOLERANCE:
            raise RunError(f"The export could not be verified: it is off by {worst:.1e} of the largest output.")
        said = f"Verified by zoo.load on {len(ours)} examples: largest difference {worst:.1e} of the largest output."
        return f"{said} {self.note}".rstrip()


def _read(read: Any, raw: np.ndarray) -> Any:
    found = read(raw)
    return found.numpy() if hasattr(found, "numpy") else found
