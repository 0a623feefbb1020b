"""Runs and studies side by side: what a folder holds, read without Keras, whatever is damaged in it."""

import json
import os
import pathlib
import shutil

import pytest

from tests.reliability import commands
from zoo import cli, files
from zoo.cli.screen import NARROWEST, fitted
from zoo.overview import listing

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

    def run(*arguments):
        status = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code or 0
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run


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
