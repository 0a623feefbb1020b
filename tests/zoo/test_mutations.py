"""Runs that were damaged: each file is in turn removed, emptied, cut in half, changed.

Every verb then gives the answer that it gave before, or an error of one line; it changes no other file. ZOO_TESTS_SEED
draws some of the cases; `pytest --whole` runs them all, in one process.
"""

import contextlib
import hashlib
import io
import pathlib
import random
import shutil
import warnings

import numpy as np
import pytest

import zoo
from tests import sampling
from zoo import ZooError, cli

NOISE = np.random.default_rng(0).bytes(1_000_000)


def _flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else b"\1"


MUTATIONS = {
    "removed": None,
    "emptied": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "flipped in one byte": _flipped,
    "replaced by noise": lambda data: NOISE,
    "replaced by nested brackets": lambda data: b"[" * 100_000,
}


def mutate(path, how):
    """Damages a file."""
    change = MUTATIONS[how]
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))


def digests(folder):
    """{path: hash} of all files in a folder."""
    found = (path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def judged(verb, *arguments):
    """What a verb answers, or None where it ends with an error of one line; anything else is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return verb(*arguments)
        except ZooError as error:
            said = str(error).strip()
    assert "\n" not in said, said
    return None


def shell(*arguments):
    """Runs a command, which ends with status 0, or with 1 or 2 and a last line that says why."""
    err, status = io.StringIO(), 0
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        warnings.simplefilter("ignore")
        try:
            cli.main([str(one) for one in arguments])
        except SystemExit as ended:
            status = ended.code
    assert status in (0, 1, 2), (arguments, status)
    assert "Traceback" not in err.getvalue()
    if status:
        assert err.getvalue().strip().splitlines()[-1].startswith("Error: "), err.getvalue()


def cases(folder):
    """[(name of a file in a folder, mutation)] of all files, but the lock and TensorBoard's."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if not name.endswith(".lock") and not name.startswith("events")]
    return [(name, how) for name in names for how in MUTATIONS]


def holds_for_a_run(finished, name, how, folder):
    copy = folder / "run"
    shutil.copytree(finished.path, copy)
    image = np.arange(64, dtype="uint8").reshape(8, 8, 1) * 4
    expected = zoo.predict(finished, image)[0].probabilities
    mutate(copy / name, how)
    before = digests(copy)
    answer = judged(lambda: zoo.predict(copy, image))
    best = finished.checkpoint("best").name
    if answer is not None and f"checkpoints/{best}" not in name:
        np.testing.assert_array_equal(answer[0].probabilities, expected, err_msg=f"{name} {how}")
    judged(zoo.evaluate, copy)
    shell("evaluate", copy)
    shell("report", copy, "--directory", folder / "report")
    assert digests(copy) == before, f"{name} {how}"
    judged(lambda: zoo.train(resume=copy, quiet=True))  # it may write the run's own files
    shutil.rmtree(folder)


@pytest.mark.parametrize("count", [6, pytest.param(24, marks=pytest.mark.slow)])
def test_a_run_with_one_damaged_file_answers_as_before_or_says_so(count, finished, tmp_path, pytestconfig):
    every = cases(finished.path)
    drawn = every if pytestconfig.getoption("--whole") else random.Random(sampling.SEED).sample(every, count)
    for number, (name, how) in enumerate(drawn):
        holds_for_a_run(finished, name, how, tmp_path / str(number))
