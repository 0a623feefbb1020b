"""kill -9 of runs and studies, at moments that ZOO_TESTS_SEED draws: each ends as the one that nobody killed.

`tests/reliability/kills.py` has the law; `benchmarks/reliability.py --only kills` holds it a hundred times.
"""

import pytest

from tests import sampling
from tests.reliability import kills


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "times"), [(kills.Run, 10), (kills.Study, 10)], ids=["run", "study"])
def test_kills_change_nothing(kind, times, tmp_path):
    """Half of them before the first checkpoint of a run or a trial, or a study's own process, half after it."""
    found, killer = kills.Kills(), kills.Killer(kind, tmp_path / "home", sampling.SEED)
    while (done := found.early + found.between) < times:
        killer.episode(found, times - done)
    assert found.failed == found.different == []
    assert found.early > 0
    assert found.between > 0
