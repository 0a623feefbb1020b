"""Studies on a Ray cluster: two nodes on this machine, one of which is killed."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

import zoo
from zoo import files
from zoo.tuning.study import Study
from zoo.tuning.workers.ray import Supervisor

SPACE = {"learning_rate": "1e-3..1e-1:log", "units": "4,8", "dropout": "0.0..0.3"}
FIXED = {"dataset": "xor", "epochs": 30, "batch_size": 64}
JOB = {"recipe": "mlp", "space": SPACE, "fixed": FIXED, "oracle": "random", "max_trials": 2}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize(("options", "message"), [
    ({"engine": "rey"}, "Unknown engine 'rey'. Did you mean 'ray'? There are: local, ray."),
    ({"address": "head:6379"}, "address=head:6379 is of a Ray cluster: give engine=ray"),
    ({"engine": "ray"}, "engine=ray needs address=HOST:PORT"),
    ({"engine": "ray", "address": "ray://head"}, "engine=ray needs address=HOST:PORT"),
    ({"engine": "ray", "address": "head:6379", "workers": 0}, "workers must be"),
])  # fmt: skip
def test_bad_input_is_one_line_and_makes_no_study(options, message, tmp_path):
    with pytest.raises(zoo.InputError, match=re.escape(message)):
        zoo.tune("mlp", fixed={"dataset": "xor"}, max_trials=1, directory=tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()


def test_a_cluster_that_is_not_installed_or_not_there_is_one_line(tmp_path, monkeypatch):
    asked = {"engine": "ray", "address": f"127.0.0.1:{free_port()}", "directory": tmp_path / "study"}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(zoo.InputError, match=re.escape("pip install -c constraints.txt '.[cluster]'")):
            zoo.tune("mlp", max_trials=1, **asked)
    pytest.importorskip("ray")
    with pytest.raises(zoo.InputError, match=f"Nothing answers at address={asked['address']} .*refused"):
        zoo.tune("mlp", max_trials=1, **asked)


def test_a_node_that_does_not_see_the_study_says_so(tmp_path):
    for text in (None, "another study"):
        if text is not None:
            (tmp_path / "study.json").write_text(text)
        with pytest.raises(zoo.InputError, match=r"The node \S+ does not see the study in .*all nodes share"):
            Supervisor().start((tmp_path / "study.json", "digest"), str(tmp_path), "tensorflow", None, None)


# A cluster --------------------------------------------------------------------------------------------------------


class Cluster:
    """Ray nodes of one CPU each on this machine, each started in a process group of its own; the first is the head."""

    def __init__(self, folder):
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._groups = []

    def add(self):
        """Starts one more node."""
        port = self.address.partition(":")[2]
        head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self._folder}")
        self._start(*([f"--address={self.address}"] if self._groups else head))

    def _start(self, *options):
        command = [pathlib.Path(sys.executable).with_name("ray"), "start", "--num-cpus=1", "--disable-usage-stats"]
        process = subprocess.Popen(
            [*command, *options],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self._groups.append(process.pid)
        printed, _ = process.communicate(timeout=120)
        assert process.returncode == 0, printed

    def has(self, pid):
        """Whether a process, or one of those that it descends from, is of the last node."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends just now
            while pid > 1:
                if os.getpgid(pid) == self._groups[-1]:
                    return True
                pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return False

    def kill(self):
        """Kills the last node, with all that runs there: workers have process groups of their own."""
        every = [int(folder.name) for folder in pathlib.Path("/proc").iterdir() if folder.name.isdigit()]
        for pid in [pid for pid in every if self.has(pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._groups.pop()

    def end(self):
        while self._groups:
            self.kill()


@pytest.fixture
def cluster():
    pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        found = Cluster(folder)  # the path of a socket in it has 107 bytes at most: pytest's folders are too deep
        try:
            yield found
        finally:
            found.end()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study that this machine alone makes."""
    return zoo.tune(**JOB, directory=tmp_path_factory.mktemp("whole") / "study", quiet=True)


def board(study):
    """{fields of a trial: what must be the same of studies that are the same}; workers may take turns otherwise."""
    return {
        str(trial.values): (
            *(trial.status, trial.score, trial.epoch, trial.epochs, trial.reason, trial.host),
            (trial.path / "history.csv").read_text(),
        )
        for trial in study.trials
    }


def finished(directory, number):
    """How many epochs a trial has finished."""
    history = directory / f"trials/{number:04d}/history.csv"
    return max(len(history.read_text().splitlines()) - 1, 0) if history.exists() else 0


def tuning(cluster, directory, workers):
    """A process of `zoo tune` on a cluster."""
    job = directory.with_name("job.yaml")
    job.write_text(json.dumps({**JOB, "engine": "ray", "workers": workers}))
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", "tune", job, "--address", cluster.address, "--directory", directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def killed(cluster, process, directory):
    """(Number of a trial, epochs it had finished) when the last node, where it was, was killed in the midst of it."""
    try:
        while process.poll() is None:
            for lock in directory.glob("trials/*/run.lock"):
                number = int(lock.parent.name)
                if files.is_locked(lock) and 1 <= (known := finished(directory, number)) <= FIXED["epochs"] / 2:
                    pid = lock.read_text()
                    if pid and cluster.has(int(pid)):
                        cluster.kill()
                        return number, known
            time.sleep(0.02)
    except BaseException:
        process.kill()
        raise
    raise AssertionError(f"no trial was seen on the last node: {process.communicate()[0]}")


def printed(process, code):
    """What a process prints until it ends with an exit status."""
    try:
        text, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == code, text
    return text


def check_went_on(directory, number, known):
    """A trial that was killed went on after what it had finished, and ran no epoch twice but the one it was in."""
    log = (directory / f"trials/{number:04d}.log").read_text()
    begun = [int(number) for number in re.findall(r"^Epoch (\d+)", log, re.MULTILINE)]
    again = int(re.search(r"Going on with .*, epoch (\d+) of", log)[1])
    assert again > known
    assert begun in (
        [*range(1, again + 1), *range(again, FIXED["epochs"] + 1)],  # killed in an epoch, which alone is run again
        [*range(1, FIXED["epochs"] + 1)],  # or between two
    )


@pytest.mark.slow
def test_a_node_that_dies_gives_its_trial_back_and_it_goes_on_where_it_was(cluster, whole, tmp_path):
    """Two workers on two nodes, one of which is killed: the study is the one that this machine alone makes."""
    cluster.add()
    cluster.add()
    process = tuning(cluster, tmp_path / "study", workers=2)
    lost, known = killed(cluster, process, tmp_path / "study")
    text = printed(process, 0)
    assert {line.partition(" ")[0] for line in text.splitlines()} >= {"Tuning", "Trial", "Ended:", "Best:", "Next:"}
    assert board(Study.open(tmp_path / "study")) == board(whole)
    check_went_on(tmp_path / "study", lost, known)


@pytest.mark.slow
def test_a_study_whose_head_node_dies_says_so_and_goes_on_with_another(cluster, whole, tmp_path):
    cluster.add()
    process = tuning(cluster, tmp_path / "study", workers=1)
    lost, known = killed(cluster, process, tmp_path / "study")
    *_, last = printed(process, 1).splitlines()
    assert re.fullmatch(r"Error: The head node at address=\S+ does not answer any more .* then goes on\.", last)
    cluster.add()
    printed(tuning(cluster, tmp_path / "study", workers=1), 0)
    assert board(Study.open(tmp_path / "study")) == board(whole)
    check_went_on(tmp_path / "study", lost, known)
