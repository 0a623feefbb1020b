"""What comes out of a study: tables, the page and TensorBoard's say the same, whatever became of the trials."""

import csv
import dataclasses
import io
import itertools
import json
import math
import re
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
from rich.console import Console

import zoo
from tests import command_line
from tests.zoo.pages import Page, assert_readable
from tests.zoo.studies import Study, drawn, write_run
from tests.zoo.test_progress import Terminal
from zoo import figures
from zoo.cli.screen import fitted
from zoo.data import progress
from zoo.fields import aligned
from zoo.fields.texts import rounded, short
from zoo.tuning.report import drawing, importance, leaderboard, live
from zoo.tuning.report import page as report
from zoo.tuning.report.scales import NAMED, Scale, scales
from zoo.tuning.report.snapshot import Snapshot
from zoo.tuning.trial import Trial


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("studies") / "a study", 40)


@pytest.fixture(scope="module")
def page(study):
    return Page(report.report(study))


def trial(number, values, score=None, status="completed", **facts):
    epoch = {} if score is None else {"epoch": 1, "epochs": 1}
    return Trial(number=number, values=values, status=status, score=score, **{**epoch, **facts})


# Tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["min", "max"])
def test_every_trial_has_one_row_and_the_best_comes_first(study, direction):
    rows = leaderboard.rows(dataclasses.replace(study, direction=direction))
    assert sorted(row["number"] for row in rows) == list(range(40))
    ranked = [row for row in rows if row["rank"]]
    assert [row["rank"] for row in ranked] == list(range(1, len(ranked) + 1))
    assert [row["score"] for row in ranked] == sorted((row["score"] for row in ranked), reverse=direction == "max")
    others = rows[len(ranked) :]
    assert {row["status"] for row in others} == {"failed", "skipped"}
    assert [row["number"] for row in others] == sorted(row["number"] for row in others)
    assert all(row["reason"] and row["score"] is None for row in others)


def test_every_format_says_the_same(study):
    rows = leaderboard.rows(study)
    texts = json.loads(leaderboard.as_json(study))
    table = list(csv.DictReader(io.StringIO(leaderboard.as_csv(study))))
    frame = leaderboard.to_dataframe(study)
    assert len(texts) == len(table) == len(frame) == len(rows)
    assert list(frame) == list(table[0])
    for row, text, line, (_, series) in zip(rows, texts, table, frame.iterrows(), strict=True):
        assert {**text, "fields": None} == {**row, "fields": None}
        assert text["fields"]["filters"] == list(row["fields"]["filters"])
        assert int(line["number"]) == series["number"] == row["number"]
        assert line["score"] == ("" if row["score"] is None else repr(row["score"]))
        assert float(line["fields.learning_rate"]) == series["fields.learning_rate"] == row["fields"]["learning_rate"]
        assert (
            (line["fields.momentum"] == "") == ("momentum" not in row["fields"]) == np.isnan(series["fields.momentum"])
        )
        assert line["fields.nesterov"] == str(row["fields"]["nesterov"]).lower()
        assert line["reason"] == (row["reason"] or "")


def test_only_fields_that_differ_are_shown(tmp_path):
    first = {"epochs": 3, "status": "x", "momentum": None, "batch_size": 8}
    trials = [trial(0, first, 0.5), trial(1, {"epochs": 5, "status": "x", "batch_size": 8}, 0.25)]
    rows = leaderboard.rows(Study(tmp_path, trials, space={}))
    assert [row["fields"] for row in rows] == [{"epochs": 5}, {"epochs": 3, "momentum": None}]
    assert rows[0]["epochs"] == 1  # a field may have the name of a column
    table = list(csv.DictReader(io.StringIO(leaderboard.as_csv(Study(tmp_path, trials, space={})))))
    assert [line["fields.momentum"] for line in table] == ["", "none"]
    assert leaderboard.rows(Study(tmp_path, trials[:1], space={}))[0]["fields"] == first


def test_a_study_without_trials_has_a_header(tmp_path):
    study = Study(tmp_path, [])
    assert leaderboard.rows(study) == json.loads(leaderboard.as_json(study)) == []
    assert leaderboard.as_csv(study).splitlines() == ["rank,number,status,score,epoch,epochs,seconds,origin,reason"]
    assert len(leaderboard.as_cells(study)) == 1
    assert leaderboard.to_dataframe(study).empty


def test_the_table_for_people(tmp_path):
    reason = "no " * 300
    trials = [trial(0, {}, status="failed", reason=reason), trial(1, {"rate": 0.123456}, 1e-9), trial(2, {}, 0.5)]
    header, best, other, failed = leaderboard.as_cells(Study(tmp_path, trials, space={}))
    assert header == ("rank", "trial", "status", "val_loss", "epoch", "time", "rate", "reason")
    assert best == ("1", "1", "completed", "1.000e-09", "1/1", "-", "0.1235", "")
    assert other[6] == "-"
    assert failed[:6] == ("-", "0", "failed", "-", "-/0", "-")
    assert len(failed[-1]) == leaderboard.LONG
    assert [len(row) for row in leaderboard.as_cells(Study(tmp_path, trials), top=1)] == [8, 8]
    assert reason in leaderboard.as_csv(Study(tmp_path, trials))


def test_fields_that_differ_from_the_default_come_first():
    default, values = {"a": 1, "b": 2.0, "c": "x"}, {"a": 1, "b": 0.5, "c": "x", "d": None}
    assert leaderboard.pairs(values, default) == "b=0.5 d=none a=1 c=x"
    assert leaderboard.pairs(values, default, rest=False) == "b=0.5 d=none"
    assert leaderboard.pairs(values, rest=False) == leaderboard.pairs(values) == "a=1 b=0.5 c=x d=none"
    assert leaderboard.pairs(default, default, rest=False) == "the default"
    assert leaderboard.pairs(default, default) == "a=1 b=2 c=x"
    assert leaderboard.pairs({}, default, rest=False) == leaderboard.pairs({}) == ""


@pytest.mark.parametrize("width", [70, 100, 140])
def test_a_leaderboard_fits_a_terminal_by_the_fields_unlike_the_default(study, width):
    first = dataclasses.replace(study.trials[0], origin="default")
    study = dataclasses.replace(study, trials=[first, *study.trials[1:]])
    found = leaderboard.cells_within(study, width)
    assert found[0][:6] == leaderboard.as_cells(study)[0][:6]
    assert found[0][6:] == ("fields unlike the default (all: --wide)",)
    lines = list(aligned(fitted(found, width)))
    assert max(map(len, lines)) <= width
    assert len(lines) == 41
    names = [name for name in study.space if name in first.values]
    for cells in found[1:]:
        trial = study.trials[int(cells[1])]
        unlike = [name for name in names if trial.values.get(name, first.values[name]) != first.values[name]]
        assert trial.number == 0 or len(cells[6]) == leaderboard.LONG or all(f"{name}=" in cells[6] for name in unlike)
        if trial.score is None:
            assert cells[6].startswith(trial.reason[:20])
    (default,) = (cells for cells in found if cells[1] == "0")
    assert "the default" in default[6]


def test_a_leaderboard_that_fits_has_a_column_for_each_field(study, tmp_path):
    assert leaderboard.cells_within(study, 400, 5) == leaderboard.as_cells(study, 5)
    few = Study(tmp_path, [trial(0, {"rate": 0.5}, 0.5), trial(1, {"rate": 0.25}, status="failed", reason="no " * 99)])
    assert leaderboard.cells_within(few, 80) == leaderboard.as_cells(few)  # a reason is cut
    assert leaderboard.cells_within(few, 60)[0] == (*leaderboard.as_cells(few)[0][:6], "fields")  # without a default
    assert leaderboard.cells_within(Study(tmp_path, []), 80) == leaderboard.as_cells(Study(tmp_path, []))


def test_the_command_fits_a_terminal_and_wide_prints_everything(study, run_cli, monkeypatch):
    whole = run_cli(study, "leaderboard")[1]
    monkeypatch.setattr(progress, "line_width", lambda: 60)
    narrow = run_cli(study, "leaderboard")[1]
    assert max(map(len, narrow.splitlines())) <= 60 < max(map(len, whole.splitlines()))
    assert run_cli(study, "leaderboard", "--wide")[1] == whole
    for format in ("--csv", "--json"):
        assert "nesterov" in run_cli(study, "leaderboard", format)[1]


# While a study runs ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Running:
    """A trial that runs."""

    number: int
    values: dict
    epochs: int = 9
    seconds: float = 10.0
    until: int | None = None


def test_time_left_is_that_of_the_epochs_and_falls_within_one():
    one, pace = Running(0, {}, seconds=30.0), live.Pace()
    assert pace.left(one, 0) is None
    assert pace.left(dataclasses.replace(one, seconds=50.0), 1) == 400  # 20 of these may have been the start
    assert pace.left(dataclasses.replace(one, seconds=55.0), 1) == 395
    assert pace.left(dataclasses.replace(one, seconds=60.0), 2) == 70
    assert pace.left(dataclasses.replace(one, seconds=64.0), 2) == 66
    assert pace.left(dataclasses.replace(one, seconds=900.0), 2) == 0  # an epoch takes longer than those before
    assert pace.left(dataclasses.replace(one, seconds=70.0, until=3), 3) == 0


@pytest.mark.parametrize("width", [60, 200])
def test_what_runs_and_what_has_ended_are_a_line_each(study, width):
    long = {f"field_{number}": 0.123456 for number in range(24)}
    running = [Running(number, long) for number in range(100, 100 + live.LINES + 3)]
    curves = {one.number: {1: 0.75, 2: 0.5} for one in running} | {100: {}}
    console = Console(width=width, file=io.StringIO())
    console.print(live.picture(study, running, curves, live.Pace(), 24, remaining=70.0))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24
    told = [line for line in lines if line.startswith("trial 1")]
    assert len(told) == live.LINES
    assert "epoch 0 of 9" in told[0]
    assert "epoch 2 of 9" in told[1]
    assert all("field_23" not in line for line in lines)
    if width == 200:
        assert "10 s so far  field_0=0.1235" in told[0]
        assert "val_loss 0.5  35 s left    field_0=0.1235" in told[1]
    assert f"and {len(running) - live.LINES} more that run" in lines
    assert lines[-1] == "1 min 10 s left of the study"


def test_lines_of_running_trials_are_for_terminals(study, monkeypatch, capsys):
    for quiet, stream in ((True, Terminal()), (False, io.StringIO()), (False, Terminal())):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("TERM", "xterm")
        with live.Table(study, quiet) as table:
            table.show([Running(7, {"dropout": 0.5})], {7: {1: 0.625}}, None)
        assert ("epoch 1 of 9" in stream.getvalue()) == (stream.isatty() and not quiet)
        assert quiet == (stream.getvalue() == "")


def test_lines_of_trials_that_ended_are_whole_in_a_file_and_cut_in_a_terminal(tmp_path, monkeypatch):
    values = {f"field_{number}": number for number in range(24)}
    first = trial(0, values, 0.5, origin="default")
    best = trial(1, {**values, "field_23": 0}, 0.25)
    for width in (None, 70):
        monkeypatch.setattr(progress, "line_width", lambda width=width: width)
        monkeypatch.setattr(sys, "stdout", stream := io.StringIO())
        table = live.Table(Study(tmp_path, [first, best]), quiet=False)
        table.ended(best)
        table.end("done")
        ended, _, said, *_ = stream.getvalue().splitlines()
        assert ended.startswith("Trial 1: completed 0.25 in epoch 1 of 1; field_23=0 field_0=0 ")
        assert ended.endswith(" field_22=22")
        assert said.startswith("Best: trial 1, completed 0.25 in epoch 1 of 1; field_23=0 field_0=0 ")
        assert said.endswith(" field_22=22") if width is None else (said.endswith("…") and len(said) == width)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.04, "0.0 s"), (9.9, "9.9 s"), (42.4, "42 s"), (119.9, "1 min 59 s"), (7400, "2.1 h")],
)
def test_times_are_read(seconds, text):
    assert leaderboard.duration(seconds) == text


def test_a_data_frame_without_pandas(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(zoo.InputError, match=re.escape("pip install -c constraints.txt '.[pandas]'")):
        leaderboard.to_dataframe(study)


def test_a_trial_that_ends_in_between_is_told_once(tmp_path):
    """The trials are read first and the ranks later: what ended in between counts as running."""
    running, ended = trial(0, {}, status="running"), trial(0, {}, 0.5)

    class Live(Study):
        def ranked(self):
            return [ended]

    (row,) = leaderboard.rows(Live(tmp_path, [running]))
    assert (row["status"], row["rank"]) == ("running", None)


# Scales and windows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values", "ordered"),
    [
        ("1e-4..1e-1:log", [0.01, 1e-4], [1e-4, 1e-3, 0.1]),
        ("1e-5..1e-1:log", [0.0, 1e-3], [0.0, 1e-5, 1e-3, 0.1]),  # the default is 0
        ("16..256:log", [32], [16, 64, 256]),
        ("0..0.5", [0.2], [0.0, 0.25, 0.5]),
        ("8..64:step=8", [16, 8], [8, 40, 64]),
        ("0.001..0.005:log", [0.002], [0.001, 0.002, 0.005]),
        ("-1.5..2", [0], [-1.5, 0, 2]),
        ("0..0", [0.0], [0.0]),
        ("32,20", [20, 32], [20, 32]),
        ("12x32,6x16", [(12, 32), (6, 16)], [(6, 16), (12, 32)]),
        ("tanh,relu", ["relu", "tanh"], ["tanh", "relu"]),
        ("true,false", [False, True], [True, False]),
        ("none,1.0,2.0", [None, 1.0], [1.0, None]),
        ("a", ["a"], ["a"]),
        ("", ["b", "a"], ["a", "b"]),
        ("0..1", [0.5, 7.0], [0.5, 7.0]),  # enqueued, beyond the range
    ],
)
def test_a_scale_keeps_the_order_and_its_marks_lie_on_it(text, values, ordered):
    scale = Scale.of("field", text, values)
    parts = [scale.part(value) for value in ordered]
    assert all(a < b for a, b in itertools.pairwise(parts))
    assert all(0 <= part <= 1 for part in parts)
    marks = scale.ticks()
    assert marks
    assert all(-1e-6 <= scale.part_of(place) <= 1 + 1e-6 for place, _ in marks)
    assert len({text for _, text in marks}) == len(marks)
    if not scale.names and len(ordered) > 1:
        assert len(marks) >= 2


def test_a_logarithm_counts_each_decade_alike():
    scale = Scale.of("rate", "1e-4..1e-1:log", [1e-3])
    assert [scale.part(10.0**power) for power in (-4, -3, -2, -1)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert scale.ticks() == [(-4, "0.0001"), (-3, "0.001"), (-2, "0.01"), (-1, "0.1")]


def test_many_names_are_marked_in_part():
    names = [f"name{number}" for number in range(100)]
    scale = Scale.of("field", ",".join(names), names)
    assert 1 < len(scale.ticks()) <= NAMED
    assert {scale.at(name) for name in names} == set(range(100))


def test_a_window_holds_the_best_and_counts_what_it_leaves_out():
    good = np.linspace(0.3, 0.5, 20)
    window = drawing.Window([*good, 1e6, 2e9], "min")
    assert (window.low, window.high, window.beyond, window.log) == (0.3, 0.5, 2, False)
    assert window.inside(1e6) == 0.5
    mirrored = drawing.Window([*-good, -1e6, -2e9], "max")
    assert (mirrored.low, mirrored.high, mirrored.beyond) == (-0.5, -0.3, 2)
    assert drawing.Window([0.4], "min").beyond == 0
    assert drawing.Window([0.4, 0.4, 9.0], "max").high == 9.0
    assert drawing.Window([0.001, 0.01, 0.1], "min").log


# Importance -----------------------------------------------------------------------------------------------------------


def judged(study, score=lambda trial: trial.score):
    """The importance of each field of a study whose scores are replaced."""
    trials = [dataclasses.replace(one, score=score(one)) for one in study.trials if one.score is not None]
    snapshot = Snapshot.of(dataclasses.replace(study, trials=trials))
    return importance.measure(snapshot.ranked, scales(snapshot))


def test_what_decides_is_important(study):
    found = judged(study)
    assert next(iter(found.shares)) == "learning_rate"
    assert found.shares["learning_rate"] > 0.8
    assert math.fsum(found.shares.values()) == pytest.approx(1)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert set(found.shares) == set(study.space)
    assert 0.5 < found.explained < 1


def test_names_and_fields_that_do_not_always_count_can_decide(study):
    assert next(iter(judged(study, lambda one: float(one.values["activation"] == "relu")).shares)) == "activation"
    assert next(iter(judged(study, lambda one: one.values.get("momentum", -1.0)).shares)) == "momentum"


def test_importance_is_of_ranks(study):
    assert judged(study, lambda one: math.exp(9 * one.score)) == judged(study)


def test_nothing_is_said_of_noise_and_of_little(study):
    rng = np.random.default_rng(0)
    assert judged(study, lambda one: float(rng.normal())).explained < 0.2
    assert judged(study, lambda one: 0.5) is None
    few = dataclasses.replace(study, trials=study.trials[: importance.FEWEST - 1])
    assert judged(few) is None


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(study, page):
    assert page.path == study.path / "report" / "index.html"
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object"}
    fetched = [value for _, found in page.tags for key, value in found.items() if key in ("src", "href", "srcset")]
    assert len(fetched) == 20  # five images, each for a light and for a dark page, and for a phone
    assert all(value.startswith("data:image/png;base64,") for value in fetched)
    assert not re.search(r"https?://|@import|url\(", page.source)
    assert "default-src 'none'" in page.source


def test_the_page_says_what_the_study_says(study, page):
    head = page.cells("")
    best = study.ranked()[0]
    assert head[head.index("best validation loss") + 1] == rounded(best.score)
    assert head[head.index("best trial") + 1] == str(best.number)
    for status in ("completed", "pruned", "failed", "skipped"):
        count = sum(one.status == status for one in study.trials)
        assert head[head.index(status) + 1] == str(count)
    cells = page.cells("best")
    for name, value in best.values.items():
        assert cells[cells.index(name) + 1] == short(value)
    reasons = page.cells("failures")
    assert sum(cell in ("failed", "skipped") for cell in reasons) == sum(one.score is None for one in study.trials)
    assert all(one.reason in reasons for one in study.trials if one.score is None)
    assert sum(cell in ("completed", "pruned") for cell in page.cells("trials")) == len(study.ranked())
    assert f"zoo train --best-of '{study.path}' --seeds 3" in page.cells("reproduce")


def test_the_best_so_far_only_improves(study):
    snapshot = Snapshot.of(study)
    for direction, better in (("min", min), ("max", max)):
        seen = dataclasses.replace(snapshot, direction=direction, ranked=sorted_by(snapshot, direction))
        axes = drawing.progress(seen, report.ended(seen), figures.LIGHT).axes[0]
        (line,) = [one for one in axes.lines if one.get_label() == "best so far"]
        values = line.get_ydata().tolist()
        assert values == [better(values[: place + 1]) for place in range(len(values))]
        assert values[-1] == seen.ranked[0].score
        assert len(values) == len(seen.ranked)


def sorted_by(snapshot, direction):
    return sorted(snapshot.ranked, key=lambda one: one.score if direction == "min" else -one.score)


def test_figures_of_a_study_can_be_read_on_the_screen_of_a_phone(study):
    seen = Snapshot.of(study)
    for draw in (drawing.parallel, drawing.slices):
        assert_readable(draw(seen, scales(seen), figures.LIGHT.phone))
    assert_readable(drawing.progress(seen, report.ended(seen), figures.LIGHT.phone))


def test_marks_of_an_axis_do_not_touch():
    scale = Scale.of_numbers("weight_decay", [0, 1e-5, 1e-1], log=True)
    marks = [text for _, text in drawing._apart(scale, scale.ticks(), 1.2)]
    assert marks[0] == "0"
    assert "1e-05" not in marks  # it would stand on the 0


def test_time_in_which_no_trial_ran_does_not_count(tmp_path):
    spans = [(0, 100), (50, 160), (1e6, 1e6 + 40)]
    trials = [trial(n, {}, 1.0 + n, started=a, ended=b) for n, (a, b) in enumerate(spans)]
    study = Snapshot.of(Study(tmp_path, trials))
    places, unit = report.ended(study)
    assert unit == "minutes"
    assert {number: place * 60 for number, place in places.items()} == pytest.approx({0: 100, 1: 160, 2: 200})
    unknown = [*trials, trial(3, {}, 0.5)]
    assert report.ended(Snapshot.of(Study(tmp_path, unknown))) == ({0: 1, 1: 2, 2: 3, 3: 4}, "trial")


NASTY = "<script>alert('$x^')</script>"


@pytest.mark.parametrize(
    ("trials", "sections"),
    [
        ([], {"reproduce"}),
        ([trial(0, {"dropout": 0.1}, status="running")], {"trials", "reproduce"}),
        ([trial(n, {"dropout": 0.1 * n}, status="failed", reason=NASTY) for n in range(3)], {"failures", "trials"}),
        ([trial(0, {"dropout": 0.1}, 0.5, origin="default")], {"best", "progress", "trials"}),
        ([Trial(number=0, values={}, status="completed", score=0.5)], {"best", "progress", "trials"}),
        ([trial(n, {"dropout": 0.1}, 0.5) for n in range(2)], {"best", "progress", "trials"}),
        ([trial(n, {NASTY: NASTY * n}, -1.0 * n) for n in range(3)], {"parallel", "importance", "slices"}),
        ([trial(n, {"a": n}, 10.0**n, status="pruned") for n in range(4)], {"parallel", "importance", "slices"}),
        ([trial(n, {f"f{n}": n, "g": n}, 0.0) for n in range(14)], {"parallel", "importance", "slices"}),
        ([trial(n, {"猫": "$\\frac{1$" * n}, 1e300 * n) for n in range(12)], {"parallel", "importance", "slices"}),
    ],
    ids=["none", "running", "all failed", "one", "told", "equal", "markup", "pruned", "many fields", "letters"],
)
def test_any_study_has_a_page(tmp_path, trials, sections):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = Page(report.report(Study(tmp_path, trials, name="<i>net</i>")))
    assert sections <= page.sections.keys()
    assert "<script" not in page.source
    assert "<i>" not in page.source
    assert ("No trial was begun" in page.sections[""]) == (not trials)
    if sections >= {"failures"}:
        assert NASTY in page.cells("failures")
        assert "None of the 3 trials that ended has a score" in page.sections[""]


@pytest.mark.slow
def test_hundreds_of_trials_have_a_page(tmp_path):
    study = drawn(tmp_path, 500)
    page = Page(report.report(study))
    assert "The first 200 of 500." in page.sections["trials"]
    assert len(page.source) < 5e6


def test_curves_are_those_of_the_runs(tmp_path):
    curve = [3.0, 1.0, 2.0]
    trials = [
        trial(0, {}, 1.0, path=write_run(tmp_path, 0, curve)),
        trial(1, {}, status="failed", path=write_run(tmp_path, 1, [4.0, math.nan])),
        trial(2, {}, status="failed", path=tmp_path / "trials" / "0002"),
        trial(3, {}, status="skipped"),
    ]
    study = Snapshot.of(Study(tmp_path, trials))
    histories = drawing.histories(study)
    assert histories == {0: [(1, 3.0), (2, 1.0), (3, 2.0)], 1: [(1, 4.0)]}
    axes = drawing.curves(study, histories, figures.DARK).axes[0]
    assert sorted(line.get_ydata().tolist() for line in axes.lines) == [[3.0, 1.0, 2.0], [4.0]]
    assert drawing.histories(dataclasses.replace(study, objective="accuracy")) == {}


def test_a_folder_of_other_things_is_left_alone(study, tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(zoo.InputError, match="other than a report"):
        report.report(study, tmp_path)
    with pytest.raises(zoo.InputError, match="other than a report"):
        report.report(study, study.path)


@pytest.mark.slow
def test_a_page_is_made_without_keras(tmp_path):
    code = (
        "import sys, pathlib; from tests.zoo.studies import drawn; from zoo.tuning.report import leaderboard, page;"
        f"study = drawn(pathlib.Path({str(tmp_path)!r}), 3); leaderboard.as_csv(study);"
        "print({'keras', 'tensorflow', 'matplotlib', 'sklearn', 'pandas'} & set(sys.modules));"
        "page.report(study); print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "set()"]


# The command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run_cli(monkeypatch, capsys):
    """Runs a command line in which `study` is the study of its folder; (status, stdout, stderr)."""

    def run(study, verb, *arguments):
        opened = types.SimpleNamespace(
            open=lambda path, trust=False: study, exists=lambda path: str(path) == str(study.path)
        )
        monkeypatch.setitem(sys.modules, "zoo.tuning.study", types.SimpleNamespace(Study=opened))
        return command_line.run(capsys, (verb, study.path, *arguments))

    return run


def test_the_leaderboard_is_printed(run_cli, study):
    assert run_cli(study, "leaderboard", "--csv") == (0, leaderboard.as_csv(study), "")
    status, out, err = run_cli(study, "leaderboard", "--json", "--top", "2")
    assert (status, json.loads(out)["result"], err) == (0, json.loads(leaderboard.as_json(study, 2)), "")
    status, out, _ = run_cli(study, "leaderboard")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 41)
    assert lines[0].split()[:4] == ["rank", "trial", "status", "val_loss"]
    assert all(one.reason in out for one in study.trials if one.reason)
    status, out, err = run_cli(study, "leaderboard", "--csv", "--json")
    assert (status, out, err) == (2, "", "Error: --csv and --json are two formats: give one.\n")


def test_the_report_of_a_study_is_written(run_cli, tmp_path):
    study = drawn(tmp_path / "study", 3)
    status, out, _ = run_cli(study, "report", "--directory", tmp_path / "page")
    assert (status, out) == (0, f"Report written to {tmp_path / 'page' / 'index.html'}\n")
    assert len(list((study.path / "events").iterdir())) == len(study.trials)
    status, out, err = run_cli(study, "report", "--skip-bad")
    assert (status, out) == (2, "")
    assert "reads no data" in err


# TensorBoard ----------------------------------------------------------------------------------------------------------


def test_tensorboard_has_every_trial(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status

    from zoo.tuning.report.tensorboard import write_events

    study = drawn(tmp_path / "study", 8)
    study.trials.append(trial(8, {"learning_rate": 1e-3, "dropout": None}, status="running"))
    for _ in range(2):  # anew, not twice
        folder = write_events(study)
    assert sorted(path.name for path in folder.iterdir()) == [f"{number:04d}" for number in range(9)]
    assert not list(study.path.glob(".*"))
    for one in study.trials:
        events = EventAccumulator(str(folder / f"{one.number:04d}")).Reload()
        found = events.PluginTagToContent(metadata.PLUGIN_NAME)
        start = metadata.parse_session_start_info_plugin_data(found[metadata.SESSION_START_INFO_TAG])
        assert start.hparams.keys() == one.values.keys()
        assert start.hparams["learning_rate"].number_value == one.values["learning_rate"]
        assert start.hparams["dropout"].string_value  # none in one trial: text in all
        if one.status == "running":
            assert metadata.SESSION_END_INFO_TAG not in found
            continue
        assert start.hparams["filters"].string_value in ("6,16", "12,32")
        assert start.hparams["nesterov"].bool_value == one.values["nesterov"]
        assert start.start_time_secs == one.started
        end = metadata.parse_session_end_info_plugin_data(found[metadata.SESSION_END_INFO_TAG])
        good = one.status in ("completed", "pruned")
        assert end.status == Status.Value("STATUS_SUCCESS" if good else "STATUS_FAILURE")
        assert ("val_loss" in events.Tags()["tensors"]) == good
        if good:
            (event,) = events.Tensors("val_loss")
            assert event.tensor_proto.float_val[0] == np.float32(one.score)
            assert (event.step, event.wall_time) == (one.epoch, one.ended)
