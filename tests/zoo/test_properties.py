"""Whatever stands in a file of ours, or on the command line: an answer or one line, and nothing written elsewhere.

Hypothesis draws the cases. The quick suite tries few, always the same; `pytest -m slow` tries many.
"""

import json
import pathlib
import shutil

import hypothesis
import pytest
import yaml
from hypothesis import configuration
from hypothesis import strategies as st

import zoo
from tests.reliability import commands
from tests.reliability.judging import Faults, call, digests, shell
from zoo.errors import InputError, printable
from zoo.tuning.options import Options

FEW, MANY = 25, 400

TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(list(commands.WRONG.values())))
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.sampled_from([2**63, -1, 0, 1e308, "tanh", "xor"])
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=4
)


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    """What Hypothesis keeps lies in a folder of the session, not in the checkout."""
    configuration.set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


def examples(quick, slow):
    """Parametrizes a test by its number of examples; with many of them it is slow."""
    return pytest.mark.parametrize("count", [quick, pytest.param(slow, marks=pytest.mark.slow)])


def tried(count, strategy, law):
    """Holds a law for `count` cases of a strategy."""
    settings = hypothesis.settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    settings(hypothesis.given(strategy)(law))()


@st.composite
def edited(draw, facts):
    """JSON of ours in which one value, at any depth, is another one, or is gone."""
    facts = json.loads(json.dumps(facts))
    place = facts
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and draw(st.booleans())):
            break
        place = place[key]
    if draw(st.booleans()):
        place[key] = draw(VALUES)
    else:
        del place[key]
    return json.dumps(facts)


def texts_of(path):
    """What may stand in a JSON file: it with a value changed or gone, or a bit flipped; any JSON, text and bytes."""
    data = path.read_bytes()
    flipped = st.builds(
        lambda place, bit: data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :],
        st.integers(0, len(data) - 1), st.integers(0, 7),
    )  # fmt: skip
    anything = st.one_of(VALUES.map(json.dumps), st.text(max_size=40)).map(lambda text: text.encode("utf-8", "replace"))
    changed = edited(json.loads(data)).map(str.encode)
    return st.one_of(changed, flipped, anything, st.binary(max_size=20))


def read(faults, path):
    """What is read of a run, without its network."""

    def all_of_it():
        run = zoo.Run.open(path)
        recipe = run.recipe
        return (
            recipe.values(),
            recipe.label,
            run.best_epoch(),
            run.history,
            run.facts["data"],
            run.status,
            run.unlearned,
        )

    return call(faults, "Run.open", all_of_it)


@examples(FEW, MANY)
def test_whatever_stands_in_run_json(count, finished, tmp_path):
    """The recipe, the data and the history are the run's, or a warning says that the file is not as it was written."""
    copy = shutil.copytree(finished.path, tmp_path / "run")
    whole = (copy / "run.json").read_bytes()
    before = read(Faults(), copy).value

    def law(data):
        (copy / "run.json").write_bytes(data)
        faults = Faults()
        answer = read(faults, copy)
        assert faults.all() == []
        without_digest = b'"digest"' not in data
        assert answer.value in (None, before) or answer.said or without_digest

    tried(count, texts_of(copy / "run.json"), law)
    (copy / "run.json").write_bytes(whole)
    assert read(Faults(), copy).value == before


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study with a trial that was asked for and told; nothing was trained."""
    folder = tmp_path_factory.mktemp("properties") / "study"
    made = zoo.Study.make(
        "mlp", space={"learning_rate": "1e-3..1e-1:log", "units": "4,8"}, fixed={"dataset": "xor"}, oracle="random",
        directory=folder,
    )  # fmt: skip
    made.tell(made.ask(), 0.5)
    made.tell(made.ask(), 0.25)
    return folder


@examples(FEW, MANY)
def test_whatever_stands_in_study_json(count, study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "study")
    before = shell(Faults(), "leaderboard", copy, "--json")

    def law(data):
        (copy / "study.json").write_bytes(data)
        faults = Faults()
        board = shell(faults, "leaderboard", copy, "--json")
        best = call(faults, "best_trial", lambda: zoo.Study.open(copy).recipe(zoo.Study.open(copy).best_trial()))
        assert faults.all() == []
        without_digest = b'"digest"' not in data
        assert board.value in (None, before.value) or board.said or without_digest
        assert best.value is None or best.value.learning_rate or best.said

    tried(count, texts_of(copy / "study.json"), law)


@pytest.fixture
def described(monkeypatch):
    """No process reads the data of a study: what is right about a job ends there, in an error."""

    def refuse(*_):
        raise InputError("Nothing is wrong with this job.")

    monkeypatch.setattr(Options, "_described", refuse)


KEYS = st.sampled_from([
    "recipe", "space", "fixed", "oracle", "objective", "seed", "pruner", "max_trials", "max_time", "workers", "keep",
    "directory", "data_dir", "quiet", "skip_bad", "engine", "address", "max_disk", "max_parameters", "gpus_per_trial",
])  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from(["learning_rate", "units", "dataset", "epochs", "nope"]) | TEXTS, VALUES, max_size=3
)
JOBS = st.dictionaries(KEYS, st.one_of(VALUES, FIELDS), max_size=6).map(lambda job: {"recipe": "mlp", **job})


@examples(FEW, MANY)
def test_whatever_stands_in_a_job(count, described, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = pathlib.Path("job.yaml")
    written = JOBS.map(lambda job: yaml.safe_dump(job, allow_unicode=True).encode("utf-8", "replace"))
    whole = b"recipe: mlp\nspace: {learning_rate: 1e-4..1e-1:log, units: [[4], [8]]}\nmax_trials: 3\nmax_time: 2h\n"
    cut = st.integers(0, len(whole)).map(lambda place: whole[:place])
    inserted = st.builds(
        lambda place, text: whole[:place] + text.encode("utf-8", "replace") + whole[place:],
        st.integers(0, len(whole)), TEXTS,
    )  # fmt: skip

    def law(data):
        job.write_bytes(data)
        faults = Faults()
        answer = shell(faults, "tune", job)
        assert faults.all() == []
        assert answer.status == 2
        assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]

    tried(count, st.one_of(written, inserted, cut, st.binary(max_size=30)), law)


VERBS = st.sampled_from(
    ["list", "show", "train", "tune", "evaluate", "predict", "export", "serve", "demo", "leaderboard", "report", "data"]
)
WORDS = st.one_of(
    TEXTS,
    st.sampled_from(["lenet", "mlp", "--quiet", "--top", "--space", "--csv", "--trust", "--seed", "here", "verify"]),
    st.builds(
        lambda name, text: f"{name}={text}", st.sampled_from(["epochs", "dropout", "dataset", "units", "nope"]), TEXTS
    ),
)


@examples(60, 1500)
def test_whatever_stands_on_the_command_line(count, described, tmp_path, monkeypatch):
    """What trains or exports is pointed at a folder of somebody else, so that it cannot."""
    monkeypatch.chdir(tmp_path)
    here = tmp_path / "here"
    here.mkdir()
    (here / "thesis.txt").write_text("precious")
    before = digests(tmp_path)
    asked = {"train": ["--directory", "here"], "tune": ["--directory", "here"]}

    def law(words):
        faults = Faults()
        verb, *rest = words
        shell(faults, verb, *asked.get(verb, ()), *rest)
        assert faults.all() == []
        assert digests(tmp_path) == before

    tried(count, st.builds(lambda verb, words: [verb, *words], VERBS, st.lists(WORDS, max_size=4)), law)


@examples(FEW, MANY)
def test_an_error_is_one_line_that_says_it_all(count):
    def law(text):
        line = str(InputError(text))
        assert line.isprintable()
        assert line == printable(line)
        assert text.isprintable() <= (line == text)

    tried(count, st.text(), law)
