"""Files that are whole or not there, and locks that die with their process."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib

from zoo.errors import RunError


def write(path, data):
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


def write_json(path, value):
    write(path, json.dumps(value, indent=1) + "\n")


def sync(folder):
    """Flushes a folder's entries to the disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path):
    """The SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path, *, wait=True):
    """Holds the lock file `path`; without `wait`, a lock that somebody holds raises BlockingIOError.

    The kernel drops the lock with its process: a dead process locks nothing.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
