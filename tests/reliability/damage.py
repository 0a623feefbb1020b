"""Folders and files that were damaged: each file in turn removed, emptied, cut in half, changed, made unreadable.

Every verb then gives the answer that it gave before, or another with a warning, or an error of one line; what is not
its own to change, it leaves as it is. A law takes a `Faults`, the name of a file and how it is damaged.
"""

import contextlib
import json
import pathlib
import shutil
import zipfile

import numpy as np
from PIL import Image

import zoo
from tests.reliability.judging import Faults, call, shell
from zoo import weights
from zoo.building import initialize
from zoo.serving import _export_worker, exporting

NOISE = np.random.default_rng(0).bytes(1_000_000)


def _flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else b"\1"


MUTATIONS = {
    "removed": None,
    "a folder in its place": None,
    "emptied": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "flipped in one byte": _flipped,
    "replaced by noise": lambda data: NOISE,
    "replaced by nested brackets": lambda data: b"[" * 100_000,
}


def mutate(folder, name, how):
    """Damages a file in a folder, or one that is packed in a `.keras` file: `model.keras!config.json`."""
    path, _, packed = str(folder / name).partition("!")
    path, change = pathlib.Path(path), MUTATIONS[how]
    if packed:
        _mutate_packed(path, packed, how)
    elif change is not None:
        path.write_bytes(change(path.read_bytes()))
    else:
        path.unlink()
        if how == "a folder in its place":
            path.mkdir()


def _mutate_packed(path, name, how):
    """Damages a file in a zip file, whose sums are right all the same."""
    with zipfile.ZipFile(path) as packed:
        files = {one: packed.read(one) for one in packed.namelist()}
    data, change = files.pop(name), MUTATIONS[how]
    if change is not None:
        files[name] = change(data)
    elif how != "removed":
        files[f"{name}/"] = b""
    with zipfile.ZipFile(path, "w") as packed:
        for one, content in files.items():
            packed.writestr(one, content)


def cases(folder):
    """[(name of a file in a folder, mutation)] of all files, but locks, logs and TensorBoard's."""
    names = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if not name.endswith((".lock", ".log")) and "events" not in name.split("/"):
            names.append(name)
        if name.endswith(".keras"):
            with zipfile.ZipFile(path) as packed:
                names += [f"{name}!{one}" for one in packed.namelist()]
    return [(name, how) for name in names for how in MUTATIONS]


class Damaged:
    """A folder, and the law that its verbs say of a damaged copy what they said before, or that it is damaged.

    Args:
        whole: the folder. It is copied, not changed.
        home: a folder to work in, which is made.
    """

    def __init__(self, whole, home):
        self.whole, self.home = pathlib.Path(whole), pathlib.Path(home)
        self.home.mkdir(parents=True)
        self._known = {}  # {command: its answer before}

    def cases(self):
        """Returns every (name of a file, mutation)."""
        return cases(self.whole)

    def reading(self, folder, name):
        """Returns [(command that only reads, whether its answer is compared)]; the file `name` is damaged."""
        return []

    def writing(self, folder, name):
        """Returns commands that may change the folder's own files."""
        return []

    def may_differ(self, name):
        """Whether an answer may be another one, with a warning, where the file `name` is damaged."""
        return True

    def hold(self, faults, name, how):
        """Damages a file of a copy, and asks every verb."""
        faults.cases += 1
        copy = self.home / "copy"
        shutil.copytree(self.whole, copy)
        asked = self.reading(copy, name)
        before = [self._before(command) for command, _ in asked]
        notes = copy / "notes"
        notes.mkdir()
        (notes / "mine.txt").write_text("precious")
        mutate(copy, name, how)
        with _without_export_processes():
            with faults.untouched(f"{name} {how}", copy):
                for (command, compared), known in zip(asked, before, strict=True):
                    answer = self._shell(faults, command)
                    differs = answer.value is not None and answer.value != known.value
                    if compared and differs and not (answer.said and self.may_differ(name)):
                        values = f"{answer.value[:80]!r} was {known.value[:80]!r}"
                        faults.misread.append(f"{command[0]}, {name} {how}: {values}")
            with faults.untouched(f"{name} {how}", notes):
                for command in self.writing(copy, name):
                    self._shell(faults, command)
        shutil.rmtree(copy)

    @contextlib.contextmanager
    def _damaged(self, faults, name, how):
        """Yields a copy whose file `name` is damaged, and none of whose files may be changed; then removes it."""
        faults.cases += 1
        copy = self.home / "copy"
        shutil.copytree(self.whole, copy)
        mutate(copy, name, how)
        with faults.untouched(f"{name} {how}", copy):
            yield copy
        shutil.rmtree(copy)

    def _before(self, command):
        if command not in self._known:
            with _without_export_processes():
                answer = self._shell(faults := Faults(), command)
            if answer.status or faults.all():
                raise RuntimeError(f"{command} of the whole: {answer.said} {faults.all()}")
            self._known[command] = answer
        return self._known[command]

    def _shell(self, faults, command):
        answer = shell(faults, *command)
        shutil.rmtree(self.home / "out", ignore_errors=True)
        return answer


@contextlib.contextmanager
def _without_export_processes():
    """Leaves the two processes of an export out, but for what the first opens: here, where Keras is loaded."""

    def ended(what, arguments):
        if what == "write":
            job = pathlib.Path(arguments[-3])
            _export_worker.opened(job, json.loads((job / "job.json").read_text()))
        pathlib.Path(arguments[-1]).mkdir(exist_ok=True)
        return "Verified."

    before = exporting._started, exporting._ended
    exporting._started, exporting._ended = contextlib.nullcontext, ended
    try:
        yield
    finally:
        exporting._started, exporting._ended = before


class DamagedRun(Damaged):
    """The folder of a run that is done."""

    def __init__(self, whole, home):
        super().__init__(whole, home)
        self.image = self.home / "image.png"
        pixels = np.arange(64, dtype="uint8").reshape(8, 8) * 4
        Image.fromarray(pixels).save(self.image)
        best = zoo.Run.open(whole).checkpoint("best").name
        self._telling = ("run.json", "best", f"checkpoints/{best}")

    def reading(self, folder, name):
        return [
            (("predict", folder, self.image, "--csv"), True),
            (("evaluate", folder, "--quiet"), True),
            (("report", folder, "--directory", self.home / "out", "--quiet"), False),
            (("export", folder, self.home / "out", "--quiet"), False),
        ]

    def writing(self, folder, name):
        return [("train", "--resume", folder, "--quiet")]

    def may_differ(self, name):
        return name.startswith(self._telling)


JOB = """\
recipe: mlp
fixed: {dataset: xor, epochs: 2, batch_size: 128, units: [4]}
space:
  learning_rate: 1e-3..1e-1:log
oracle: random
"""


class DamagedStudy(Damaged):
    """A folder with `job.yaml` and its `study`, whose last trial is paused in the middle; `make` makes it."""

    @staticmethod
    def make(folder):
        """Makes the folder."""
        folder.mkdir(parents=True)
        (folder / "job.yaml").write_text(JOB)
        command = ["tune", folder / "job.yaml", "--directory", folder / "study", "--quiet"]
        for budget in (["--max-trials", 2], ["--max-epochs-total", 5]):
            answer = shell(faults := Faults(), *command, *budget)
            if answer.status or faults.all():
                raise RuntimeError(f"{command}: {answer.said} {faults.all()}")

    def reading(self, folder, name):
        study = folder / "study"
        best = zoo.Study.open(self.whole / "study").best_trial().number
        if name == "job.yaml":
            return []
        asked = [
            (("leaderboard", study, "--json"), True),
            (("export", study, self.home / "out", "--quiet"), False),
        ]
        if f"trials/{best:04d}" in name:
            asked.append((("evaluate", study / f"trials/{best:04d}", "--quiet"), True))
        return asked

    def writing(self, folder, name):
        study = folder / "study"
        commands = [("tune", folder / "job.yaml", "--directory", study, "--max-trials", 3, "--quiet")]
        if name == "job.yaml":
            return commands
        commands.insert(0, ("report", study, "--quiet"))
        if "trials/" not in name:
            commands.append(("train", "--best-of", study, "--seeds", 2, "--quiet"))
        return commands


class DamagedExport(Damaged):
    """The folder of an export: a model to serve, and nothing that a verb of the zoo reads, which each says."""

    def _verbs(self, folder):
        verbs = [(verb, folder) for verb in ("evaluate", "report", "leaderboard", "show")]
        verbs += [("predict", folder, "x.png"), ("export", folder, self.home / "out")]
        verbs += [("train", option, folder) for option in ("--resume", "--best-of")]
        return [*verbs, ("train", "lenet", "--directory", folder), ("train", "lenet", f"init_from={folder}")]

    def hold(self, faults, name, how):
        with self._damaged(faults, name, how) as copy:
            for command in self._verbs(copy):
                if self._shell(faults, command).status == 0:
                    faults.misread.append(f"{command[0]} took an export for what it is not, {name} {how}")


class DamagedKeras(Damaged):
    """A folder with `model.keras`, from which a network of `zoo.build` starts."""

    def __init__(self, whole, home):
        super().__init__(whole, home)
        self._model = zoo.build("lenet", seed=1)
        self._fresh = weights.of(self._model)
        self._taken = self._started(self.whole / "model.keras")

    def hold(self, faults, name, how):
        with self._damaged(faults, name, how) as copy:
            answer = call(faults, f"init_from, {name} {how}", lambda: self._started(copy / "model.keras"))
        if answer.value is not None:
            same = all(np.array_equal(array, self._taken[path]) for path, array in answer.value.items())
            if not same and not answer.said:
                faults.misread.append(f"init_from, {name} {how}: other weights")

    def _started(self, path):
        weights.put(self._model, self._fresh)
        initialize(self._model, path, say=lambda line: None)
        return weights.of(self._model)
