"""What all workers of a test run make once."""

import fcntl
import os
import shutil


def once(tmp_path_factory, name, make):
    """A copy of the folder that `make(folder)` fills; the first worker that asks makes it, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    whole, copy = base / f"once-{name}", tmp_path_factory.mktemp(name) / name
    with open(base / f"once-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            half = base / f"half-{name}"
            shutil.rmtree(half, ignore_errors=True)
            make(half)
            half.rename(whole)
    return shutil.copytree(whole, copy)
