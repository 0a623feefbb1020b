"""`Folder`: a study's folder: made, opened, held for writing, and read.

study.json       the `Definition`, which never changes
study.sqlite     the state: trials, what the oracle knows, what was spent
study.lock       held while a process writes
trials/0003/     the run of trial 3, as `zoo train` makes it; trials/0003.log is what it printed
data/            arrays that were handed over in memory
"""

import contextlib
import functools
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from zoo import registry
from zoo.errors import InputError
from zoo.fields import from_json
from zoo.tuning.definition import KIND, STATE, Definition
from zoo.tuning.space import Space
from zoo.tuning.store import Store
from zoo.tuning.trial import PAUSED, RUNNING, Trial, curve

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe

_COLUMNS = ("status", "score", "epoch", "epochs", "reason", "origin", "started", "ended", "seconds", "host")
"""The columns of a trial's row that a `Trial` has as they are."""


class Folder:
    """The folder of one study. Reading needs no lock.

    Args:
        path: the study's folder.
        definition: what never changes in it.
        trusted: whether its recipe may be a file, or a module, that this user has not trained on this machine.
    """

    path: pathlib.Path
    definition: Definition

    def __init__(self, path: str | pathlib.Path, definition: Definition, trusted: bool = False):
        self.path = pathlib.Path(path)
        self.definition = definition
        self.trusted = trusted
        self._store = None

    # Making and opening -----------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | pathlib.Path, trusted: bool = False) -> Self:
        """Opens the study in the folder `path`.

        Raises: `InputError` for a study that is missing, damaged or of a newer schema.
        """
        return cls(path, Definition.read(path), trusted)

    @classmethod
    def make(cls, path: str | pathlib.Path, definition: Definition, data: pathlib.Path | None = None) -> Self:
        """Makes a study, or opens the one that is at `path`.

        Args:
            path: the study's folder.
            definition: what defines it.
            data: a folder of arrays to copy into a new study.
        Raises: `InputError` where `path` is a study of another definition, and what differs, or is no study.
        """
        path = pathlib.Path(path)
        if KIND.exists(path):
            folder = cls.open(path)
            if changed := folder.definition.differences(definition):
                raise InputError(
                    f"{path} holds a study with another definition: {'; '.join(changed)}. "
                    "Repeat the definition (budgets and workers may change), or name another --directory."
                )
            return folder
        KIND.refuse_foreign(path)
        folder = cls(path, definition)
        with KIND.locked(path, "in use"):
            if KIND.exists(path):  # another process was faster
                return cls.make(path, definition, data)
            if data is not None:
                shutil.copytree(data, path / "data", dirs_exist_ok=True)
            with contextlib.closing(Store(path / STATE, new=True)) as store, store.transaction():
                store.set("queue", [{"values": folder.space.default(), "origin": "default"}])
            definition.write(path)
            registry.remember(definition.recipe["reference"])
        return folder

    @contextlib.contextmanager
    def writing(self) -> Iterator[Self]:
        """Holds the study for this process; inside, more of the same does nothing.

        Raises: `InputError` where another process holds it.
        """
        if self._store is not None:
            yield self
            return
        with KIND.locked(self.path, "in use"), contextlib.closing(Store(self.path / STATE, writes=True)) as store:
            self._store = store
            try:
                yield self
            finally:
                self._store = None

    # Reading ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def space(self) -> Space:
        """The space that is searched; an `InputError` where the recipe's code is not trusted."""
        try:
            base = self.definition.restored(self.trusted)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error
        return self.definition.searched(base)

    def recipe(self, trial: Trial) -> "Recipe":
        """Returns the recipe of a trial."""
        return self.space.recipe(trial.values)

    def trials(self) -> list[Trial]:
        """Returns every trial, by number."""
        with self._reading() as store:
            rows = store.trials()
            held = any(row["status"] == RUNNING for row in rows) and KIND.held(self.path)
            return [self._trial(row, held) for row in rows]

    def trial(self, number: int) -> Trial:
        """Returns the trial of a number."""
        with self._reading() as store:
            return self._trial(store.trial(number), KIND.held(self.path))

    def curve(self, number: int) -> dict[int, float]:
        """Returns {epoch: value of the objective} of the epochs that a trial's run has finished, from 1."""
        return curve(self.run_path(number), self.definition.objective)

    def run_path(self, number: int) -> pathlib.Path:
        """Returns the folder of the run of a trial."""
        return self.path / "trials" / f"{number:04d}"

    def running(self) -> dict[int, tuple[int | None, float]]:
        """Returns {number: (until, seconds)} of the trials that a process began or was to begin, by number.

        `until` is the epoch at which the rung ends; None is the trial's last.
        """
        with self._reading() as store:
            return {row["number"]: (row["until"], row["seconds"]) for row in store.running()}

    def best(self, most: int | None = None) -> list[int]:
        """Returns the numbers of at most `most` trials with a score, the best first; None returns all."""
        with self._reading() as store:
            return store.best(self.definition.direction, most)

    def elapsed(self) -> float:
        """Returns how many seconds the study has run, in all."""
        with self._reading() as store:
            return store.get("elapsed", 0.0)

    @contextlib.contextmanager
    def _reading(self):
        if self._store is not None:
            yield self._store
            return
        with contextlib.closing(Store(self.path / STATE)) as store:
            yield store

    def _trial(self, row, held):
        """Returns the `Trial` of a row; `held` says whether a living process runs the study."""
        if row["status"] == RUNNING and row["begun"] and not held:
            row = {**row, "status": PAUSED}
        return Trial(
            number=row["number"],
            values=from_json(json.loads(row["values"])),
            path=self.run_path(row["number"]) if row["begun"] else None,
            **{name: row[name] for name in _COLUMNS},
        )
