"""Wrong command lines and wrong calls of Python: one line that says why, and nobody else's file is changed.

`tests/reliability` lists them; ZOO_TESTS_SEED draws some, and `pytest --whole` takes all.
"""

import random

import pytest

from tests import sampling
from tests.reliability import calls, commands
from tests.reliability.judging import Faults
from zoo.errors import InputError
from zoo.tuning.options import Options


@pytest.fixture(autouse=True)
def _described(monkeypatch):
    """No process reads the data of a study: what is right about its options ends there, in an error."""

    def refuse(*_):
        raise InputError("Nothing is wrong with these options.")

    monkeypatch.setattr(Options, "_described", refuse)


def drawn(cases, count, config):
    return cases if config.getoption("--whole") else random.Random(sampling.SEED).sample(cases, min(count, len(cases)))


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_wrong_command_line_is_one_line_and_changes_nothing(count, finished, tmp_path, monkeypatch, pytestconfig):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    faults = Faults()
    lines = commands.lines(tmp_path / "theirs", finished.path)
    assert len(lines) >= 300
    for line in drawn(lines, count, pytestconfig):
        commands.hold(faults, line, tmp_path / "theirs", here)
    assert faults.all() == []


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_wrong_call_is_one_line_and_changes_nothing(count, finished, tmp_path, pytestconfig):
    commands.make_folders(tmp_path / "folders")
    faults = Faults()
    every = calls.calls(str(tmp_path / "folders" / "thesis"), finished.path)
    for what, function in drawn(every, count, pytestconfig):
        calls.hold(faults, what, function, tmp_path / "folders")
    assert faults.all() == []
