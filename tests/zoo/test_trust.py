"""A folder that somebody sent is data: no code that it names runs without the reader's word."""

import json
import pathlib
import shutil
import sys

import pytest

import zoo
from zoo import cli, registry
from zoo.recipes.lenet import LeNet
from zoo.registry import trust
from zoo.runs import Run
from zoo.tuning import jobs, ranges
from zoo.tuning.definition import Definition
from zoo.tuning.ledger import Ledger

EVIL = """
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
from zoo.recipes.lenet import LeNet


class Mine(LeNet):
    "A LeNet."
"""


@pytest.fixture
def recipe_file(tmp_path):
    """A recipe file that leaves a file `ran` beside it where it is imported."""
    path = tmp_path / "evil.py"
    path.write_text(EVIL)
    yield path
    for name in [name for name in sys.modules if name.startswith("zoo_recipe_evil") or name == "evil"]:
        del sys.modules[name]


@pytest.fixture
def sent(finished, tmp_path):
    """A function of changes to a run's saved recipe: the folder of a run of those, that somebody sent."""
    shutil.copytree(finished.path, tmp_path / "run")

    def change(**changes):
        path = tmp_path / "run" / "run.json"
        facts = json.loads(path.read_text())
        del facts["digest"]
        facts["recipe"] |= changes
        path.write_text(json.dumps(facts))
        return tmp_path / "run"

    return change


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


VERBS = {
    "evaluate": lambda run, **options: zoo.evaluate(run, **options),
    "predict": lambda run, **options: zoo.predict(run, ["x.png"], **options),
    "report": lambda run, **options: zoo.report(run, **options),
    "export": lambda run, **options: zoo.export(run, "exported", **options),
    "resume": lambda run, **options: zoo.train(resume=run, quiet=True, **options),
    "dataset": lambda run, **options: zoo.dataset(str(run), **options),
    "load": lambda run, **options: zoo.load(run, **options),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("reference", ["./evil.py", "{file}", "evil:Mine"])
def test_a_verb_asks_before_it_runs_the_recipe_file_of_a_run(sent, recipe_file, monkeypatch, verb, reference):
    monkeypatch.syspath_prepend(recipe_file.parent)
    run = sent(reference=reference.format(file=recipe_file))
    with pytest.raises(zoo.InputError, match=r"evil\.py, which this user has not trained .*--trust .*trust=True"):
        VERBS[verb](run)
    assert not (recipe_file.parent / "ran").exists()
    assert not pathlib.Path("exported").exists()


@pytest.mark.parametrize("reference", ["./evil.py", "evil:Mine"])
def test_the_readers_word_runs_it(sent, recipe_file, monkeypatch, reference):
    monkeypatch.syspath_prepend(recipe_file.parent)
    assert type(zoo.load(sent(reference=reference), trust=True).recipe).__name__ == "Mine"
    assert (recipe_file.parent / "ran").exists()


def test_a_recipe_that_is_named_on_the_command_line_is_the_readers_word(sent, recipe_file):
    run = sent(reference=str(recipe_file), name=str(recipe_file), variant=None)
    assert zoo.train(str(recipe_file), resume=run, quiet=True).status == "done"


def test_the_name_in_a_run_is_never_imported(sent, recipe_file):
    run = sent(name="./evil.py", variant=None)
    zoo.report(run)
    assert not (recipe_file.parent / "ran").exists()


def test_what_the_user_trained_here_goes_on_without_asking(recipe_file):
    reference = str(recipe_file)
    registry.remember(reference)
    registry.remember(reference)
    assert trust.remembered(reference)
    assert pathlib.Path("state/keras-zoo/trusted").read_text() == f"{reference}\n"
    assert registry.resolve(reference).__name__ == "Mine"
    assert not trust.remembered(f"{reference}x")


def test_beginning_a_run_remembers_its_recipe_file(recipe_file):
    recipe = registry.recipe(str(recipe_file), epochs=1)
    source = registry.open_recipe(recipe, {})[1]
    plan = zoo.training.make_plan(recipe, 1, True)
    Run.create("mine", recipe, source, plan).begin(recipe.make_reader(source), {})
    assert trust.remembered(registry.reference(recipe))


def test_recipes_of_the_package_need_no_memory():
    registry.remember(registry.reference(LeNet()))
    assert not pathlib.Path("state").exists()


def test_no_state_folder_is_no_error(monkeypatch, recipe_file):
    pathlib.Path("file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(pathlib.Path("file").absolute()))
    registry.remember(str(recipe_file))
    assert not trust.remembered(str(recipe_file))


REFERENCES = (5, None, "", "..:x", "os:system", "zoo.base:dataclasses.dataclass", "zoo.base:Recipe", "a\0.py", ":", "x")


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_that_no_run_has_is_one_line(sent, reference):
    with pytest.raises(zoo.InputError) as caught:
        zoo.load(sent(reference=reference), trust=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"given": 3}, {"given": [[]]}, {"values": None}, {"variant": 1}, {"name": None}])
def test_a_damaged_recipe_is_one_line(sent, changes):
    with pytest.raises(zoo.InputError, match="damaged"):
        zoo.load(sent(**changes))


@pytest.mark.parametrize("text", ['{"schema": 1, "recipe": null, "data": {}, "status": "done"}', "[" * 10_000])
def test_a_damaged_run_json_is_one_line(sent, text):
    run = sent()
    (run / "run.json").write_text(text)
    with pytest.raises(zoo.InputError, match="damaged"):
        zoo.load(run)


def test_a_job_asks_before_it_runs_its_recipe_file(recipe_file):
    pathlib.Path("job.yaml").write_text("recipe: ./evil.py\nmax_trials: 1\nspace: {dropout: 0..0.5}\n")
    with pytest.raises(zoo.InputError, match=r"job\.yaml:1: .*evil\.py.*--trust"):
        jobs.read("job.yaml")
    assert not (recipe_file.parent / "ran").exists()
    assert jobs.read("job.yaml", trust=True)["recipe"] == "./evil.py"


def test_a_study_asks_before_it_runs_its_recipe_file(recipe_file):
    saved = {**registry.saved(LeNet()), "reference": "./evil.py"}
    found, _ = ranges.read(LeNet(), {"dropout": "0..0.5"}, {})
    definition = Definition(
        recipe=saved, fixed={}, space={name: one.facts() for name, one in found.items()}, data={},
        objective="val_loss", direction="min", oracle="random", seed=0, pruner=None, max_parameters=None,
        initial_points=1,
    )  # fmt: skip
    with pytest.raises(zoo.InputError, match=r"evil\.py.*--trust"):
        _ = Ledger("sent", definition).space
    assert not (recipe_file.parent / "ran").exists()
    assert Ledger("sent", definition, trusted=True).space is not None


def test_the_command_line_takes_the_word(sent, recipe_file, capfd):
    run = sent(reference="./evil.py")
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", str(run)])
    assert stop.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    cli.main(["evaluate", str(run), "--trust", "--quiet"])
    assert "accuracy" in capfd.readouterr().out
