"""Files that are whole or not there, locks that die with their process, and whether files may be fetched."""

import atexit
import contextlib
import fcntl
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Collection, Iterator

from zoo.errors import RunError


def offline() -> bool:
    """Returns whether ZOO_OFFLINE forbids every connection: any value but the empty one and 0."""
    return os.environ.get("ZOO_OFFLINE", "") not in ("", "0")


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


@contextlib.contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Gives this process, and those that it starts, a temporary folder that a kill does not leave behind for ever.

    The folder is removed at the end; what was left by processes that were killed, when the next one begins. Each has a
    lock file that dies with its process. Where the path would be too long for the sockets of `multiprocessing`, or the
    home of these folders is not this user's, the temporary folder stays the common one.
    """
    home = pathlib.Path(tempfile.gettempdir(), f"zoo-{os.getuid()}")
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        ours = home.lstat()
        usable = stat.S_ISDIR(ours.st_mode) and ours.st_uid == os.getuid() and len(str(home)) <= _SHORT
    except OSError:
        usable = False
    if not usable:
        yield
        return
    for lock in home.glob("*.lock"):
        with contextlib.suppress(OSError):  # another process removes it too
            if time.time() - lock.stat().st_mtime > _YOUNG and not is_locked(lock):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink()
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    handle, name = tempfile.mkstemp(".lock", "", home)
    lock, folder = pathlib.Path(name), pathlib.Path(name).with_suffix("")

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(handle)

    # multiprocessing removes folders of its own in it when the process ends: what was registered before it comes later
    later = "multiprocessing.util" not in sys.modules
    if later:
        atexit.register(remove)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        folder.mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        yield
    finally:
        tempfile.tempdir = before[0]
        os.environ.pop("TMPDIR")
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]
        if not later:
            remove()


_SHORT, _YOUNG = 40, 60
"""Characters of the home of temporary folders at most; seconds in which a new lock file may not be locked yet."""


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
