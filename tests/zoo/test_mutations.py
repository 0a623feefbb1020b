"""Damaged folders and files: each file is in turn removed, emptied, cut in half, changed, made unreadable.

`tests/reliability/damage.py` has the laws. ZOO_TESTS_SEED draws some of the cases; `pytest --whole` runs them all, in
one process, as `benchmarks/reliability.py --only files` does.
"""

import random

import pytest

import zoo
from tests import sampling, shared
from tests.reliability import damage
from tests.reliability.judging import Faults

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return shared.once(tmp_path_factory, "damaged-study", damage.DamagedStudy.make)


def hold(law, count, config):
    every, faults = law.cases(), Faults()
    drawn = every if config.getoption("--whole") else random.Random(sampling.SEED).sample(every, min(count, len(every)))
    for name, how in drawn:
        law.hold(faults, name, how)
    assert faults.all() == []
    assert faults.cases == len(drawn) > 0


@pytest.mark.parametrize("count", [1, pytest.param(10, marks=SLOW)])
def test_a_run_with_one_damaged_file_answers_as_before_or_says_so(count, finished, tmp_path, pytestconfig):
    hold(damage.DamagedRun(finished.path, tmp_path / "home"), count, pytestconfig)


@pytest.mark.parametrize("count", [pytest.param(12, marks=SLOW)])
def test_a_study_with_one_damaged_file_answers_as_before_or_says_so(count, study, tmp_path, pytestconfig):
    hold(damage.DamagedStudy(study, tmp_path / "home"), count, pytestconfig)


@SLOW
def test_an_export_is_taken_for_nothing_else_whatever_is_damaged_in_it(finished, tmp_path, pytestconfig):
    zoo.export(finished, tmp_path / "export")
    hold(damage.DamagedExport(tmp_path / "export", tmp_path / "home"), 8, pytestconfig)


@pytest.mark.parametrize("count", [2, pytest.param(28, marks=SLOW)])
def test_a_damaged_keras_file_starts_a_network_as_before_or_says_so(count, finished, tmp_path, pytestconfig):
    (tmp_path / "whole").mkdir()
    zoo.load(finished).save(tmp_path / "whole" / "model.keras")
    hold(damage.DamagedKeras(tmp_path / "whole", tmp_path / "home"), count, pytestconfig)
