"""`Process`: a function that runs in a process of its own, and talks to the study through a pipe.

On a CPU, processes are forked from a server that has imported Keras already (0.02 s each). Beside a GPU they start
without it, because GPU drivers do not survive a fork. A process dies with its study, and its output goes to a log.
"""

import contextlib
import errno
import faulthandler
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from zoo.errors import InputError, RunError

_PRELOADED = (
    *("keras", "tensorflow", "tensorflow_datasets"),
    *("zoo.layers", "zoo.serving.exporting", "zoo.tuning.workers.trial"),
)
"""Modules that the server imports before processes are forked from it."""


class Process:
    """A process that runs `function(job, connection)` and sends what it returns.

    Args:
        function: a function at the top of a module, so that another process can import it.
        job: its first argument; it must be picklable.
        log: the file to which the process's output is appended.
        gpus: the ids of the GPUs that it sees; None are those of this process.
        cores: the processor cores that it may use; None are all.

    Attributes:
        connection: this end of the pipe, for `multiprocessing.connection.wait`.
        waits: whether it has not started for lack of a machine.
    """

    connection: Connection
    waits: bool = False

    def __init__(
        self,
        function: Callable[[Any, Connection], tuple],
        job: Any,
        log: str | os.PathLike,
        gpus: Sequence[str] | None = None,
        cores: Sequence[int] | None = None,
    ):
        context = _context()
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_begin, args=(function, job, theirs, str(log), cores), daemon=True)
        self._deaths = _out_of_memory_deaths()
        visible = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
        with _without_main(), _environment(visible), _errors_to(log):
            self._process.start()
        theirs.close()  # else its end would never be seen

    def hear(self) -> tuple:
        """Waits for the next message and returns it; raises EOFError if the process has died."""
        try:
            return self.connection.recv()
        except ConnectionResetError:
            raise EOFError from None

    def answer(self, value: Any) -> None:
        """Sends a value to the process."""
        with contextlib.suppress(BrokenPipeError):  # it died, and `hear` says so
            self.connection.send(value)

    def end(self) -> int:
        """Waits until the process has ended; returns its exit code, or minus the signal that killed it."""
        self._process.join()
        self.connection.close()
        return self._process.exitcode

    def kill(self) -> int:
        """Kills the process and returns what `end` does."""
        self._process.kill()
        return self.end()

    def died_of_memory(self) -> bool:
        """Whether the kernel has killed some process for lack of memory since this one started."""
        return _out_of_memory_deaths() > self._deaths


def gpus() -> list[str]:
    """Returns the ids of the GPUs of this machine that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    return [str(number) for number, _ in enumerate(pathlib.Path("/dev").glob("nvidia[0-9]*"))]


def cores() -> list[int]:
    """Returns the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _context():
    if gpus():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


@contextlib.contextmanager
def _without_main():
    """Hides `__main__`, which multiprocessing would import in the new process: an unguarded script would tune again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _environment(changes):
    """Sets environment variables, and restores them on exit."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _errors_to(path):
    """Redirects standard error to a file: TensorFlow's libraries write there while they are loaded."""
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with open(path, "ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _out_of_memory_deaths():
    """Returns how many processes the kernel of this machine has killed for lack of memory; 0 if it does not say."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


# In the new process -------------------------------------------------------------------------------------------


def _begin(function, job, connection, log, cores):
    os.setpgid(0, 0)  # Ctrl-C is for the study
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    try:
        answer = function(job, connection)
    except InputError as error:
        answer = ("refused", str(error))
    except BaseException as error:
        traceback.print_exc()
        answer = ("full" if _is_full(error) else "failed", _reason(error))
    connection.send(answer)


def _die_with_parent():
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGKILL)


def _is_full(error):
    """Whether the disk is full, which is not the trial's fault."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def _reason(error):
    """Returns one line on why a trial failed."""
    if isinstance(error, RunError) and isinstance(error.__cause__, RunError):
        error = error.__cause__  # without where the run is
    text = next(iter(str(error).splitlines()), "")
    memory = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
    if type(error).__name__ in memory or "RESOURCE_EXHAUSTED" in str(error) or "bad_alloc" in str(error):
        return f"out of memory: {text or type(error).__name__}"
    return text if isinstance(error, RunError) else f"{type(error).__name__}: {text}"
