"""`Study`: a folder in which trials of one recipe are proposed, told and ranked.

study.json       what never changes: recipe, fixed fields, space, objective, oracle, seed
study.sqlite     the state: trials, what the oracle knows, what was spent
study.lock       held while a process writes
trials/0003/     the run of trial 3, as `zoo train` makes it; trials/0003.log is what it printed
data/            arrays that were handed over in memory
"""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
import socket
import time

from zoo import files, registry
from zoo.errors import InputError
from zoo.fields import from_json, show
from zoo.runs import drop_checkpoints
from zoo.runs.folder import Kind
from zoo.tuning.pruning import PRUNERS
from zoo.tuning.spaces import Range, Space
from zoo.tuning.store import SCHEMA, Store
from zoo.tuning.trials import Trial, curve

ORACLES = ("random", "grid", "bayesian", "hyperband")
"""What `zoo.tuning.oracles` has; known without importing keras-tuner."""

WAIT = "wait"
"""What `Study.propose` answers where trials that run must end first."""


class Study:
    """A study's folder. `Study.open(path)` reads one, `Study.make` makes one; `zoo.tune` makes one and runs it.

    Reading needs no lock; `ask`, `tell` and `enqueue` take `study.lock` for a moment, or for the time of `writing`.
    """

    def __init__(self, path, definition, trusted=False):
        self._trusted = trusted
        self.path = pathlib.Path(path)
        self._definition = definition
        self._store = None
        self._oracle = None

    # Making and opening -----------------------------------------------------------------------------------------

    @classmethod
    def make(cls, recipe, **definition):
        """The study that `zoo.tune` of the same arguments makes, but for its budget and workers; nothing is trained.

        Raises: `InputError` as `zoo.tune`.
        """
        from zoo.tuning.tuner import defined

        with defined(recipe, **definition) as made:
            return cls.create(*made)

    @classmethod
    def open(cls, path, trust=False):
        """The study in the folder `path`.

        Args:
            path: a folder, or a `Study`, which is returned.
            trust: whether its recipe may be a file, or a module, that this user has not trained on this machine:
                whoever wrote the study chose it, and making a recipe of a trial runs it.
        Raises: `InputError` for a study that is missing, damaged or of a newer schema.
        """
        if isinstance(path, cls):
            path._trusted = path._trusted or trust
            return path
        path = pathlib.Path(path)
        if not cls.exists(path):
            why = "it has no study.json" if path.is_dir() else "it is a file" if path.exists() else "no such folder"
            raise InputError(f"There is no study in {path}: {why}. Name the folder that zoo tune made.")
        try:
            definition = json.loads((path / "study.json").read_text())
            schema = int(definition["schema"])
            if schema <= SCHEMA:
                _ = [definition[name] for name in _DEFINITION], [definition["recipe"][name] for name in _RECIPE]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{path / 'study.json'} cannot be read, it is damaged ({type(error).__name__}): "
                "tune again in another --directory."
            ) from None
        if schema > SCHEMA:
            raise InputError(f"{path} was written by a newer zoo (schema {schema}, this one reads {SCHEMA}): upgrade.")
        return cls(path, definition, trust)

    @classmethod
    def exists(cls, path):
        return (pathlib.Path(path) / "study.json").exists()

    @classmethod
    def create(cls, path, definition, data=None):
        """The study of a definition, made, or opened where it lies at `path` already.

        A study there that was defined otherwise is an `InputError` that names what differs.

        Args:
            definition: what `study.json` says, but for the schema.
            data: a folder of arrays to copy into a new study.
        """
        path = pathlib.Path(path)
        definition = json.loads(json.dumps({"schema": SCHEMA, **definition}))
        if cls.exists(path):
            study = cls.open(path)
            _refuse_changes(study, definition)
            return study
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file, not a folder. Name another --directory.")
        if path.exists() and not KIND.only_begun(path):
            raise InputError(f"{path} exists and is not a study. Name another --directory.")
        study = cls(path, definition)
        with study._locked():
            if cls.exists(path):  # another process was faster
                return cls.create(path, definition, data)
            if data is not None:
                shutil.copytree(data, path / "data", dirs_exist_ok=True)
            with contextlib.closing(Store(path / "study.sqlite", new=True)) as store, store.transaction():
                store.set("queue", [{"values": study._searched.default(), "origin": "default"}])
            files.write_json(path / "study.json", definition)
            registry.remember(definition["recipe"]["reference"])
        return study

    @property
    def definition(self):
        """What `study.json` says, as a mapping."""
        return self._definition

    # What never changes -----------------------------------------------------------------------------------------

    @property
    def name(self):
        """`lenet/modern`: the recipe, and its variant where there is one."""
        recipe = self._definition["recipe"]
        return recipe["name"] if recipe["variant"] is None else f"{recipe['name']}/{recipe['variant']}"

    @property
    def objective(self):
        """The column of a run's history that is to become best, such as `val_loss`."""
        return self._definition["objective"]

    @property
    def direction(self):
        """Which scores are better: "min" or "max"."""
        return self._definition["direction"]

    @property
    def space(self):
        """{field: text of its range}."""
        return {name: Range.restored(facts).text for name, facts in self._definition["space"].items()}

    @property
    def fixed(self):
        """{field: value} of the fields that were given and are not searched."""
        return from_json(self._definition["fixed"])

    @property
    def _searched(self):
        """The `Space`, of recipes whose monitor is the objective."""
        if not hasattr(self, "_space"):
            try:
                base = registry.restored(self._definition["recipe"], self._trusted)
            except InputError as error:
                raise InputError(f"{self.path}: {error}") from error
            ranges = {name: Range.restored(facts) for name, facts in self._definition["space"].items()}
            self._space = Space(base, ranges, {**self.fixed, "monitor": self.objective})
        return self._space

    def recipe(self, trial):
        """The recipe of a `Trial`."""
        return self._searched.recipe(trial.values)

    # Trials -----------------------------------------------------------------------------------------------------

    @property
    def trials(self):
        """Every `Trial`, by number."""
        if self._store is not None:
            return [self._trial(row) for row in self._store.rows("trials")]
        with contextlib.closing(Store(self.path / "study.sqlite")) as store:
            return [self._trial(row) for row in store.rows("trials")]

    def ranked(self):
        """Trials with a score, best first; of equal ones, the earlier. Those on their next rung have their last's."""
        sign = 1 if self.direction == "min" else -1
        scored = [one for one in self.trials if one.score is not None]
        return sorted(scored, key=lambda one: (sign * one.score, one.number))

    def to_dataframe(self):
        """A pandas `DataFrame` of the trials, ranked ones first: see `zoo.tuning.leaderboard`."""
        from zoo.tuning import leaderboard

        return leaderboard.to_dataframe(self)

    def best(self):
        """The trained `keras.Model` of the best trial, as `zoo.load` gives it: `recipe`, `reader` and `run`."""
        from zoo import runs

        return runs.load(self.best_run(), trust=self._trusted)

    def best_run(self):
        """The folder of the best trial's run; one that was trained by a loop of one's own is an `InputError`."""
        trial = self.best_trial()
        if trial.path is None:
            raise InputError(
                f"The best, trial {trial.number} of {self.path}, was trained by a loop of your own and has no run: "
                f"zoo train --best-of {self.path} trains its fields."
            )
        return trial.path

    def best_trial(self):
        """The best `Trial`; an `InputError` where none has a score."""
        ranked = self.ranked()
        if not ranked:
            raise InputError(f"No trial of {self.path} has a score yet. `zoo tune` goes on with it.")
        return ranked[0]

    def curve(self, trial):
        """{epoch: value of the objective} of what a trial's run has finished; epochs from 1."""
        return curve(self.run_path(trial.number), self.objective)

    def run_path(self, number):
        """The folder of the run of a trial."""
        return self.path / "trials" / f"{number:04d}"

    def _trial(self, row):
        return Trial(
            number=row["number"],
            values=from_json(json.loads(row["values"])),
            path=self.run_path(row["number"]) if row["begun"] else None,
            **{name: row[name] for name in _COLUMNS},
        )

    # Asking and telling -----------------------------------------------------------------------------------------

    def enqueue(self, values):
        """Puts a trial of one's own next: {field: value} of fields that are searched, the rest at its default.

        Raises: `InputError` for values that cannot be, or that a trial has already.
        """
        searched = self._searched
        given = searched.check(values)
        values = searched.active({**searched.defaults(), **given})
        missing = [name for name in given if name not in values]
        if missing:
            raise InputError(f"{', '.join(missing)} would have no effect beside the other values: leave it out.")
        form = _form(searched.recipe(values))
        with self.writing():
            known, queue = self._forms().get(form), self._store.get("queue")
            if known is not None:
                raise InputError(f"Trial {known} has these values already.")
            if form in [_form(searched.recipe(from_json(entry["values"]))) for entry in queue]:
                raise InputError("A trial with these values comes next already.")
            with self._store.transaction():
                self._store.set("queue", [*queue, {"values": values, "origin": "enqueued"}])

    def ask(self):
        """The next `Trial`, for a loop of one's own; `recipe` makes its recipe.

        None where the space is exhausted, or where the oracle first has to be told of trials that it gave out.

        Raises: `InputError` for hyperband, whose rungs only `zoo.tune` can train.
        """
        if self._definition["oracle"] == "hyperband":
            raise InputError("hyperband stops trials and takes them up again, which ask and tell cannot: use zoo.tune.")
        with self.writing():
            number = self.propose()
            return self.trials[number] if isinstance(number, int) else None

    def tell(self, trial, score=None, *, epoch=None, epochs=0, reason=None):
        """Ends a trial of `ask` with its score; one without a finite score failed, for `reason`."""
        if not isinstance(trial, Trial):
            raise InputError(f"tell takes a trial of ask. Received: {trial!r}.")
        try:
            score = None if score is None else float(score)
            epoch, epochs = None if epoch is None else int(epoch), int(epochs)
        except (TypeError, ValueError):
            raise InputError(
                f"A trial is told a number, and epochs. Received: score={score!r}, epoch={epoch!r}, epochs={epochs!r}."
            ) from None
        with self.writing():
            row = self._store.rows("trials")[trial.number]
            if row["status"] != "running":
                raise InputError(f"Trial {trial.number} has ended: it is {row['status']}.")
            self.note(self.elapsed(), {trial.number: (time.time() - row["started"], epochs)})
            self.end(trial.number, "completed", score, epoch=epoch, epochs=epochs, reason=reason)

    @contextlib.contextmanager
    def writing(self):
        """Holds the study for this process; one that another holds is an `InputError`."""
        if self._store is not None:
            yield
            return
        with self._locked(), contextlib.closing(Store(self.path / "study.sqlite")) as store:
            self._store, self._oracle = store, None
            try:
                yield
            finally:
                self._store = self._oracle = None

    @contextlib.contextmanager
    def _locked(self):
        try:
            with files.locked(self.path / "study.lock", patience=1):
                yield
        except BlockingIOError:
            raise InputError(
                f"{self.path} is in use by another process ({(self.path / 'study.lock').read_text() or '?'})."
            ) from None

    # What runs a study (inside of `writing`) --------------------------------------------------------------------

    def propose(self, max_trials=None):
        """The number of the trial to run next, which is noted as running; `WAIT`, or why there is none any more.

        Args:
            max_trials: how many there may be, without those skipped.
        """
        queue = self._store.get("queue")
        counted = sum(row["status"] != "skipped" for row in self._store.rows("trials"))
        full = max_trials is not None and counted >= max_trials
        spent = f"max_trials={max_trials} is reached"
        while queue and not full:
            entry, *queue = queue
            number = self._enqueued(entry, queue)
            if number is not None:
                return number
        if full and self._definition["oracle"] != "hyperband":
            return spent
        while True:
            oracle = self._loaded()
            proposal = oracle.ask()
            if proposal is None:
                hyperband = self._definition["oracle"] == "hyperband"
                return "hyperband's brackets are done" if hyperband else "the space is exhausted"
            if proposal is _wait():
                return WAIT
            if full and proposal.past is None:
                self._oracle = None  # what it has just done is forgotten
                return spent
            number = self._proposed(proposal)
            if number is not None:
                return number

    def _enqueued(self, entry, queue):
        """The number of the next trial of the queue, or None where it is one already."""
        values = from_json(entry["values"])
        form = _form(self._searched.recipe(values))
        with self._store.transaction():
            self._store.set("queue", queue)
            if form in self._forms():
                return None
            kept = self._searched.write(values)
            id = self._loaded().add(kept)
            number = self._add_trial(values, form, entry["origin"], None)
            self._store.add("proposals", id=id, trial=number, kept=json.dumps(kept), status="RUNNING")
            self._save_oracle()
        return number

    def _proposed(self, proposal):
        """The number of the trial that runs a proposal; None where none need run, and the oracle knows."""
        oracle = self._loaded()
        if proposal.past is not None:
            number = next(row["trial"] for row in self._store.rows("proposals") if row["id"] == proposal.past)
            with self._store.transaction():
                self._add_proposal(proposal, number)
                self._store.change("trials", number, status="running", reason=None, until=proposal.until)
                self._save_oracle()
            return number
        values = self._searched.read(proposal.kept)
        try:
            form = _form(self._searched.recipe(values))
        except InputError:  # fields that make each other impossible
            with self._store.transaction():
                oracle.tell(proposal.id, None)
                self._add_proposal(proposal, None, "FAILED")
                self._save_oracle()
            return None
        known = self._forms().get(form)
        with self._store.transaction():
            if known is None:
                known = self._add_trial(values, form, "oracle", proposal.until)
                self._add_proposal(proposal, known)
                self._save_oracle()
                return known
            row = self._store.rows("trials")[known]
            status = "RUNNING"
            if row["status"] != "running":
                oracle.tell(proposal.id, row["score"])
                status = "FAILED" if row["score"] is None else "COMPLETED"
            self._add_proposal(proposal, known, status, row["score"])
            self._save_oracle()
        return None

    def _add_trial(self, values, form, origin, until):
        number = len(self._store.rows("trials"))
        self._store.add(
            "trials", number=number, values=json.dumps(values), form=form, status="running", epochs=0, origin=origin,
            started=time.time(), host=socket.gethostname(), until=until, seconds=0.0, begun=0,
        )  # fmt: skip
        return number

    def _add_proposal(self, proposal, trial, status="RUNNING", score=None):
        kept = json.dumps(proposal.kept)
        self._store.add("proposals", id=proposal.id, trial=trial, kept=kept, status=status, score=score)

    def begin(self, number, host=None):
        """Notes that the run of a trial has a folder, and which machine trains it; None is this one."""
        with self._store.transaction():
            self._store.change("trials", number, begun=1, host=host or socket.gethostname())

    def note(self, elapsed, running):
        """Notes what was spent: seconds of the study, and {trial: (its seconds, its epochs)} of those that run."""
        with self._store.transaction():
            self._store.set("elapsed", elapsed)
            for number, (seconds, epochs) in running.items():
                self._store.change("trials", number, seconds=seconds, epochs=epochs)

    def end(self, number, status, score=None, *, epoch=None, epochs=0, reason=None):
        """Ends a trial, or its rung, and tells the oracle; a score that is not finite is a failure."""
        if status in ("completed", "pruned") and (score is None or not math.isfinite(score)):
            status, reason = "failed", reason or f"{self.objective} was {'missing' if score is None else score}"
        if status in ("failed", "skipped"):
            score = epoch = None
        with self._store.transaction():
            self._store.change(
                "trials", number, status=status, score=score, epoch=epoch, epochs=epochs, reason=reason,
                ended=time.time(),
            )  # fmt: skip
            for row in self._store.rows("proposals"):
                if row["trial"] == number and row["status"] == "RUNNING":
                    self._loaded().tell(row["id"], score)
                    told = "FAILED" if score is None else "COMPLETED"
                    self._store.change("proposals", row["id"], status=told, score=score)
            self._save_oracle()

    def running(self):
        """{number: (until, seconds)} of the trials that a process began or was to begin, by number.

        `until` is the epoch at which the rung ends; None is the trial's last.
        """
        rows = self._store.rows("trials")
        return {row["number"]: (row["until"], row["seconds"]) for row in rows if row["status"] == "running"}

    def elapsed(self):
        """Seconds that the study has run, all in all."""
        return self._store.get("elapsed", 0.0)

    def verdict(self, number, curves, epoch):
        """Why the pruner stops a trial at `epoch`, or None; `curves` are {number: curve} of all."""
        if self._definition["pruner"] is None:
            return None
        others = [curve for other, curve in curves.items() if other != number]
        return PRUNERS[self._definition["pruner"]](curves[number], others, epoch, self.direction)

    def drop_weights(self, keep, max_disk=None):
        """Removes the checkpoints of all trials but the best `keep`, those that run and those that may go on.

        Args:
            max_disk: GB that the kept ones may take together; the worst go first. The best never goes, nor do those
                that run and those that may go on.
        """
        promising = self._loaded().promising()
        needed = {row["trial"] for row in self._store.rows("proposals") if row["id"] in promising}
        needed |= set(self.running())
        ranked = [trial.number for trial in self.ranked()]
        kept = [*needed, *(number for number in ranked[:keep] if number not in needed)]
        names = [entry.name for entry in (self.path / "trials").iterdir()]
        for number in sorted(int(name) for name in names if re.fullmatch(r"\d{4,}", name)):
            if number not in kept:
                drop_checkpoints(self.run_path(number))
        if max_disk is None:
            return
        sizes = {number: _size(self.run_path(number)) for number in kept}
        for number in reversed(ranked[1:]):
            if sum(sizes.values()) <= max_disk * 1e9:
                return
            if number in sizes and number not in needed:
                drop_checkpoints(self.run_path(number))
                sizes[number] = 0

    def _forms(self):
        """{normal form: number} of all trials."""
        return {row["form"]: row["number"] for row in self._store.rows("trials")}

    def _loaded(self):
        """The oracle, as the last transaction left it."""
        if self._oracle is None:
            from zoo.tuning.oracles import Oracle

            definition = self._definition
            self._oracle = Oracle(
                definition["oracle"],
                self._searched,
                self.objective,
                self.direction,
                definition["seed"],
                self._searched.recipe(self._searched.default()).epochs,
                definition["initial_points"],
                self._possible,
            )
            state = self._store.get("oracle")
            if state is not None:
                rows = self._store.rows("proposals")
                proposals = [(row["id"], json.loads(row["kept"]), row["status"], row["score"]) for row in rows]
                self._oracle.set_state(state, proposals)
        return self._oracle

    def _save_oracle(self):
        self._store.set("oracle", self._loaded().get_state())

    def _possible(self, values):
        """Whether {field: value} is a recipe, and one that no trial has."""
        try:
            return _form(self._searched.recipe(values)) not in self._forms()
        except InputError:
            return False

    def __repr__(self):
        return f"Study({str(self.path)!r}, {self.name})"


_DEFINITION = (
    *("recipe", "fixed", "space", "data", "objective", "direction", "oracle", "seed", "pruner", "max_parameters"),
    "initial_points",
)
"""What `study.json` says beside the schema."""

_RECIPE = ("reference", "name", "variant", "given", "values")

_COLUMNS = ("status", "score", "epoch", "epochs", "reason", "origin", "started", "ended", "seconds", "host")
"""Of the table of trials, those that a `Trial` has as they are."""

KIND = Kind(
    noun="study",
    verb="tune",
    home="studies",
    schema=SCHEMA,
    needs=(),
    written=("study.sqlite", "study.sqlite-journal"),
    filled=("data",),
)


def _refuse_changes(study, definition):
    old, changed = study.definition, []
    for name in ("recipe", "fixed", "space", "data"):
        one, other = (_flat(name, facts[name]) for facts in (old, definition))
        for key in {**one, **other}:
            if one.get(key) != other.get(key):
                changed.append(f"{name}: {key}={other.get(key, 'left out')} (there {one.get(key, 'left out')})")
    for name in ("objective", "direction", "oracle", "seed", "pruner", "max_parameters"):
        if old[name] != definition[name]:
            changed.append(f"{name}={show(definition[name])} (there {show(old[name])})")
    if changed:
        raise InputError(
            f"{study.path} holds a study that was defined otherwise: {'; '.join(changed)}. "
            "Repeat the definition (budgets and workers may change), or name another --directory."
        )


def _flat(name, facts):
    """{key: text} of a part of a definition."""
    if name == "space":
        return {field: Range.restored(one).text for field, one in facts.items()}
    if name == "recipe":
        return {**{key: facts[key] for key in ("reference", "variant", "given")}, **facts["values"]}
    return facts if isinstance(facts, dict) else {"is": facts}


def _form(recipe):
    """Text that is equal for equal recipes."""
    return json.dumps(recipe.values(), sort_keys=True)


def _wait():
    from zoo.tuning.oracles import WAIT

    return WAIT


def _size(folder):
    """Bytes of the files in a folder, in which another process may write."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(os.path.join(path, name)).st_size
    return size


def digest(definition):
    """Eight hex digits of a definition: the same command finds its study again."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:8]
