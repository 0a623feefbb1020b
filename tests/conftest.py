"""What all tests share. Nothing of theirs touches the user's folders or the network."""

import os

import pytest

from tests import order, sampling, shared

# Without these flags XLA spends most of a test's time on optimising code that runs only a few times. TensorFlow and JAX
# read them once, before they first compile. A version of XLA that lacks one of them stops with a message: then set
# XLA_FLAGS yourself, for example to "".
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false",
)


def pytest_addoption(parser):
    sampling.add_option(parser)


def pytest_configure(config):
    order.configure(config)


def pytest_report_header(config):
    return sampling.header(config)


@pytest.hookimpl(trylast=True)  # behind the choice by markers
def pytest_collection_modifyitems(config, items):
    sampling.deselect(config, items)
    order.sort(items, config.rootpath)


@pytest.fixture(scope="session", autouse=True)
def _folders(tmp_path_factory):
    """Prepared data, and what the zoo remembers of the user, lie in folders of the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run of two epochs, done. Read it, do not change it: `shutil.copytree` it first."""
    import zoo

    def make(folder):
        zoo.train("lenet", epochs=2, directory=folder, quiet=True)

    return zoo.Run.open(shared.once(tmp_path_factory, "finished", make))


@pytest.fixture
def traces(monkeypatch):
    """[how many times Python has run a model's training step]: once a trace, where steps are compiled."""
    import keras

    if keras.backend.backend() == "torch":
        pytest.skip("torch traces nothing")
    found, step = [0], keras.Model.train_step

    def counted(self, *arguments, **options):
        found[0] += 1
        return step(self, *arguments, **options)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    return found


@pytest.fixture
def mocked(monkeypatch, tmp_path):
    """A function of splits: sets of TensorFlow Datasets then hold noise, 50 examples a split, and count as prepared."""
    import tensorflow_datasets as tfds

    def info(split):
        files = tfds.core.ShardedFileTemplate(
            dataset_name="mocked", data_dir=tmp_path, split=split, filetype_suffix="tfrecord"
        )
        return tfds.core.SplitInfo(name=split, shard_lengths=[50], num_bytes=0, filename_template=files)

    def mock(*splits):
        known = tfds.core.splits.SplitDict([info(split) for split in splits])
        monkeypatch.setattr(tfds.core.DatasetInfo, "splits", known)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=50):
        yield mock
