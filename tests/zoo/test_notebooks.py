"""What a notebook shows of runs, studies and recipes: small HTML, whole, and escaped."""

import ast
import html.parser
import json
import shutil

import pytest

import zoo
from tests.zoo.test_overview import ARTEFACTS, changed
from zoo.fields import markup

VOID = {"br", "hr", "img"}


class Tags(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects the names and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.text = [], set(), ""

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(text):
    """The `Tags` of HTML that is whole, self-contained and small."""
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    assert tags.names <= {"div", "span", "strong", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
    assert len(text) < 60_000
    return tags


def test_a_run_shows_its_status_and_its_best_score(tmp_path):
    run = zoo.Run.open(changed(tmp_path, "<script>&run"))
    tags = read(run._repr_html_())
    assert all(word in tags.text for word in ("Run of lenet", "done", "<script>&run", "validation loss", "in epoch 2"))
    (run.path / "history.csv").write_text("epoch,loss\nnone")
    assert "0 of" in read(run._repr_html_()).text
    facts = {"schema": 1, "recipe": {}, "data": {}, "status": "paused"}
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "run.json").write_text(json.dumps(facts))
    assert "paused" in read(zoo.Run.open(tmp_path / "bare")._repr_html_()).text


def test_a_study_shows_its_leaderboard(tmp_path):
    study = zoo.Study.open(shutil.copytree(ARTEFACTS / "study", tmp_path / "<b>study"))
    tags = read(study._repr_html_())
    assert all(word in tags.text for word in ("Study of mlp", "<b>study", "min val_loss", "completed", "learning_rate"))
    assert tags.text.index("1.066") < tags.text.index("1.255")


def test_a_recipe_shows_what_is_set_first(tmp_path):
    recipe = zoo.recipe("lenet/modern", dropout=0.25).replace(dataset="folder:<i>photos")
    tags = read(recipe._repr_html_())
    assert "Recipe lenet/modern" in tags.text
    assert "folder:<i>photos" in tags.text
    first, _, everything = tags.text.partition("All ")
    assert "0.25" in first
    assert "patience" not in first
    assert "batch_size" in everything


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"quoted" & <b>', "'x' onload='"])
def test_all_text_is_escaped(text):
    made = markup.card(text, [(text, text)], markup.table([text], [[text]]), markup.folded(text, ""))
    tags = read(made)
    assert tags.text.count(text) == 6
    assert "<script>" not in made


def test_the_tutorial_is_a_notebook_without_outputs():
    for cell in cells():
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | (
            {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        )
        assert not cell.get("outputs")
    assert len({cell["id"] for cell in cells()}) == len(cells())


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path, monkeypatch):
    """Its code cells run in one process, in order, as a kernel runs them; the last expression of each is shown."""
    monkeypatch.chdir(tmp_path)
    names, shown = {"__name__": "__main__"}, []
    for cell in cells():
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, cell["id"], "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
                shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
    text = "\n".join(shown)
    assert all(word in text for word in ("Recipe lenet", "Run of lenet", "Study of mlp", "accuracy"))


def cells():
    """The cells of the tutorial."""
    return json.loads((ARTEFACTS.parents[1] / "docs" / "tutorials" / "tutorial.ipynb").read_text())["cells"]
