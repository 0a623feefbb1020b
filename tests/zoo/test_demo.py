"""`zoo demo`: what each task asks for and shows, the server behind the page, and the page in Chromium."""

import base64
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import zoo
from tests.browser import chromium
from zoo import cli
from zoo.errors import InputError
from zoo.figures import demo

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
from starlette.testclient import TestClient

from zoo.serving import listening
from zoo.serving.demo import Demo
from zoo.serving.listening import bind

ARTEFACTS = pathlib.Path(__file__).parents[1] / "artefacts"
PIXEL = demo.png(np.zeros((2, 2, 3), "uint8"))


class Echo:
    """A recipe and its model in one: it says what it was given, or what `text` tells it to do."""

    label, reader = "<b>echo</b>", None
    recipe = property(lambda self: self)

    def count_params(self):
        return 1234

    def demo_form(self, reader, probe):
        names = ("image", "text", "line", "choice")
        return demo.Form("Go & see", tuple(
            demo.Question(name, name, f"The {name}", help=f"help <{name}>", value="b", choices=("a", "b"), draws=True,
                          insert="[MASK]", examples=(PIXEL,))
            for name in names
        ))  # fmt: skip

    def demo(self, model, given):
        match given["text"]:
            case "refuse":
                raise InputError("Not this.")
            case "break":
                raise ZeroDivisionError
            case "break later":
                yield demo.Text("first", "")
                raise ZeroDivisionError
            case "warn":
                warnings.warn("Cut.", stacklevel=1)
                warnings.warn("ours", DeprecationWarning, stacklevel=1)
        yield demo.Text("Given", f"{given['line']} {given['choice']} {len(given['image'])}")
        yield demo.Token("ab", "b", 0.5, (("b", 0.5), ("c", 0.25)))
        yield demo.Grid("g", "c", ("r",), ("c", "d"), np.array([[0.5, 1.0]]))
        yield demo.Picture("p", np.zeros((1, 1, 3), "uint8"), (("cat", "#ff0000", 1.0),))


@pytest.fixture
def client():
    with TestClient(Demo(Echo(), "here & there").app()) as found:
        yield found


def coded(data):
    return base64.b64encode(data).decode()


def asked(client, **given):
    """(status, parts) of an answer."""
    given = {"image": coded(PIXEL), "text": "x", "line": "l", "choice": "a", **given}
    answer = client.post("/answer", json=given)
    return answer.status_code, [json.loads(line) for line in answer.text.split("\n") if line]


def kinds(parts):
    return [part["kind"] for part in parts]


# The server -----------------------------------------------------------------------------------------------------------


def test_an_answer_comes_in_parts(client):
    status, parts = asked(client)
    assert (status, kinds(parts)) == (200, ["text", "token", "grid", "picture", "done"])
    assert parts[0]["text"] == f"l a {len(PIXEL)}"
    assert parts[2]["values"] == [[0.5, 1.0]]
    assert parts[3]["pixels"].startswith("data:image/png;base64,")


def test_warnings_are_notes(client):
    _, parts = asked(client, text="warn")
    assert [part["text"] for part in parts if part["kind"] == "note"] == ["Cut."]


def test_an_error_is_a_line_and_the_next_is_answered(client):
    assert asked(client, text="refuse") == (400, [{"error": "Not this."}])
    assert asked(client, text="break") == (500, [{"error": "The model failed: ZeroDivisionError."}])
    status, parts = asked(client, text="break later")
    assert (status, kinds(parts)) == (200, ["text", "error", "done"])
    assert asked(client)[0] == 200


@pytest.mark.parametrize(("body", "said"), [
    (b"{", "not JSON"),
    (b"\xff", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"[]", "must be an object"),
    (b'{"other": 1}', "must be an object"),
    (b'{"text": 3}', "must be a string"),
    (b'{"image": "%%%"}', "not base64"),
    (b'{"image": "\xc3\xa9"}', "not base64"),
    (b'{"image": ""}', "no image yet"),
    (b'{"text": "\\ud800", "image": "aGk="}', "half a character"),
])  # fmt: skip
def test_a_wrong_body_is_answered_with_400_and_a_line(client, body, said):
    answer = client.post("/answer", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_body_that_is_too_large_or_of_another_kind_is_refused(client, monkeypatch):
    assert client.post("/answer", content=b"text=x").status_code == 415
    monkeypatch.setattr(listening, "LARGEST", 100)
    assert asked(client, text="x" * 101)[0] == 413


def test_the_page_asks_no_other_host_and_names_every_control(client):
    answer = client.get("/")
    page = answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for text in (page, client.get("/demo.js").text, client.get("/demo.css").text):
        assert re.findall(r"https?://|//[a-z]|@import|url\(", re.sub(r"(?m)^\s*// .*$|; // .*$", "", text)) == []
    assert "<b>echo" not in page  # what a recipe is called is text
    assert "here &amp; there" in page
    labelled = set(re.findall(r'<label for="(\w+)"', page))
    assert labelled == set(re.findall(r'<(?:input|textarea|select)[^>]* id="(\w+)"', page))
    assert len(labelled) == 4
    for referred in re.findall(r'aria-(?:describedby|labelledby)="(\w+)"', page):
        assert f'id="{referred}"' in page


# What tasks show ------------------------------------------------------------------------------------------------------


def shown(model, probe=None, **given):
    """(form, parts) of the demo of a model."""
    form = model.recipe.demo_form(model.reader, probe or {})
    values = {one.name: one.examples[0] if one.examples else one.value for one in form.questions}
    return form, list(model.recipe.demo(model, {**values, **given}))


@pytest.mark.slow
def test_an_image_is_classified():
    run = zoo.Run.open(ARTEFACTS / "lenet")
    model, probe = zoo.load(run), run.probe()
    form, (bars, picture) = shown(model, probe)
    assert form.questions[0].draws
    (said,) = zoo.predict(model, [form.questions[0].examples[0]])
    assert dict(bars.rows) == said.probabilities
    assert picture.pixels.shape == (32, 32, 3)
    with pytest.raises(InputError, match="not a whole image"):
        shown(model, probe, image=b"hello")


def test_a_row_is_a_form():
    run = zoo.Run.open(ARTEFACTS / "mlp")
    model, probe = zoo.load(run), run.probe()
    form, (bars,) = shown(model, probe)
    row = {one.name: one.value for one in form.questions}
    assert list(row) == [column["name"] for column in model.reader.columns]
    (said,) = zoo.predict(model, [row])
    assert dict(bars.rows) == said.probabilities
    name = form.questions[0].name
    with pytest.raises(InputError, match="nonsense"):
        shown(model, probe, **{name: "nonsense"})
    assert shown(model, probe, **{name: ""})[1]  # a cell that is missing


def test_the_rows_questions_are_of_the_columns_kinds():
    from zoo.tasks._demo import row_form

    columns = [
        {"name": "colour", "values": ["", "red", "blue"]},
        {"name": "day", "mean": 1.0, "deviation": 1.0, "gaps": False, "cycles": [7]},
        {"name": "price", "mean": 1.5, "deviation": 1.0, "gaps": False, "notation": {"decimal": ","}},
        {"name": "size", "mean": 2.5, "deviation": 1.0, "gaps": True},
    ]
    first = {"colour": b"red", "day": b"2020-01-02", "size": np.float32("nan")}
    form = row_form(columns, first, "Predict")
    found = [(one.kind, one.value) for one in form.questions]
    assert found == [("choice", "red"), ("line", "2020-01-02"), ("line", ""), ("line", "2.5")]


def small(name, **fields):
    model = zoo.build(name, **fields)
    model.reader = model.recipe.default_reader()
    return model


@pytest.mark.slow
def test_a_text_is_answered_with_its_attention():
    model = zoo.load("zoo:seq2seq")
    _, (text, grid) = shown(model, text="3 March 2011")
    assert text.text == zoo.predict(model, ["3 March 2011"])[0].text == "2011-03-03"
    assert "".join(grid.rows[:-1]) == text.text
    assert "".join(grid.columns[:-1]) == "3 March 2011"
    np.testing.assert_allclose(grid.values.sum(axis=1), 1, atol=1e-3)
    with pytest.raises(InputError, match="no text yet"):
        shown(model, text=" ")


@pytest.mark.slow
def test_a_text_goes_on_token_by_token():
    model = small("gpt", width=16, depth=1, length=32, answer_length=6)
    form, tokens = shown(model, text="abc")
    assert [one.name for one in form.questions] == ["text", "seed"]
    assert tokens[-1].text == zoo.predict(model, ["abc"])[0].text
    assert all(0 < token.probability <= max(fraction for _, fraction in token.others) + 1e-6 for token in tokens)
    assert [one.text for one in shown(model, text="abc", seed="1")[1]] != [one.text for one in tokens]
    for seed in ("x", "", "9" * 30):
        with pytest.raises(InputError, match="seed"):
            shown(model, text="abc", seed=seed)


@pytest.mark.slow
def test_what_is_hidden_is_found():
    model = small("bert", width=16, depth=1, length=32)
    hides = model.recipe.demo_form(model.reader, {}).questions[0].insert
    _, (text, *bars) = shown(model, text=f"ab{hides}c{hides}")
    assert text.text == zoo.predict(model, [f"ab{hides}c{hides}"])[0].text
    assert [part.rows[0][0] for part in bars] == [text.text[2], text.text[4]]
    with pytest.raises(InputError, match="Nothing is hidden"):
        shown(model, text="abc")


@pytest.mark.slow
def test_texts_are_classified_and_compared():
    model = small("bert_classifier", width=16, depth=1, length=32)
    _, (bars,) = shown(model, text="abc")
    assert sum(fraction for _, fraction in bars.rows) == pytest.approx(1)
    model = small("sentence_encoder", width=16, depth=1, length=32)
    _, (grid,) = shown(model, text="abc\n\ndef\nabc")
    assert (grid.rows, grid.columns) == (("abc", "def", "abc"),) * 2
    np.testing.assert_allclose(grid.values[0], [1, grid.values[1, 0], 1], atol=1e-5)
    with pytest.raises(InputError, match="two to"):
        shown(model, text="abc")


@pytest.mark.slow
def test_an_image_is_segmented():
    model = small("unet", filters=2, depth=1)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), "uint8")
    _, (picture,) = shown(model, image=demo.png(pixels))
    assert picture.pixels.shape == pixels.shape
    assert sum(share for *_, share in picture.legend) == pytest.approx(1)
    for label, colour, _ in picture.legend:
        assert (colour == "") == (label == model.reader.labels[0])


# The command ----------------------------------------------------------------------------------------------------------


def test_what_is_no_run_is_bad_input(capsys, tmp_path):
    with contextlib.closing(bind("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, said in (
            ([str(ARTEFACTS / "export")], "zoo serve"),
            ([str(tmp_path / "nowhere")], "nowhere"),
            ([str(tmp_path)], str(tmp_path)),
            (["zoo:nope"], "nope"),
            ([str(ARTEFACTS / "lenet"), "--port", port], "is in use"),
        ):
            with pytest.raises(SystemExit) as stopped:
                cli.main(["demo", *(arguments if "--port" in arguments else [*arguments, "--port", "0"])])
            out, err = capsys.readouterr()
            assert (stopped.value.code, out, err.count("\n")) == (2, "", 1), err
            assert said in err


@contextlib.contextmanager
def running(*arguments):
    """The URL of a demo in a process of its own."""
    command = [sys.executable, "-m", "zoo", "demo", *map(str, arguments), "--port", "0", "--quiet"]
    root = ARTEFACTS.parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.communicate(timeout=60)


DONE = "document.querySelector('#status').textContent.startsWith('Answered')"
FIRST = "document.querySelector('.bars th').innerText"


@pytest.mark.slow
def test_a_digit_is_drawn_and_read_in_a_browser(tmp_path):
    """With the mouse and with the keyboard; light, dark and narrow, nothing sticks out and no other host is asked."""
    with chromium(tmp_path) as page, running("zoo:lenet") as url:
        page.look()
        page.open(url)
        assert page.run("document.querySelectorAll('.bars').length") == 0
        left, top = page.run("(b => [b.left, b.top])(document.querySelector('canvas').getBoundingClientRect())")
        page.draw(*((left + 140 + 60 * x, top + 140 + 100 * y) for x, y in RING))
        page.wait(DONE)
        assert page.run(FIRST) == "0"
        page.run("document.querySelector('.clear').click()")
        assert page.run("document.querySelector('#answer').children.length") == 0
        page.run("document.querySelector('canvas').focus()")
        for key in (*["ArrowUp"] * 8, " ", *["ArrowDown"] * 17):
            page.press(key)
        page.wait(DONE)
        assert page.run(FIRST) == "1"
        for width, scheme in ((1200, "light"), (1200, "dark"), (400, "light"), (400, "dark")):
            page.look(width, scheme=scheme)
            assert page.run("document.documentElement.scrollWidth") <= width
            assert page.run(CONTRAST) >= 4.5
        assert page.messages == []
        assert [one for one in page.requests if not one.startswith((url, "data:", "blob:"))] == []


RING = [(np.sin(turn), -np.cos(turn)) for turn in np.linspace(0, 2 * np.pi, 24)]

CONTRAST = """
(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map((one) => one / 255)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
  };
  const texts = [...document.querySelectorAll("h1, h2, h3, p, th, td, label, button, legend, input, span")];
  return Math.min(...texts.filter((one) => one.textContent.trim()).map((one) => {
    const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()
"""


@pytest.mark.slow
def test_what_is_wrong_is_told_in_the_page(tmp_path):
    with chromium(tmp_path / "chromium") as page, running(ARTEFACTS / "mlp") as url:
        page.open(url)
        page.run("document.querySelector('input').value = 'nonsense'")
        page.run("document.querySelector('button[type=submit]').click()")
        told = page.wait("document.querySelector('[role=alert]')?.textContent")
        assert "nonsense" in told
        page.run("document.querySelector('input').value = '5.1'")
        page.run("document.querySelector('button[type=submit]').click()")
        page.wait(DONE)
        assert page.run("document.querySelectorAll('.bars tr').length") == 3
        assert page.run("document.querySelector('[role=alert]')") is None
