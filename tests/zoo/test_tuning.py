"""What a study proposes, and what it keeps: no trial is trained here."""

import contextlib
import dataclasses
import inspect
import math
import os
import re
import sqlite3

import numpy as np
import pytest

import zoo
from zoo import registry
from zoo.fields import Origin
from zoo.tuning import jobs, pruning, ranges
from zoo.tuning.definition import Definition
from zoo.tuning.keeping import Keeper
from zoo.tuning.ledger import Ledger
from zoo.tuning.loop import Budget
from zoo.tuning.options import Options
from zoo.tuning.oracles import Oracle
from zoo.tuning.ranges import Range
from zoo.tuning.report import leaderboard
from zoo.tuning.report.live import Table
from zoo.tuning.space import Space, unstopped
from zoo.tuning.study import Study

FOUR = {
    "learning_rate": "1e-4..1e-1:log",
    "dropout": "0.0..0.5",
    "hidden": "dense,gated",
    "batch_size": "16..64:step=16",
}


def space_of(name="mlp", space=None, fixed=None):
    recipe = registry.configured(name, {})
    found, fixed = ranges.read(recipe, space, fixed or {})
    return Space(recipe, found, fixed, named=isinstance(space, dict))


def make(path, oracle="random", seed=0, space=FOUR, fixed=None, pruner=None):
    """A study of mlp, without the process that reads its data."""
    searched = space_of(space=space, fixed=fixed)
    recipe = registry.configured("mlp", {})
    return Study(Ledger.make(path, Definition(
        recipe=registry.saved(recipe),
        fixed=searched.fixed,
        space={name: one.facts() for name, one in searched.ranges.items()},
        data={"data": "moons", "fingerprint": "f"},
        objective="val_loss",
        direction="min",
        oracle=oracle,
        seed=seed,
        pruner=pruner,
        max_parameters=None,
        initial_points=4,
    )))  # fmt: skip


def score(values):
    """A score that has one minimum, and is a function of the values alone."""
    return (
        (math.log10(values["learning_rate"]) + 2) ** 2 + values.get("dropout", 0.0) + (values.get("hidden") == "dense")
    )


def drive(study, trials):
    """Asks and tells so many trials."""
    for _ in range(trials):
        trial = study.ask()
        if trial is None:
            break
        study.tell(trial, score(trial.values), epoch=1, epochs=1)


def told(study):
    return [(trial.number, trial.values, trial.status, trial.score, trial.origin) for trial in study.trials]


def test_all_who_define_a_study_take_the_same_options():
    """`tune` and `Study.make` list them for editors: the same names, in the same order, with the same defaults."""
    names = [field.name for field in dataclasses.fields(Options)]
    tuned, made = (inspect.signature(one).parameters for one in (zoo.tune, Study.make))
    assert list(made) == names
    assert [name for name in tuned if name in names] == names
    for name in names:
        assert (tuned[name].default, tuned[name].annotation) == (made[name].default, made[name].annotation), name


def test_numpys_integers_are_whole_numbers_and_booleans_are_not(tmp_path):
    budget = Budget(max_trials=np.int64(3), max_time=np.float32(2), max_epochs_total=np.uint8(4))
    assert [type(number) for number in (budget.max_trials, budget.max_epochs_total)] == [int, int]
    for options in (
        {"max_trials": True},
        {"max_trials": 2.0},
        {"max_time": True},
        {"max_epochs_total": np.bool_(True)},
    ):
        with pytest.raises(zoo.InputError, match=f"{next(iter(options))} must be"):
            Budget(**options)
    study = make(tmp_path / "study")
    for wrong in ({"epoch": True}, {"epoch": 0}, {"epochs": 2.5}, {"epochs": -1}):
        with pytest.raises(zoo.InputError, match=f"{next(iter(wrong))} must be a whole number"):
            study.tell(study.ask() or study.trials[-1], 1.0, **wrong)
    study.tell(study.ask(), 1.0, epoch=np.int64(2), epochs=np.int32(3))
    assert (study.best_trial().epoch, study.best_trial().epochs) == (2, 3)


def test_a_study_ends_with_what_it_gained_on_the_default(tmp_path, capsys):
    study = make(tmp_path / "study")
    table = Table(study, quiet=False)
    for score, said in (
        (0.5, "Default: trial 0 is the default, and no trial is better."),
        (0.75, "Default: trial 0 is the default, and no trial is better."),
        (0.25, "Default: trial 0, 0.5; the best is 0.25 lower, by one seed of each."),
    ):
        study.tell(study.ask(), score, epoch=1, epochs=1)
        table.end("done")
        assert said in capsys.readouterr().out.splitlines()


def test_a_space_is_a_mapping_or_all():
    given = {**dict.fromkeys(field.name for field in dataclasses.fields(Options)), "oracle": "random", "seed": 0}
    assert Options.of({**given, "space": "all"}).space == "all"
    for wrong in ("some", ["dropout"], 3, np.zeros(3)):
        with pytest.raises(zoo.InputError, match="space is a mapping from fields"):
            Options.of({**given, "space": wrong})
    with pytest.raises(zoo.InputError, match="fixed is a mapping from fields"):
        Options.of({**given, "fixed": "all"})


# Spaces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "given", "expected"), [
    ("learning_rate", "1e-4..1e-1:log", Range(low=1e-4, high=1e-1, log=True)),
    ("batch_size", "8..64:step=8", Range(low=8, high=64, step=8)),
    ("dropout", "0..0.5:step=0.25", Range(low=0.0, high=0.5, step=0.25)),
    ("hidden", "dense,gated", Range(values=("dense", "gated"))),
    ("hidden", ["dense", "gated"], Range(values=("dense", "gated"))),
    ("units", "16x16,32", Range(values=((16, 16), (32,)))),
    ("units", [[16, 16], [32]], Range(values=((16, 16), (32,)))),
    ("units", (16, 16), Range(values=((16, 16),))),
    ("nesterov", "true,false", Range(values=(True, False))),
    ("rank", "none,2", Range(values=(None, 2))),
    ("batch_size", 32, Range(values=(32,))),
    ("units", 8, Range(values=((8,),))),
])  # fmt: skip
def test_ranges_are_read_and_their_text_means_the_same(field, given, expected):
    declared = registry.configured("mlp", {}).field(field)
    found = ranges.parse(field, declared, given)
    assert found == expected
    assert ranges.parse(field, declared, found.text) == found
    assert Range.restored(found.facts()) == found


@pytest.mark.parametrize(("space", "message"), [
    ({"learning_rat": "1..2"}, "Did you mean 'learning_rate'"),
    ({"hidden": "dense,gatd"}, "hidden must be one of none, dense.*Did you mean 'gated'"),
    ({"dropout": "0..2"}, "dropout must be a number between 0 and 0.95. Received: dropout=2"),
    ({"learning_rate": "1e-1..1e-4"}, "from the lower to the higher"),
    ({"learning_rate": "0..1:log"}, "must begin above 0"),
    ({"learning_rate": "0..1:logs"}, ":log or :step=N"),
    ({"batch_size": "8..16:step=100"}, "within its range"),
    ({"batch_size": "8..16:step=x"}, "within its range"),
    ({"batch_size": []}, "is empty"),
    ({"nesterov": "yes,no"}, "true,false"),
    ({"momentum": "0.5..0.9"}, r"no effect: it counts only with optimizer=sgd or rmsprop \(now optimizer=adamw\)"),
    ({"variant": "a,b"}, "Unknown variant of mlp"),
    ({"epochs": 3}, "nothing to search"),
    ({"epochs": "1..3", "dropout": "0..0.5"}, "epochs is searched and fixed"),
])  # fmt: skip
def test_a_space_that_cannot_be_is_one_line(space, message):
    with pytest.raises(zoo.InputError, match=message):
        space_of(space=space, fixed={"epochs": 3} if "dropout" in space and "epochs" in space else {})


@pytest.mark.parametrize("name", zoo.names())
def test_a_study_without_a_space_searches_the_few_fields_that_matter(name):
    few, every = space_of(name).ranges, space_of(name, "all").ranges
    assert 3 <= len(few) <= 6 < len(every)
    assert few == {field: every[field] for field in few}
    assert "learning_rate" in few
    assert "learning_rate" not in space_of(name, fixed={"learning_rate": 1e-3}).ranges


def test_a_space_is_ranges_or_all():
    with pytest.raises(zoo.InputError, match=r"A space is all, or ranges of fields by name\. Received: space='every'"):
        space_of(space="every")


@pytest.mark.parametrize("space", [None, "all"])
@pytest.mark.parametrize("name", ["mlp", "lenet", "lenet/modern"])
def test_nothing_chosen_is_the_recipe(name, space):
    searched = space_of(name, space)
    assert searched.recipe(searched.default()) == unstopped(registry.configured(name, {}))


def test_early_stopping_is_off_in_trials_unless_it_was_asked_for():
    """Rungs and pruners decide how long a trial trains; a default that ended it would be a second rule."""
    asked = {"epochs": 20, "learning_rate": "1e-4..1e-1:log"}
    default = registry.configured("mlp", {})
    assert default.patience is not None
    assert space_of(space=asked).recipe({}).patience is None
    assert unstopped(default).origin == default.origin
    assert unstopped(default) == default.replace(patience=None)
    assert space_of(space=asked, fixed={"patience": 3}).recipe({}).patience == 3
    assert space_of(space={"patience": "2..5"}).recipe({"patience": 4}).patience == 4
    mine = default.replace(patience=7)
    assert unstopped(mine) == mine
    assert Space(mine, *ranges.read(mine, asked, {})).recipe({}).patience == 7
    unmonitored = default.replace(monitor=None)
    fixed = {"monitor": "val_loss"}
    assert Space(unstopped(unmonitored), ranges.read(unmonitored, asked, {})[0], fixed).recipe({}).patience is None


@pytest.mark.parametrize(("name", "space"), [
    ("mlp", None),
    ("mlp", "all"),
    ("mlp", {"hidden": "dense,moe", "experts": "linear,mlp", "expert_units": "8..64:log", "activation": "relu,tanh"}),
    ("lenet", {"variant": "5,modern", "optimizer": "sgd,adam", "momentum": "0..0.9", "nesterov": "true,false"}),
])  # fmt: skip
def test_what_keras_tuner_draws_is_a_recipe_and_only_what_counts(name, space):
    """Each draw is read into a recipe; a field is in it exactly where it counts, and writing gives the draw again."""
    import keras_tuner

    searched = space_of(name, space)
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("x", "min"), hyperparameters=searched.parameters(), seed=1
    )
    for _ in range(50):
        kept = oracle._random_values()
        values = searched.read(kept)
        recipe = searched.recipe(values)
        counting = {name for name in searched.ranges if name == "variant" or not recipe.inactive(name, recipe.values())}
        assert set(values) == counting
        assert all(getattr(recipe, name) == value for name, value in values.items())
        assert searched.write(values) == {name: kept[name] for name in values}


def test_of_a_given_space_the_default_is_what_is_next_to_it():
    searched = space_of(space={"learning_rate": "1e-4..1e-3:log", "batch_size": "40..64:step=8", "hidden": "moe,gated"})
    assert searched.default() == {"batch_size": 40, "learning_rate": 1e-3, "hidden": "moe"}
    assert space_of().default()["weight_decay"] == 0.0  # below its own range, and the recipe's


@pytest.mark.parametrize(("field", "text"), [
    ("batch_size", "16..256:log"), ("batch_size", "2..16:log"), ("batch_size", "8..64"), ("batch_size", "8..64:step=8"),
    ("batch_size", "8..60:step=8"), ("learning_rate", "1e-4..1e-1:log"), ("learning_rate", "0.1..0.7"),
    ("dropout", "0..0.5:step=0.1"), ("hidden", "dense,gated"),
])  # fmt: skip
def test_no_draw_leaves_its_range(field, text):
    range_ = ranges.parse(field, registry.configured("mlp", {}).field(field), text)
    parameter = range_.parameter(field, None, [])
    draws = [0.0, 1.0, np.nextafter(1.0, 0.0), *np.random.default_rng(0).random(10_000)]
    found = {range_.read(parameter.prob_to_value(draw)) for draw in draws}
    if range_.values:
        assert found == set(range_.values)
    elif range_.step is None:
        assert range_.low <= min(found) <= max(found) <= range_.high
    else:
        steps = range(math.floor((range_.high - range_.low) / range_.step + 1e-9) + 1)
        np.testing.assert_allclose(sorted(found), [range_.low + step * range_.step for step in steps])


def test_next_to_a_value_is_what_a_range_has():
    assert [Range(low=8, high=30, step=8).nearest(value) for value in (1, 8, 21, 30, 99)] == [8, 8, 24, 24, 24]
    assert [Range(low=0.0, high=1.0).nearest(value) for value in (-1.0, 0.3, 2.0)] == [0.0, 0.3, 1.0]
    assert [Range(values=("a", "b")).nearest(value) for value in ("b", "c")] == ["b", "a"]


def test_variants_bring_what_they_set():
    searched = space_of("lenet", {"variant": "5,modern"})
    modern = searched.recipe({"variant": "modern"})
    assert modern == registry.configured("lenet/modern", {})
    assert modern.variant == "modern"
    with pytest.raises(zoo.InputError, match="name the recipe lenet, without /modern"):
        space_of("lenet/modern", {"variant": "5,modern"})


def test_what_a_recipe_was_given_stays_in_every_trial():
    recipe = registry.configured("lenet", {"dropout": 0.3, "rotation": 0.1})
    for space in ({"variant": "5,modern"}, {"learning_rate": "1e-3..1e-1"}):
        searched = Space(recipe, *ranges.read(recipe, space, {"rotation": 0.2}))
        trial = searched.recipe(searched.default())
        assert (trial.dropout, trial.rotation) == (0.3, 0.2)
        assert {"dropout", "rotation"} <= trial.origin.given


def test_a_fixed_field_that_can_never_count_is_refused():
    with pytest.raises(zoo.InputError, match=r"momentum=0\.5 has no effect"):
        space_of(space={"dropout": "0..0.5"}, fixed={"momentum": 0.5})
    searched = space_of(space={"optimizer": "sgd,adam"}, fixed={"momentum": "0.5"})
    assert searched.recipe({"optimizer": "sgd"}).momentum == 0.5
    assert searched.recipe({"optimizer": "adam"}).origin == Origin("mlp", None, frozenset({"optimizer"}))


# Asking and telling -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("oracle", "trials"), [("random", 8), ("grid", 8), ("bayesian", 6)])
def test_a_study_that_is_opened_anew_for_every_call_proposes_as_one_that_stayed_open(oracle, trials, tmp_path):
    whole = make(tmp_path / "whole", oracle)
    with whole._ledger.writing():
        drive(whole, trials)
    make(tmp_path / "parts", oracle)
    for _ in range(trials):
        drive(Study.open(tmp_path / "parts"), 1)
    assert told(Study.open(tmp_path / "parts")) == told(whole)
    assert len(told(whole)) == trials
    assert told(whole)[0][1] == whole._ledger.space.default()


def test_a_seed_decides_and_0_is_one(tmp_path):
    found = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        study = make(tmp_path / name, seed=seed)
        with study._ledger.writing():
            drive(study, 4)
        found[name] = [trial.values for trial in study.trials]
    assert found["a"] == found["b"]
    assert all(one != other for one, other in zip(found["a"][1:], found["c"][1:], strict=True))


def test_bayesian_finds_a_minimum_among_alternatives_sooner_than_random():
    searched = space_of(space={"learning_rate": "1e-4..1e-1:log", "dropout": "0.0..0.5", "schedule": "constant,cosine"})

    def found(name):
        oracle = Oracle(name, searched, "val_loss", "min", 0, 5, 5, lambda values: True)
        scores = []
        for _ in range(16):
            proposal = oracle.ask()
            values = searched.read(proposal.kept)
            scores.append((math.log10(values["learning_rate"]) + 2) ** 2 + values["dropout"])
            scores[-1] += values["schedule"] != "cosine"
            oracle.tell(proposal.id, scores[-1])
        return min(scores)

    assert found("bayesian") < found("random") / 2


@pytest.mark.parametrize("oracle", ["random", "grid", "bayesian"])
def test_a_space_is_exhausted_when_all_of_it_was_tried_once(oracle, tmp_path):
    study = make(tmp_path / "study", oracle, space={"hidden": "dense,gated", "batch_size": "16,32"})
    with study._ledger.writing():
        while (trial := study.ask()) is not None:
            study.tell(trial, trial.number)
    assert len(study.trials) == 4
    assert len({tuple(trial.values.items()) for trial in study.trials}) == 4


@pytest.mark.parametrize("seed", range(4))
def test_random_leaves_nothing_of_a_small_space_out(seed, tmp_path):
    study = make(tmp_path / "study", seed=seed, space={"hidden": "dense,gated", "epochs": "1..15"})
    with study._ledger.writing():
        while (trial := study.ask()) is not None:
            study.tell(trial, 1.0)
    assert len(study.trials) == 30


def test_a_grid_of_steps_has_both_ends(tmp_path):
    study = make(tmp_path / "study", "grid", space={"learning_rate": "0.001..0.019:step=0.003"})
    with study._ledger.writing():
        while (trial := study.ask()) is not None:
            study.tell(trial, 1.0)
    found = sorted(trial.values["learning_rate"] for trial in study.trials)
    assert found == [0.001, 0.004, 0.007, 0.01, 0.013, 0.016, 0.019]


def test_combinations_that_cannot_be_are_drawn_again(tmp_path):
    """top_k above expert_count is refused by the recipe, so no trial has it."""
    space = {"top_k": "1..8", "expert_count": "1,2"}
    study = make(tmp_path / "study", space=space, fixed={"hidden": "moe"})
    with study._ledger.writing():
        while (trial := study.ask()) is not None:
            study.tell(trial, 1.0)
    found = {(trial.values["top_k"], trial.values["expert_count"]) for trial in study.trials}
    assert found <= {(1, 1), (1, 2), (2, 2)}
    assert len(found) >= 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_what_is_no_number_has_failed_and_is_never_best(bad, tmp_path):
    study = make(tmp_path / "study", "bayesian")
    with study._ledger.writing():
        drive(study, 3)
        trial = study.ask()
        study.tell(trial, bad)
        drive(study, 2)
    assert study.trials[trial.number].status == "failed"
    assert study.trials[trial.number].score is None
    assert "val_loss was" in study.trials[trial.number].reason
    assert trial.number not in [one.number for one in study.ranked()]
    assert len(study.ranked()) == 5


def test_ranked_goes_by_score_then_number(tmp_path):
    study = make(tmp_path / "study")
    with study._ledger.writing():
        for value in (2.0, 1.0, 1.0, 3.0):
            study.tell(study.ask(), value)
    assert [trial.number for trial in study.ranked()] == [1, 2, 0, 3]
    assert study.best_trial().number == 1


def test_trials_of_ones_own_come_next_and_once(tmp_path):
    study = make(tmp_path / "study")
    study.enqueue({"learning_rate": 0.5, "hidden": "gated"})
    first, second = study.ask(), study.ask()
    assert (first.origin, second.origin) == ("enqueued", "default")
    assert first.values == {**second.values, "learning_rate": 0.5, "hidden": "gated"}  # the range ends at 0.1
    for values, message in (
        ({"learning_rate": 0.5, "hidden": "gated"}, "Trial 0 has these values"),
        ({"hiden": "gated"}, "Did you mean 'hidden'"),
        ({"dropout": 7}, "dropout must be"),
        ({"units": (3,)}, "Unknown field of this study's space"),
    ):
        with pytest.raises(zoo.InputError, match=message):
            study.enqueue(values)
    study.enqueue({"learning_rate": 0.4})
    with pytest.raises(zoo.InputError, match="comes next already"):
        study.enqueue({"learning_rate": 0.4})


def test_a_trial_of_ones_own_has_every_field_that_counts_in_it(tmp_path):
    study = make(tmp_path / "study", space={"optimizer": "adam,sgd", "momentum": "0.1..0.8"})
    study.enqueue({"optimizer": "sgd"})
    assert [study.ask().values for _ in range(2)] == [{"optimizer": "sgd", "momentum": 0.8}, {"optimizer": "adam"}]


def test_a_trial_is_told_once(tmp_path):
    study = make(tmp_path / "study")
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(zoo.InputError, match="it is completed"):
        study.tell(trial, 0.5)


def test_a_score_is_any_number_and_nothing_else(tmp_path):
    study = make(tmp_path / "study")
    for value in (np.float32(0.5), np.int64(1), np.array(0.25), 2, "0.75"):
        study.tell(study.ask(), value)
    assert [trial.score for trial in study.ranked()] == [0.25, 0.5, 0.75, 1.0, 2.0]
    trial = study.ask()
    for wrong in ("good", [1.0, 2.0], {}):
        with pytest.raises(zoo.InputError, match="is told a number"):
            study.tell(trial, wrong)
    with pytest.raises(zoo.InputError, match="takes a trial of ask"):
        study.tell(trial.number, 0.5)
    with pytest.raises(zoo.InputError, match=r"trial 2 of .* has no run: zoo train --best-of"):
        study.best()


def test_what_breaks_within_a_transaction_never_was(tmp_path, monkeypatch):
    """A proposal whose state could not be written is made again, and not lost or doubled."""
    whole = make(tmp_path / "whole")
    drive(whole, 3)
    study = make(tmp_path / "study")
    drive(study, 2)
    monkeypatch.setattr(Ledger, "_save_oracle", lambda self: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        study.ask()
    monkeypatch.undo()
    assert len(study.trials) == 2
    drive(study, 1)
    assert told(study) == told(whole)


def test_a_study_that_was_defined_otherwise_is_refused_with_what_differs(tmp_path):
    make(tmp_path / "study")
    for changes, message in (
        ({"seed": 1}, r"seed=1 \(there 0\)"),
        ({"oracle": "grid"}, r"oracle=grid \(there random\)"),
        ({"space": {**FOUR, "dropout": "0.0..0.6"}}, r"space: dropout=0.0..0.6 \(there 0.0..0.5\)"),
        ({"space": {**FOUR, "units": "8,16"}}, r"space: units=8,16 \(there left out\)"),
        ({"fixed": {"epochs": 3}}, r"fixed: epochs=3 \(there left out\)"),
    ):
        with pytest.raises(zoo.InputError, match=message):
            make(tmp_path / "study", **changes)
    assert make(tmp_path / "study").trials == []


def test_folders_that_are_no_studies_are_named(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("precious")
    for path, message in ((tmp_path / "nowhere", "no such folder"), (tmp_path / "mine", "no study.json")):
        with pytest.raises(zoo.InputError, match=message):
            Study.open(path)
    with pytest.raises(zoo.InputError, match="exists and is not a study"):
        make(tmp_path / "mine")
    study = make(tmp_path / "study")
    text = (study.path / "study.json").read_text()
    (study.path / "study.json").write_text(text[:40])
    with pytest.raises(zoo.InputError, match="damaged"):
        Study.open(study.path)
    (study.path / "study.json").write_text(text.replace('"schema": 1', '"schema": 9'))
    with pytest.raises(zoo.InputError, match="newer zoo"):
        Study.open(study.path)
    (study.path / "study.json").write_text('{"schema": 1}')
    with pytest.raises(zoo.InputError, match="damaged"):
        Study.open(study.path)
    (study.path / "study.json").write_text(text)
    (study.path / "study.sqlite").unlink()
    with pytest.raises(zoo.InputError, match=r"study\.sqlite is missing"):
        _ = Study.open(study.path).trials
    assert not (study.path / "study.sqlite").exists()


def test_a_study_in_use_is_refused_and_can_be_read(tmp_path):
    study = make(tmp_path / "study")
    with study._ledger.writing():
        drive(study, 1)
        other = Study.open(study.path)
        with pytest.raises(zoo.InputError, match=f"in use by another process.*{os.getpid()}"):
            other.ask()
        assert len(other.trials) == 1


def test_a_trial_runs_while_a_process_holds_its_study_and_is_paused_then(tmp_path):
    study = make(tmp_path / "study")
    with study._ledger.writing() as ledger:
        begun, asked = ledger.propose(), ledger.propose()
        ledger.begin(begun)
        assert [trial.status for trial in Study.open(study.path).trials] == ["running", "running"]
    assert study.trials[begun].status == "paused"
    assert study.trials[asked].status == "running"  # a loop of the user's own has it, and holds nothing
    assert [row["status"] for row in leaderboard.rows(study)] == ["paused", "running"]
    with study._ledger.writing():
        assert study.trials[begun].status == "running"
        assert list(study._ledger.running()) == [begun, asked]


@pytest.mark.parametrize("schema", ["-1", "0", "null", '"2"'])
def test_a_state_that_is_empty_or_of_no_schema_is_damaged(schema, tmp_path):
    study = make(tmp_path / "study")
    with contextlib.closing(sqlite3.connect(study.path / "study.sqlite")) as file:
        file.execute("UPDATE facts SET value=? WHERE name='schema'", (schema,))
        file.commit()
    with pytest.raises(zoo.InputError, match=r"study\.sqlite is damaged \(schema"):
        _ = study.trials
    (study.path / "study.sqlite").write_bytes(b"")
    with pytest.raises(zoo.InputError, match=r"study\.sqlite is damaged \(it is empty\)"):
        _ = study.trials
    assert (study.path / "study.sqlite").read_bytes() == b""


# What an event costs ----------------------------------------------------------------------------------------------


def fill(ledger, count):
    """Writes so many trials that have ended, without making their recipes."""
    with ledger._transaction():
        for number in range(count):
            kept = {"learning_rate": 1e-3 + 1e-6 * number}
            id = ledger._loaded().add(kept)
            ledger._add_trial({}, f"fake {number}", "oracle", None)
            ledger._store.add_proposal(id, kept, number)
            ledger._store.change_trial(number, status="completed", score=1.0 + number, epoch=1, epochs=1)
            ledger._tell(id, 1.0 + number)
        ledger._save_oracle()


def statements(ledger, keeper):
    """The SQL statements that one trial takes from its proposal to its end."""
    found = []
    keeper.drop()  # goes through the folders once
    ledger._store._connection.set_trace_callback(found.append)
    number = ledger.propose()
    ledger.begin(number)
    keeper.add(number)
    ledger.note(1.0, {number: (1.0, 1)})
    ledger.end(number, "completed", 0.5, epoch=1, epochs=1)
    keeper.drop()
    ledger.trial(number)
    ledger._store._connection.set_trace_callback(None)
    return found


def test_an_event_costs_as_much_after_2000_trials_as_after_10(tmp_path):
    """As many statements, and each finds its rows by an index."""
    counts = {}
    for count in (10, 2000):
        study = make(tmp_path / str(count), space={"learning_rate": "1e-4..1e-1:log"})
        (study.path / "trials").mkdir()
        with study._ledger.writing() as ledger:
            ledger._store.set("queue", [])
            fill(ledger, count)
            found = statements(ledger, Keeper(ledger, keep=3))
            counts[count] = len(found)
            queries = [text for text in found if text.startswith(("SELECT", "UPDATE", "DELETE"))]
            plans = {text: ledger._store._all(f"EXPLAIN QUERY PLAN {text}") for text in queries}
        assert queries
        assert [text for text, plan in plans.items() if any("SCAN" in step["detail"] for step in plan)] == []
    assert counts[2000] <= counts[10]


# Hyperband --------------------------------------------------------------------------------------------------------


def halve(study, fails=(), again=False):
    """Proposes and ends trials until hyperband is done, and says so: [(number, epoch at which its rung ends)].

    Args:
        fails: numbers of trials that fail.
        again: whether the oracle is read anew each time, as after a kill.
    """
    log = []
    with study._ledger.writing():
        while True:
            if again:
                study._ledger._oracle = None
            number = study._ledger.propose()
            if not isinstance(number, int):
                assert number == "hyperband's brackets are done"
                return log
            until, _ = study._ledger.running()[number]
            log.append((number, until))
            value = None if number in fails else score(study.trials[number].values) / (until or 9)
            study._ledger.end(number, "completed" if until is None else "pruned", value, epoch=1, epochs=until or 9)


def test_hyperband_takes_the_best_of_each_rung_further(tmp_path):
    """Rungs are keras-tuner's, a promoted trial is the same trial, and a break costs nothing."""
    found = []
    for name, again in (("whole", False), ("parts", True)):
        study = make(tmp_path / name, "hyperband", fixed={"epochs": 9})
        log = halve(study, again=again)
        found.append((log, told(study)))
    assert found[0] == found[1]
    log = found[0][0]
    assert log[0] == (0, None)  # the default, outside of the brackets
    first = [number for number, until in log if until == 1]
    promoted = [number for number, until in log if until == 3 and number in first]
    assert 0 < len(promoted) < len(first)
    best = sorted(first, key=lambda number: score(found[0][1][number][1]))
    assert set(promoted) == set(best[: len(promoted)])
    with pytest.raises(zoo.InputError, match="ask and tell cannot"):
        study.ask()


@pytest.mark.parametrize("again", [False, True])
def test_hyperband_draws_another_for_each_trial_that_fails(again, tmp_path):
    """Each bracket has as many whole trials, and as many on each rung, as where none fails."""
    counts = {}
    for name, fails in (("none", ()), ("some", (2, 5, 7, 8))):
        study = make(tmp_path / name, "hyperband", fixed={"epochs": 9})
        log = halve(study, fails, again)
        ended = [until for number, until in log if number not in fails]
        counts[name] = {until: ended.count(until) for until in (1, 3, None)}
    assert counts["some"] == counts["none"]


@pytest.mark.parametrize("again", [False, True])
def test_hyperband_halves_a_space_that_is_smaller_than_a_rung(again, tmp_path):
    """Three fit into the first rung, beside the default: one goes on to 3 epochs, and it alone is trained whole."""
    study = make(
        tmp_path / "study", "hyperband", space={"learning_rate": "0.001,0.002,0.004,0.02"}, fixed={"epochs": 9}
    )
    log = halve(study, again=again)
    assert sorted(number for number, until in log if until == 1) == [1, 2, 3]
    assert [until for number, until in log if number == log[-1][0]] == [1, 3, None]
    assert len([number for number, until in log if until is None]) == 2


def test_a_trial_on_its_next_rung_is_ranked_by_its_last(tmp_path):
    study = make(tmp_path / "study", "hyperband", fixed={"epochs": 9})
    with study._ledger.writing():
        while True:
            number = study._ledger.propose()
            until, _ = study._ledger.running()[number]
            if until == 3:
                break
            study._ledger.end(number, "pruned", -1.0 - number, epoch=1, epochs=1)
        assert study.trials[number].status == "running"
        assert study.best_trial().number == number
        study._ledger.end(number, "failed", reason="no memory")
        assert number not in [trial.number for trial in study.ranked()]


def test_max_trials_ends_new_trials_and_not_promotions(tmp_path):
    study = make(tmp_path / "study", "hyperband", fixed={"epochs": 9})
    with study._ledger.writing():
        while isinstance(number := study._ledger.propose(max_trials=11), int):
            until, _ = study._ledger.running()[number]
            study._ledger.end(number, "pruned", score(study.trials[number].values), epoch=1, epochs=until or 9)
        assert number == "max_trials=11 is reached"
        assert len(study.trials) == 11
        assert any(trial.epochs == 3 for trial in study.trials)
        study._ledger.propose(max_trials=12)
        assert len(study.trials) == 12


# Pruning ----------------------------------------------------------------------------------------------------------


def test_the_median_prunes_the_worse_half_and_only_where_enough_are_known():
    others = [{1: float(value), 2: float(value)} for value in range(5)]
    assert pruning.median({1: 2.0}, others, 1, "min") is None
    assert "median 2" in pruning.median({1: 2.5}, others, 1, "min")
    assert pruning.median({1: 2.5}, others, 1, "max") is None
    assert pruning.median({1: 1.0, 2: 9.0}, others, 2, "min") is None  # its best counts
    assert pruning.median({1: 9.0}, others[:3], 1, "min") is None
    assert pruning.median({1: math.nan}, others, 1, "min") is not None


def test_halving_lets_a_third_go_on_from_each_rung():
    others = [{epoch: float(value) for epoch in (1, 2, 3)} for value in range(8)]
    kept = [value for value in range(9) if pruning.halving({1: value - 0.5}, others, 1, "min") is None]
    assert kept == [0, 1, 2, 3][: len(kept)]
    assert len(kept) == 3
    assert pruning.halving({1: 9.0, 2: 9.0}, others, 2, "min") is None  # no rung
    assert pruning.halving({1: 9.0}, [], 1, "min") is None  # the first always goes on
    assert pruning.halving({1: math.nan}, others, 1, "min") is not None


def test_the_best_of_a_curve_is_finite_and_the_first():
    assert pruning.best({1: 3.0, 2: 1.0, 3: 1.0}, "min") == (1.0, 2)
    assert pruning.best({1: 3.0, 2: 1.0, 3: 1.0}, "min", until=1) == (3.0, 1)
    assert pruning.best({1: math.nan, 2: -math.inf}, "min") == (None, None)


# Jobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "message"), [
    ("recipe: mlp\nmax_trails: 3\n", "job.yaml:2: unknown key 'max_trails'. Did you mean 'max_trials'"),
    ("recipe: mlp\n\nspace:\n  dropuot: 0..0.5\n", "job.yaml:4: Unknown field of MLP 'dropuot'. Did you mean"),
    ("recipe: mlp\nspace:\n  units: 8\n  dropout: 0..7\n", "job.yaml:4: dropout must be"),
    ("recipe: mlp\nfixed: {epochs: 0}\n", "job.yaml:2: epochs must be"),
    ("recipe: mlp\nmax_time: soon\n", "job.yaml:2: A time is a number"),
    ("recipe: mlp\nseed: 1\nseed: 2\n", "job.yaml:3: seed is given twice"),
    ("recipe: mlp\nspace: [a, b]\n", "job.yaml:2: space is a mapping"),
    ("\nrecipe: mlpp\n", "job.yaml:2: Unknown recipe 'mlpp'. Did you mean 'mlp'"),
    ("recipe: [mlp\n", "job.yaml:2: this is not YAML"),
    ("max_trials: 3\n", "a job names its recipe"),
    ("just words\n", "a job is a mapping"),
    ("recipe: mlp\ndirectory: 5\n", "job.yaml:2: directory is a text. Received: 5"),
    ("recipe: mlp\npruner: [median]\n", "job.yaml:2: pruner is a text. Received: ['median']"),
    ("recipe: mlp\nfixed:\n  no: 2\n", "job.yaml:3: YAML does not read 'no' as a name: put it in quotes"),
    ("recipe: mlp\nspace: {1: [1, 2]}\n", "job.yaml:2: YAML does not read '1' as a name"),
    ("recipe: mlp\nspace: {variant: 5}\n", "job.yaml:2: Unknown variant of mlp '5'"),
    ("recipe: mlp\nspace: {variant: []}\n", "job.yaml:2: The space of variant is empty"),
    ("recipe: mlp\nspace: {patience: none..5}\n", "job.yaml:2: The space of patience goes from a number to a number"),
    ("recipe: caf\u00e9\n".encode("latin-1"), "job.yaml is not UTF-8 text"),
    ("recipe: lenet\nquiet: maybe\n", r":2: quiet is true or false"),
    ("recipe: " + "[" * 5000, r": its brackets are nested too deeply"),
])  # fmt: skip
def test_what_is_wrong_in_a_job_is_said_with_its_line(text, message, tmp_path):
    (tmp_path / "job.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(zoo.InputError, match=re.escape(message)):
        jobs.read(tmp_path / "job.yaml")


def test_a_job_may_search_all(tmp_path):
    (tmp_path / "job.yaml").write_text("recipe: mlp\nspace: all\n")
    assert jobs.read(tmp_path / "job.yaml")["space"] == "all"


def test_a_job_is_what_zoo_tune_takes(tmp_path):
    (tmp_path / "job.yaml").write_text(
        "recipe: mlp\nspace:\n  learning_rate: 1e-4..1e-1:log\n  units: [[8, 8], [16]]\n  hidden: [dense, gated]\n"
        "fixed: {epochs: 3, weight_decay: 1e-4}\nmax_time: 90m\nworkers: 2\n"
    )
    job = jobs.read(tmp_path / "job.yaml")
    assert (job["max_time"], job["workers"]) == (5400.0, 2)
    searched = space_of(job["recipe"], job["space"], job["fixed"])
    assert searched.fixed == {"epochs": 3, "weight_decay": 1e-4}
    assert {name: one.text for name, one in searched.ranges.items()} == {
        "learning_rate": "0.0001..0.1:log", "units": "8x8,16", "hidden": "dense,gated",
    }  # fmt: skip
