"""Runs and studies side by side: what a folder holds, read without Keras, whatever is damaged in it."""

import contextlib
import functools
import io
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest
import rich.console

import zoo
from tests import command_line
from tests.reliability import commands
from zoo import figures, files
from zoo.cli.screen import NARROWEST, fitted
from zoo.fields.texts import rounded
from zoo.overview import comparing, listing, plotting, watching

ARTEFACTS = pathlib.Path(__file__).parents[1] / "artefacts"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder with two runs and a study, which change in this order."""
    for second, name in enumerate(("lenet", "mlp", "study")):
        shutil.copytree(ARTEFACTS / name, tmp_path / "made" / name)
        for path in (tmp_path / "made" / name).iterdir():
            os.utime(path, (1e9 + second, 1e9 + second))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_cli(capfd):
    """Runs a command line; (status, stdout, stderr)."""

    return lambda *arguments: command_line.run(capfd, arguments)


# zoo runs -------------------------------------------------------------------------------------------------------------


def test_runs_and_studies_are_listed_the_latest_first(home, run_cli):
    found = listing.entries(home)
    assert [entry.path.name for entry in found] == ["study", "mlp", "lenet"]  # and no trial of the study
    assert [(entry.kind, entry.status) for entry in found] == [("study", "ended"), ("run", "done"), ("run", "done")]
    run = found[-1]
    rows = listing.history.read(run.path)
    assert (run.recipe, run.epochs, run.of, run.monitor) == ("lenet", len(rows), len(rows), "val_loss")
    assert run.score == min(row["val_loss"] for row in rows) == rows[run.best - 1]["val_loss"]
    status, out, err = run_cli("runs")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["made/study", "made/mlp", "made/lenet"]
    assert f"validation loss {run.score:.4g}" in lines[-1]
    assert json.loads(run_cli("runs", "made/lenet", "--json")[1])["result"] == [
        listing.as_json(listing.look(pathlib.Path("made/lenet")))
    ]


def test_a_run_is_running_while_a_process_holds_it_and_no_longer(home):
    for name, noun, after in (("lenet", "run", "interrupted"), ("study", "study", "ended")):
        folder = home / "made" / name
        if noun == "run":
            facts = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps({**facts, "status": "running"}))
        with files.locked(folder / f"{noun}.lock"):
            assert listing.look(folder).status == "running"
        assert listing.look(folder).status == after


def test_what_is_damaged_is_a_line(home, run_cli):
    commands.make_folders(home / "theirs")
    (home / "made" / "mlp" / "history.csv").write_bytes(b"epoch,loss\nthree\xff")
    (home / "made" / "study" / "study.sqlite").write_bytes(b"nonsense")
    (home / "made" / "again").symlink_to(home / "made")  # a circle
    status, out, err = run_cli("runs")
    assert (status, err) == (0, "")
    assert "Traceback" not in out
    lines = out.splitlines()[1:]
    folders = [line.split()[0] for line in lines]
    assert len(lines) == len(listing.entries())
    assert len(set(folders)) == len(lines)
    damaged = {line.split()[0] for line in lines if " damaged " in line}
    facts = {name for name, text in commands.FACTS.items() if text is not None} | {"folder.d", "bytes.d"}
    assert damaged == {f"theirs/{name}" for name in facts} | {"made/mlp", "made/study"}
    result = json.loads(run_cli("runs", "--json")[1])["result"]
    assert all(entry["reason"] for entry in result if entry["status"] == "damaged")


def test_a_folder_without_runs_says_so_and_has_an_empty_list(tmp_path, run_cli):
    status, out, err = run_cli("runs", tmp_path)
    assert (status, out, err.count("\n")) == (0, "", 1)
    status, out, _ = run_cli("runs", tmp_path, "--json")
    assert (status, json.loads(out)["result"]) == (0, [])


@pytest.mark.parametrize("width", [40, 80, 300])
def test_a_table_fits_the_terminal(width):
    rows = [("folder", "fields", "x"), ("runs/" + "deep/" * 30 + "end", "y" * 90, "z" * 5)]
    found = fitted(rows, width)
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    assert sum(widths) + 2 * (len(widths) - 1) <= width
    assert found[1][0].endswith("/end")
    assert found[0] == list(rows[0])
    assert width < 300 or [tuple(row) for row in found] == rows
    assert {len(cell) for cell in fitted([["w" * 50] * 20], 80)[0]} == {NARROWEST}


def test_numbers_that_are_not_finite_are_valid_json():
    from zoo.cli.answers import document

    text = document("runs", {"score": float("nan"), "all": (1.5, float("inf"), None), "path": pathlib.Path("a")})
    assert json.loads(text) == {
        "schema": 1,
        "verb": "runs",
        "result": {"score": None, "all": [1.5, None, None], "path": "a"},
    }
    assert "NaN" not in text


# zoo compare ----------------------------------------------------------------------------------------------------------


def changed(home, name, **values):
    """A copy of the run of a LeNet with other values of fields."""
    folder = shutil.copytree(ARTEFACTS / "lenet", home / name)
    facts = json.loads((folder / "run.json").read_text())
    facts["recipe"]["values"].update(values)
    facts.pop("digest", None)
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


def test_the_fields_that_differ_and_the_scores_are_told(tmp_path):
    same, other = changed(tmp_path, "same"), changed(tmp_path, "other", learning_rate=0.5, momentum=0.3)
    found = comparing.read([same, other])
    assert comparing.differing(found) == ["learning_rate"]  # momentum counts with another optimizer only
    header, *rows = comparing.as_cells(found)
    assert header == ("", "same", "other")
    cells = {row[0]: row[1:] for row in rows}
    assert cells["learning_rate"][1] == "0.5"
    row = listing.history.read(same)[found[0].epoch - 1]
    assert cells["validation loss"] == (rounded(row["val_loss"]),) * 2
    assert comparing.differing(comparing.read([same, changed(tmp_path, "third")])) == []
    mixed = comparing.read([same, ARTEFACTS / "mlp", ARTEFACTS / "study"])
    assert comparing.differing(mixed)[0] == "recipe"


def test_names_tell_runs_apart(tmp_path):
    found = comparing.read([changed(tmp_path, "a/run"), changed(tmp_path, "b/run"), changed(tmp_path, "c")])
    assert comparing.names_of(found)[:2] == ["a/run", "b/run"]


def test_a_page_has_every_run_and_escapes_its_name(tmp_path):
    runs = [changed(tmp_path, "<b>&one"), changed(tmp_path, "two", learning_rate=0.5)]
    page = comparing.write(comparing.read(runs), tmp_path / "page").read_text()
    assert "<b>&one" not in page
    assert "&lt;b&gt;&amp;one" in page
    assert page.count("two") >= 2
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"index.html", "curves.png"}
    comparing.write(comparing.read(runs), tmp_path / "page")  # over an older one
    (tmp_path / "page" / "thesis.txt").write_text("precious")
    with pytest.raises(zoo.InputError, match="something other than a report"):
        comparing.write(comparing.read(runs), tmp_path / "page")


def test_curves_are_those_of_the_histories(tmp_path):
    runs = comparing.read([ARTEFACTS / "lenet", ARTEFACTS / "mlp"])
    figure = figures.compared({run.entry.path.name: (run.rows, run.epoch) for run in runs}, ["loss"], figures.LIGHT)
    drawn = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    for run in runs:
        assert drawn[run.entry.path.name] == [row["val_loss"] for row in run.rows]


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    run, bare = changed(tmp_path, "run"), changed(tmp_path, "bare")
    (bare / "history.csv").unlink()
    for paths, message in (
        ([run], "2 to 16"),
        ([run, tmp_path / "." / "run"], "named twice"),
        ([run, bare], "no epoch to compare"),
        ([run] * 17, "2 to 16"),
    ):
        with pytest.raises(zoo.InputError, match=message):
            comparing.read(paths)


# zoo watch ------------------------------------------------------------------------------------------------------------


def test_a_run_is_followed_until_its_process_ends(tmp_path, capsys):
    run = changed(tmp_path, "run", epochs=3)
    rows = (run / "history.csv").read_text().splitlines()
    (run / "history.csv").write_text("\n".join(rows[:2]) + "\n")
    held = contextlib.ExitStack()
    held.enter_context(files.locked(run / "run.lock"))
    seen = []

    def wait(seconds):
        seen.append(capsys.readouterr().out)
        if len(seen) == 1:
            files.write(run / "history.csv", "\n".join(rows) + "\n")
        else:
            held.close()

    entry = watching.watch(run, wait)
    assert [text.count("epoch") for text in seen] == [1, 1]
    assert seen[1].startswith("epoch 2  loss ")
    assert capsys.readouterr().out.startswith(f"{run}: done after epoch 2 of 3; best validation loss")
    assert entry == listing.look(run)


def test_a_study_is_followed_until_its_process_ends(tmp_path, capsys):
    study = shutil.copytree(ARTEFACTS / "study", tmp_path / "study")
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    held = contextlib.ExitStack()
    held.enter_context(files.locked(study / "study.lock"))
    watching.watch(study, lambda seconds: held.close())
    out = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in out] == ["Trial 0", "Trial 1", str(study)]
    assert {path: path.read_bytes() for path in study.rglob("*") if path in before} == before


def test_where_no_process_lives_it_says_so_and_ends(tmp_path, run_cli):
    for name, verb in (("lenet", "trains"), ("study", "tunes")):
        status, out, _ = run_cli("watch", ARTEFACTS / name)
        assert (status, out.splitlines()[0]) == (0, f"No process {verb} {ARTEFACTS / name}: this is what there is.")


def test_ctrl_c_ends_the_watching_with_130(tmp_path, run_cli, monkeypatch):
    run = changed(tmp_path, "run")

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "watch", functools.partial(watching.watch, wait=interrupted))
    with files.locked(run / "run.lock"):
        assert run_cli("watch", run)[0] == 130


def test_the_picture_of_a_terminal_shows_the_best_and_what_runs(tmp_path):
    console = rich.console.Console(width=90, file=io.StringIO())
    console.print(watching._Run(ARTEFACTS / "lenet").picture(90, 60))
    text = console.file.getvalue()
    assert all(word in text for word in ("lenet in ", "loss  training  validation", "accuracy", "validation loss"))
    study = shutil.copytree(ARTEFACTS / "study", tmp_path / "study")
    with contextlib.closing(sqlite3.connect(study / "study.sqlite")) as state, state:
        state.execute("UPDATE trials SET status='running', until=2 WHERE number=0")
    with files.locked(study / "study.lock"):
        console.print(watching._Study(study).picture(90, 60))
    text = console.file.getvalue()
    assert "validation loss  trial 1  trial 0" in text
    assert "epoch 2 of 2" in text


def test_a_chart_has_its_highest_value_above_and_its_lowest_below():
    text = plotting.chart("loss", {"a": {1: 3.0, 2: float("nan"), 9: 1.0}, "b": {}}, 40, 5, 9).plain
    lines = text.splitlines()
    assert lines[0] == "loss  a"
    assert len(lines) == 7
    assert max(map(len, lines)) <= 40
    drawn = [[column for column, letter in enumerate(line) if letter >= "\u2800"] for line in lines]
    assert (drawn[1][0], drawn[5][-1]) == (len("3 "), 39)
    assert (lines[1][:2], lines[5][:2]) == ("3 ", "1 ")
    assert all(drawn[1:6])
    for curves in ({}, {"a": {1: 2.0}}, {"a": {1: 2.0, 2: 2.0}}):
        assert plotting.chart("loss", curves, 40, 5, 1).plain.startswith("loss")


@pytest.mark.slow
def test_none_of_these_verbs_loads_keras(tmp_path):
    code = """
import contextlib, sys
from zoo import cli
lenet, study = sys.argv[1:]
for arguments in (["runs", lenet], ["watch", lenet], ["watch", study], ["compare", lenet, study]):
    with contextlib.suppress(SystemExit):
        cli.main(arguments)
    found = [name for name in ("keras", "tensorflow", "jax", "torch", "keras_tuner") if name in sys.modules]
    assert not found, (arguments, found)
"""
    command = [sys.executable, "-c", code, str(ARTEFACTS / "lenet"), str(ARTEFACTS / "study")]
    environment = {**os.environ, "PYTHONPATH": str(ARTEFACTS.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Page written" in done.stdout
