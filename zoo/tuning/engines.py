"""Where trials run: on this machine (`Local`), or on the nodes of a cluster (`zoo.tuning.ray_engine.Ray`).

An engine has `slots`, one for each trial that may run at once. `start(job, log, slot)` starts a trial's process for a
slot: a `processes.Process`, or what has its methods. `wait(running, timeout)` are those that have something to say.
"""

import dataclasses
import warnings
from multiprocessing import connection

from zoo.errors import InputError, check_whole, unknown
from zoo.tuning import processes

ENGINES = ("local", "ray")


def opened(engine, address, workers, gpus_per_trial):
    """The engine of that name, to be entered. Arguments as of `zoo.tune`."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    check_whole("workers", workers, 1)
    if gpus_per_trial is not None:
        check_whole("gpus_per_trial", gpus_per_trial, 0)
    if engine == "local":
        if address is not None:
            raise InputError(f"address={address} is of a Ray cluster: give engine=ray with it, or leave it out.")
        return Local(workers, gpus_per_trial)
    from zoo.tuning.ray_engine import Ray

    return Ray(address, workers, gpus_per_trial)


@dataclasses.dataclass(frozen=True)
class _Slot:
    """What one worker has: numbers of cores and of GPUs; None are all."""

    cores: tuple | None
    gpus: tuple | None


class Local:
    """Trials in processes of this machine, which share its cores and its GPUs."""

    def __init__(self, workers, gpus_per_trial):
        self.slots = _slots(workers, gpus_per_trial)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def start(self, job, log, slot):
        return processes.Process(processes.train, dataclasses.replace(job, cores=slot.cores), log, slot.gpus)

    def wait(self, running, timeout):
        ready = connection.wait([one.connection for one in running], timeout)
        return [one for one in running if one.connection in ready]


def _slots(workers, gpus_per_trial):
    """A `_Slot` for each worker."""
    cores, gpus = processes.cores(), processes.gpus()
    if workers > len(cores):
        warnings.warn(f"workers={workers} share {len(cores)} cores: each is slower than one alone.", stacklevel=5)
    if gpus_per_trial is None and workers > 1:
        gpus_per_trial = len(gpus) // workers or None
    if gpus_per_trial is not None and workers * gpus_per_trial > len(gpus):
        raise InputError(
            f"workers={workers} with gpus_per_trial={gpus_per_trial} need {workers * gpus_per_trial} GPUs; "
            f"there are {len(gpus)}. Fewer workers need less."
        )
    each = len(cores) // workers
    return [
        _Slot(
            cores=tuple(cores[index * each : (index + 1) * each]) if workers > 1 and each else None,
            gpus=None if gpus_per_trial is None else tuple(gpus[index * gpus_per_trial :][:gpus_per_trial]),
        )
        for index in range(workers)
    ]
