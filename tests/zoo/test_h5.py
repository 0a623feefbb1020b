"""Weights files of Keras as a source for `init_from`: by names of layers, and nothing from outside of the file."""

import h5py
import keras
import numpy as np
import pytest

import zoo
from zoo import InputError, weights
from zoo.weights.h5 import read_h5

SMALL = {"depth": 1, "width": 16, "heads": 2, "hidden": 16, "length": 16, "answer_length": 8}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """{name: (model, files with its weights)}: of this Keras, and as older ones wrote them."""
    folder, found = tmp_path_factory.mktemp("h5"), {}
    for name, given in (("lenet", {}), ("gpt", SMALL)):
        model = zoo.build(name, **given, seed=7)
        new, old = folder / f"{name}.weights.h5", folder / f"{name}.h5"
        model.save_weights(new)
        keras.Model(model.inputs, model.outputs).save(old)
        found[name] = model, (new, old)
    return found


@pytest.mark.parametrize("name", ["lenet", "gpt"])
@pytest.mark.parametrize("old", [False, True])
def test_a_file_of_keras_has_the_weights_of_a_network(name, old, saved):
    model, files = saved[name]
    expected = {path: one for path, one in weights.of(model).items() if "seed" not in path}
    found = read_h5(files[old], list(expected))
    assert set(found) == set(expected)
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array)


def test_a_network_is_started_from_such_a_file(saved, capsys):
    model, (file, _) = saved["lenet"]
    started = zoo.build("lenet", init_from=str(file), seed=3)
    assert "Started from" in capsys.readouterr().out
    for path, array in weights.of(started).items():
        np.testing.assert_array_equal(array, weights.of(model)[path])
    zoo.build("lenet", init_from=str(file), classes=3)
    (head,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("head ")]
    assert "head/kernel is (84, 10) there and (84, 3) here" in head
    with pytest.raises(InputError, match="shares no layer with gpt"):
        zoo.build("gpt", **SMALL, init_from=str(file))


def test_a_file_of_keras_2_is_read_by_its_names(tmp_path):
    """Names end with `:0`, and a layer's stand in pieces where they are many."""
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"c1"], [b"c3"]
        for number, layer in enumerate(("c1", "c3")):
            file.create_group(layer).attrs["weight_names"] = [f"{layer}/kernel:0".encode()]
            file[f"{layer}/{layer}/kernel:0"] = np.full(2, number)
    found = read_h5(tmp_path / "old.h5", ["c1/kernel", "c3/kernel", "c5/kernel"])
    assert {path: one.tolist() for path, one in found.items()} == {"c1/kernel": [0, 0], "c3/kernel": [1, 1]}


def _external(file):
    file["layers/conv2d/vars"].attrs["name"] = "c1"
    file["layers/conv2d/vars/0"] = h5py.ExternalLink("other.h5", "/secret")


def _huge(file):
    file["layers/conv2d/vars"].attrs["name"] = "c1"
    file["layers/conv2d/vars"].create_dataset("0", (1 << 30,), "float32", chunks=(1 << 20,))


def _nameless(file):
    file["layers/conv2d/vars/0"] = np.zeros(2)


@pytest.mark.parametrize(("make", "message"), [
    (_external, "has 0, which is not in the file itself"),
    (_huge, "of which it holds next to none"),
    (_nameless, "does not name its layers"),
    (lambda file: None, "has no weights of Keras"),
])  # fmt: skip
def test_a_file_that_is_not_read_says_why(make, message, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("layers/conv2d/vars")
        make(file)
    with pytest.raises(InputError, match=message) as caught:
        read_h5(tmp_path / "x.h5", ["c1/kernel"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"x" * 99, None])
def test_a_file_that_is_damaged_is_refused(data, tmp_path):
    if data is not None:
        (tmp_path / "x.weights.h5").write_bytes(data)
    with pytest.raises(InputError, match=r"not a complete \.h5 file of Keras|There is no file"):
        zoo.build("lenet", init_from=str(tmp_path / "x.weights.h5"))
