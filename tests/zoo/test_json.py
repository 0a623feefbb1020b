"""`--json`: every verb prints one document with the same envelope, and everything else goes to stderr."""

import json
import shutil

import click
import numpy as np
import pytest
from PIL import Image

from tests.zoo.test_overview import ARTEFACTS
from tests.zoo.test_overview import run_cli as run_cli
from zoo import reproducing
from zoo.cli.group import zoo as group

CHEAP = {
    "list": ["le*"],
    "show": ["lenet"],
    "evaluate": ["RUN", "--split", "validation"],
    "predict": ["RUN", "image.png"],
    "leaderboard": ["STUDY"],
    "report": ["STUDY"],
    "runs": ["."],
    "watch": ["RUN"],
    "compare": ["RUN", "STUDY"],
    "data list": [],
    "data prepare": ["digits"],
    "data verify": ["digits"],
    "reproduce": ["lenet"],
}
"""{verb: arguments that succeed}."""

SLOW = {
    "train": ["lenet", "epochs=1", "--directory", "trained"],
    "tune": ["mlp", "dataset=xor", "epochs=1", "batch_size=128", "--max-trials", "1", "--directory", "tuned"],
    "export": ["RUN", "exported"],
}
"""The same, of verbs that start processes or train."""

KEYS = {
    "list": ("name", "task", "summary", "variants", "distribution"),
    "show": ("recipe", "summary", "fields", "cost"),
    "train": ("path", "status", "epochs", "score", "history"),
    "tune": ("path", "status", "trials", "score", "leaderboard"),
    "evaluate": ("split", "scores"),
    "predict": ("input", "label_1", "probability_1"),
    "export": ("path", "format"),
    "report": ("path",),
    "leaderboard": ("rank", "number", "status", "score", "fields"),
    "reproduce": ("name", "metric", "score", "band", "within"),
    "runs": ("path", "kind", "recipe", "status", "epochs", "score"),
    "watch": ("path", "kind", "recipe", "status", "epochs", "score"),
    "compare": ("page", "differing", "runs"),
    "data list": ("folder", "sets"),
    "data prepare": ("name", "sizes"),
    "data verify": ("name", "examples"),
}
"""Keys of the result, or of each of its entries."""

SERVERS = {"serve", "demo"}
"""Verbs that answer over HTTP and have no result."""


def verbs(command=group, before=()):
    """Yields (name, command) of every verb."""
    for name, inner in command.commands.items():
        if isinstance(inner, click.Group):
            yield from verbs(inner, (*before, name))
        else:
            yield " ".join((*before, name)), inner


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A working folder with a run, a study and an image."""
    shutil.copytree(ARTEFACTS / "lenet", tmp_path / "run")
    shutil.copytree(ARTEFACTS / "study", tmp_path / "study")
    Image.fromarray(np.arange(64, dtype="uint8").reshape(8, 8)).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    found = reproducing.Reproduction("lenet", "accuracy", float("nan"), (0.9, 1.0), True)
    monkeypatch.setattr(reproducing, "reproduce", lambda *_, **__: found)
    return tmp_path


def test_every_verb_has_the_option_and_a_case_here():
    assert {name for name, _ in verbs()} - SERVERS == {*CHEAP, *SLOW} == set(KEYS)
    for name, command in verbs():
        if name in SERVERS:
            continue
        assert "--json" in [option for parameter in command.params for option in parameter.opts], name


@pytest.mark.parametrize("verb", [*CHEAP, *(pytest.param(verb, marks=pytest.mark.slow) for verb in SLOW)])
def test_a_document_and_nothing_else_is_printed(verb, there, run_cli):
    line = [{"RUN": "run", "STUDY": "study"}.get(one, one) for one in {**CHEAP, **SLOW}[verb]]
    status, out, _ = run_cli(*verb.split(), *line, "--json")
    assert status == 0
    document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert list(document) == ["schema", "verb", "result"]
    assert (document["schema"], document["verb"]) == (1, verb)
    result = document["result"]
    entries = result if isinstance(result, list) else [result]
    assert entries
    for entry in entries:
        assert set(KEYS[verb]) <= set(entry)


def test_an_error_is_a_line_on_stderr_and_no_document(there, run_cli, monkeypatch):
    status, out, err = run_cli("evaluate", "nowhere", "--json")
    assert (status, out) == (2, "")
    assert err.startswith("Error: There is no run in nowhere")
    for verb in ("leaderboard", "predict"):
        status, out, err = run_cli(verb, "study", "--csv", "--json")
        assert (status, out, err) == (2, "", "Error: --csv and --json are two formats: give one.\n")


def test_what_fails_with_an_answer_prints_both(there, run_cli, monkeypatch):
    found = reproducing.Reproduction("lenet", "accuracy", 0.5, (0.9, 1.0), False)
    monkeypatch.setattr(reproducing, "reproduce", lambda *_, **__: found)
    status, out, err = run_cli("reproduce", "lenet", "--json")
    assert (status, json.loads(out)["result"]["within"]) == (1, False)
    assert "not within the card's band" in err


def test_what_is_printed_meanwhile_goes_to_stderr(run_cli, monkeypatch):
    import os

    from zoo.cli.answers import answers

    @click.command("loud")
    @answers("loud")
    def loud():
        print("from Python")
        os.system("echo from a process")
        return {"x": (1, float("inf"))}

    monkeypatch.setitem(group.commands, "loud", loud)
    status, out, err = run_cli("loud", "--json")
    assert (status, json.loads(out)["result"]) == (0, {"x": [1, None]})
    assert sorted(err.splitlines()) == ["from Python", "from a process"]
    assert "from Python" in run_cli("loud")[1]
