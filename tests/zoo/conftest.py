"""What tests of zoo share."""

import types

import pytest

from tests import warm


@pytest.fixture(scope="session", autouse=True)
def _warm_exports():
    """The two processes of every export start warm, but for the one that `test_exporting` makes as a user does."""
    from zoo.serving import exporting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "subprocess", types.SimpleNamespace(Popen=warm.Popen, PIPE=warm.PIPE))
        yield
