"""What a machine does to a command: the rows of the table in docs/runs.md that need a process of their own."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

import zoo
from tests import warm
from zoo.runs import Run

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(zoo.__file__).parents[1]

TRAIN = ("train", "lenet", "--directory")

PLAIN = """
import ctypes, os, resource, sys

def refused():
    \"\"\"Has the permissions of files hold for root, too.\"\"\"
    libc, head, data = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(head, data)
    for place in (0, 1):  # effective, permitted
        data[place] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(head, data) == 0

from zoo import cli
"""


def run(code, *arguments, cwd, start=warm.run, **environment):
    """(status, stdout, stderr) of Python code in a process that has what `PLAIN` defines."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", PLAIN + code, *map(str, arguments)]
    done = start(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "PYTHONPATH": paths, **environment}
    )
    return done.returncode, done.stdout, done.stderr


def one_line(status, err):
    """Whether a command ended with an error that a person reads."""
    lines = [line for line in err.splitlines() if not line.startswith("Warning: ")]
    return status in (1, 2) and len(lines) == 1 and lines[0].startswith("Error: ")


@pytest.fixture
def begun(tmp_path):
    """A run of two epochs of which one is done."""
    zoo.train("lenet", epochs=2, until=1, directory=tmp_path / "run", quiet=True)
    return tmp_path / "run"


FULL = """
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
cli.main(["train", "--resume", sys.argv[1]])
"""


def test_a_file_that_may_not_grow_is_one_line_and_the_epoch_before_is_kept(begun):
    status, _, err = run(FULL, begun, cwd=begun.parent)
    assert one_line(status, err), err
    assert "File too large" in err
    assert_goes_on(begun)


@contextlib.contextmanager
def small_disk(size):
    """A folder on a disk of its own; where nobody may mount one the test is skipped."""
    folder = tempfile.mkdtemp()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        os.rmdir(folder)
        pytest.skip("nobody may mount a disk here")
    try:
        yield pathlib.Path(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
        os.rmdir(folder)


def test_a_disk_that_is_full_is_one_line_and_the_epoch_before_is_kept(begun):
    with small_disk("2m") as disk:
        moved = shutil.copytree(begun, disk / "run")
        used = sum(path.stat().st_size for path in moved.rglob("*") if path.is_file())
        (disk / "rest").write_bytes(bytes(shutil.disk_usage(disk).free - min(used // 4, 100_000)))
        status, _, err = run('cli.main(["train", "--resume", sys.argv[1]])', moved, cwd=begun.parent)
        assert one_line(status, err), err
        assert "No space left on device" in err
        (disk / "rest").unlink()
        assert_goes_on(moved)


def assert_goes_on(path):
    """A run has the one epoch that was done, and goes on from there."""
    assert len(Run.open(path).history) == 1
    assert zoo.train(resume=path, quiet=True).status == "done"
    assert len(Run.open(path).history) == 2


READ_ONLY = """
os.chmod(sys.argv[1], 0o555)
refused()
cli.main([*sys.argv[2:]])
"""


def test_a_folder_that_may_not_be_written_is_one_line_and_stays_as_it_was(begun):
    closed = begun.parent / "closed"
    closed.mkdir()
    digits = os.environ["ZOO_DATA"]
    for folder, arguments, environment in (
        (closed, [*TRAIN, closed / "run", "epochs=1"], {"ZOO_DATA": digits}),
        (begun, ["train", "--resume", begun], {"ZOO_DATA": digits}),
        (closed, [*TRAIN, begun.parent / "other", "epochs=1"], {"ZOO_DATA": str(closed)}),
    ):
        before = times(folder)
        status, _, err = run(READ_ONLY, folder, *arguments, cwd=begun.parent, **environment)
        assert one_line(status, err), err
        assert "Permission denied" in err
        assert times(folder) == before
        folder.chmod(0o755)
    assert not (begun.parent / "other").exists()
    assert_goes_on(begun)


def times(folder):
    """{file: when it was changed} of a folder, but for the lock."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "run.lock"}


CLOSED = """
here, there = os.pipe()
os.dup2(there, 1)
os.close(there)
os.close(here)
cli.main(["train", "--resume", sys.argv[1]])
"""


def test_an_output_that_nobody_reads_any_more_ends_a_training_that_can_go_on(begun):
    status, _, err = run(CLOSED, begun, cwd=begun.parent)
    assert (status, err) == (1, "")
    assert_goes_on(begun)


STRANGE = """
import keras, numpy as np
for kind, shade in (("größe", 40), ("猫 und Hund", 220)):
    os.makedirs(f"bilder/{kind}")
    for number in range(8):
        keras.utils.save_img(f"bilder/{kind}/{number}.png", np.full((28, 28, 1), shade + number))
for place in ("läufe/猫 1", "d" * 100 + "/" + "e" * 99):
    for arguments in (["train", "lenet", "dataset=folder:bilder", "epochs=2", "--until", "1", "--directory", place],
                      ["train", "--resume", place], ["evaluate", place, "--split", "train"], ["report", place],
                      ["predict", place, "bilder/größe/1.png"]):
        try:
            cli.main(arguments)
        except SystemExit as stop:
            assert not stop.code, (arguments, stop.code)
"""


def test_a_c_locale_a_missing_tmpdir_and_paths_of_any_letters_and_length_change_nothing(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTHONUTF8", "PYTHONIOENCODING", "LANG", "PYTHONCOERCECLOCALE"):
            patch.delenv(name, raising=False)
        status, out, err = run(
            STRANGE, cwd=tmp_path, start=subprocess.run, LC_ALL="C", TMPDIR=str(tmp_path / "missing")
        )
    assert status == 0, err
    assert "größe" in out
    for place in ("läufe/猫 1", "d" * 100 + "/" + "e" * 99):
        found = Run.open(tmp_path / place)
        assert found.status == "done"
        assert found.reader().labels == ("größe", "猫 und Hund")
        assert np.isfinite([row["loss"] for row in found.history]).all()
    assert not (tmp_path / "missing").exists()
