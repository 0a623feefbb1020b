"""The folders of checkpoints in a run: which are whole, and how they are removed."""

import contextlib
import json
import os
import pathlib
import re
import shutil

from zoo import files

NAME = re.compile(r"(\.old\.)?\d{6}(\.\d+)?|\.\d{6}\.\d+")
"""Names of checkpoints, and of those that were not yet renamed into place or not yet quite removed."""


def drop_checkpoints(path: str | os.PathLike[str]) -> None:
    """Removes every checkpoint of the run in the folder `path`; what else lies among them stays."""
    folder = pathlib.Path(path, "checkpoints")
    if not folder.is_dir():
        return
    for old in folder.iterdir():
        if NAME.fullmatch(old.name):
            drop(old)
    with contextlib.suppress(OSError):  # something else is in it
        folder.rmdir()


def drop(folder: pathlib.Path) -> None:
    """Removes a checkpoint so that a kill on the way leaves no half of it under its name."""
    aside = folder.with_name(f".old.{folder.name.lstrip('.')}")
    if folder.name.startswith(".old."):
        aside = folder
    else:
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def is_whole(checkpoint: pathlib.Path) -> bool:
    """Returns whether every file of a checkpoint has the hash that was noted when it was written."""
    try:
        hashes = json.loads((checkpoint / "hashes.json").read_text())
        return all(files.digest(checkpoint / name) == known for name, known in hashes.items())
    except (OSError, ValueError):
        return False
