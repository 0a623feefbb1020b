"""What an earlier version of the zoo wrote still opens.

`tests/artefacts/` was written by the version before the modules moved into folders: two runs, a study, a model that
Keras saved, and an export.
"""

import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import registry, weights
from zoo.runs import Run
from zoo.tuning.study import Study

ARTEFACTS = pathlib.Path(__file__).resolve().parents[1] / "artefacts"


@pytest.mark.parametrize("name", ["lenet", "mlp"])
def test_a_run_loads_and_answers_as_it_did(name):
    run = Run.open(ARTEFACTS / name)
    assert run.status == "done"
    assert [row["epoch"] for row in run.history] == [1, 2]
    model = zoo.load(run)
    (inputs,) = (array for key, array in run.probe().items() if key.startswith("serve_tensors/"))
    answers = weights.read(run.checkpoint("best") / "answers.npz")["logits"]
    np.testing.assert_allclose(model.predict(inputs, verbose=0), answers, rtol=1e-4, atol=1e-4)
    assert model.reader.labels


def test_a_run_goes_on(tmp_path):
    shutil.copytree(ARTEFACTS / "mlp", tmp_path / "mlp")
    run = Run.open(tmp_path / "mlp")
    before = run.history
    shutil.rmtree(run.checkpoint())
    run.set_status("interrupted")
    assert len(run.history) == 1
    done = zoo.train(resume=run, quiet=True)
    for ours, theirs in zip(done.history, before, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_values_of_an_older_run_win_over_newer_defaults(tmp_path):
    shutil.copytree(ARTEFACTS / "mlp", tmp_path / "mlp")
    kept = Run.open(tmp_path / "mlp").recipe
    same = {name: getattr(kept, name) for name in kept.origin.given}
    assert (kept.patience, zoo.recipe("mlp", **same).patience) == (None, 20)
    assert zoo.train("mlp", directory=tmp_path / "mlp", quiet=True, **same).recipe == kept
    for given, said in (({"patience": 7}, r"patience=7 \(there none\)"), ({"epochs": 60}, r"epochs=60 \(there 2\)")):
        with pytest.raises(zoo.InputError, match=said):
            zoo.train("mlp", directory=tmp_path / "mlp", quiet=True, **{**same, **given})
    del same["epochs"]  # 60 by default, and somebody asked for 2
    with pytest.raises(zoo.InputError, match=r"epochs=60 \(there 2\)"):
        zoo.train("mlp", directory=tmp_path / "mlp", quiet=True, **same)


def test_another_variant_is_another_run(tmp_path):
    shutil.copytree(ARTEFACTS / "lenet", tmp_path / "lenet")
    kept = Run.open(tmp_path / "lenet").recipe
    same = {name: getattr(kept, name) for name in kept.origin.given}
    with pytest.raises(zoo.InputError, match=r"holds a run with other fields: .*activation=relu"):
        zoo.train("lenet/modern", directory=tmp_path / "lenet", quiet=True, **same)


def test_a_recipe_that_was_saved_before_a_default_changed_is_restored():
    """Fields that do not count are at their default in a file, which may have been another one."""
    saved = registry.saved(zoo.recipe("mlp", monitor=None))
    saved["values"]["patience"] = None
    assert registry.restored(saved) == zoo.recipe("mlp", monitor=None)


def test_a_study_opens_ranks_and_proposes(tmp_path):
    shutil.copytree(ARTEFACTS / "study", tmp_path / "study")
    study = Study.open(tmp_path / "study")
    assert [trial.status for trial in study.trials] == ["completed", "completed"]
    best = study.best_trial()
    assert study.recipe(best).units == best.values["units"]
    assert study.best().recipe.units == best.values["units"]
    trial = study.ask()
    assert trial.number == 2
    study.tell(trial, best.score / 2, epochs=2)
    assert study.best_trial().number == 2


def test_a_saved_model_of_keras_loads():
    model = keras.saving.load_model(ARTEFACTS / "lenet.keras", compile=False)
    run = zoo.load(ARTEFACTS / "lenet")
    images = np.random.default_rng(0).uniform(0, 255, (4, *model.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(model.predict(images, verbose=0), run.predict(images, verbose=0), rtol=1e-4, atol=1e-4)


def test_an_export_answers_as_its_run_does():
    served = tf.saved_model.load(str(ARTEFACTS / "export")).signatures["serving_default"]
    names = list(served.structured_input_signature[1])
    row = {name: np.float32(number) for number, name in enumerate(names, 1)}
    answer = served(**{name: tf.constant([str(value)] if spec.dtype == tf.string else [value]) for (name, value), spec
                       in zip(row.items(), served.structured_input_signature[1].values(), strict=True)})  # fmt: skip
    reader = Run.open(ARTEFACTS / "mlp").reader()
    columns = {column: row[name] for column, name in reader.input_names.items()}
    (said,) = zoo.predict(ARTEFACTS / "mlp", [columns])
    assert answer["label"].numpy()[0].decode() == said.label


def test_a_study_in_place_of_a_run_is_named_and_so_is_a_run_in_place_of_a_study():
    with pytest.raises(zoo.InputError, match=r"study is a study, not a run\. Its best run is in .*best_run\(\)\."):
        zoo.load(ARTEFACTS / "study")
    with pytest.raises(zoo.InputError, match=r"lenet is a run, not a study\. zoo runs finds the studies"):
        zoo.Study.open(ARTEFACTS / "lenet")
