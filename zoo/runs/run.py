"""A run is a folder. Everything about a training is in it, and everything that reads a run reads only that folder.

    run.json         schema, recipe in normal form, given names, versions, data, status
    reader.keras     how raw inputs are read
    probe.npz        a few inputs, raw and as the network takes them, that an export is verified on
    checkpoints/     000003/ after epoch 3: weights, averages, optimizer, callbacks, history, answers, hashes
    last, best       the names of two of them
    history.csv      one row an epoch; no wall times, so it is the same after every resume
    events/          for TensorBoard
    run.lock         held while a process trains

A checkpoint is renamed into place once and never overwritten; the last two and the best are kept.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from zoo import files, registry, weights
from zoo.errors import InputError, RunError
from zoo.runs.checkpoints import drop, is_ours, is_whole, names
from zoo.runs.folder import Kind
from zoo.runs.history import table

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe
    from zoo.data.source import Source
    from zoo.fields import Declared
    from zoo.training.plan import Plan

KIND = Kind(
    noun="run",
    verb="train",
    home="runs",
    schema=1,
    needs=("recipe", "data", "status"),
    written=("reader.keras", "probe.npz", "last", "best", "history.csv"),
    empty=("checkpoints",),
)

_KINDS = {
    "recipe": dict, "data": dict, "status": str, "reason": str, "constant_loss": float | int | None,
    "steps_per_epoch": int | None, "device": dict, "versions": dict,
}  # fmt: skip
_OF_DATA = {"name": str, "fingerprint": str, "sizes": dict, "notes": list}
"""{key: the kind of its value} of `run.json`, and of its `data`."""

STATUSES = ("running", "paused", "done", "stopped_early", "failed", "interrupted")


class Run:
    """A run's folder. `Run.open(path)` reads one; `zoo.train` makes one."""

    def __init__(self, path: str | os.PathLike[str], facts: dict[str, Any], trusted: bool = False) -> None:
        self.path: pathlib.Path = pathlib.Path(path)
        self._facts = facts
        self._trusted = trusted

    # Making and opening -----------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        recipe: "Recipe",
        source: "Source",
        plan: "Plan",
        constant_loss: float | None = None,
        started: Mapping[str, Any] | None = None,
        read: Sequence[str] = (),
    ) -> Self:
        """Returns a new run of a `zoo.training.Plan`; nothing is written before `begin`.

        Args:
            constant_loss: the validation loss of an answer that does not depend on the input, where it is known.
            started: what there is to keep of a published checkpoint that the weights came from.
            read: lines about how the data are read, which are kept among their notes.
        """
        facts = {
            "schema": KIND.schema,
            "recipe": registry.saved(recipe),
            "data": {
                "name": source.name,
                "fingerprint": source.fingerprint,
                "sizes": dict(source.sizes),
                "notes": [*source.notes, *(line.removesuffix(".") for line in read)],
            },
            "constant_loss": constant_loss,
            "steps_per_epoch": plan.steps_per_epoch,
            "device": dataclasses.asdict(plan.device),
            "versions": versions(),
            "status": "running",
            "reason": "",
            **({"started_from": dict(started)} if started else {}),
        }
        return cls(path, json.loads(json.dumps(facts)))

    @classmethod
    def open(cls, path: "str | os.PathLike[str] | Run", trust: bool = False) -> "Run":
        """Returns the run in the folder `path`.

        Args:
            path: a folder, or a `Run`, which is returned.
            trust: whether the recipe of the run may be a file, or a module, that this user has not trained on this
                machine: whoever wrote the run chose it, and reading `recipe` runs it.
        Raises: `InputError` for a run that is missing, half-written or of a newer schema.
        """
        if isinstance(path, Run):
            path._trusted = path._trusted or trust
            return path
        path = KIND.path(path)
        facts = KIND.read(path)
        _check(path, facts, _KINDS)
        _check(path, facts["data"], _OF_DATA)
        return cls(path, facts, trust)

    def anchored(self) -> Self:
        """Returns this run with an absolute path, at which it stays where the process changes its working folder."""
        return type(self)(self.path.absolute(), self._facts, self._trusted)

    @classmethod
    def exists(cls, path: str | os.PathLike[str]) -> bool:
        """Returns whether there is a run in the folder `path`."""
        return KIND.exists(path)

    def begin(self, reader: Any, probe: Mapping[str, np.ndarray]) -> None:
        """Writes the folder of a new run; `run.json` comes last and makes it one."""
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        for leftover in self.path.iterdir():
            if KIND.is_leftover(leftover.name):
                leftover.unlink()
        save_reader(reader, self.path / "reader.keras")
        weights.write(self.path / "probe.npz", probe)
        self._write()
        registry.remember(self._facts["recipe"]["reference"])

    def _write(self) -> None:
        KIND.write(self.path, self._facts)

    # Facts ------------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, Any]:
        """What `run.json` says, as a mapping."""
        return self._facts

    @property
    def recipe(self) -> "Recipe":
        """The recipe, rebuilt from its normal form; an `InputError` where its code is not trusted."""
        return self._read_recipe(registry.restored)

    @property
    def sketch(self) -> "type[Declared] | None":
        """The fields of the recipe's class, read without Keras; None where its source does not tell them."""
        return self._read_recipe(registry.sketched)

    def _read_recipe(self, read: Callable[..., Any]) -> Any:
        try:
            return read(self._facts["recipe"], self._trusted)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error

    @property
    def status(self) -> str:
        """One of `STATUSES`; a run whose process died reads as interrupted."""
        status = self._facts["status"]
        return "interrupted" if status == "running" and not self.held() else status

    def reader(self) -> Any:
        """Returns what reads raw inputs for this run's network: a layer of `zoo.readers`."""
        return read_reader(self.path / "reader.keras")

    def probe(self) -> dict[str, np.ndarray]:
        """Returns {signature/input: array}: what an export is verified on."""
        return weights.read(self.path / "probe.npz")

    def set_status(self, status: str, reason: str = "") -> None:
        """Writes one of `STATUSES` to `run.json`, with the reason."""
        self._facts.update(status=status, reason=reason)
        self._write()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run (and makes its folder) for this process; one that another holds is an `InputError`."""
        with KIND.locked(self.path, "being trained"):
            yield

    def held(self) -> bool:
        """Returns whether a living process trains this run."""
        return KIND.held(self.path)

    # Checkpoints ------------------------------------------------------------------------------------------------

    def save_checkpoint(
        self,
        epoch: int,
        arrays: Mapping[str, Mapping[str, np.ndarray]],
        state: Mapping[str, Any],
        best: int | None,
    ) -> None:
        """Writes checkpoint `epoch` (epochs finished), points `last` (and `best`) to it, and drops older ones.

        Args:
            arrays: {file stem: {key: array}}, such as weights and optimizer.
            state: what `state.json` says; JSON.
            best: the epoch of the best checkpoint so far, or None.
        """
        folder = self.path / "checkpoints"
        name = f"{epoch:06d}"
        temporary = folder / f".{name}.{os.getpid()}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for stem, values in arrays.items():
                weights.write(temporary / f"{stem}.npz", values)
            files.write_json(temporary / "state.json", state)
            hashes = {path.name: files.digest(path) for path in sorted(temporary.iterdir())}
            files.write_json(temporary / "hashes.json", hashes)
            if (folder / name).exists():
                drop(folder / name)
            os.rename(temporary, folder / name)
            files.sync(folder)
            self.point(epoch, best, state["history"])
        except (OSError, RunError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            cause = error.__cause__ or error  # files.write names the file; the reason is enough here
            raise RunError(
                f"Epoch {epoch} could not be saved: {getattr(cause, 'strerror', None) or error}. "
                f"Once that is fixed: zoo train --resume {self.path}."
            ) from error
        keep = {name, f"{epoch - 1:06d}", f"{best:06d}" if best is not None else name}
        for old in folder.iterdir():
            if old.name not in keep and is_ours(old.name):
                drop(old)

    def point(self, epoch: int, best: int | None, history: Sequence[Mapping[str, Any]]) -> None:
        """Writes `last`, `best` and `history.csv`, as the checkpoint of `epoch` has them."""
        files.write(self.path / "last", f"{epoch:06d}")
        if best is not None:
            files.write(self.path / "best", f"{best:06d}")
        files.write(self.path / "history.csv", table(history))

    def checkpoint(self, which: Literal["last", "best"] = "last") -> pathlib.Path | None:
        """Returns the folder of the newest whole checkpoint ("last"), or of the best; None where there is none yet.

        The state in the newest checkpoint says which is best. Warns of a damaged checkpoint, which is passed over, and
        of a file `best` that says otherwise.
        """
        folder = self.path / "checkpoints"
        newest_first = names(folder)
        for name in newest_first:
            if is_whole(folder / name):
                break
            warnings.warn(f"{folder / name} is damaged and skipped.", stacklevel=2)
        else:
            return None
        last = folder / name
        epoch = self.state(last)["best_epoch"] if which == "best" else None
        if epoch is None:
            return last
        best = folder / f"{epoch:06d}"
        if last.name == newest_first[0] and self._pointed_to() != best.name:
            wrong = f"{self.path / 'best'} is missing or wrong"
            warnings.warn(f"{wrong}: epoch {epoch} is the best, as the newest checkpoint says.", stacklevel=2)
        if best == last or is_whole(best):
            return best
        warnings.warn(f"{best}, the best checkpoint, is gone or damaged: {last} takes its place.", stacklevel=2)
        return last

    def _pointed_to(self) -> str | None:
        try:
            return (self.path / "best").read_text().strip()
        except (OSError, ValueError):
            return None

    def state(self, checkpoint: pathlib.Path) -> dict[str, Any]:
        """Returns what `state.json` of a checkpoint says."""
        return json.loads((checkpoint / "state.json").read_text())

    def _needed(self) -> pathlib.Path:
        best = self.checkpoint("best")
        if best is None:
            raise InputError(
                f"{self.path} has no whole checkpoint: no epoch was finished, or they are gone or damaged."
            )
        return best

    def weights(self) -> dict[str, np.ndarray]:
        """Returns {path: array}: the best weights, averaged where the recipe has `ema`, adapters in their kernels."""
        best = self._needed()
        averaged = best / "averages.npz"
        arrays = weights.read(averaged if averaged.exists() else best / "weights.npz")
        if not any(map(weights.is_adapter, arrays)):
            return arrays
        return weights.merged(arrays, self._facts["recipe"]["values"]["lora_alpha"])  # whoever's code the recipe is

    def best_epoch(self) -> int:
        """Returns the epoch of the best checkpoint, counted from 1."""
        return int(self._needed().name)

    @property
    def history(self) -> list[dict[str, float]]:
        """One mapping an epoch: epoch, losses, metrics and learning rate."""
        last = self.checkpoint()
        return [] if last is None else self.state(last)["history"]

    @property
    def unlearned(self) -> str:
        """`Nothing was learned: ...`, where no epoch's validation loss is below a constant answer's; else ''."""
        constant = self._facts.get("constant_loss")
        losses = [row["val_loss"] for row in self.history if "val_loss" in row]
        if constant is None or not losses or min(losses) < constant:
            return ""
        best = f"the best validation loss, {min(losses):.4g}, is not below that of a constant answer, {constant:.4g}"
        return f"Nothing was learned: {best}."

    def _repr_html_(self) -> str:
        """Returns what a notebook shows."""
        from zoo.runs.showing import as_html

        return as_html(self)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status})"


def _check(path: pathlib.Path, facts: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Raises where a value in `run.json` is not of its kind, or a status is none: the file may say anything."""
    for key, kind in kinds.items():
        if key in facts and not isinstance(facts[key], kind):
            raise KIND.damaged(path, f"{key} is of a wrong kind")
    if facts.get("status", "done") not in STATUSES:
        raise KIND.damaged(path, "status is none")


def save_reader(reader: Any, path: pathlib.Path) -> None:
    """Writes a reader as a `.keras` file, whole."""
    import keras

    with tempfile.TemporaryDirectory() as folder:
        temporary = pathlib.Path(folder, path.name)
        keras.saving.save_model(reader, temporary)
        files.write(path, temporary.read_bytes())


def read_reader(path: pathlib.Path) -> Any:
    """Returns the reader that `save_reader` wrote."""
    from zoo import readers  # noqa: F401 (it registers them with Keras)

    return weights.open_keras(path, str(path))


def versions() -> dict[str, str]:
    """Returns {distribution: version} of what a result depends on."""
    import platform
    from importlib import metadata

    from zoo._version import __version__

    found = {"python": platform.python_version(), "keras-zoo": __version__}
    for name in ("keras", "tensorflow", "jax", "torch", "tensorflow-datasets", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
