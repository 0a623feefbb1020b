import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo


def png(path, pixels):
    path.write_bytes(tf.io.encode_png(pixels).numpy())
    return path


def test_a_picture_gets_labels_with_probabilities_that_add_up(finished, tmp_path):
    from sklearn.datasets import load_digits

    pixels = (load_digits().images[0] * 15.9).astype("uint8")[..., None]
    by_path, by_array = zoo.predict(finished, [png(tmp_path / "zero.png", pixels), pixels])
    assert by_path.name == str(tmp_path / "zero.png")
    assert by_array.name == "#1"
    assert by_path.probabilities == pytest.approx(by_array.probabilities)
    assert sum(by_path.probabilities.values()) == pytest.approx(1.0)
    assert list(by_path.probabilities.values()) == sorted(by_path.probabilities.values(), reverse=True)
    assert by_path.label == next(iter(by_path.probabilities))
    assert by_path.probability == by_path.probabilities[by_path.label]


def test_a_batch_is_answered_as_its_pictures_alone(finished):
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 12, 9, 3), "uint8"))
    model = zoo.load(finished)
    together = zoo.predict(model, pictures)
    for one, picture in zip(together, pictures, strict=True):
        assert zoo.predict(model, picture)[0].probabilities == pytest.approx(one.probabilities, abs=1e-6)
    stacked = np.stack(pictures)
    dark = stacked // 255  # only all of them show that 1 is not white
    for many, same in ((stacked, stacked), (stacked / 255, stacked), (np.float32(stacked), stacked), (dark, dark)):
        found = zoo.predict(model, many)
        assert [one.name for one in found] == ["#0:0", "#0:1", "#0:2"]
        assert [one.probabilities for one in found] == [one.probabilities for one in zoo.predict(model, list(same))]


def test_a_deep_copy_answers_as_its_model(finished):
    model = zoo.load(finished)
    twin = copy.deepcopy(model)
    assert (twin.recipe, twin.run) == (model.recipe, model.run)
    picture = np.random.default_rng(0).integers(0, 256, (12, 9, 3), "uint8")
    assert zoo.predict(twin, picture) == zoo.predict(model, picture)
    again = copy.deepcopy(twin)
    assert zoo.predict(again, picture) == zoo.predict(model, picture)
    again.layers[-1].set_weights([0 * weight for weight in again.layers[-1].get_weights()])
    assert zoo.predict(again, picture) != zoo.predict(model, picture) == zoo.predict(twin, picture)
    assert copy.deepcopy(zoo.build("lenet")).recipe == zoo.recipe("lenet")


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "text", "floats", "flat"])
def test_what_cannot_be_read_is_named_and_skipped_only_when_asked(finished, tmp_path, kind):
    whole = png(tmp_path / "whole.png", np.zeros((8, 8, 1), "uint8"))
    bad = {"floats": np.full((8, 8, 1), 256.0), "flat": np.zeros(64, "uint8")}.get(kind, tmp_path / "bad.png")
    if kind in ("empty", "truncated", "text"):
        bad.write_bytes({"empty": b"", "truncated": whole.read_bytes()[:50], "text": b"hello"}[kind])
    message = {"floats": "uint8", "flat": "uint8"}.get(kind, str(bad))
    with pytest.raises(zoo.InputError, match=message):
        zoo.predict(finished, [whole, bad])
    assert [one.name for one in zoo.predict(finished, [whole, bad], skip_bad=True)] == [str(whole)]


def test_a_folder_stands_for_its_images_sorted_by_path(finished, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), "uint8")
    (tmp_path / "data" / "b").mkdir(parents=True)
    (tmp_path / "data" / ".hidden").mkdir()
    places = ["a.png", "b/c.PNG", "c.png"]
    for place, one in zip([*places, ".hidden/d.png"], pixels, strict=True):
        png(tmp_path / "data" / place, one)
    (tmp_path / "data" / "notes.txt").write_text("no image")
    model, paths = zoo.load(finished), [str(tmp_path / "data" / place) for place in places]
    found = zoo.predict(model, str(tmp_path / "data"))
    assert [one.name for one in found] == paths
    assert found == zoo.predict(model, paths)
    assert zoo.predict(model, [paths[0], tmp_path / "data" / "b"]) == found[:2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(zoo.InputError, match=r"empty is a folder without a file to predict: \.png"):
        zoo.predict(model, tmp_path / "empty")


def test_a_model_that_was_fitted_by_hand_predicts_with_the_labels_of_its_owner(finished):
    model, pixels = zoo.build("lenet/modern", classes=3), np.zeros((2, 9, 9, 1), "uint8")
    assert set(zoo.predict(model, pixels)[0].probabilities) == {"0", "1", "2"}
    found = zoo.predict(model, pixels, labels=["ape", "bee", "cat"])
    assert set(found[0].probabilities) == {"ape", "bee", "cat"}
    with pytest.raises(zoo.InputError, match="classes"):
        zoo.predict(model, pixels, labels=["ape"])
    with pytest.raises(zoo.InputError, match=r"leave labels= out"):
        zoo.predict(finished, pixels, labels=["ape"])
    with pytest.raises(zoo.InputError, match="of mlp has no reader"):
        zoo.predict(zoo.build("mlp"), {"x0": 1.0})


def test_a_study_answers_by_its_best(finished):
    class Best:
        best_run = staticmethod(lambda: finished.path)
        best = staticmethod(lambda: zoo.load(finished))

    pixels = np.zeros((9, 9, 1), "uint8")
    assert zoo.predict(Best(), pixels) == zoo.predict(finished, pixels)
    assert zoo.evaluate(Best()) == zoo.evaluate(finished)


def test_evaluation_is_the_models_own(finished):
    found = zoo.evaluate(finished, "test")
    model = zoo.load(finished)
    loss, accuracy = model.evaluate(zoo.dataset(model, "test"), verbose=0)
    assert found == pytest.approx({"loss": loss, "accuracy": accuracy})
    with pytest.raises(zoo.InputError, match="Did you mean 'test'"):
        zoo.evaluate(finished, "tset")
    with pytest.raises(zoo.InputError, match="no reader"):
        zoo.evaluate(keras.Sequential([keras.layers.Dense(1)]))


def test_a_loaded_model_knows_where_it_comes_from_and_saves_as_any_other(finished, tmp_path):
    model = zoo.load(finished)
    assert model.recipe == finished.recipe
    assert model.reader.labels == tuple(str(digit) for digit in range(10))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = finished.probe()["serve_tensors/images"]
    np.testing.assert_array_equal(model.predict(inputs, verbose=0), again.predict(inputs, verbose=0))
    features = zoo.load(finished, features=True)
    assert features.predict(inputs, verbose=0).shape == (8, 84)


def test_other_data_must_have_the_same_classes(finished, tmp_path):
    for label in "abcdefghij":
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(6):
            png(tmp_path / "data" / label / f"{number}.png", np.zeros((8, 8, 1), "uint8"))
    with pytest.raises(zoo.InputError, match=r"has the classes a, b, .*; the network was trained on 0, 1, "):
        zoo.evaluate(finished, "test", dataset=f"folder:{tmp_path / 'data'}")
