"""Which code a run or a study may name and have run, when all that is known of it is its folder.

A folder may come from anybody, and it names the class of its recipe: a file, or a module. Recipes of this package and
of installed packages may always be loaded, and so may classes that this process has imported already. Any other code
runs only at the user's word, or where the same user has trained it on this machine before: its reference then stands
in a file outside of every run, `keras-zoo/trusted` in the user's state folder (XDG_STATE_HOME, else ~/.local/state).
"""

import contextlib
import os
import pathlib


def remember(reference: str) -> None:
    """Notes that the user has run the code of `reference` on this machine; without a state folder, nothing happens."""
    path = _path()
    if path is None or "\n" in reference or remembered(reference):
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{reference}\n")


def remembered(reference: str) -> bool:
    """Returns whether the user has run the code of `reference` on this machine."""
    path = _path()
    try:
        return path is not None and reference in path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False


def _path() -> pathlib.Path | None:
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return pathlib.Path(state or pathlib.Path.home() / ".local" / "state", "keras-zoo", "trusted")
    except RuntimeError:  # this user has no home
        return None
