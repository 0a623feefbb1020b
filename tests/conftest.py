"""What all tests share. Nothing of theirs touches the user's folders or the network."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _folders(tmp_path_factory):
    """Prepared data lie in a folder of the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run of two epochs, done. Read it, do not change it: `shutil.copytree` it first."""
    import zoo

    return zoo.train("lenet", epochs=2, directory=tmp_path_factory.mktemp("runs") / "finished", quiet=True)
