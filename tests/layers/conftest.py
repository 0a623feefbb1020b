import pytest

from tests.layers import arrays


@pytest.fixture(autouse=True)
def _reseeded():
    """A test's arrays are its own, whatever ran before it."""
    arrays.reseed()
