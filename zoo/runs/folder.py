"""What the folders of runs and of studies have in common: how one is opened, judged, locked, named and begun."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from zoo import files
from zoo.errors import InputError


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


_HINTS = {
    "run": "zoo runs finds the studies below a folder.",
    "study": "Its best run is in the folder zoo.Study.open({path!r}).best_run().",
}
"""{noun of a kind of folder: what is said where a folder of another kind was asked for}."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of folder that a JSON file makes what it is.

    Attributes:
        noun: how errors call it: "run" or "study".
        verb: the verb of the command line that makes one.
        home: the folder in which one lies that was given no directory.
        schema: the newest version of the JSON file that this package reads.
        needs: keys that the JSON file must have; a dotted key lies in a mapping in it.
        written: names of files that are written before the JSON file, which comes last.
        empty: names of folders that are made before it, and stay empty until it is there.
        filled: names of folders that are made and filled before it.
    """

    noun: str
    verb: str
    home: str
    schema: int
    needs: tuple[str, ...]
    written: tuple[str, ...]
    empty: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The name of the JSON file."""
        return f"{self.noun}.json"

    def exists(self, path: str | os.PathLike[str]) -> bool:
        """Returns whether the JSON file is in the folder `path`."""
        return os.path.exists(os.path.join(path, self.file))

    def path(self, given: object) -> pathlib.Path:
        """Returns the folder that `given` names; an `InputError` where it is no name of a folder."""
        if isinstance(given, (str, os.PathLike)) and isinstance(os.fspath(given), str):
            path = pathlib.Path(given)
            with contextlib.suppress(OSError):  # a name that no file system takes
                path.exists()
                return path
            raise InputError(f"There is no {self.noun} in {str(path)[:40]}...: no folder can have this name.")
        raise InputError(f"A {self.noun} is named by its folder, a text or a pathlib.Path. Received: {given!r:.60}.")

    def read(self, path: pathlib.Path) -> dict[str, Any]:
        """Returns what the JSON file of the folder `path` says, as a mapping.

        Raises: `InputError` where it is missing, damaged, or of a newer schema.
        """
        if not path.is_dir():
            raise InputError(
                f"There is no {self.noun} in {path}: {'it is a file' if path.exists() else 'no such folder'}."
            )
        try:
            facts = json.loads((path / self.file).read_text())
            schema = int(facts["schema"])
            if schema < 1:
                raise ValueError("schema")
            if schema <= self.schema:
                for name in self.needs:
                    found = facts
                    for key in name.split("."):
                        found = found[key]
        except FileNotFoundError:
            for noun, hint in _HINTS.items():
                if noun != self.noun and (path / f"{noun}.json").exists():
                    raise InputError(f"{path} is a {noun}, not a {self.noun}. {hint.format(path=str(path))}") from None
            raise InputError(
                f"{path} is not a {self.noun}: it has no {self.file}. Name the folder that zoo {self.verb} made."
            ) from None
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError) as error:
            raise self.damaged(path, type(error).__name__) from None
        if schema > self.schema:
            raise InputError(
                f"{path} was written by a newer zoo (schema {schema}, this one reads {self.schema}): upgrade."
            )
        if facts.pop("digest", None) not in (None, _digest(facts)):
            changed = f"{path / self.file} is not as zoo wrote it"
            warnings.warn(f"{changed}: it was edited or damaged, and may hold wrong values.", stacklevel=3)
        return facts

    def write(self, path: pathlib.Path, facts: Mapping[str, Any]) -> None:
        """Writes the JSON file of the folder `path`, with a digest by which `read` knows that it is unchanged."""
        files.write_json(path / self.file, {**facts, "digest": _digest(facts)})

    def damaged(self, path: pathlib.Path, why: str) -> InputError:
        """Returns the `InputError` for a JSON file that does not say what it must."""
        return InputError(
            f"{path / self.file} cannot be read, it is half-written or damaged ({why}): "
            f"{self.verb} again in another --directory."
        )

    def refuse_foreign(self, path: pathlib.Path) -> None:
        """Raises where `path` is there and is neither one of these nor the bare beginning of one."""
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file, not a folder. Name another --directory.")
        if path.exists() and not self.exists(path) and not self.only_begun(path):
            raise InputError(f"{path} exists and is not a {self.noun}. Name another --directory.")

    def only_begun(self, path: str | os.PathLike[str]) -> bool:
        """Returns whether a folder holds nothing but what a process left that was killed while it made one of these.

        The lock comes first, so everything else in the folder is ours only beside it.
        """
        entries = {entry.name: entry for entry in pathlib.Path(path).iterdir()}
        if not entries:
            return True
        lock = entries.pop(f"{self.noun}.lock", None)
        if lock is None or not lock.is_file() or lock.stat().st_size > 20 or not re.fullmatch(r"\d*", lock.read_text()):
            return False
        for name, entry in entries.items():
            if entry.is_file():
                ours = name in self.written or self.is_leftover(name)
            else:
                ours = name in self.filled or (name in self.empty and not any(entry.iterdir()))
            if not ours:
                return False
        return True

    def is_leftover(self, name: str) -> bool:
        """Whether a file is what a kill left of writing one of ours, under the name it had until it was whole."""
        return files.is_leftover(name, (self.file, *self.written))

    @contextlib.contextmanager
    def locked(self, path: pathlib.Path, doing: str) -> Iterator[None]:
        """Holds the folder `path` for this process, and makes it.

        Args:
            doing: what another process that holds it does, for the `InputError`: "being trained".
        """
        lock = path / f"{self.noun}.lock"
        try:
            with files.locked(lock, patience=1):
                yield
        except BlockingIOError:
            raise InputError(f"{path} is {doing} by another process ({lock.read_text() or '?'}).") from None

    def held(self, path: pathlib.Path) -> bool:
        """Whether a living process holds the folder `path`."""
        return files.is_locked(path / f"{self.noun}.lock")

    def default(self, name: str, variant: str | None, digest: str) -> pathlib.Path:
        """The folder of one that was given none: `runs/lenet-modern-0123abcd`."""
        return pathlib.Path(self.home, "-".join(part for part in (pathlib.Path(name).stem, variant, digest) if part))
