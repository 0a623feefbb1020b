"""Trials in processes of their own.

On a CPU they are forked from a server that has imported Keras (0.02 s); beside a GPU, whose drivers bear no fork, they
are started afresh. A process dies with the study's, and what it prints goes to the trial's log.
"""

import contextlib
import dataclasses
import errno
import faulthandler
import json
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import traceback
import types
import warnings

import keras
import numpy as np

from zoo import files, registry, training
from zoo.base.recipe import Recipe
from zoo.data import open_source, pipeline
from zoo.errors import InputError, RunError, unknown

_PRELOADED = (
    *("keras", "tensorflow", "tensorflow_datasets"),
    *("zoo.layers", "zoo.serving.exporting", "zoo.tuning.processes"),
)


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process is to train.

    Attributes:
        saved: the recipe, as `registry.saved` writes it.
        data: the folder of arrays that were handed over; None where the recipe names its data.
        data_dir, skip_bad: as for `zoo.train`.
        directory: of the run.
        until: the epoch at which the rung ends; None is the last.
        max_parameters: a larger network is not trained; None is no limit.
        cores: numbers of the processor cores that it may use; None are all.
    """

    saved: dict
    data: str | None = None
    data_dir: str | None = None
    skip_bad: bool = False
    directory: str | None = None
    until: int | None = None
    max_parameters: int | None = None
    cores: tuple | None = None

    @property
    def recipe(self):
        return registry.restored(self.saved, trusted=True)  # the process that asks has loaded it

    def given(self):
        """The data to hand over to `zoo.train`, as its argument."""
        return {} if self.data is None else {"dataset": read_data(self.data)}


class Process:
    """A process that was started to do `function(job, connection)`; `hear` is what it sends, `answer` what it receives.

    Args:
        function: of a module, so that another process can import it.
        log: the file that what it prints is added to.
        gpus: numbers of the GPUs that it may see; None are those of this process.

    Attributes:
        waits: whether it has not begun, for want of a machine.
    """

    waits = False

    def __init__(self, function, job, log, gpus=None):
        context = _context()
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_begin, args=(function, job, theirs, str(log)), daemon=True)
        self._deaths = _out_of_memory_deaths()
        visible = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
        with _without_main(), _environment(visible), _errors_to(log):
            self._process.start()
        theirs.close()  # else its end would never be seen

    def hear(self):
        """The next message; EOFError where it has died."""
        try:
            return self.connection.recv()
        except ConnectionResetError:
            raise EOFError from None

    def answer(self, value):
        with contextlib.suppress(BrokenPipeError):  # it died, and `hear` says so
            self.connection.send(value)

    def end(self):
        """Waits for its end: its exit code, or minus the signal that killed it."""
        self._process.join()
        self.connection.close()
        return self._process.exitcode

    def kill(self):
        self._process.kill()
        return self.end()

    def died_of_memory(self):
        """Whether the kernel has killed something for memory since the process began."""
        return _out_of_memory_deaths() > self._deaths


def gpus():
    """Numbers of the GPUs of this machine that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    return [str(number) for number, _ in enumerate(pathlib.Path("/dev").glob("nvidia[0-9]*"))]


def cores():
    """Numbers of the processor cores that this process may use."""
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
    """Hides `__main__`, which multiprocessing would import in the new process: a script without a guard would tune."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _environment(changes):
    """Environment variables are as given inside."""
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
    """Standard error goes to a file inside: what TensorFlow's libraries write there while they are loaded."""
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
    """How many processes of this machine the kernel has killed for memory; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


# In the process of a trial --------------------------------------------------------------------------------------


def _begin(function, job, connection, log):
    os.setpgid(0, 0)  # Ctrl-C is for the study
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()
    if job.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cores)
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
    """Whether the disk has no room, which is no fault of the trial."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def _reason(error):
    """One line of why a trial failed."""
    if isinstance(error, RunError) and isinstance(error.__cause__, RunError):
        error = error.__cause__  # without where the run is
    text = next(iter(str(error).splitlines()), "")
    memory = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
    if type(error).__name__ in memory or "RESOURCE_EXHAUSTED" in str(error) or "bad_alloc" in str(error):
        return f"out of memory: {text or type(error).__name__}"
    return text if isinstance(error, RunError) else f"{type(error).__name__}: {text}"


class _Reporter(keras.callbacks.Callback):
    """Tells the study each epoch's objective, and stops where it says so."""

    def __init__(self, connection, objective):
        super().__init__()
        self._connection = connection
        self._objective = objective

    def on_epoch_end(self, epoch, logs=None):
        self._connection.send(("epoch", epoch + 1, float(logs[self._objective])))
        if not self._connection.recv():
            self.model.stop_training = True


def train(job, connection):
    """Trains the run of a job, or goes on with it; ("trained",), or why it was not, goes to the study."""
    recipe = job.recipe
    given = job.given()
    lock = pathlib.Path(job.directory, "run.lock")
    if lock.exists():
        with contextlib.suppress(BlockingIOError), files.locked(lock, patience=120):
            pass  # a process whose study was killed takes a moment to die, a node that lost its cluster a minute
    if job.max_parameters is not None:
        size = registry.open_recipe(recipe, given, data_dir=job.data_dir, skip_bad=job.skip_bad)[0]
        size = size.network().count_params()
        if size > job.max_parameters:
            return ("skipped", f"{size:,} parameters, above max_parameters={job.max_parameters:,}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="_Reporter start afresh")
        training.train(
            recipe,
            directory=job.directory,
            until=job.until,
            callbacks=[_Reporter(connection, recipe.monitor)],
            data_dir=job.data_dir,
            skip_bad=job.skip_bad,
            **given,
        )
    return ("trained",)


def describe(job, connection):
    """("found", facts) of a recipe's data and plan, as the study needs them before its first trial."""
    recipe, source = registry.open_recipe(job.recipe, job.given(), data_dir=job.data_dir, skip_bad=job.skip_bad)
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    validation = pipeline.evaluation(source, "validation", preparation, batch_size=recipe.batch_size)
    reported = training.reported(recipe, validation is not None)
    if recipe.monitor not in reported:
        raise unknown("objective", recipe.monitor, reported)
    facts = {
        "direction": training.direction(recipe, recipe.monitor),
        "data": source.name,
        "fingerprint": source.fingerprint,
    }
    return ("found", facts)


# Data that were handed over in memory ---------------------------------------------------------------------------


def write_data(folder, data):
    """Writes {split: (x, y)} of arrays or lists of texts, or one such pair, into a folder; a file a part."""
    source = open_source(data)
    if source.ready:
        raise InputError(
            "A tf.data.Dataset cannot be handed to other processes: give arrays or a name, "
            "or tune zoo.hypermodel(...) by hand."
        )
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    splits = data if isinstance(data, dict) else {"train": data}
    for split, pair in splits.items():
        texts = any(isinstance(value, str) for values in pair if isinstance(values, list) for value in values)
        for part, values in zip("xy", pair, strict=True):
            if texts:
                plain = [value if isinstance(value, str) else np.asarray(value).tolist() for value in values]
                (folder / f"{split}_{part}.json").write_text(json.dumps(plain))
            else:
                np.save(folder / f"{split}_{part}.npy", np.asarray(values), allow_pickle=False)
    return source


def read_data(folder):
    """{split: (x, y)} of what `write_data` wrote."""
    parts = {}
    for path in sorted(pathlib.Path(folder).iterdir()):
        split, _, part = path.stem.partition("_")
        values = json.loads(path.read_text()) if path.suffix == ".json" else np.load(path, allow_pickle=False)
        parts.setdefault(split, {})[part] = values
    return {split: (pair["x"], pair["y"]) for split, pair in parts.items()}


def refuse_unimportable(recipe):
    """Raises where no other process could import the class of a recipe."""
    if not isinstance(recipe, Recipe):
        raise InputError(f"zoo.tune takes a recipe's name or a recipe. Received: {type(recipe).__name__}.")
    reference = registry.reference(recipe)
    if reference.startswith("__main__:") or "<locals>" in reference:
        raise InputError(
            f"The recipe {type(recipe).__name__} was defined in a script, a notebook or a function, and no other "
            "process can import it: move it into a .py file, or tune zoo.hypermodel(...) by hand."
        )
