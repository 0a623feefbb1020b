"""`Ray`: trials on the nodes of a Ray cluster. The oracle, the state and the table stay with the process that tunes.

A `Supervisor`, a Ray actor, starts the process of a trial on its node and passes its messages on. When the trial has
ended, the supervisor takes the next one, so Keras is imported once on each node. When a node dies, its trial counts as
killed and is started again on a node that has room.
"""

import dataclasses
import math
import os
import pathlib
import signal
import socket
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo import files
from zoo.errors import InputError, RunError, install_line

if TYPE_CHECKING:
    from zoo.tuning.workers.trial import Job  # a node imports Keras after `start` has chosen its backend

PATIENCE = 5
"""Seconds within which the head node must accept a connection."""


class Supervisor:
    """Runs trials on a node, one after another: a `Process` whose methods are called from another machine."""

    def node(self) -> str:
        """Returns the name of the machine; its first answer shows that Ray has placed the supervisor."""
        return socket.gethostname()

    def start(
        self, definition: tuple[pathlib.Path, str], folder: str, backend: str, job: "Job", log: pathlib.Path
    ) -> tuple:
        """Starts the process of a trial.

        Args:
            definition: the path of study.json, and its digest, which tell whether the node sees the study.
            folder: where `zoo tune` was started; relative paths of data start there.
            backend: the backend of Keras.
            job, log: as for `Process`.

        Returns: ("began", name of the machine).
        Raises: `InputError` where the node does not see the study.
        """
        path, expected = definition
        if not path.exists() or files.digest(path) != expected:
            where = f"The node {self.node()} does not see the study in {path.parent}"
            raise InputError(f"{where}: name a --directory that all nodes share.")
        if os.path.isdir(folder):
            os.chdir(folder)
        os.environ["KERAS_BACKEND"] = backend
        import ray

        from zoo.tuning.workers import process, trial

        gpus = ray.get_runtime_context().get_accelerator_ids()["GPU"]
        self._process = process.Process(trial.train, job, log, gpus)
        return ("began", self.node())

    def hear(self) -> tuple:
        """Returns the trial's next message, or ("died", exit code, whether the kernel kills for lack of memory)."""
        try:
            return self._process.hear()
        except EOFError:
            memory = self._process.died_of_memory()
            return ("died", self._process.end(), memory)

    def answer(self, value: Any) -> None:
        """Sends a value to the process."""
        self._process.answer(value)

    def end(self) -> None:
        """Waits until the process has ended."""
        self._process.end()


class Ray:
    """The engine of a Ray cluster: each trial requests one CPU and its GPUs, and waits until a node has room.

    Args:
        address: `HOST:PORT` of the head node.
        workers: how many trials run at once.
        gpus_per_trial: how many GPUs each trial sees. None is one, or a share of one if there are fewer GPUs than
            workers.
    """

    slots: list[int]

    def __init__(self, address: str | None, workers: int, gpus_per_trial: int | None):
        self._ray = _connected(address)
        self._address = address
        try:
            self._make = self._supervisors(workers, gpus_per_trial)
        except BaseException:
            self.__exit__()
            raise
        self.slots = list(range(workers))
        self._node = self._ray.get_runtime_context().get_node_id()
        self._running = {}  # a set in the order of the trials' starts
        self._idle = []

    def __enter__(self) -> "Ray":
        return self

    def __exit__(self, *error: Any) -> None:
        self._ray.shutdown()  # the supervisors, and what they run, end with it
        self._ray._private.worker._worker_logs_enabled = True

    def start(self, job: "Job", log: pathlib.Path, slot: int) -> "_Trial":
        """Asks for a supervisor that starts the process of a trial."""
        import keras

        directory = pathlib.Path(job.directory).absolute()
        path = directory.parents[1] / "study.json"
        absolute = {"directory": str(directory)}
        for name in ("data", "data_dir"):
            value = getattr(job, name)
            absolute[name] = None if value is None else os.path.abspath(value)
        job = dataclasses.replace(job, **absolute)
        definition = (path, files.digest(path))
        trial = _Trial(self, (definition, os.getcwd(), keras.backend.backend(), job, log.absolute()))
        self._running[trial] = None
        return trial

    def wait(self, running: Sequence["_Trial"], timeout: float) -> list["_Trial"]:
        """Waits until a trial of `running` has something to say, `timeout` seconds at most, and returns those.

        Raises: `RunError` where the cluster is gone.
        """
        ready, _ = self._ray.wait([one.news for one in running], timeout=timeout)
        if not ready:
            self._check()
        return [one for one in running if one.news in ready]

    def _check(self):
        """Raises `RunError` if the cluster is gone: Ray itself would wait a minute and then end this process."""
        gone = None
        try:
            _reach(self._address)
        except OSError as error:
            gone = f"The head node at address={self._address} does not answer any more ({error})"
        else:
            if not any(node["NodeID"] == self._node and node["Alive"] for node in self._ray.nodes()):
                gone = "The Ray node of this machine has died"
        if gone is not None:
            raise RunError(f"{gone}: ray start it, and the same command then goes on.")

    def supervisor(self) -> Any:
        """Returns the handle of a `Supervisor` that has nothing to do."""
        return self._idle.pop() if self._idle else self._make()

    def ask(self, reference: Any) -> Any:
        """Waits for a supervisor's answer and returns it.

        Raises: EOFError where the supervisor is gone; its argument says whether it ran out of memory.
        """
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise error.cause from None
            said = str(error.cause).strip().splitlines() or [type(error.cause).__name__]
            raise RunError(
                f"A node of the cluster cannot run a trial: {said[-1]} (all need the same keras-zoo)."
            ) from error
        except exceptions.OutOfMemoryError:
            raise EOFError(True) from None
        except exceptions.RayError:
            raise EOFError(False) from None

    def leave(self, trial: "_Trial", supervisor: Any = None) -> None:
        """Forgets a trial; its supervisor goes to the trial that has waited longest for a node, or is kept."""
        self._running.pop(trial, None)
        if supervisor is None:
            return
        for one in self._running:
            if one.waits:
                self.drop(one.replaced(supervisor))
                return
        self._idle.append(supervisor)

    def has(self, reference: Any) -> bool:
        """Whether an answer is there already."""
        return bool(self._ray.wait([reference], timeout=0)[0])

    def drop(self, supervisor: Any) -> None:
        """Kills a supervisor."""
        self._ray.kill(supervisor)

    def _supervisors(self, workers, gpus_per_trial):
        """Returns a function that makes a `Supervisor` on the node that Ray chooses."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = [int(node.get("GPU", 0)) for node in nodes]
        if gpus_per_trial is None:
            gpus_per_trial = 1 / max(1, math.ceil(workers / sum(gpus))) if sum(gpus) else 0
        if gpus_per_trial > max(gpus):
            raise InputError(f"gpus_per_trial={gpus_per_trial}: no node of the cluster has more than {max(gpus)} GPUs.")
        room = 0
        for node, has in zip(nodes, gpus, strict=True):
            cpus = int(node.get("CPU", 0))
            room += min(cpus, int(has / gpus_per_trial)) if gpus_per_trial else cpus
        if room == 0:
            raise InputError(
                "No node of the cluster has a CPU for a trial: ray start --num-cpus=N says how many it has."
            )
        if workers > room:
            warnings.warn(f"workers={workers}: the cluster has room for {room} trials, others wait.", stacklevel=5)
        options = {"num_cpus": 1, "num_gpus": gpus_per_trial, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        return self._ray.remote(Supervisor).options(**options).remote


class _Trial:
    """The process of a trial on some node, with the methods of a `Process`.

    Attributes:
        news: the reference that Ray resolves when the trial has something to say.
    """

    def __init__(self, engine, arguments):
        self._engine = engine
        self._arguments = arguments
        self._code, self._memory = None, False
        self._take(engine.supervisor())

    def _take(self, supervisor):
        self._supervisor = supervisor
        self._placed = supervisor.node.remote()
        self.news = supervisor.start.remote(*self._arguments)

    @property
    def waits(self) -> bool:
        """Whether its supervisor has no node yet."""
        return not self._engine.has(self._placed)

    def replaced(self, supervisor: Any) -> Any:
        """Takes a supervisor that has a node, and returns the one that has none."""
        before = self._supervisor
        self._take(supervisor)
        return before

    def hear(self) -> tuple:
        """Returns the next message; raises EOFError if the process or its node has died."""
        try:
            message = self._engine.ask(self.news)
        except EOFError as error:
            self._code, self._memory = -signal.SIGKILL, error.args[0]
            self._engine.drop(self._supervisor)  # of a node that is out of reach, it ends when that is back
            self._engine.leave(self)
            raise
        if message[0] == "died":
            _, self._code, self._memory = message
            self._engine.leave(self, self._supervisor)
            raise EOFError
        if message[0] == "began":
            self.news = self._supervisor.hear.remote()
        return message

    def answer(self, value: Any) -> None:
        """Sends a value to the process."""
        self._supervisor.answer.remote(value)
        self.news = self._supervisor.hear.remote()

    def end(self) -> int:
        """Returns the exit code, or minus the signal that killed the process."""
        if self._code is None:  # it has said its last
            self._code = 0
            self._supervisor.end.remote()
            self._engine.leave(self, self._supervisor)
        return self._code

    def kill(self) -> None:
        """Kills the supervisor, and the process with it."""
        self._engine.drop(self._supervisor)
        self._engine.leave(self)

    def died_of_memory(self) -> bool:
        """Whether the process was killed for lack of memory."""
        return self._memory


def _reach(address):
    """Raises `OSError` if nothing accepts a connection at `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()


def _connected(address):
    """Returns the module `ray`, connected to the cluster at an address."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise InputError(
            "engine=ray needs address=HOST:PORT of the head node, which `ray start --head` prints. "
            f"Received: address={address!r}."
        )
    try:
        import ray
    except ImportError:
        raise InputError(f"engine=ray needs Ray: {install_line('cluster')}.") from None
    if ray.is_initialized():
        raise InputError("This process is connected to a Ray cluster already: call ray.shutdown() first.")
    try:  # Ray itself would try for minutes
        _reach(address)
    except OSError as error:
        raise InputError(
            f"Nothing answers at address={address} ({error}): is it what `ray start --head` prints?"
        ) from None
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # where something else answers, one try takes 40 s
    ray._private.worker._worker_logs_enabled = False  # log_to_driver=False lets through that a node has died
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise InputError(f"address={address} takes no trials: {said}") from None
    return ray
