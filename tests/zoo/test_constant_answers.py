"""Whether a network has learned anything: its loss, and that of an answer that does not depend on the input."""

import contextlib
import shutil
import types

import keras
import numpy as np
import pytest

import zoo
from zoo import registry
from zoo.data import open_source
from zoo.objective.losses import SmoothedCrossentropy
from zoo.runs import Run
from zoo.serving import exporting
from zoo.tasks import _classes
from zoo.training import fitting
from zoo.tuning.report.live import Table
from zoo.tuning.trial import Trial


@pytest.mark.parametrize(("name", "fields", "shape"), [
    ("lenet", {"classes": 7, "label_smoothing": 0.1}, (4,)), ("unet", {"classes": 3}, (2, 5, 5)),
    ("gpt", {"vocabulary": 11}, (2, 5)), ("bert", {"vocabulary": 11}, (2, 5)),
    ("transformer", {"target_vocabulary": 9, "label_smoothing": 0.2}, (2, 5)),
])  # fmt: skip
def test_an_answer_of_all_alike_has_the_constant_loss(name, fields, shape):
    recipe = zoo.recipe(name, **fields)
    count = next(value for field, value in fields.items() if field != "label_smoothing")
    targets = np.random.default_rng(0).integers(1, count, shape)
    loss = recipe.make_loss()(targets, np.zeros((*shape, count), "float32"))
    assert recipe.constant_loss(None, None) == pytest.approx(float(loss), rel=1e-5)
    if name == "unet":
        assert recipe.replace(loss="dice").constant_loss(None, None) is None


def test_classes_are_answered_by_their_frequencies():
    labels = np.array([0] * 30 + [2] * 10)
    counts = np.bincount(labels, minlength=4)
    for smoothing in (0.0, 0.2):
        odds = (1 - smoothing) * counts / 40 + smoothing / 4
        logits = np.tile(np.log(np.maximum(odds, 1e-30)), (40, 1)).astype("float32")
        loss = SmoothedCrossentropy(smoothing)(labels, logits)
        assert _classes.entropy(counts, smoothing) == pytest.approx(float(loss), rel=1e-4)
    texts = {"train": (list("abcd"), [0, 0, 0, 1]), "validation": (["a"], [1])}
    recipe, source = registry.open_recipe("bert_classifier", {"dataset": texts})
    assert recipe.constant_loss(None, source) == pytest.approx(_classes.entropy(np.array([3, 1])))
    weighted = recipe.replace(class_weight="balanced")
    assert weighted.constant_loss(None, source) == pytest.approx(np.log(2))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_numbers_are_answered_by_the_mean_of_the_training_rows(loss, tmp_path):
    values = [*range(40), 500]
    rows = "".join(f"{row},{value}\n" for row, value in enumerate(values))
    (tmp_path / "train.csv").write_text("x,y\n" + rows)
    (tmp_path / "validation.csv").write_text("x,y\n0,20\n1,90\n")
    recipe, source = registry.open_recipe("mlp", {"dataset": f"csv:{tmp_path}", "target": "y", "loss": loss})
    reader = recipe.make_reader(source)
    z = np.array([[20.0], [90.0]]) - np.mean(values)
    z = (z / np.std(values)).astype("float32")
    assert recipe.constant_loss(reader, source) == pytest.approx(float(recipe.make_loss()(z, 0 * z)), rel=1e-4)


def test_a_loss_of_ones_own_has_no_constant_answer():
    digits = open_source("moons")

    class Own(type(zoo.recipe("mlp"))):
        def make_loss(self):
            return keras.losses.CategoricalHinge()

    assert fitting._constant_loss(zoo.recipe("mlp"), zoo.recipe("mlp").make_reader(digits), digits) is not None
    assert fitting._constant_loss(Own(), None, digits) is None


@pytest.mark.parametrize(("losses", "said"), [
    ([{"val_loss": 1.8e11}, {"val_loss": 3e11}],
     "Nothing was learned: the best validation loss, 1.8e+11, is not below that of a constant answer, 0.6931."),
    ([{"val_loss": 3.0}, {"val_loss": 0.5}, {"val_loss": 9.0}], ""), ([{"loss": 3.0}], ""), ([], ""),
])  # fmt: skip
def test_a_run_says_whether_anything_was_learned(losses, said, monkeypatch):
    monkeypatch.setattr(Run, "history", losses)
    assert Run("nowhere", {"constant_loss": np.log(2)}).unlearned == said
    assert Run("nowhere", {}).unlearned == ""  # begun before this was kept
    assert Run("nowhere", {"constant_loss": None}).unlearned == ""


def test_train_tune_and_export_say_it(tmp_path, capsys, monkeypatch):
    options = {"dataset": "xor", "epochs": 1, "hidden": "none"}
    run = zoo.train("mlp", directory=tmp_path / "run", learning_rate=0.0, **options)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Nothing was learned")]
    best = Trial(number=0, values={}, status="completed", score=1.0, path=run.path)
    study = types.SimpleNamespace(
        trials=[best], ranked=lambda: [best], path=tmp_path, name="mlp", objective="val_loss", direction="min", space={}
    )
    table = Table(study, quiet=False)
    table.end("done")
    assert line in capsys.readouterr().out.splitlines()
    monkeypatch.setattr(exporting, "_started", contextlib.nullcontext)
    monkeypatch.setattr(
        exporting, "_ended", lambda verb, command: shutil.copytree(run.path, command[-1], dirs_exist_ok=True)
    )
    zoo.export(run, tmp_path / "exported", quiet=False)
    assert line in capsys.readouterr().out.splitlines()
    zoo.train("mlp", directory=tmp_path / "other", dataset="moons", epochs=2)
    assert "Nothing was learned" not in capsys.readouterr().out
