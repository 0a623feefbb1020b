"""`Loop`: runs the trials of a study until its budget is spent."""

import dataclasses
import numbers
import pathlib
import signal
import time
from typing import Any

from zoo import registry
from zoo.errors import InputError, Interrupted, RunError, check_whole
from zoo.runs import Run
from zoo.tuning.keeping import Keeper
from zoo.tuning.ledger import Ledger
from zoo.tuning.pruning import best
from zoo.tuning.report.live import Table
from zoo.tuning.trial import COMPLETED, FAILED, PRUNED, SKIPPED, UNSCORED, WAIT
from zoo.tuning.workers.engines import Engine, Worker
from zoo.tuning.workers.trial import Job

KILLS = 5
"""How often in a row, without an epoch finished between, a trial may be killed from outside before it has failed."""

BAD = 50
"""How many trials in a row may fail or be skipped before a study ends."""

_FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
"""Signals that a process gets for what it did itself."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a study may spend in all; None is no limit.

    Attributes:
        max_trials: how many trials there may be, without those skipped.
        max_time, max_trial_time: how many seconds the study, and each trial, may take.
        max_epochs_total: how many epochs all trials together may train.
    """

    max_trials: int | None = None
    max_time: float | None = None
    max_trial_time: float | None = None
    max_epochs_total: int | None = None

    def __post_init__(self):
        for name in ("max_trials", "max_epochs_total"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_whole(name, value, 1))
        for name in ("max_time", "max_trial_time"):
            value = getattr(self, name)
            number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if value is not None and not (number and value > 0):
                raise InputError(f"{name} must be seconds above 0. Received: {name}={value!r}.")

    @property
    def ends(self) -> bool:
        """Whether a study with this budget ends even if its oracle always has one more trial."""
        return not (self.max_trials is self.max_time is self.max_epochs_total is None)


class _Curves(dict):
    """{number of a trial: {epoch: value}}, with how many epochs there are in all."""

    def __init__(self):
        super().__init__()
        self.epochs = 0

    def __setitem__(self, number, curve):
        self.epochs += len(curve) - len(self.get(number, ()))
        super().__setitem__(number, curve)

    def add(self, number, epoch, value):
        """Adds an epoch to the curve of a trial."""
        curve = self[number]
        self.epochs += epoch not in curve
        curve[epoch] = value


@dataclasses.dataclass
class _Live:
    """A trial that a process runs.

    Attributes:
        until: the epoch at which its rung ends, or None.
        epochs: how many epochs its whole run has.
        slot: the engine's slot in which it runs.
        before: how many seconds it ran in earlier processes.
        since: when this process began.
        kills: how often in a row it was killed from outside without finishing an epoch.
        stop: why it was told to stop: ("pruned", reason) or ("paused", None); None where it was not.
        process: what the engine started.
    """

    number: int
    values: dict[str, Any]
    until: int | None
    epochs: int
    slot: Any
    before: float
    since: float
    kills: int = 0
    stop: tuple[str, str | None] | None = None
    process: Worker | None = None

    @property
    def seconds(self) -> float:
        """How long the trial has run."""
        return self.before + time.monotonic() - self.since


class Loop:
    """Runs the trials of a study until its budget is spent.

    Args:
        ledger: the study's ledger, held for writing.
        budget: what may be spent.
        engine: where trials run.
        table: shows what happens.
        keeper: removes weights.
        data_dir, skip_bad: as for `zoo.train`.
    """

    def __init__(
        self,
        ledger: Ledger,
        budget: Budget,
        engine: Engine,
        table: Table,
        keeper: Keeper,
        data_dir: str | pathlib.Path | None,
        skip_bad: bool,
    ):
        self._ledger = ledger
        self._budget = budget
        self._engine = engine
        self._free = list(engine.slots)
        self._keeper = keeper
        self._data_dir, self._skip_bad = data_dir, skip_bad
        self._data = str(ledger.path / "data") if (ledger.path / "data").is_dir() else None
        self._table = table
        self._live = {}
        self._curves = _Curves()
        for trial in ledger.trials():
            self._curves[trial.number] = ledger.curve(trial.number)
        self._left = list(ledger.running())  # by a process that died or was paused
        self._before, self._since, self._noted = ledger.elapsed(), time.monotonic(), 0.0
        self._bad = 0
        self._end = None

    def run(self) -> None:
        """Runs trials until the budget is spent, or there are no more.

        Raises: `RunError` where no trial has a score, `Interrupted` (Ctrl-C, SIGTERM, SIGHUP).
        """
        (self._ledger.path / "trials").mkdir(exist_ok=True)
        self._keeper.drop()
        try:
            while True:
                self._fill()
                if not self._live:
                    break
                self._table.show(self._live.values(), self._curves, self._remaining())
                ready = self._engine.wait([one.process for one in self._live.values()], timeout=1)
                for one in [one for one in self._live.values() if one.process in ready]:
                    self._hear(one)
                if self._elapsed() - self._noted > 5:
                    self._note()
                if self._spent():
                    self._withdraw()
        except KeyboardInterrupt as error:
            self._stop()
            raise Interrupted(
                f"Stopped; every finished epoch is kept. To go on: the same command, on {self._ledger.path}", by=error
            ) from None
        except BaseException:
            self._stop()
            raise
        self._note()
        self._keeper.drop()
        self._table.end(self._end)
        if not self._ledger.best(1):
            reasons = [trial.reason for trial in self._ledger.trials() if trial.reason]
            why = f" The last: {reasons[-1]}" if reasons else ""
            raise RunError(f"No trial of {self._ledger.path} has a score: {self._end}.{why}")

    def _stop(self):
        for one in self._live.values():
            one.process.kill()
        self._note()

    # Starting -------------------------------------------------------------------------------------------------------

    def _fill(self):
        """Starts trials in the free slots, first those that an earlier process left."""
        while self._free:
            if (spent := self._spent()) is not None:
                self._end = spent
                return
            if self._left:
                self._start(self._left.pop(0))
                continue
            if self._bad >= BAD:
                self._end = f"{BAD} trials in a row failed or were skipped"
                return
            number = self._ledger.propose(self._budget.max_trials)
            if not isinstance(number, int):
                self._end = None if number == WAIT else number
                return
            self._start(number)

    def _start(self, number, kills=0):
        """Starts the process of a trial, unless the epochs that it has finished show that it is over."""
        trial = self._ledger.trial(number)
        recipe = self._ledger.recipe(trial)
        until, seconds = self._ledger.running()[number]
        self._curves[number] = self._ledger.curve(number)
        slot = self._free.pop(0)
        live = _Live(number, trial.values, until, recipe.epochs, slot, seconds, time.monotonic(), kills)
        done = max(self._curves[number], default=0)
        if 0 < done < (until or recipe.epochs):
            reason = self._ledger.verdict(number, self._curves, done)
            if reason is not None:  # a kill came before this was noted
                live.stop = (PRUNED, reason)
                self._ended(live)
                return
        job = Job(
            registry.saved(recipe),
            data=self._data,
            data_dir=self._data_dir,
            skip_bad=self._skip_bad,
            directory=str(self._ledger.run_path(number)),
            until=until,
            max_parameters=self._ledger.definition.max_parameters,
        )
        self._ledger.begin(number)
        self._keeper.add(number)
        log = self._ledger.path / "trials" / f"{number:04d}.log"
        live.process = self._engine.start(job, log, slot)
        self._live[number] = live

    def _withdraw(self):
        """Takes back the trials that nobody has begun yet: a study is not to wait for them past its budget."""
        for live in [live for live in self._live.values() if live.process.waits]:
            live.process.kill()
            self._leave(live)

    # Hearing --------------------------------------------------------------------------------------------------------

    def _hear(self, live):
        try:
            kind, *what = live.process.hear()
        except EOFError:
            self._died(live)
            return
        if kind == "began":  # on another machine, when that had room
            live.since = time.monotonic()
            self._ledger.begin(live.number, *what)
            return
        if kind == "epoch":
            epoch, value = what
            live.kills = 0
            self._curves.add(live.number, epoch, value)
            live.stop = live.stop or self._verdict(live, epoch)
            live.process.answer(live.stop is None)
            return
        live.process.end()
        if kind == "full":
            del self._live[live.number]
            raise RunError(f"Trial {live.number} is left as it is: {what[0]} The same command then goes on.")
        if kind == "trained":
            self._ended(live)
        else:
            status = SKIPPED if kind in ("skipped", "refused") else FAILED
            self._finish(live, status, reason=what[0])

    def _verdict(self, live, epoch):
        """Returns why a trial is to stop after `epoch`: ("pruned", reason) or ("paused", None); None if it goes on."""
        if epoch >= (live.until or live.epochs):
            return None
        reason = self._ledger.verdict(live.number, self._curves, epoch)
        if reason is not None:
            return (PRUNED, reason)
        limit = self._budget.max_trial_time
        if limit is not None and live.seconds >= limit:
            return (PRUNED, f"max_trial_time={limit:g} s was over after {epoch} of {live.epochs} epochs")
        return ("paused", None) if self._spent() else None

    def _died(self, live):
        """Judges a trial whose process has died: it has failed, or it is started again."""
        memory = live.process.died_of_memory()
        code = live.process.end()
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        if -code == signal.SIGKILL and memory:
            self._finish(live, FAILED, reason="out of memory: the kernel killed it")
        elif code >= 0 or -code in _FAULTS:
            self._finish(live, FAILED, reason=f"its process ended by {name}")
        elif live.kills + 1 >= KILLS:
            self._finish(live, FAILED, reason=f"killed by {name} {KILLS} times in a row with no epoch finished")
        else:
            self._note()
            self._free.insert(0, live.slot)
            del self._live[live.number]
            if not self._spent():
                self._start(live.number, live.kills + 1)

    def _ended(self, live):
        """Ends a trial that was trained as far as it was to be; its run's folder says what it reached."""
        curve = self._curves[live.number] = self._ledger.curve(live.number)
        score, epoch = best(curve, self._ledger.definition.direction, live.until)
        told = {"score": score, "epoch": epoch, "epochs": len(curve)}
        if Run.open(self._ledger.run_path(live.number)).facts["status"] in ("done", "stopped_early"):
            self._finish(live, COMPLETED, **told)
        elif live.stop is not None and live.stop[0] == "paused":
            self._ledger.note(self._elapsed(), {live.number: (live.seconds, len(curve))})
            self._leave(live)
        elif live.stop is not None:
            self._finish(live, PRUNED, reason=live.stop[1], **told)
        else:
            self._finish(live, PRUNED, reason=f"stopped at the rung of {live.until} epochs", **told)

    def _finish(self, live, status, **told):
        told.setdefault("epochs", len(self._curves[live.number]))
        self._ledger.note(self._elapsed(), {live.number: (live.seconds, told["epochs"])})
        self._ledger.end(live.number, status, **told)
        self._bad = self._bad + 1 if status in UNSCORED else 0
        self._keeper.drop()
        self._leave(live)
        self._table.ended(self._ledger.trial(live.number))

    def _leave(self, live):
        self._live.pop(live.number, None)
        self._free.append(live.slot)

    # Budgets --------------------------------------------------------------------------------------------------------

    def _spent(self):
        """Returns which budget is spent, or None."""
        if self._budget.max_epochs_total is not None and self._curves.epochs >= self._budget.max_epochs_total:
            return f"max_epochs_total={self._budget.max_epochs_total} is reached"
        if self._budget.max_time is not None and self._elapsed() >= self._budget.max_time:
            return f"max_time={self._budget.max_time:g} s is over"
        return None

    def _elapsed(self):
        return self._before + time.monotonic() - self._since

    def _remaining(self):
        """Returns how many seconds the study may still take, or None."""
        return None if self._budget.max_time is None else max(self._budget.max_time - self._elapsed(), 0.0)

    def _note(self):
        self._noted = self._elapsed()
        begun = [one for one in self._live.values() if not one.process.waits]
        running = {one.number: (one.seconds, len(self._curves[one.number])) for one in begun}
        self._ledger.note(self._noted, running)
