"""A run survives: what resumes is what would have been."""

import copy
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import warnings

import keras
import numpy as np
import pytest

import zoo
from tests import warm
from zoo import building, files, weights
from zoo.data import pipeline
from zoo.runs import Run
from zoo.runs.run import KIND
from zoo.training import direction
from zoo.training.plan import make_plan

HARD = {"dropout": 0.3, "blur": 0.5, "ema": 0.9, "patience": 3, "accumulate": 2, "clip_norm": 1.0, "batch_size": 64}
"""Every kind of state at once: dropout, augmentation, averages, early stopping, accumulated gradients."""


SMALL = str(pathlib.Path(__file__).with_name("small.py"))


def train(directory, recipe=SMALL, **options):
    return zoo.train(recipe, directory=directory, quiet=True, **{"epochs": 3, **options})


def assert_same(first, second):
    """Two runs have the same history and, bit for bit, the same last checkpoint."""
    assert (first.path / "history.csv").read_text() == (second.path / "history.csv").read_text()
    for stem in ("weights", "optimizer", "averages", "answers"):
        ours, theirs = first.checkpoint() / f"{stem}.npz", second.checkpoint() / f"{stem}.npz"
        assert ours.exists() == theirs.exists()
        if ours.exists():
            ours, theirs = weights.read(ours), weights.read(theirs)
            assert list(ours) == list(theirs)
            for key in ours:
                np.testing.assert_array_equal(ours[key], theirs[key], f"{stem} {key}")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "whole", **HARD)


@pytest.fixture(scope="module")
def paused(tmp_path_factory):
    """The same run, paused after two epochs. Read it, do not change it: `shutil.copytree` it first."""
    return train(tmp_path_factory.mktemp("runs") / "paused", until=2, **HARD)


@pytest.mark.backend
def test_a_run_that_paused_ends_as_one_that_did_not(uninterrupted, paused, tmp_path):
    assert paused.status == "paused"
    assert len(paused.history) == 2
    shutil.copytree(paused.path, tmp_path / "run")
    done = zoo.train(resume=tmp_path / "run", quiet=True)
    assert done.status == "done"
    assert_same(uninterrupted, done)


@pytest.mark.backend
def test_an_exception_in_an_epoch_loses_that_epoch_alone(uninterrupted, tmp_path):
    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if len(Run.open(tmp_path / "run").history) == 1 and batch == 3:
                raise OSError("the lights went out")

    with pytest.warns(UserWarning, match="Failing restart from scratch"), pytest.raises(OSError, match="lights"):
        train(tmp_path / "run", callbacks=[Failing()], **HARD)
    assert Run.open(tmp_path / "run").status == "failed"
    assert_same(uninterrupted, train(tmp_path / "run", **HARD))


def test_the_same_call_on_a_done_run_is_nothing_more(uninterrupted, capsys):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.path.rglob("*")}
    again = zoo.train(SMALL, epochs=3, directory=uninterrupted.path, **HARD)
    assert "is done" in capsys.readouterr().out
    assert again.history == uninterrupted.history
    after = {path: path.stat().st_mtime_ns for path in uninterrupted.path.rglob("*")}
    assert {p: t for p, t in after.items() if p.name != "run.lock"} == {
        p: t for p, t in before.items() if p.name != "run.lock"
    }


def test_a_damaged_checkpoint_is_passed_over(uninterrupted, paused, tmp_path):
    shutil.copytree(paused.path, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "000002" / "weights.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="000002 is damaged and skipped"):
        assert_same(uninterrupted, train(tmp_path / "run", **HARD))


@pytest.mark.parametrize("pointer", [None, "", "0000", "000001", "000009"])
def test_the_newest_checkpoint_says_which_is_best(pointer, tmp_path):
    run = Run(tmp_path, {"status": "done"})
    for epoch in (1, 2, 3):
        run.save_checkpoint(
            epoch, {"weights": {"a": np.full(2, epoch)}}, {"history": [], "best_epoch": min(epoch, 2)}, 2
        )
    assert run.checkpoint("best").name == "000002"  # without a warning
    (tmp_path / "best").unlink() if pointer is None else (tmp_path / "best").write_text(pointer)
    with pytest.warns(UserWarning, match="best is missing or wrong: epoch 2 is the best") as told:
        assert run.checkpoint("best").name == "000002"
    assert len(told) == 1
    assert run.checkpoint("last").name == "000003"
    (tmp_path / "best").write_text("000002")
    (tmp_path / "checkpoints" / "000002" / "weights.npz").write_bytes(b"")
    with pytest.warns(UserWarning, match="000002, the best checkpoint, is gone or damaged: .*000003 takes its place"):
        assert run.checkpoint("best").name == "000003"


def test_a_checkpoint_that_was_not_renamed_is_no_checkpoint(uninterrupted, paused, tmp_path):
    shutil.copytree(paused.path, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    shutil.copytree(folder / "000002", folder / ".000003.123")
    (folder / ".000003.123" / "hashes.json").unlink()
    done = train(tmp_path / "run", **HARD)
    assert_same(uninterrupted, done)
    assert not list(folder.glob(".*"))


def test_a_kill_before_the_pointers_were_written_is_mended(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    run.set_status("running")
    (run.path / "best").unlink()
    (run.path / "last").write_text("000001")
    (run.path / "history.csv").unlink()
    done = zoo.train(resume=run.path, quiet=True)
    assert done.status == "done"
    assert_same(uninterrupted, done)
    assert (run.path / "best").read_text() == (uninterrupted.path / "best").read_text()


def test_a_kill_before_the_run_was_one_leaves_nothing_in_the_way(uninterrupted, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "run.lock").write_text("123")
    (tmp_path / "run" / ".probe.npz.123").write_bytes(b"half")
    assert_same(uninterrupted, train(tmp_path / "run", **HARD))
    assert not list((tmp_path / "run").glob(".*"))


def test_checkpoints_kept_are_the_last_two_and_the_best(tmp_path):
    run = train(tmp_path / "run", epochs=5, learning_rate=1e-12, schedule="constant", monitor="accuracy")
    kept = {int(path.name) for path in (run.path / "checkpoints").iterdir()}
    assert kept == {4, 5, run.best_epoch()}
    best = max(run.history, key=lambda row: (row["accuracy"], -row["epoch"]))
    assert run.best_epoch() == best["epoch"]


def test_early_stopping_stops_says_so_and_stays_stopped(tmp_path, capsys):
    fields = {"epochs": 9, "patience": 1, "learning_rate": 0.0}
    run = zoo.train(SMALL, directory=tmp_path / "run", **fields)
    assert run.status == "stopped_early"
    assert len(run.history) == 2
    assert run.facts["reason"] == "val_loss has not fallen for 1 epoch"
    out = capsys.readouterr().out
    assert "epoch 1 of 9; it stops earlier if val_loss has not fallen for 1 epoch.\n" in out
    told = r"Stopped after epoch 2: val_loss has not fallen for 1 epoch\. Best val_loss \S+ in epoch 1\. The run is in "
    assert re.search(told, out)
    again = train(tmp_path / "run", **fields)
    assert len(again.history) == 2


def test_a_plan_says_what_stops_it():
    recipe = zoo.recipe("lenet")
    assert make_plan(recipe, 1, True).standstill is None
    assert make_plan(recipe.replace(patience=3), 1, False).standstill is None
    rises = recipe.replace(patience=3, monitor="val_accuracy")
    assert make_plan(rises, 1, True).standstill == "val_accuracy has not risen for 3 epochs"


@pytest.mark.backend
def test_averages_are_what_is_validated_and_loaded(uninterrupted):
    best = uninterrupted.checkpoint("best")
    averages, raw = weights.read(best / "averages.npz"), weights.read(best / "weights.npz")
    assert any((averages[key] != raw[key]).any() for key in raw)
    loaded = zoo.load(uninterrupted)
    for path, array in weights.of(loaded).items():
        np.testing.assert_array_equal(array, averages[path])
    found = zoo.evaluate(loaded, "validation")
    row = uninterrupted.history[uninterrupted.best_epoch() - 1]
    assert found["loss"] == pytest.approx(row["val_loss"], abs=1e-5)
    assert found["accuracy"] == pytest.approx(row["val_accuracy"], abs=1e-6)


@pytest.mark.backend
def test_the_stored_answers_are_the_best_weights_answers(uninterrupted):
    inputs = uninterrupted.probe()["serve_tensors/images"]
    answers = weights.read(uninterrupted.checkpoint("best") / "answers.npz")["logits"]
    np.testing.assert_allclose(zoo.load(uninterrupted).predict(inputs, verbose=0), answers, rtol=1e-4, atol=1e-4)


def test_a_loss_that_is_not_a_number_stops_with_where_and_the_last_that_was(tmp_path):
    class Poison(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.epoch = 0

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_begin(self, batch, logs=None):
            if (self.epoch, batch) == (1, 2):
                self.model.get_layer("head").bias.assign(np.full(10, np.nan))

        def get_state(self):
            return {}

        def set_state(self, state):
            """Nothing to set."""

    with pytest.raises(zoo.RunError, match=r"nan in epoch 2, step 3; the last finite loss was \d.*epoch 1 is kept"):
        train(tmp_path / "run", callbacks=[Poison()])
    run = Run.open(tmp_path / "run")
    assert run.status == "failed"
    assert all(np.isfinite(array).all() for array in run.weights().values())


def test_callbacks_with_state_are_resumed(tmp_path):
    class Counter(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

        def get_state(self):
            return self.batches

        def set_state(self, state):
            self.batches = state

    train(tmp_path / "run", until=1, callbacks=[Counter()])
    second = Counter()
    train(tmp_path / "run", callbacks=[second])
    assert second.batches == 3 * 33


class Interrupting(keras.callbacks.Callback):
    """Sends this process a signal at the beginning of an epoch, so many times."""

    def __init__(self, epoch, number, times=1):
        super().__init__()
        self.last, self.number, self.times = epoch, number, times

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.last:
            for _ in range(self.times):
                signal.raise_signal(self.number)
            assert self.times == 1, "the second one acts at once"


@pytest.fixture
def listening():
    """No signal is ignored, as SIGINT is where a shell runs the tests in the background, and SIGHUP under nohup."""
    ways = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in ways.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.slow
def test_ctrl_c_sigterm_and_sighup_keep_the_whole_epochs_and_say_how_to_go_on(uninterrupted, tmp_path, listening):
    ways = ((1, signal.SIGINT, 1, "Ctrl-C"), (1, signal.SIGINT, 2, "Ctrl-C"), (2, signal.SIGTERM, 1, "SIGTERM"),
            (2, signal.SIGHUP, 1, "SIGHUP"))  # fmt: skip
    for epoch, number, times, reason in ways:
        said = f"epoch {epoch} is kept. To go on: zoo train --resume {tmp_path / 'run'}"
        with (
            pytest.warns(UserWarning, match="Interrupting restart from scratch"),
            pytest.raises(zoo.Interrupted, match=said) as stopped,
        ):
            train(tmp_path / "run", callbacks=[Interrupting(epoch, number, times)], **HARD)
        assert stopped.value.exit_status == 128 + number
        assert Run.open(tmp_path / "run").status == "interrupted"
        assert Run.open(tmp_path / "run").facts["reason"] == reason
    assert_same(uninterrupted, train(tmp_path / "run", **HARD))


def test_nohup_is_honoured(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.warns(UserWarning, match="Interrupting restart from scratch"):
            run = train(tmp_path / "run", epochs=1, callbacks=[Interrupting(0, signal.SIGHUP)])
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.status == "done"


@pytest.mark.slow
def test_a_run_stays_where_it_began_when_the_working_folder_changes(tmp_path, monkeypatch, capsys):
    class Wandering(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            (tmp_path / f"{epoch}").mkdir()
            os.chdir(tmp_path / f"{epoch}")

    for kind, shade in (("dark", 40), ("light", 220)):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for number in range(8):
            keras.utils.save_img(tmp_path / "images" / kind / f"{number}.png", np.full((28, 28, 1), shade + number))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "CACHE_BYTES", 0)  # images are read in every epoch
    with pytest.warns(UserWarning, match="Wandering restart from scratch"):
        run = zoo.train(
            SMALL, dataset="folder:images", input_shape=(28, 28, 1), epochs=2, directory="run", callbacks=[Wandering()]
        )
    assert "The run is in run\n" in capsys.readouterr().out
    assert run.status == Run.open(tmp_path / "run").status == "done"
    assert len(run.history) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"run", "images", "0", "1"}
    assert not [*(tmp_path / "0").iterdir(), *(tmp_path / "1").iterdir()]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_previous_checkpoint_is_intact(tmp_path, monkeypatch, uninterrupted):
    write = weights.write

    def full(path, arrays):
        if path.name == "optimizer.npz" and ".000002." in str(path):
            raise OSError(28, "No space left on device")
        write(path, arrays)

    monkeypatch.setattr(weights, "write", full)
    with pytest.raises(
        zoo.RunError, match=r"^Epoch 2 could not be saved: No space left on device\. .*; epoch 1 is kept"
    ):
        train(tmp_path / "run", **HARD)
    monkeypatch.undo()
    assert_same(uninterrupted, train(tmp_path / "run", **HARD))


def test_files_are_whole_or_not_there(tmp_path, monkeypatch):
    from zoo import files

    files.write(tmp_path / "a", "old")
    monkeypatch.setattr(os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(zoo.RunError, match="No space left"):
        files.write(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), [
    ({"epochs": 4}, r"other fields: epochs=4 \(there 2\)"),
    ({"dropout": 0.1}, r"dropout=0.1 \(there 0.0\)"),
    ({"seed": 7}, "seed=7"),
])  # fmt: skip
def test_a_folder_of_other_fields_is_refused_with_the_difference(finished, options, message):
    with pytest.raises(zoo.InputError, match=message):
        zoo.train("lenet", directory=finished.path, quiet=True, **{"epochs": 2, **options})
    with pytest.raises(zoo.InputError, match=message):
        zoo.train(resume=finished.path, quiet=True, **options)


def test_other_data_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    data = (rng.integers(0, 256, (60, 16, 16), "uint8"), rng.integers(0, 2, 60))
    train(tmp_path / "run", epochs=2, until=1, dataset=data, batch_size=8)
    with pytest.raises(zoo.InputError, match="Pass the same data again"):
        zoo.train(resume=tmp_path / "run", quiet=True)
    with pytest.raises(zoo.InputError, match="other fields: dataset=arrays:"):
        zoo.train(resume=tmp_path / "run", dataset=(255 - data[0], data[1]), quiet=True)
    assert zoo.train(resume=tmp_path / "run", dataset=data, quiet=True).status == "done"


def test_ready_batches_are_used_as_they_are(tmp_path):
    data = zoo.dataset("lenet", "validation")
    run = train(tmp_path / "run", epochs=1, dataset={"train": data, "validation": data})
    assert run.status == "done"
    assert run.facts["steps_per_epoch"] == len(data)


@pytest.mark.parametrize("damage", ["missing", "empty", "half", "not a run", "newer"])
def test_a_folder_that_is_no_run_is_named(damage, finished, tmp_path):
    path = tmp_path / "run"
    if damage != "missing":
        path.mkdir()
    if damage in ("half", "newer"):
        shutil.copytree(finished.path, path, dirs_exist_ok=True)
        facts = json.loads((path / "run.json").read_text())
        text = (
            json.dumps({**facts, "schema": KIND.schema + 1})
            if damage == "newer"
            else (path / "run.json").read_text()[:50]
        )
        (path / "run.json").write_text(text)
    if damage == "not a run":
        (path / "thesis.doc").write_text("precious")
    message = {
        "missing": "no such folder", "empty": "no run.json", "half": "cannot be read", "not a run": "no run.json",
        "newer": "newer zoo.*upgrade",
    }[damage]  # fmt: skip
    with pytest.raises(zoo.InputError, match=message):
        zoo.train(resume=path, quiet=True)
    with pytest.raises(zoo.InputError, match=message):
        zoo.evaluate(path)
    if damage == "not a run":
        with pytest.raises(zoo.InputError, match="exists and is not a run"):
            train(path)
        assert [entry.name for entry in path.iterdir()] == ["thesis.doc"]


def test_a_run_that_is_being_trained_is_refused(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    with run.lock():
        with pytest.raises(zoo.InputError, match=f"trained by another process.*{os.getpid()}"):
            zoo.train(resume=run.path, quiet=True)
        run.set_status("running")
        assert run.status == "running"
    assert run.status == "interrupted"  # it says running, and nobody holds it


def test_a_run_of_another_recipe_is_refused(finished, tmp_path):
    recipe = tmp_path / "other.py"
    recipe.write_text("from zoo.recipes.lenet import LeNet\n\n\nclass Other(LeNet):\n    '''Another.'''\n")
    with pytest.raises(zoo.InputError, match=r"is a run of lenet, not of"):
        zoo.train(str(recipe), directory=finished.path, quiet=True)
    with pytest.raises(zoo.InputError, match=r"is a run of lenet, not of"):
        zoo.train(str(recipe), resume=finished.path, quiet=True)
    with pytest.raises(zoo.InputError, match=r"is a run of lenet, not of lenet/5"):
        zoo.train("lenet/5", resume=finished.path, quiet=True)


@pytest.mark.parametrize(("options", "message"), [
    ({"until": 0}, "until"),
    ({"until": 1.5}, "until"),
    ({"monitor": "val_acuracy"}, "Did you mean 'val_accuracy'"),
    ({"init_from": "nowhere"}, "no such folder"),
    ({"init_from": "nowhere.keras"}, "no such file"),
    ({"freeze": "conv*"}, "matches no layer"),
    ({"dataset": "digitz"}, "Did you mean 'digits'"),
])  # fmt: skip
def test_what_is_refused_leaves_nothing(options, message, tmp_path):
    with pytest.raises(zoo.InputError, match=message):
        train(tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


# init_from --------------------------------------------------------------------------------------------------------


def test_init_from_a_run_takes_whole_layers_and_says_which(finished, tmp_path, capsys):
    run = zoo.train(
        "lenet", epochs=1, learning_rate=0.0, filters=(6, 20), init_from=str(finished.path), directory=tmp_path / "run"
    )
    out = capsys.readouterr().out
    assert re.search(r"^c1 +156 +taken +trains +1$", out, re.MULTILINE)
    assert "new: c3/kernel is (5, 5, 6, 16) there and (5, 5, 6, 20) here" in out
    ours, theirs = run.weights(), finished.weights()
    np.testing.assert_array_equal(ours["c1/kernel"], theirs["c1/kernel"])
    np.testing.assert_array_equal(ours["head/kernel"], theirs["head/kernel"])  # the labels are the same


def test_init_from_takes_the_head_only_for_the_same_labels(finished, tmp_path, capsys):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (80, 16, 16), "uint8"), np.arange(80) % 10
    for label in range(10):
        (tmp_path / "data" / f"class{label}").mkdir(parents=True)
        for row in np.flatnonzero(labels == label):
            import tensorflow as tf

            png = tf.io.encode_png(images[row][..., None]).numpy()
            (tmp_path / "data" / f"class{label}" / f"{row}.png").write_bytes(png)
    start = {"init_from": str(finished.path), "dataset": f"folder:{tmp_path / 'data'}"}
    train(tmp_path / "run", "lenet", epochs=1, **start)
    zoo.build("lenet", init_from=str(finished.path))
    out = capsys.readouterr().out
    assert re.search(r"^head +850 +taken", out, re.MULTILINE)  # zoo.build: labels unknown


def test_init_from_a_keras_file_and_from_nothing_that_fits(finished, tmp_path):
    zoo.load(finished).save(tmp_path / "model.keras")
    model = zoo.build("lenet", init_from=str(tmp_path / "model.keras"))
    for path, array in weights.of(model).items():
        np.testing.assert_array_equal(array, finished.weights()[path])
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="odd")]).save(tmp_path / "odd.keras")
    with pytest.raises(zoo.InputError, match="shares no layer"):
        zoo.build("lenet", init_from=str(tmp_path / "odd.keras"))
    (tmp_path / "cut.keras").write_bytes((tmp_path / "model.keras").read_bytes()[:500])
    with pytest.raises(zoo.InputError, match=r"not a whole \.keras file"):
        zoo.build("lenet", init_from=str(tmp_path / "cut.keras"))


@pytest.mark.slow
def test_a_keras_file_has_its_labels_and_opens_without_the_zoo(finished, tmp_path):
    from zoo.base.models import attach

    path = tmp_path / "model.keras"
    images = keras.Input((4,))
    stock = keras.Model(images, keras.layers.Dense(2, name="head")(images))
    attach(stock, labels=("ham", "spam"))
    for model in (stock, copy.deepcopy(stock)):
        keras.saving.save_model(model, path)
        assert weights.labels(path) == ["ham", "spam"]
    code = "import sys, keras; print(keras.saving.load_model(sys.argv[1]).count_params(), 'zoo' in sys.modules)"
    alone = warm.run([sys.executable, "-I", "-c", code, str(path)], check=True)
    assert alone.stdout.split() == ["10", "False"]
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    assert weights.labels(path) is None


def test_a_head_is_taken_from_a_keras_file_of_the_same_labels(finished, tmp_path):
    zoo.load(finished).save(tmp_path / "model.keras")
    ours, others = [str(digit) for digit in range(10)], [f"class {digit}" for digit in range(10)]
    model = zoo.build("lenet")
    for labels, head in ((ours, "taken "), (others, "new: the labels differ ")):
        said = []
        building.initialize(model, tmp_path / "model.keras", labels, said.append)
        table, summary = said
        assert re.search(rf"^head +850 +{head}", table, re.MULTILINE)
        assert ("; the head starts with new weights: the labels differ;" in summary) == (labels is others)
    again = zoo.build("lenet", dataset="digits", init_from=str(tmp_path / "model.keras"))
    np.testing.assert_array_equal(weights.of(again)["head/kernel"], finished.weights()["head/kernel"])
    again.save(tmp_path / "again.keras")
    assert weights.labels(tmp_path / "again.keras") == ours


def test_code_in_a_keras_file_is_refused_in_one_line_without_a_way_around(finished, tmp_path):
    """Of `init_from`, of the reader of a run whose vocabulary is carried over, and of a run that is opened."""
    code = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x + 1)])
    run = shutil.copytree(finished.path, tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of the lambda
        code.save(tmp_path / "code.keras")
    shutil.copyfile(tmp_path / "code.keras", run / "reader.keras")
    for ask, named in (
        (lambda: zoo.build("lenet", init_from=str(tmp_path / "code.keras")), "init_from="),
        (lambda: zoo.recipe("bert_classifier", init_from=str(run))._carried(), "init_from="),
        (lambda: zoo.Run.open(run).reader(), "reader.keras"),
    ):
        with pytest.raises(zoo.InputError, match=r"has a Lambda layer, .* code that zoo never runs") as refused:
            ask()
        assert named in str(refused.value)
        assert "safe" not in str(refused.value)
        assert "\n" not in str(refused.value)


def test_training_leaves_global_state_alone(tmp_path):
    import random

    random.seed(5)
    expected = random.Random(5).random()
    train(tmp_path / "run", epochs=1, precision="mixed_bfloat16")
    assert random.random() == expected
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_resumes(precision, tmp_path):
    whole = train(tmp_path / "whole", "lenet", epochs=2, precision=precision)
    train(tmp_path / "half", "lenet", epochs=2, precision=precision, until=1)
    assert_same(whole, zoo.train(resume=tmp_path / "half", quiet=True))
    assert whole.history[-1]["accuracy"] > 0.6


@pytest.mark.parametrize(("name", "fields", "up", "down"), [
    ("lenet", {}, ["accuracy"], []),
    ("unet", {}, ["mean_iou", "dice"], []),
    ("mlp", {"loss": "mse"}, ["r2"], ["absolute_error"]),
    ("gpt", {}, ["token_accuracy"], ["perplexity", "bits_per_character"]),
    ("seq2seq", {}, ["token_accuracy"], ["perplexity"]),
])  # fmt: skip
def test_metrics_say_which_way_is_better(name, fields, up, down):
    recipe = zoo.recipe(name, **fields)
    assert {metric.name for metric in recipe.make_metrics()} == {*up, *down}
    for monitor, mode in [*((one, "max") for one in up), *((one, "min") for one in ["loss", *down])]:
        assert direction(recipe, monitor) == direction(recipe, f"val_{monitor}") == mode
    assert direction(recipe, None) == "min"


def test_no_epoch_retraces(traces):
    """One trace of the training step: epochs are all alike."""
    model = zoo.build("lenet")
    data = zoo.dataset(model, "train")
    model.fit(data, epochs=1, shuffle=False, verbose=0)
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    assert traces == [1]


def test_a_command_has_a_temporary_folder_and_removes_what_killed_ones_left(tmp_path, monkeypatch):
    base = tempfile.mkdtemp(dir="/tmp")  # short
    monkeypatch.setattr(tempfile, "tempdir", base)
    monkeypatch.setattr(files, "_YOUNG", -1)
    home = pathlib.Path(base, f"zoo-{os.getuid()}")
    try:
        with files.own_temporary_folder():
            first = pathlib.Path(tempfile.gettempdir())
            assert os.environ["TMPDIR"] == str(first)
            (first / "left").write_text("by a library")
            (home / "dead").mkdir()
            (home / "dead.lock").touch()
            tempfile.tempdir = base  # as another process has it
            with files.own_temporary_folder():
                assert pathlib.Path(tempfile.gettempdir()) != first
                assert (first / "left").exists()  # its process lives
                assert not (home / "dead").exists()
        assert list(home.iterdir()) == []
        assert tempfile.gettempdir() == base
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 60)))
        with files.own_temporary_folder():
            assert tempfile.gettempdir() == str(tmp_path / ("x" * 60))
    finally:
        shutil.rmtree(base)
