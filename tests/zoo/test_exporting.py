"""Exports answer as the run did, and need nothing of ours."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import zoo
from tests import warm
from zoo import weights
from zoo.runs import Run
from zoo.serving import _export_worker, exporting

ALONE = """
import json, sys
import numpy as np
import tensorflow as tf
assert not any(name == "zoo" or name.startswith(("zoo.", "keras_tuner", "tensorflow_datasets")) for name in sys.modules)
model = tf.saved_model.load(sys.argv[1])
signatures = model.signatures
pixels = np.load(sys.argv[2])
png = tf.io.encode_png(pixels[0]).numpy()
jpeg = tf.io.encode_jpeg(pixels[0], quality=100).numpy()
colour = tf.io.encode_png(np.repeat(pixels[0], 3, axis=-1)).numpy()
answers = signatures["serving_default"](image_bytes=tf.constant([png, colour, jpeg]))
images = signatures["serve_images"](images=tf.constant(pixels))
several = signatures["serve_images"](images=tf.constant(np.zeros((5, 40, 7, 3), "uint8")))
print(json.dumps({
    "signatures": sorted(signatures),
    "dtypes": {name: value.dtype.name for name, value in answers.items()},
    "labels": [label.decode() for label in answers["label"].numpy()],
    "logits": answers["logits"].numpy().tolist(),
    "images": images["logits"].numpy().tolist(),
    "probability": answers["probability"].numpy().tolist(),
    "probabilities": answers["probabilities"].numpy().tolist(),
    "several": list(several["logits"].shape),
}))
"""


def test_a_run_without_texts_is_exported_by_a_process_without_keras(finished, tmp_path):
    code = f"""if True:
        import contextlib, sys
        from zoo.cli.group import main
        from zoo.serving import exporting
        asked = []
        exporting._started = contextlib.nullcontext
        exporting._ended = lambda what, arguments: asked.append(what) or sys.exit("begun")
        with contextlib.suppress(SystemExit):
            main(["export", {str(finished.path)!r}, {str(tmp_path / "out")!r}])
        print(asked, sorted({{"keras", "tensorflow", "sklearn", "matplotlib"}} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['write'] []\n"


def test_each_signature_is_traced_once_to_describe_it_and_once_to_save_it(finished, tmp_path, monkeypatch):
    recipe = finished.recipe
    network, reader = recipe.network(), finished.reader()
    traced = []

    def counted(name, function):
        return lambda *given: traced.append(name) or function(*given)

    endpoints = recipe.endpoints(network, reader)
    found = {name: (counted(name, function), specs) for name, (function, specs) in endpoints.items()}
    monkeypatch.setattr(type(recipe), "endpoints", lambda *given: found)
    (tmp_path / "out").mkdir()
    _export_worker._write_saved_model(recipe, network, reader, tmp_path / "out")
    assert sorted(traced) == sorted([*endpoints, *endpoints])  # saving, TensorFlow traces for itself


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """An export whose processes are started as a user's are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "subprocess", subprocess)
        return zoo.export(finished, tmp_path_factory.mktemp("exports") / "digits")


def test_an_export_answers_where_there_is_only_tensorflow(finished, exported, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 11, 9, 1), "uint8")
    np.save(tmp_path / "pixels.npy", pixels)
    command = [sys.executable, "-I", "-c", ALONE, str(exported), str(tmp_path / "pixels.npy")]
    done = warm.run(command, cwd=tmp_path, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["signatures"] == ["serve_images", "serve_tensors", "serving_default"]
    assert found["dtypes"] == {
        "label": "string", "probability": "float32", "probabilities": "float32", "logits": "float32",
    }  # fmt: skip
    expected = zoo.predict(finished, [pixels[0], pixels[1]])
    assert found["labels"][0] == expected[0].label
    assert found["probability"][0] == pytest.approx(expected[0].probability, abs=1e-5)
    assert sum(found["probabilities"][0]) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(found["logits"][0], found["images"][0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["logits"][1], found["logits"][0], atol=0.05)  # grey as colour, rounded once
    assert found["several"] == [5, 10]


def test_an_export_describes_itself(exported, finished):
    description = json.loads((exported / "signature.json").read_text())
    assert description["labels"] == [str(digit) for digit in range(10)]
    assert description["signatures"]["serving_default"]["inputs"] == {
        "image_bytes": {"dtype": "string", "shape": [None]}
    }
    assert set(description["signatures"]["serve_tensors"]["outputs"]) == {
        "label",
        "probability",
        "probabilities",
        "logits",
    }
    assert description["epoch"] == finished.best_epoch()
    assert description["fields"]["epochs"] == 2
    assert (exported / "labels.txt").read_text().split() == description["labels"]


@pytest.mark.slow
def test_a_version_is_laid_out_as_tensorflow_serving_reads_it(finished, tmp_path, capsys):
    target = zoo.export(finished, tmp_path / "digits", version=7, quiet=False)
    assert target == tmp_path / "digits" / "7"
    assert (target / "saved_model.pb").exists()
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["7"]
    out = capsys.readouterr().out
    assert "serving_default" in out
    assert "largest difference" in out


def test_answers_that_differ_are_an_error_and_leave_no_folder(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    answers = run.checkpoint("best") / "answers.npz"
    logits = weights.read(answers)["logits"]
    weights.write(answers, {"logits": logits + 0.01 * np.abs(logits).max()})
    hashes = answers.with_name("hashes.json")
    from zoo import files

    files.write_json(hashes, {**json.loads(hashes.read_text()), "answers.npz": files.digest(answers)})
    with pytest.raises(zoo.RunError, match=r"is off by \S+e-0[23] of the largest output"):
        zoo.export(run, tmp_path / "export")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
def test_a_model_that_its_owner_fitted_is_exported_with_its_labels(tmp_path):
    model = zoo.build("lenet/modern", classes=3)
    rng = np.random.default_rng(0)
    model.fit(rng.integers(0, 256, (16, 32, 32, 1)), rng.integers(0, 3, 16), verbose=0)
    target = zoo.export(model, tmp_path / "mine", labels=["ape", "bee", "cat"])
    assert json.loads((target / "signature.json").read_text())["labels"] == ["ape", "bee", "cat"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_run_of_another_backend_is_exported_the_same_way(backend, tmp_path):
    pytest.importorskip(backend)
    code = (
        "import zoo, sys\n"
        "run = zoo.train('lenet', epochs=1, directory=sys.argv[1], quiet=True)\n"
        "zoo.export(run, sys.argv[2], quiet=False)\n"
        "zoo.export(zoo.build('lenet'), sys.argv[2] + '2', quiet=False)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path / "export")]
    done = warm.run(command, env={**os.environ, "KERAS_BACKEND": backend})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Verified") == 2


@pytest.mark.slow
@pytest.mark.parametrize(("format", "module", "file"), [
    ("onnx", "tf2onnx", "model.onnx"), ("litert", "ai_edge_litert", "model.tflite"),
])  # fmt: skip
def test_other_formats_are_verified_the_same_way(finished, format, module, file, tmp_path):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs the extra {format}")
    target = zoo.export(finished, tmp_path / "export", format=format)
    assert {path.name for path in target.iterdir()} == {file, "labels.txt", "preprocess.py", "signature.json"}


@pytest.mark.slow
@pytest.mark.parametrize(("format", "module"), [("onnx", "tf2onnx"), ("litert", "ai_edge_litert")])
def test_exact_gelus_are_exported_to_other_formats(format, module, tmp_path):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs the extra {format}")
    model = zoo.build("vit", depth=1, width=16, hidden=16, patch=16)
    assert zoo.export(model, tmp_path / "export", format=format).exists()


def test_a_format_without_its_extra_says_what_to_install(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(zoo.InputError, match=r"pip install -c constraints.txt '\.\[onnx\]'"):
        zoo.export(finished, tmp_path / "export", format="onnx")


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_written(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_started", None)  # nothing is started
    (tmp_path / "file").write_text("mine")
    for target in ("/proc/x", "/proc/x/y", tmp_path / "file" / "x", tmp_path / "new" / ("x" * 300)):
        with pytest.raises(zoo.InputError, match=r"cannot be written to: .*Name another folder"):
            zoo.export(finished, target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_exported_is_said_and_writes_nothing(finished, tmp_path):
    (tmp_path / "there").mkdir()
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    cases = [
        ((finished, tmp_path / "there"), {}, "exists"),
        ((finished, tmp_path / "new"), {"format": "pickle"}, "format must be one of"),
        ((finished, tmp_path / "new"), {"version": 0}, "version must be"),
        ((finished, tmp_path / "new"), {"labels": ["a"]}, "its own labels"),
        ((tmp_path / "nowhere", tmp_path / "new"), {}, "no such folder"),
        ((plain, tmp_path / "new"), {}, "has no recipe"),
        ((zoo.build("lenet"), tmp_path / "new"), {"labels": ["a", "b"]}, "must name 10 classes"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(zoo.InputError, match=message):
            zoo.export(*arguments, **options)
    mine = type("Mine", (type(zoo.recipe("lenet")),), {"__module__": "__main__"})
    with pytest.raises(zoo.InputError, match="script or notebook"):
        zoo.export(mine().build(), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_network_that_is_no_longer_its_recipes_is_refused(tmp_path):
    model = zoo.build("lenet")
    other = keras.Model(model.inputs, keras.layers.Dense(10, name="head2")(model.get_layer("features").output))
    zoo.base.models.attach(other, recipe=model.recipe)
    with pytest.raises(zoo.InputError, match="no longer its recipe's network"):
        zoo.export(other, tmp_path / "new")
