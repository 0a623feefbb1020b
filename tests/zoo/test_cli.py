"""The command line: one clear line, exit status 2, no traceback, nothing written."""

import csv
import io
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests import command_line


@pytest.fixture
def run_cli(capfd, tmp_path, monkeypatch):
    """Runs a command line in an empty folder; (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    return lambda *arguments: command_line.run(capfd, arguments)


@pytest.mark.parametrize(("arguments", "message"), [
    (["train", "lenett"], "Did you mean 'lenet'"),
    (["train", "lenet/6"], "Unknown variant of lenet '6'"),
    (["train", "lenet", "dropuot=0.2"], "Did you mean 'dropout'"),
    (["train", "lenet", "dropout"], "Fields are given as name=value"),
    (["train", "lenet", "dropout=high"], "dropout must be a number between 0 and 0.95. Received: dropout=high"),
    (["train", "lenet", "dropout=2"], "Received: dropout=2"),
    (["train", "lenet", "dropout=0.1", "dropout=0.2"], "dropout is given twice"),
    (["train", "lenet", "epochs=0"], "epochs must be"),
    (["train", "lenet", "epochs=٣"], "epochs must be"),
    (["train", "lenet", "epochs=1_0"], "epochs must be"),
    (["train", "lenet", "epochs= 3"], "epochs must be"),
    (["train", "lenet", "lr=0.1"], "Did you mean 'learning_rate'"),
    (["train", "lenet", "weights=imagenet"], "Did you mean 'init_from'"),
    (["train", "lenet", "--data-dir", ""], "--data-dir is empty"),
    (["train", "lenet", "--directory", "x" * 300], "the path is too long"),
    (["train", "lenet", "momentum=0.5"], "has no effect: it counts only with optimizer=sgd or rmsprop"),
    (["train", "lenet", "input_shape=8,8,1"], "needs images of at least 16 x 16"),
    (["train", "lenet", "dataset=digitz"], "Did you mean 'digits'"),
    (["train", "lenet", "dataset=folder:nowhere"], "nowhere is not there"),
    (["train", "lenet", "classes=7"], "classes=7 was given, but dataset=digits has 10 classes"),
    (["train", "lenet", "init_from=nowhere"], "There is no run in nowhere"),
    (["train", "lenet", "monitor=accuracy_val"], "Unknown monitor"),
    (["train", "lenet", "--until", "0"], "0 is not in the range"),
    (["train", "lenet", "epochs=2", "--until", "3"], "until=3 is beyond the last epoch"),
    (["train", "lenet", "--directory", ""], "--directory is empty"),
    (["train", "lenet", "init_from="], "init_from must be"),
    (["train", "lenet", "filters=6,,16"], "filters must be"),
    (["train", "lenet/"], "Unknown variant"),
    (["evaluate", ""], "is empty"),
    (["train", "lenet", "--epochs", "3"], "A field is given as NAME=VALUE, such as epochs=12"),
    (["train", "--resume", "nowhere"], "There is no run in nowhere"),
    (["train", "--resume", "nowhere", "--directory", "there"], "leave --directory out"),
    (["train"], "Name a recipe to train"),
    (["train", "./mine.py"], "There is no recipe file"),
    (["trian", "lenet"], "Did you mean 'train'"),
    (["evaluate", "nowhere"], "There is no run in nowhere"),
    (["predict", "nowhere", "x.png"], "There is no run in nowhere"),
    (["predict", "nowhere"], "There is no run in nowhere"),
    (["export", "nowhere", "there"], "There is no run in nowhere"),
    (["report", "nowhere"], "There is no run in nowhere"),
    (["show", "lenett"], "Did you mean 'lenet'"),
    (["show", "lenet", "pool=maxx"], "Did you mean 'max'"),
    (["list", "--task", "image_clasification"], "Did you mean 'image_classification'"),
    (["list", "lenet", "two\nlines\r"], r"unexpected extra argument (two\nlines\r)"),
    (["tune", "lenett"], "Did you mean 'lenet'"),
    (["tune", "lenet", "--space", "dropuot=0..0.5"], "Did you mean 'dropout'"),
    (["tune", "lenet", "--space", "dropout=0..2"], "Received: dropout=2"),
    (["tune", "lenet", "--space", "dropout"], "A space is given as field=range"),
    (["tune", "lenet", "--space", "all", "--space", "dropout=0..0.5"], "A space is given as field=range, or all"),
    (["tune", "lenet", "dropout=0.1", "--space", "dropout=0..0.5"], "dropout is searched and fixed"),
    (["tune", "lenet", "--oracle", "randm"], "Did you mean 'random'"),
    (["tune", "lenet", "--max-time", "2 weeks"], "A time is a number with s, m, h or d"),
    (["tune", "lenet", "--objective", ""], "--objective is empty"),
    (["tune", "lenet", "--max-disk", "inf"], "inf is not in the range"),
    (["tune", "lenet", "--workers", "1000000"], "1000000 is not in the range"),
    (["tune", "lenet", "--seed", "9" * 20], "is not in the range"),
    (["tune", "lenet", "--max-trials", "0"], "0 is not in the range"),
    (["tune", "job.yaml"], "There is no job file job.yaml"),
    (["train", "--best-of", "nowhere"], "There is no study in nowhere"),
    (["train", "lenet", "--seeds", "3"], "--seeds goes with --best-of"),
    (["train", "lenet", "--best-of", "nowhere"], "leave RECIPE"),
    (["train", "len\0et"], "has a NUL byte"),
    (["train", "lenet", "dataset=folder:a\0b"], "has a NUL byte"),
    (["evaluate", "ru\0n"], "has a NUL byte"),
    (["compare", "nowhere"], "Name 2 to 16 runs"),
    (["compare", "nowhere", "there"], "There is no run in nowhere"),
    (["watch", "nowhere"], "There is no run in nowhere"),
    (["runs", "nowhere"], "There is no folder nowhere"),
    (["runs", ""], "folder is empty"),
    (["data", "prepare", "digitz"], "Did you mean 'digits'"),
    (["data", "prepare", "folder:."], "no image"),
    (["data", "verfy", "digits"], "Did you mean 'verify'"),
    ([], "Usage: zoo"),
])  # fmt: skip
def test_bad_input_is_one_clear_line_status_2_and_nothing_written(run_cli, tmp_path, arguments, message):
    status, out, err = run_cli(*arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in out + err
    if message != "Usage: zoo":
        assert len([line for line in err.splitlines() if line.startswith("Error")]) == 1
        assert err.strip().splitlines()[-1].startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_closed_output_is_an_error(run_cli, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        status, _, err = run_cli("list")
    assert status == 1
    assert err.startswith("Error: the standard output is closed")


def test_a_folder_is_suggested_where_there_is_one(run_cli, tmp_path):
    (tmp_path / "photos").mkdir()
    status, _, err = run_cli("train", "lenet", "dataset=photos")
    assert status == 2
    assert "Did you mean 'folder:photos'?" in err


def test_the_whole_path(run_cli, tmp_path):
    status, out, err = run_cli("train", "lenet/modern", "epochs=2", "dropout=0.2", "--directory", "run")
    assert (status, err) == (0, "")
    assert re.match(r"Backend tensorflow .*, device .*, precision float32 \(.*\), XLA off \(.*\)\.\n", out)
    assert "Done: best val_loss" in out
    status, out, _ = run_cli("evaluate", "run", "--split", "validation")
    assert status == 0
    accuracy = float(re.search(r"validation accuracy +([\d.]+)", out).group(1))
    assert accuracy == pytest.approx(zoo.evaluate("run", "validation")["accuracy"], abs=1e-6)
    for name in ("a", "b"):
        pixels = np.zeros((8, 8, 1), "uint8")
        (tmp_path / f"{name}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    status, out, _ = run_cli("predict", "run", "a.png", "b.png", "--top", "2", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["input"] for row in rows] == ["a.png", "b.png"]
    assert list(rows[0]) == ["input", "label_1", "probability_1", "label_2", "probability_2"]
    status, out, _ = run_cli("predict", "run", "a.png")
    assert re.fullmatch(r"a\.png(  +\d \d+\.\d%){3}\n", out)
    status, out, err = run_cli("predict", "run", "a.png", "run.json")
    assert (status, out) == (2, "")
    assert "run.json" in err
    status, out, err = run_cli("train", "--resume", "run", "dropout=0.5")
    assert status == 2
    assert "dropout=0.5 (there 0.2)" in err
    status, out, _ = run_cli("train", "--resume", "run")
    assert (status, "is done" in out) == (0, True)


@pytest.mark.slow
def test_a_study_from_a_job_to_its_best(run_cli, tmp_path):
    (tmp_path / "job.yaml").write_text(
        "recipe: mlp\nfixed: {dataset: xor, batch_size: 128, epochs: 9}\n"
        "space:\n  learning_rate: 1e-3..1e-1:log\noracle: random\nmax_trials: 9\nmax_time: 1h\ndirectory: study\n"
    )
    command = ("tune", "job.yaml", "epochs=2", "--space", "units=4,8", "--max-trials", "2")
    status, out, err = run_cli(*command)
    assert (status, err) == (0, "")
    assert re.match(r"Tuning mlp in study: min val_loss\.\nTrial 0: completed [\d.]+ in epoch \d of 2; ", out)
    assert "Ended: max_trials=2 is reached. 2 completed." in out
    study = zoo.Study.open("study")
    assert study.space == {"learning_rate": "0.001..0.1:log", "units": "4,8"}
    assert study.fixed == {"dataset": "xor", "batch_size": 128, "epochs": 2}
    assert "Ended: max_trials=2 is reached. 2 completed." in run_cli(*command)[1]
    status, out, _ = run_cli("train", "--best-of", "study", "--seeds", "2")
    assert status == 0
    assert re.search(r"over 2 seeds: test .*accuracy [\d.]+ ± [\d.e-]+", out)
    status, out, _ = run_cli("train", "--best-of", "study", "--seeds", "2", "--quiet")
    assert status == 0
    assert re.fullmatch(r"accuracy [\d.]+ ± [\d.e-]+\nloss [\d.]+ ± [\d.e-]+\n", out)


def test_paths_that_cannot_be_are_one_line_too(run_cli, tmp_path, finished):
    (tmp_path / "file").write_text("")
    for arguments in (
        ["train", "lenet", "epochs=1", "--directory", "file"],
        ["train", "lenet", "epochs=1", "--directory", "file/run"],
        ["export", finished.path, "file/export"],
        ["report", finished.path, "--directory", "file"],
        ["predict", finished.path, tmp_path],
    ):
        status, out, err = run_cli(*arguments)
        assert (status, out.count("Traceback")) == (2, 0), (arguments, out, err)
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_quiet_prints_results_only(run_cli):
    assert run_cli("train", "lenet", "epochs=1", "--quiet")[:2] == (0, "")
    assert run_cli("data", "prepare", "digits", "--quiet")[:2] == (0, "")
    assert run_cli("list", "le*", "--quiet")[1] == "lenet\n"
    assert run_cli("show", "lenet", "--quiet")[1].splitlines()[0] == "parameters     61,750 (61,750 trainable)"


@pytest.mark.slow
def test_without_a_directory_the_same_command_goes_on_and_other_fields_get_another(run_cli, tmp_path):
    run_cli("train", "lenet", "epochs=2", "--until", "1", "--quiet")
    run_cli("train", "lenet", "epochs=2", "--quiet")
    (first,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"lenet-[0-9a-f]{8}", first.name)
    assert len(zoo.Run.open(first).history) == 2
    run_cli("train", "lenet/modern", "epochs=1", "--quiet")
    assert sorted(path.name.rpartition("-")[0] for path in (tmp_path / "runs").iterdir()) == ["lenet", "lenet-modern"]


def test_show_says_what_there_is_to_say(run_cli):
    status, out, _ = run_cli("show", "lenet/modern", "dropout=0.3")
    assert status == 0
    assert "lenet/modern: LeNet-5" in out
    (line,) = [line for line in out.splitlines() if line.startswith("dropout")]
    assert re.fullmatch(r"dropout +0\.3 +0\.0 +0\.\.0\.95 +0\.\.0\.5 +dropout before the classifier", line)
    (line,) = [line for line in out.splitlines() if line.startswith("momentum")]
    assert "only with optimizer=sgd or rmsprop" in line
    assert "parameters     61,706 (61,706 trainable)" in out
    assert "multiply-adds  416,520" in out
    for name in zoo.recipe("lenet").fields():
        assert re.search(f"^{name} ", out, re.MULTILINE)


def test_lists(run_cli):
    assert re.match(r"lenet +image_classification +LeNet-5.*\(variants 5, modern\)\n$", run_cli("list", "le*")[1])
    assert run_cli("list", "nothing*")[1] == ""
    assert "digits" in run_cli("data", "list")[1]
    assert run_cli("data", "verify", "digits")[1] == "digits: all 1,797 examples were read.\n"


def test_ctrl_c_is_status_130_and_a_failure_1(run_cli, monkeypatch):
    def interrupted(*_, **__):
        raise zoo.Interrupted("Stopped; epoch 3 is kept.")

    def failed(*_, **__):
        raise zoo.RunError("The loss became nan.")

    from zoo import training

    monkeypatch.setattr(training, "train", interrupted)
    assert run_cli("train", "lenet") == (130, "", "\nStopped; epoch 3 is kept.\n")
    monkeypatch.setattr(training, "train", failed)
    assert run_cli("train", "lenet") == (1, "", "Error: The loss became nan.\n")


JOBS = {
    "field": ("fixed: {dropuot: 1}", "2: Unknown field of LeNet 'dropuot'. Did you mean 'dropout'?"),
    "value": ("fixed: {epochs: many}", "2: epochs must be"),
    "space": ("space: {dropout: 0..2}", "2: dropout must be"),
    "variant": ("space: {variant: huge}", "2: Unknown variant of lenet 'huge'"),
    "key": ("max_trails: 3", "2: unknown key 'max_trails'. Did you mean 'max_trials'?"),
}


def test_what_a_verb_does_not_need_is_not_imported(tmp_path):
    for name, (line, _) in JOBS.items():
        (tmp_path / f"{name}.yaml").write_text(f"recipe: lenet\n{line}\n")
    facts = {"schema": 1, "recipe": zoo.registry.saved(zoo.recipe("lenet")), "data": {}, "status": "paused"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    code = """
import contextlib, io, sys
from zoo import cli
heavy = ("tensorflow", "keras", "tensorflow_datasets", "keras_tuner", "matplotlib", "sklearn", "jinja2")
with_keras = ("tensorflow", "keras")
for arguments, allowed in ((["list"], ()), (["--help"], ()), (["train", "lenett"], ()), (["evaluate", "nowhere"], ()),
                           (["train", "lenet/6"], ()), (["train", "lenet", "lr=0.1"], ()),
                           (["train", "transformer/base", "epochs=abc"], ()), (["show", "unet", "loss=x"], ()),
                           (["tune", "mlp", "units=a"], ()), (["tune", "resnet", "--space", "dropuot=0..1"], ()),
                           (["tune", "lenet", "--space", "dropout=0..2"], ()), (["tune", "lenet", "epochs=x"], ()),
                           (["runs"], ()), (["runs", "nowhere"], ()), (["runs", "--json"], ()),
                           (["train", "--resume", "run", "dropuot=1"], ()),
                           (["train", "--resume", "run", "dropout=2"], ()),
                           (["train", "lenet", "--resume", "run", "epochs=x"], ()),
                           *((["tune", f"{name}.yaml"], ()) for name in sys.argv[1:]),
                           (["show", "lenet", "--quiet"], with_keras)):
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        cli.main(arguments)
    print(arguments, file=sys.stderr)
    found = [name for name in heavy if name in sys.modules and name not in allowed]
    assert not found, (arguments, found)
print("light")
"""
    command = [sys.executable, "-c", code, *JOBS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=from_here())
    assert done.stdout.endswith("light\n"), done.stderr
    for name, (_, message) in JOBS.items():
        assert f"Error: {name}.yaml:{message}" in done.stderr
    assert "Unknown field of LeNet 'dropuot'. Did you mean 'dropout'?\n['train', '--resume'" in done.stderr


def from_here():
    """The environment of a process that runs elsewhere, and imports the checkout all the same."""
    return {**os.environ, "PYTHONPATH": str(pathlib.Path(zoo.__file__).parents[1])}


def test_a_nul_byte_in_a_job_is_one_line_too(run_cli, tmp_path):
    (tmp_path / "job.yaml").write_text('recipe: lenet\nmax_trials: 1\ndirectory: "a\\0b"\n')
    status, _, err = run_cli("tune", "job.yaml")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("Error: ")
