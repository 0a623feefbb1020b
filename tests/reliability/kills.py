"""Runs and studies that are killed with `kill -9`, and go on: they end as those that nobody killed.

An episode is one run, or one study, that is killed at moments which a generator draws, in turn before its first
checkpoint is there and between the first and the last, until it has had its share of kills; then it is left to end. The
network is a LeNet on 200 digits, trained with every kind of state that a run can have.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
import time

import numpy as np
from sklearn.datasets import load_digits

import zoo
from tests import warm
from zoo import files

EPOCHS, TRIALS = 6, 2
"""Epochs of a run, and trials of a study."""

FIELDS = {
    "epochs": EPOCHS,
    "filters": (2, 4),
    "hidden": (8, 8),
    "dropout": 0.2,
    "blur": 0.5,
    "ema": 0.9,
    "accumulate": 2,
    "clip_norm": 1.0,
    "patience": EPOCHS - 1,
    "batch_size": 20,
    "jit_compile": False,
}
"""Every kind of state at once: dropout, augmentation, averages, accumulated gradients, early stopping."""

SPACE = {"learning_rate": "1e-3..1e-1:log"}


@dataclasses.dataclass
class Kills:
    """What was done, and what came of it.

    Attributes:
        early: kills before the first checkpoint of a run or a trial was there.
        between: kills between its first checkpoint and its last.
        episodes: runs and studies that were killed, and ended.
        failed: lines of processes that ended with an error after a kill.
        different: episodes that ended otherwise than the whole.
    """

    early: int = 0
    between: int = 0
    episodes: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    different: list[str] = dataclasses.field(default_factory=list)


def digits():
    """Returns 200 digits to train on and 100 to validate, as arrays."""
    found = load_digits()
    images = np.round(found.images[..., None] * 255 / 16).astype("uint8")
    return {"train": (images[:200], found.target[:200]), "validation": (images[200:300], found.target[200:300])}


class Run:
    """An episode of `zoo.train`.

    Args:
        folder: where the run goes.
    """

    victims = ("process",)
    trials = 1

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.log = self.folder.with_name(f"{self.folder.name}.log")
        self.process = None

    def start(self):
        """Starts the process, or one that goes on."""
        call = f"zoo.train('lenet', dataset=digits(), directory={str(self.folder)!r}, quiet=True, **FIELDS)"
        self._start(call)

    def _start(self, call):
        code = (
            f"import os; os.dup2(os.open({str(self.log)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2); "
            f"import zoo; from tests.reliability.kills import FIELDS, SPACE, TRIALS, digits; {call}"
        )
        root = str(pathlib.Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))  # a trial's process has no other
        self.process = warm.start([sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONPATH": path})

    def run(self, trial):
        """Returns the folder of a run."""
        return self.folder

    def failed(self):
        """Returns a line on how the process failed."""
        lines = self.log.read_text(errors="replace").strip().splitlines() or [""]
        return f"{self.folder.name} ended with status {self.process.returncode}: {lines[-1]}"

    def kill(self, victim, trial):
        """Kills a process; returns whether there was one to kill."""
        if self.process.poll() is not None:
            return False
        self.process.kill()
        self.process.wait()
        return True

    def end(self):
        """Returns what must be the same of episodes that are the same."""
        run = zoo.Run.open(self.folder)
        last = run.checkpoint()
        hashes = {path.name: files.digest(path) for path in last.glob("*.npz")}
        return run.status, hashes, (self.folder / "history.csv").read_text()


class Study(Run):
    """An episode of `zoo.tune`: its own process is a victim, and so is the one that trains a trial."""

    victims = ("worker", "study", "worker", "worker")
    trials = TRIALS

    def start(self):
        self._start(
            "zoo.tune('lenet', space=SPACE, fixed={**FIELDS, 'dataset': digits()}, oracle='random', "
            f"max_trials=TRIALS, directory={str(self.folder)!r}, quiet=True)"
        )

    def run(self, trial):
        return self.folder / "trials" / f"{trial:04d}"

    def kill(self, victim, trial):
        if victim == "study":
            return super().kill(victim, trial)
        lock = self.run(trial) / "run.lock"
        if not files.is_locked(lock) or not (text := lock.read_text()):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(text), signal.SIGKILL)
            return True
        return False

    def end(self):
        study = zoo.Study.open(self.folder)
        board = [(one.number, one.values, one.status, one.score, one.epoch, one.epochs) for one in study.trials]
        return board, [Run(one.path).end() for one in study.trials if (one.path / "checkpoints").exists()]


def saved(run):
    """Returns how many epochs the newest checkpoint of a run has, 0 where there is none."""
    return max((int(path.name) for path in run.glob("checkpoints/[0-9]*") if path.name.isdigit()), default=0)


class Killer:
    """Kills episodes of a kind, and compares each with the whole, which it makes first.

    Args:
        kind: `Run` or `Study`.
        home: a folder to work in, which is made.
        seed: of the moments.
    """

    def __init__(self, kind, home, seed=0):
        self.kind, self.home = kind, pathlib.Path(home)
        self.home.mkdir(parents=True)
        self._rng = np.random.default_rng(seed)
        self._number = 0
        one = kind(self.home / "whole")
        one.start()
        begun = time.monotonic()
        self._until(one, lambda: saved(one.run(0)))
        first = time.monotonic()
        self._until(one, lambda: saved(one.run(0)) >= EPOCHS)
        self.early, self.between = first - begun, time.monotonic() - first
        if one.process.wait():
            raise RuntimeError(one.failed())
        self.whole = one.end()

    def episode(self, kills, most):
        """Kills one episode at most `most` times, and lets it end; notes what was done in a `Kills`."""
        self._number += 1
        one = self.kind(self.home / f"{self._number:04d}")
        one.start()
        for trial in range(one.trials):
            for early in (True, False):
                if most > 0 and one.process.poll() is None:
                    most -= self._kill(kills, one, trial, early)
        if one.process.wait():
            kills.failed.append(one.failed())
        elif one.end() != self.whole:
            kills.different.append(str(one.folder))
        else:
            shutil.rmtree(one.folder)
        kills.episodes += 1

    def _kill(self, kills, one, trial, early):
        """Kills a process of an episode at a moment before the first checkpoint, or between it and the last."""
        victim = self._rng.choice(one.victims)
        run = one.run(trial)
        if early:
            moment = self._rng.uniform(0, self.early)
            if victim == "worker":
                self._until(one, lambda: files.is_locked(run / "run.lock"))
            self._until(one, lambda: saved(run), moment)
        else:
            self._until(one, lambda: saved(run))
            self._until(one, lambda: saved(run) >= EPOCHS - 1, self._rng.uniform(0, self.between))
        killed = one.kill(victim, trial)
        if killed:
            epochs = saved(run)
            kills.early += epochs == 0
            kills.between += 0 < epochs < EPOCHS
        if victim != "worker" and killed:
            one.start()
        return killed

    @staticmethod
    def _until(one, condition, seconds=float("inf")):
        """Waits until a condition holds, the process has ended, or seconds are over."""
        deadline = time.monotonic() + seconds
        while one.process.poll() is None and not condition() and time.monotonic() < deadline:
            time.sleep(0.005)
