"""Files that are whole or not there, and locks that die with their process."""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import pathlib
import re
import time
from collections.abc import Collection, Iterator

from zoo.errors import RunError


def write(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Writes text or bytes to `path` whole: under a temporary name, flushed to the disk, then renamed into place."""
    path = pathlib.Path(path)
    if isinstance(data, str):
        data = data.encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise RunError(f"{path} could not be written: {error.strerror}.") from error
        raise
    sync(path.parent)


def is_leftover(name: str, of: Collection[str]) -> bool:
    """Returns whether a file called `name` is what a killed `write` leaves beside a file called one of `of`."""
    found = re.fullmatch(r"\.(.+)\.\d+", name)
    return found is not None and found[1] in of


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Writes `value` to `path` as JSON, whole."""
    write(path, json.dumps(value, indent=1) + "\n")


def sync(folder: str | os.PathLike[str]) -> None:
    """Flushes a folder's entries to the disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], *, patience: float = math.inf) -> Iterator[None]:
    """Holds the lock file `path`; one that somebody else holds for `patience` seconds more raises BlockingIOError.

    The kernel drops the lock with its process: a dead process locks nothing. Whoever only asks (`is_locked`) holds it
    for a moment, so a little patience is due.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if patience == math.inf else fcntl.LOCK_NB))
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.02)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Returns whether a living process holds the lock file `path`."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
