"""`zoo.tune`: makes a study, or goes on with one, and runs its trials."""

import contextlib
import dataclasses
import pathlib
import signal
import tempfile
import time

from zoo import registry
from zoo.errors import InputError, Interrupted, RunError, check_whole, unknown
from zoo.runs import Run
from zoo.tuning import engines, processes, spaces
from zoo.tuning.pruning import PRUNERS, best
from zoo.tuning.spaces import Space
from zoo.tuning.study import ORACLES, WAIT, Study, digest
from zoo.tuning.table import Table

KILLS = 5
"""How often in a row, without an epoch finished between, a trial may be killed from outside before it has failed."""

BAD = 50
"""How many trials in a row may fail or be skipped before a study ends."""

_ENDLESS = ("random", "bayesian")
"""Oracles that always have one more trial."""

_FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
"""Signals that a process gets for what it did itself."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a study may spend in all; None is no limit.

    Attributes:
        max_trials: trials, without those skipped.
        max_time, max_trial_time: seconds, of the study and of each trial.
        max_epochs_total: epochs of all trials together.
    """

    max_trials: int | None = None
    max_time: float | None = None
    max_trial_time: float | None = None
    max_epochs_total: int | None = None

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            kinds = int if name in ("max_trials", "max_epochs_total") else int | float
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not value > 0):
                unit = "seconds" if name.endswith("time") else "a whole number"
                raise InputError(f"{name} must be {unit} above 0. Received: {name}={value!r}.")


def tune(
    recipe,
    *,
    space=None,
    fixed=None,
    oracle="bayesian",
    objective=None,
    seed=0,
    pruner=None,
    max_parameters=None,
    max_trials=None,
    max_time=None,
    max_trial_time=None,
    max_epochs_total=None,
    workers=1,
    gpus_per_trial=None,
    engine="local",
    address=None,
    keep=3,
    max_disk=None,
    directory=None,
    data_dir=None,
    skip_bad=False,
    quiet=False,
):
    """Tunes `recipe`: runs trials whose fields an oracle chooses, and returns the `Study`.

    The same call on the same folder goes on where it stopped; budgets and workers may change. With one worker the
    same seed gives the same trials and scores.

    Args:
        recipe: a name such as `lenet/modern`, or a recipe.
        space: {field: range}, such as {"learning_rate": "1e-4..1e-1:log", "norm": ["batch", "group"]}; a single value
            pins its field, and `variant` is the recipe's. None is every field's own range.
        fixed: {field: value}; `dataset` may be data in memory.
        oracle: "random", "grid", "bayesian" or "hyperband".
        objective: what an epoch reports; None is the recipe's `monitor`.
        seed: of the oracle; the trials' own is the field `seed`.
        pruner: "median" or "halving" (asynchronous successive halving) stop trials that do badly; None stops none.
        max_parameters: a larger network is skipped, and not counted.
        max_trials, max_time, max_trial_time, max_epochs_total: as `Budget` has them.
        workers: trials at once; they share the processor's cores.
        gpus_per_trial: each trial sees so many GPUs of its own; None shares them out.
        engine: "local", or "ray": trials run on the nodes of the Ray cluster whose head is at `address`, HOST:PORT.
        keep: how many of the best trials keep their weights, None all; `max_disk`: GB that these may take.
        directory: the study's folder; None is `studies/<recipe>-<variant>-<digest of the definition>`.
        data_dir, skip_bad: as for `zoo.train`.
        quiet: print nothing.
    Raises: `InputError` (nothing is trained), `RunError` where no trial has a score, `Interrupted` (Ctrl-C).
    """
    budget = Budget(max_trials, max_time, max_trial_time, max_epochs_total)
    if keep is not None:
        check_whole("keep", keep, 1)
    if max_disk is not None and (
        isinstance(max_disk, bool) or not isinstance(max_disk, int | float) or not max_disk >= 0
    ):
        raise InputError(f"max_disk must be GB, at least 0. Received: max_disk={max_disk!r}.")
    with engines.opened(engine, address, workers, gpus_per_trial) as trials:
        with defined(
            recipe,
            space=space,
            fixed=fixed,
            oracle=oracle,
            objective=objective,
            seed=seed,
            pruner=pruner,
            max_parameters=max_parameters,
            max_trials=max_trials,
            directory=directory,
            data_dir=data_dir,
            skip_bad=skip_bad,
        ) as made:
            if oracle in _ENDLESS and budget.max_trials is budget.max_time is budget.max_epochs_total is None:
                raise InputError(f"The {oracle} oracle never ends: give max_trials, max_time or max_epochs_total.")
            study = Study.create(*made)
        with study.writing(), Table(study, quiet) as table:
            _Tuner(study, budget, trials, keep, max_disk, data_dir, skip_bad, table).run()
    return study


@contextlib.contextmanager
def defined(
    recipe,
    *,
    space=None,
    fixed=None,
    oracle="bayesian",
    objective=None,
    seed=0,
    pruner=None,
    max_parameters=None,
    max_trials=None,
    directory=None,
    data_dir=None,
    skip_bad=False,
):
    """The arguments of `Study.create` for these, which have been checked; those of `tune` of the same names."""
    for name, value, known in (("oracle", oracle, ORACLES), ("pruner", pruner, PRUNERS)):
        if value not in known and (name == "oracle" or value is not None):
            raise unknown(name, value, known)
    check_whole("seed", seed, 0)
    if max_parameters is not None:
        check_whole("max_parameters", max_parameters, 0)
    if oracle == "hyperband" and pruner is not None:
        raise InputError(f"hyperband prunes by itself: leave pruner={pruner} out.")
    base = registry.configured(recipe, {})
    processes.refuse_unimportable(base)
    with tempfile.TemporaryDirectory() as folder:
        folder, fixed, data = pathlib.Path(folder), dict(fixed or {}), None
        handed = fixed.get("dataset")
        if handed is not None and not isinstance(handed, str):
            data = folder / "data"
            fixed["dataset"] = processes.write_data(data, handed).name
        ranges, fixed = spaces.read(base, space, fixed)
        if oracle == "hyperband" and spaces.VARIANT in ranges and "epochs" not in fixed:
            raise InputError("hyperband's rungs are of one number of epochs: beside variants, give epochs=N.")
        objective = objective or fixed.get("monitor", base.monitor) or "val_loss"
        fixed.pop("monitor", None)
        for name in ("monitor", *(("epochs",) if oracle == "hyperband" else ())):
            if name in ranges:
                why = "it is the objective" if name == "monitor" else "hyperband decides them"
                raise InputError(f"{name} cannot be searched: {why}.")
        searched = Space(base, ranges, {**fixed, "monitor": objective}, named=space is not None)
        first = searched.recipe(searched.default())
        facts = _described(first, data, data_dir, skip_bad, folder)
        definition = {
            "recipe": registry.saved(base),
            "fixed": fixed,
            "space": {name: range.facts() for name, range in searched.ranges.items()},
            "data": {name: facts[name] for name in ("data", "fingerprint")},
            "objective": objective,
            "direction": facts["direction"],
            "oracle": oracle,
            "seed": seed,
            "pruner": pruner,
            "max_parameters": max_parameters,
        }
        path = pathlib.Path(directory or _default_directory(base, definition))
        definition["initial_points"] = _initial_points(searched, max_trials)
        yield path, definition, data


def _initial_points(searched, max_trials):
    """Random trials before bayesian's first model: three a field, and a third of all at most."""
    points = 3 * len(searched.ranges)
    return max(points if max_trials is None else min(points, max_trials // 3), 1)


def _default_directory(base, definition):
    parts = [pathlib.Path(base.name).stem, base.variant, digest(definition)]
    return pathlib.Path("studies", "-".join(part for part in parts if part))


def _described(recipe, data, data_dir, skip_bad, folder):
    """Facts of the data, from a process that read them: this one need not, and keeps its memory."""
    job = _job(recipe, data, data_dir, skip_bad)
    one = processes.Process(processes.describe, job, folder / "log")
    try:
        kind, answer = one.hear()
    except EOFError:
        kind, answer = "failed", f"the process that read the data ended ({one.end()})"
    except BaseException:
        one.kill()
        raise
    else:
        one.end()
    if kind == "refused":
        raise InputError(answer)
    if kind == "failed":
        raise RunError(answer)
    return answer


def _job(recipe, data, data_dir, skip_bad, **more):
    return processes.Job(
        registry.saved(recipe),
        data=None if data is None else str(data),
        data_dir=data_dir,
        skip_bad=skip_bad,
        **more,
    )


@dataclasses.dataclass
class _Live:
    """A trial that a process runs.

    Attributes:
        until: the epoch at which its rung ends, or None.
        epochs: of its whole run.
        slot, process: of the engine.
        before: its seconds in earlier processes; `since` is when this one began.
        kills: how often in a row it was killed from outside with no epoch finished.
        stop: why it was told to stop: ("pruned", reason) or ("paused", None); None where it was not.
    """

    number: int
    values: dict
    until: int | None
    epochs: int
    slot: object
    before: float
    since: float
    kills: int = 0
    stop: tuple | None = None
    process: object = None

    @property
    def seconds(self):
        return self.before + time.monotonic() - self.since


class _Tuner:
    """Runs a study's trials until its budget is spent. The study is being written, and this is who writes."""

    def __init__(self, study, budget, engine, keep, max_disk, data_dir, skip_bad, table):
        self._study = study
        self._budget = budget
        self._engine = engine
        self._free = list(engine.slots)
        self._keep, self._max_disk = keep, max_disk
        self._data_dir, self._skip_bad = data_dir, skip_bad
        self._data = study.path / "data" if (study.path / "data").is_dir() else None
        self._table = table
        self._live = {}
        self._curves = {trial.number: study.curve(trial) for trial in study.trials}
        self._left = list(study.running())  # by a process that died or was paused
        self._before, self._since, self._noted = study.elapsed(), time.monotonic(), 0.0
        self._bad = 0
        self._end = None

    def run(self):
        (self._study.path / "trials").mkdir(exist_ok=True)
        self._study.drop_weights(self._keep, self._max_disk)
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
        except KeyboardInterrupt:
            self._stop()
            raise Interrupted(
                f"Stopped; every finished epoch is kept. To go on: the same command, on {self._study.path}"
            ) from None
        except BaseException:
            self._stop()
            raise
        self._note()
        self._study.drop_weights(self._keep, self._max_disk)
        self._table.end(self._end)
        if not self._study.ranked():
            reasons = [trial.reason for trial in self._study.trials if trial.reason]
            why = f" The last: {reasons[-1]}" if reasons else ""
            raise RunError(f"No trial of {self._study.path} has a score: {self._end}.{why}")

    def _stop(self):
        for one in self._live.values():
            one.process.kill()
        self._note()

    # Starting -------------------------------------------------------------------------------------------------------

    def _fill(self):
        """Gives trials to the free slots, those that were left first."""
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
            number = self._study.propose(self._budget.max_trials)
            if not isinstance(number, int):
                self._end = None if number == WAIT else number
                return
            self._start(number)

    def _start(self, number, kills=0):
        """Starts a trial's process, unless what it finished already says that it is over."""
        trial = self._study.trials[number]
        recipe = self._study.recipe(trial)
        until, seconds = self._study.running()[number]
        self._curves[number] = self._study.curve(trial)
        slot = self._free.pop(0)
        live = _Live(number, trial.values, until, recipe.epochs, slot, seconds, time.monotonic(), kills)
        done = max(self._curves[number], default=0)
        if 0 < done < (until or recipe.epochs):
            reason = self._study.verdict(number, self._curves, done)
            if reason is not None:  # a kill came before this was noted
                live.stop = ("pruned", reason)
                self._ended(live)
                return
        job = _job(
            recipe,
            self._data,
            self._data_dir,
            self._skip_bad,
            directory=str(self._study.run_path(number)),
            until=until,
            max_parameters=self._study.definition["max_parameters"],
        )
        self._study.begin(number)
        log = self._study.path / "trials" / f"{number:04d}.log"
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
            self._study.begin(live.number, *what)
            return
        if kind == "epoch":
            epoch, value = what
            live.kills = 0
            self._curves[live.number][epoch] = value
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
            status = "skipped" if kind in ("skipped", "refused") else "failed"
            self._finish(live, status, reason=what[0])

    def _verdict(self, live, epoch):
        """Why a trial is to stop after `epoch`: ("pruned", reason) or ("paused", None); None where it goes on."""
        if epoch >= (live.until or live.epochs):
            return None
        reason = self._study.verdict(live.number, self._curves, epoch)
        if reason is not None:
            return ("pruned", reason)
        limit = self._budget.max_trial_time
        if limit is not None and live.seconds >= limit:
            return ("pruned", f"max_trial_time={limit:g} s was over after {epoch} of {live.epochs} epochs")
        return ("paused", None) if self._spent() else None

    def _died(self, live):
        """A trial's process ended without a word."""
        memory = live.process.died_of_memory()
        code = live.process.end()
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        if -code == signal.SIGKILL and memory:
            self._finish(live, "failed", reason="out of memory: the kernel killed it")
        elif code >= 0 or -code in _FAULTS:
            self._finish(live, "failed", reason=f"its process ended by {name}")
        elif live.kills + 1 >= KILLS:
            self._finish(live, "failed", reason=f"killed by {name} {KILLS} times in a row with no epoch finished")
        else:
            self._note()
            self._free.insert(0, live.slot)
            del self._live[live.number]
            if not self._spent():
                self._start(live.number, live.kills + 1)

    def _ended(self, live):
        """A run was trained as far as it was to be: what it reached is read from its folder."""
        curve = self._curves[live.number] = self._study.curve(self._study.trials[live.number])
        score, epoch = best(curve, self._study.direction, live.until)
        told = {"score": score, "epoch": epoch, "epochs": len(curve)}
        if Run.open(self._study.run_path(live.number)).facts["status"] in ("done", "stopped_early"):
            self._finish(live, "completed", **told)
        elif live.stop is not None and live.stop[0] == "paused":
            self._study.note(self._elapsed(), {live.number: (live.seconds, len(curve))})
            self._leave(live)
        elif live.stop is not None:
            self._finish(live, "pruned", reason=live.stop[1], **told)
        else:
            self._finish(live, "pruned", reason=f"stopped at the rung of {live.until} epochs", **told)

    def _finish(self, live, status, **told):
        told.setdefault("epochs", len(self._curves[live.number]))
        self._study.note(self._elapsed(), {live.number: (live.seconds, told["epochs"])})
        self._study.end(live.number, status, **told)
        self._bad = self._bad + 1 if status in ("failed", "skipped") else 0
        self._study.drop_weights(self._keep, self._max_disk)
        self._leave(live)
        self._table.ended(self._study.trials[live.number])

    def _leave(self, live):
        self._live.pop(live.number, None)
        self._free.append(live.slot)

    # Budgets --------------------------------------------------------------------------------------------------------

    def _spent(self):
        """Which budget is spent, or None."""
        epochs = sum(map(len, self._curves.values()))
        if self._budget.max_epochs_total is not None and epochs >= self._budget.max_epochs_total:
            return f"max_epochs_total={self._budget.max_epochs_total} is reached"
        if self._budget.max_time is not None and self._elapsed() >= self._budget.max_time:
            return f"max_time={self._budget.max_time:g} s is over"
        return None

    def _elapsed(self):
        return self._before + time.monotonic() - self._since

    def _remaining(self):
        """Seconds that the study may still take, or None."""
        return None if self._budget.max_time is None else max(self._budget.max_time - self._elapsed(), 0.0)

    def _note(self):
        self._noted = self._elapsed()
        begun = [one for one in self._live.values() if not one.process.waits]
        running = {one.number: (one.seconds, len(self._curves[one.number])) for one in begun}
        self._study.note(self._noted, running)
