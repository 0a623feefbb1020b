"""The folders of checkpoints in a run: which are whole, and how they are removed."""

import contextlib
import json
import os
import pathlib
import re
import shutil

from zoo import files

_NAME = re.compile(r"\d{6,}")
_OURS = re.compile(r"(\.old\.)?\d{6,}(\.\d+)?|\.\d{6,}\.\d+")


def names(folder: pathlib.Path) -> list[str]:
    """Returns the names of the checkpoints in a folder, the newest first; what else lies there is not one."""
    found = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted((name for name in found if _NAME.fullmatch(name)), key=int, reverse=True)


def is_ours(name: str) -> bool:
    """Returns whether a name is that of a checkpoint, of one that is being written, or of one that is being removed."""
    return _OURS.fullmatch(name) is not None


def drop_checkpoints(path: str | os.PathLike[str]) -> None:
    """Removes every checkpoint of the run in the folder `path`; what else lies among them stays."""
    folder = pathlib.Path(path, "checkpoints")
    if not folder.is_dir():
        return
    for old in folder.iterdir():
        if is_ours(old.name):
            drop(old)
    with contextlib.suppress(OSError):  # something else is in it
        folder.rmdir()


def drop(folder: pathlib.Path) -> None:
    """Removes a checkpoint so that a kill on the way leaves no half of it under its name."""
    aside = folder
    if not folder.name.startswith(".old."):
        aside = folder.with_name(f".old.{folder.name.lstrip('.')}")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def is_whole(checkpoint: pathlib.Path) -> bool:
    """Returns whether every file of a checkpoint has the hash that was noted when it was written."""
    try:
        hashes = json.loads((checkpoint / "hashes.json").read_text())
        whole = all(files.digest(checkpoint / name) == known for name, known in hashes.items())
        return whole and "state.json" in hashes
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):  # it may say anything
        return False
