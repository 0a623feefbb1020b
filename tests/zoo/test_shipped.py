"""Weights that come with the package: each answers at once, is what its card says, and can be trained afresh."""

import json

import numpy as np
import pytest

import zoo
from zoo import InputError, cli, reproducing
from zoo.runs import Shipped, shipped_names
from zoo.weights import hub

NAMES = shipped_names()


def test_they_are_few_and_small():
    assert "lenet" in NAMES
    assert sum(path.stat().st_size for path in hub.FOLDER.rglob("*")) < 12e6


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_the_weights_are(name):
    card, recipe = Shipped(f"zoo:{name}").card, Shipped(f"zoo:{name}").recipe
    assert (card["name"], card["command"]) == (name, f"zoo train {name}")
    assert recipe == zoo.recipe(name, dataset=recipe.dataset, seed=0)  # plain: what the command trains today
    assert len(card["scores"]) == len(card["seconds"]) == len(card["seeds"]) == 3
    low, high = card["band"]
    assert all(low <= score <= high for score in [*card["scores"], card["shipped"]])
    assert abs(card["shipped"] - card["scores"][0]) <= 0.003 * card["scores"][0]  # what float16 costs


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_fit_the_network_and_the_reader(name):
    model = zoo.load(f"zoo:{name}")
    assert model.recipe.label == name
    for path, array in Shipped(f"zoo:{name}").weights().items():
        assert array.dtype in ("float16", "int32", "int64"), path
        assert np.isfinite(array).all(), path
    features = zoo.load(f"zoo:{name}", features=True)
    assert features.output.shape[-1] is not None


def test_the_shipped_score_is_that_of_the_weights():
    found = zoo.evaluate("zoo:lenet", "test")
    assert found["accuracy"] == pytest.approx(Shipped("zoo:lenet").card["shipped"], abs=1e-6)


def test_a_network_starts_from_them_and_keeps_its_head(capsys):
    model = zoo.build("lenet", init_from="zoo:lenet")
    assert "left" not in capsys.readouterr().out
    shipped = Shipped("zoo:lenet").weights()
    for variable in model.weights:
        np.testing.assert_array_equal(variable, shipped[variable.path])


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(InputError, match=r"Unknown weights 'lenett'. Did you mean 'lenet'"):
        zoo.load("zoo:lenett")
    with pytest.raises(InputError, match="Unknown weights"):
        zoo.reproduce("../../etc")


def test_reproducing_judges_by_the_band(monkeypatch, capsys):
    low = Shipped("zoo:lenet").card["band"][0]
    trained, scores = [], iter([low, low - 0.01])
    monkeypatch.setattr(reproducing, "train", lambda recipe, **options: trained.append(recipe))
    monkeypatch.setattr(reproducing, "evaluate", lambda run, split, data_dir: {"accuracy": next(scores)})
    cli.main(["reproduce", "zoo:lenet", "--quiet"])
    assert trained == [zoo.recipe("lenet", dataset="digits")]
    assert f"zoo:lenet: accuracy {low:.4g}, within the card's band" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        cli.main(["reproduce", "lenet", "--quiet"])
    assert ended.value.code == 1
    assert "not within the card's band" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "lenet/modern"])
def test_the_cheapest_are_reproduced(name, tmp_path):
    found = zoo.reproduce(name, directory=tmp_path / "run")
    assert found.within, found
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] in ("done", "stopped_early")
