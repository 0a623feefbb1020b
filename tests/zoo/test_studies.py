"""Studies run: each trial a run in a process of its own, and whatever happens to it, the study goes on."""

import contextlib
import shutil
import types

import keras
import numpy as np
import pytest

import zoo
from zoo.data import open_source
from zoo.runs import Run
from zoo.tuning import loop
from zoo.tuning.keeping import Keeper
from zoo.tuning.study import Study
from zoo.tuning.workers import engines, handed, process

SPACE = {"learning_rate": "1e-3..1e-1:log", "units": "4,8", "dropout": "0.0..0.3"}

FAULTY = '''
import os
import resource
import signal

import keras
import numpy as np

from zoo.fields import choice
from zoo.recipes.mlp import MLP


class Faulty(MLP, dataset="xor", epochs=2):
    """An MLP with a fault of one's choice."""

    fault: str = choice(
        "none", "raise", "memory", "nan", "segfault", "kill", default="none",
        search=("none", "raise", "memory", "nan", "segfault", "kill"), help="what goes wrong",
    )

    def network(self):
        match self.fault:
            case "raise":
                raise ValueError("no such layer\\nand more")
            case "memory":
                used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
                np.ones(2**29)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        model = super().network()
        if self.fault == "nan":
            model = keras.Model(model.input, keras.layers.Rescaling(float("nan"), name="head_nan")(model.output))
        return model
'''


def tune(directory, *, space=SPACE, oracle="random", epochs=3, **options):
    fixed = {"dataset": "xor", "epochs": epochs, "batch_size": 128, **options.pop("fixed", {})}
    recipe = options.pop("recipe", "mlp")
    return zoo.tune(recipe, space=space, fixed=fixed, oracle=oracle, directory=directory, quiet=True, **options)


def board(study):
    """What must be the same of studies that are the same."""
    return [
        (trial.number, trial.values, trial.status, trial.score, trial.epoch, trial.epochs, trial.reason)
        for trial in study.trials
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of three trials that nothing happened to. Read it, do not change it."""
    return tune(tmp_path_factory.mktemp("studies") / "whole", max_trials=3, keep=2)


def test_a_trial_is_a_run_as_zoo_train_makes_it(whole, tmp_path):
    for trial in whole.trials:
        run = Run.open(trial.path)
        assert run.status == "done"
        assert run.recipe == whole.recipe(trial)
        curve = whole.curve(trial)
        assert (trial.score, trial.epoch) == min((value, epoch) for epoch, value in curve.items())
        assert trial.epochs == 3
        assert trial.started < trial.ended
        assert (trial.path.parent / f"{trial.path.name}.log").read_text().count("Epoch ") == 3
    alone = zoo.train(whole.recipe(whole.trials[1]), directory=tmp_path / "run", quiet=True)
    assert (alone.path / "history.csv").read_text() == (whole.trials[1].path / "history.csv").read_text()


def test_only_the_best_keep_their_weights(whole):
    kept = {trial.number for trial in whole.trials if (trial.path / "checkpoints").exists()}
    assert kept == {trial.number for trial in whole.ranked()[:2]}


def test_a_cap_on_the_disk_drops_the_worst_first_and_the_best_never(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "study")
    study = Study.open(tmp_path / "study")
    with study._ledger.writing():
        Keeper(study._ledger, keep=2, max_disk=0.0).drop()
    assert [trial.number for trial in study.trials if (trial.path / "checkpoints").exists()] == [
        whole.ranked()[0].number
    ]
    assert zoo.evaluate(study.best(), "validation")["loss"] == pytest.approx(whole.ranked()[0].score, abs=1e-6)


def test_the_best_evaluates_to_its_score(whole):
    best = whole.best()
    assert isinstance(best, keras.Model)
    assert best.recipe == whole.recipe(whole.best_trial())
    assert zoo.evaluate(best, "validation")["loss"] == pytest.approx(whole.best_trial().score, abs=1e-6)


@pytest.mark.slow
def test_a_study_in_parts_is_the_whole(whole, tmp_path):
    """Ended by one budget after another, in the middle of trials too, it is the study that was never ended."""
    study = tune(tmp_path / "parts", max_epochs_total=4, keep=2)  # trial 1 is paused after its first epoch
    assert [(trial.status, trial.epochs) for trial in study.trials] == [("completed", 3), ("paused", 1)]
    tune(tmp_path / "parts", max_trials=2, keep=2)
    assert board(tune(tmp_path / "parts", max_trials=3, keep=2)) == board(whole)
    for trial in whole.trials:
        assert (study.path / f"trials/{trial.number:04d}/history.csv").read_text() == (
            trial.path / "history.csv"
        ).read_text()
    with pytest.raises(zoo.InputError, match=r"fixed: epochs=4 \(there 3\)"):
        tune(tmp_path / "parts", epochs=4, max_trials=3)


@pytest.mark.slow
def test_workers_share_the_trials(whole, tmp_path):
    study = tune(tmp_path / "study", max_trials=3, workers=2)
    found, expected = ({str(trial.values): trial.score for trial in one.trials} for one in (study, whole))
    assert found == expected
    first, second, *_ = study.trials
    assert second.started < first.ended


def test_every_bad_trial_says_why_and_the_study_goes_on(tmp_path):
    recipe = tmp_path / "faulty.py"
    recipe.write_text(FAULTY)
    space = {"fault": "none,raise,memory,nan,segfault,kill", "units": "4,4096"}
    options = {"space": space, "oracle": "random", "max_parameters": 10_000, "directory": tmp_path / "study"}
    study = zoo.Study.make(str(recipe), fixed={"epochs": 2}, **options)
    for fault in ("raise", "memory", "nan", "segfault", "kill"):
        study.enqueue({"fault": fault})
    study.enqueue({"units": (4096,)})
    zoo.tune(str(recipe), fixed={"epochs": 2}, max_trials=7, quiet=True, **options)
    reasons = {trial.values["fault"]: trial.reason for trial in study.trials[:5]}
    assert [trial.status for trial in study.trials[:7]] == [*["failed"] * 5, "skipped", "completed"]
    assert reasons["raise"] == "ValueError: no such layer"
    assert reasons["memory"].startswith("out of memory: Unable to allocate 4.00 GiB")
    assert reasons["nan"].startswith("The loss became nan in epoch 1, step 1; there was none.")
    assert reasons["segfault"] == "its process ended by SIGSEGV"
    assert reasons["kill"] == "killed by SIGKILL 5 times in a row with no epoch finished"
    assert study.trials[5].reason == "20,482 parameters, above max_parameters=10,000"
    assert "no such layer" in (study.path / "trials" / "0000.log").read_text()
    assert study.ranked()[0].score is not None


def test_no_trial_with_a_score_is_an_error(tmp_path):
    recipe = tmp_path / "faulty.py"
    recipe.write_text(FAULTY)
    with pytest.raises(zoo.RunError, match=r"No trial of .* has a score: max_trials=1 .*ValueError: no such layer"):
        tune(tmp_path / "study", recipe=str(recipe), space={"units": "4,8"}, fixed={"fault": "raise"}, max_trials=1)


@pytest.mark.slow
def test_pruned_trials_stop_where_they_do_badly(tmp_path):
    """A rate near 0 learns nothing, and comes after trials that did."""
    options = {"pruner": "median", "space": {"learning_rate": "1e-7..1e-1:log"}}
    fixed = {"dataset": "xor", "epochs": 4, "batch_size": 128}
    study = zoo.Study.make("mlp", fixed=fixed, oracle="random", directory=tmp_path / "study", **options)
    for rate in (0.02, 0.03, 0.04, 0.05, 1e-7):
        study.enqueue({"learning_rate": rate})
    study = zoo.tune(
        "mlp", fixed=fixed, oracle="random", directory=tmp_path / "study", max_trials=6, quiet=True, **options
    )
    last = study.trials[-1]
    assert (last.status, last.epochs) == ("pruned", 1)
    assert "at epoch 1" in last.reason
    assert last.score == study.curve(last)[1]
    assert Run.open(last.path).status == "paused"


def test_time_that_is_over_ends_a_trial_with_its_epoch_and_a_study(tmp_path):
    study = tune(tmp_path / "study", max_trials=1, max_trial_time=1e-9)
    assert [(trial.status, trial.epochs) for trial in study.trials] == [("pruned", 1)]
    assert study.trials[0].reason == "max_trial_time=1e-09 s was over after 1 of 3 epochs"
    again = tune(tmp_path / "study", max_trials=5, max_time=1e-9)
    assert board(again) == board(study)
    with pytest.raises(zoo.RunError, match="has a score: max_time=1e-09 s is over"):
        tune(tmp_path / "other", max_time=1e-9)


@pytest.mark.slow
def test_hyperband_carries_weights_from_rung_to_rung(tmp_path):
    study = tune(tmp_path / "study", oracle="hyperband", epochs=3, space={"learning_rate": "1e-3..1e-1:log"}, keep=1)
    assert {trial.status for trial in study.trials} <= {"completed", "pruned"}
    stopped = [trial for trial in study.trials if trial.status == "pruned"]
    assert stopped
    assert all(trial.epochs == 1 and "rung of 1 epochs" in trial.reason for trial in stopped)
    logs = {trial.number: (study.path / "trials" / f"{trial.number:04d}.log").read_text() for trial in study.trials}
    promoted = [trial for trial in study.trials if "Going on with" in logs[trial.number]]
    assert promoted
    assert all(trial.epochs == 3 for trial in promoted)
    kept = [trial.number for trial in study.trials if (trial.path / "checkpoints").exists()]
    assert kept == [study.best_trial().number]


def test_arrays_are_written_once_and_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).astype("float32")
    data = (x, (x[:, 0] > 0).astype(int))
    options = {"space": {"units": "4,8"}, "fixed": {"dataset": data}, "epochs": 2}
    study = tune(tmp_path / "study", max_trials=1, **options)
    study = tune(tmp_path / "study", max_trials=2, **options)
    assert [trial.status for trial in study.trials] == ["completed"] * 2
    assert study.fixed["dataset"].startswith("arrays:")
    with pytest.raises(zoo.InputError, match="data: fingerprint"):
        tune(tmp_path / "study", max_trials=2, **{**options, "fixed": {"dataset": (x + 1, data[1])}})


def test_numbers_in_lists_are_what_they_are(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)).astype("float32")
    y = x.sum(axis=1)
    data = {"train": (x, [float(value) for value in y]), "validation": (x, y)}
    handed.write_data(tmp_path / "data", data)
    read = handed.read_data(tmp_path / "data")
    np.testing.assert_array_equal(read["train"][1], y)
    texts = {"train": (["a", "b"], [np.int64(0), 1])}
    handed.write_data(tmp_path / "texts", texts)
    assert handed.read_data(tmp_path / "texts") == {"train": (["a", "b"], [0, 1])}
    pixels = rng.random((2, 8, 8, 1))
    images = {"train": (pixels, ["a", "b"]), "test": (pixels, np.array(["b", "a"], object))}
    written = handed.write_data(tmp_path / "images", images)
    assert open_source(handed.read_data(tmp_path / "images")).fingerprint == written.fingerprint


def test_what_no_process_could_have_is_refused_by_name(tmp_path):
    class Mine(type(zoo.recipe("mlp"))):
        """Of a function."""

    with pytest.raises(zoo.InputError, match=r"Mine was defined in a script.*hypermodel"):
        tune(tmp_path / "study", recipe=Mine(), max_trials=1)
    batches = zoo.dataset("mlp", "train", dataset="xor")
    with pytest.raises(zoo.InputError, match=r"tf\.data\.Dataset cannot be handed.*hypermodel"):
        tune(tmp_path / "study", fixed={"dataset": batches}, max_trials=1)


@pytest.mark.parametrize(("options", "message"), [
    ({"objective": "val_acuracy"}, "Unknown objective 'val_acuracy'. Did you mean 'val_accuracy'. There are: loss"),
    ({"oracle": "bayes"}, "Did you mean 'bayesian'"),
    ({"pruner": "medain"}, "Did you mean 'median'"),
    ({"oracle": "hyperband", "pruner": "median"}, "hyperband prunes by itself"),
    ({"oracle": "hyperband", "space": {"epochs": "1..3"}}, "epochs is searched and fixed"),
    ({"max_trials": None}, "never ends: give max_trials"),
    ({"max_trials": 0}, "max_trials must be a whole number of at least 1"),
    ({"max_time": -1}, "max_time must be seconds above 0"),
    ({"workers": 0}, "workers must be"),
    ({"workers": 1_000_000}, "workers must be a whole number from 1 to 10,000"),
    ({"seed": 2**31}, "seed must be a whole number from 0 to"),
    ({"max_disk": 1e10}, "max_disk must be GB"),
    ({"gpus_per_trial": 100}, "need 100 GPUs"),
    ({"seed": -1}, "seed must be"),
    ({"seed": None}, "seed must be"),
    ({"max_disk": float("nan")}, "max_disk must be"),
    ({"keep": 0}, "keep must be a whole number"),
    ({"keep": "three"}, "keep must be a whole number"),
    ({"max_disk": -1}, "max_disk must be GB"),
    ({"fixed": {"dataset": "digitz"}}, "Did you mean 'digits'"),
])  # fmt: skip
def test_bad_input_is_one_line(options, message, tmp_path):
    with pytest.raises(zoo.InputError, match=message.replace("'. Did", r"'\. Did").replace("'. There", r"'\? There")):
        tune(tmp_path / "study", **{"max_trials": 1, **options})
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(("names", "message"), [
    ("xor,nope", "Unknown dataset 'nope'"), ("xor,arrays:1", "handed over in memory"),
    (["xor", "csv:"], "needs a path"), (["xor", "csv:nowhere"], "dataset=csv:nowhere: nowhere is not there"),
])  # fmt: skip
def test_data_sets_that_are_searched_are_there(names, message, tmp_path):
    with pytest.raises(zoo.InputError, match=message):
        zoo.tune("mlp", space={"dataset": names}, max_trials=1, directory=tmp_path / "study", quiet=True)
    assert not (tmp_path / "study").exists()


def test_a_trial_that_no_machine_takes_keeps_no_study_past_its_budget(tmp_path, monkeypatch):
    """It is left as it is, with none of its seconds spent; where there is room, the same command goes on with it."""

    class Waiting:
        waits = True
        killed = False

        def kill(self):
            self.killed = True

    class Full:
        slots = (0,)
        started = []
        now = 0.0

        def start(self, job, log, slot):
            self.started.append(Waiting())
            return self.started[-1]

        def wait(self, running, timeout):
            self.now += 100.0
            return []

    full = Full()
    with monkeypatch.context() as patch:
        patch.setattr(engines, "opened", lambda *asked: contextlib.nullcontext(full))
        patch.setattr(loop, "time", types.SimpleNamespace(monotonic=lambda: full.now))
        with pytest.raises(zoo.RunError, match="max_time=60 s is over"):
            tune(tmp_path / "study", max_trials=1, max_time=60)
    assert [one.killed for one in full.started] == [True]
    study = Study.open(tmp_path / "study")
    with study._ledger.writing():
        assert study._ledger.running() == {0: (None, 0.0)}
    assert [trial.status for trial in tune(tmp_path / "study", max_trials=1).trials] == ["completed"]


def test_workers_share_out_the_cores_and_more_than_there_are_is_a_warning():
    cores = process.cores()
    assert engines.opened("local", None, 1, None).slots[0].cores is None
    if len(cores) > 1:
        first, second = engines.opened("local", None, 2, None).slots
        assert not set(first.cores) & set(second.cores)
        assert set(first.cores) | set(second.cores) <= set(cores)
    with pytest.warns(UserWarning, match="workers=1000 share"):
        assert len(engines.opened("local", None, 1000, None).slots) == 1000


def test_the_best_is_trained_afresh_over_seeds(whole, tmp_path, capsys):
    from zoo.tuning.best_of import train_best

    spread = train_best(whole, seeds=2, directory=tmp_path / "best")
    runs = [Run.open(path) for path in sorted((tmp_path / "best").iterdir())]
    assert [run.recipe.seed for run in runs] == [1, 2]
    values = [zoo.evaluate(run, "test")["accuracy"] for run in runs]
    assert spread["accuracy"] == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert "over 2 seeds: test" in capsys.readouterr().out


@pytest.mark.slow
def test_a_hypermodel_serves_keras_tuner(tmp_path):
    """Every range is declared before the first trial; the model and its fit are the chosen recipe's."""
    import warnings

    import keras_tuner

    space = {"learning_rate": "1e-3..1e-1:log", "batch_size": "64,128", "epochs": "1,2", "hidden": "dense,gated"}
    model = zoo.hypermodel("mlp", space=space, dataset="xor")
    with pytest.raises(zoo.InputError, match=r"dataset is given twice"):
        zoo.hypermodel("mlp", fixed={"dataset": "xor"}, dataset="xor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # keras-tuner's own
        tuner = keras_tuner.RandomSearch(model, objective="val_loss", max_trials=3, seed=1, directory=tmp_path)
        assert {hp.name for hp in tuner.oracle.get_space().space} == set(space)
        tuner.search(verbose=0)
    for trial in tuner.oracle.trials.values():
        recipe = model.recipe(trial.hyperparameters)
        assert trial.status == "COMPLETED"
        assert len(trial.metrics.get_history("val_loss")) == 1
        assert trial.best_step <= recipe.epochs
    assert model.recipe(keras_tuner.HyperParameters()).batch_size == 64


@pytest.mark.slow
def test_the_best_is_exported(whole, tmp_path):
    from zoo import cli

    with contextlib.suppress(SystemExit):
        cli.main(["export", str(whole.path), str(tmp_path / "exported"), "--quiet"])
    assert (tmp_path / "exported" / "saved_model.pb").exists()
