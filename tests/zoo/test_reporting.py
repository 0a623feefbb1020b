"""`zoo.report`: what the page says is true, it needs nothing else, and it is whole or not there."""

import ast
import functools
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import warnings

import numpy as np
import PIL.Image
import pytest

import zoo
from tests.zoo.pages import Page, assert_readable
from zoo import figures, files, registry, reporting, runs
from zoo.data import open_source
from zoo.data.source import Label
from zoo.fields.texts import rounded, spoken
from zoo.figures import encoding, pages, texts
from zoo.readers.images import ImageReader
from zoo.tasks import ImageClassification

LABELS = ["<b>0</b>", "$\\frac{1$", "two\nlines", "猫", *"456789"]
"""Names that HTML, matplotlib's formulas, a line and the figures' font would each trip over."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one epoch"  # a folder that a shell splits
    return zoo.train("lenet", epochs=1, init_from=None, directory=folder, quiet=True)


@pytest.fixture(scope="module")
def page(run):
    return Page(zoo.report(run))


@pytest.fixture(scope="module")
def outcome(run):
    model = runs.load(run)
    return reporting.Outcome(model, model.reader, "test", zoo.dataset(run, "test"))


@pytest.fixture
def copy(run, tmp_path):
    """The run in a folder that a test may change, without a report."""
    return shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("report", "run.lock"))


@pytest.fixture
def in_memory(copy):
    """The run as if its data had been arrays."""
    facts = json.loads((copy / "run.json").read_text())
    del facts["digest"]
    facts["data"]["name"] = facts["recipe"]["values"]["dataset"] = "arrays:0123456789ab"
    facts["recipe"]["given"] = ["dataset", "epochs"]
    (copy / "run.json").write_text(json.dumps(facts))
    return copy


def printed(page, name):
    """The value of a tile of the page, such as `test accuracy`."""
    head = page.cells("")
    return float(head[head.index(name) + 1].replace(",", ""))


def test_the_page_needs_nothing_else(page, run):
    assert page.path == run.path / "report" / "index.html"
    assert sorted(path.name for path in page.path.parent.iterdir()) == [
        "confusion.png",
        "index.html",
        "mistakes.png",
    ]
    assert "script" not in {tag for tag, _ in page.tags}
    assert "link" not in {tag for tag, _ in page.tags}
    fetched = [value for _, found in page.tags for key, value in found.items() if key in ("src", "href", "srcset")]
    assert len(fetched) == 8  # two images, each for a light and for a dark page, and for a phone
    assert all(value.startswith("data:image/png;base64,") for value in fetched)
    assert not re.search(r"https?://|@import|url\(", page.source)


def test_pictures_fit_the_page_at_144_dots_an_inch(page):
    for path in page.path.parent.glob("*.png"):
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert abs(int.from_bytes(data[16:20], "big") - 144 * figures.WIDTH) <= 1


def test_the_matrix_counts_every_example_and_agrees_with_the_accuracy(page, run, outcome):
    confusion, classes, _ = run.recipe.report_parts(outcome)
    counts, totals, labels = confusion.draw.args
    size = run.facts["data"]["sizes"]["test"]
    assert counts.sum() == size == totals.sum() == sum(row[1] for row in classes.table.rows)
    assert labels == list("0123456789")
    assert np.trace(counts) / size == pytest.approx(printed(page, "test accuracy"), abs=1e-4)
    assert np.trace(counts) / size == pytest.approx(zoo.evaluate(run)["accuracy"])


def test_the_matrix_and_the_scores_agree(outcome, run):
    confusion, classes, _ = run.recipe.report_parts(outcome)
    counts = confusion.draw.args[0]
    for label, examples, precision, recall, f1, _ in classes.table.rows:
        number = int(label)
        right = counts[number, number]
        assert examples == counts[number].sum()
        assert recall == pytest.approx(right / counts[number].sum())
        assert precision is None or precision == pytest.approx(right / counts[:, number].sum())
        assert f1 == pytest.approx(2 * right / (counts[number].sum() + counts[:, number].sum()))
    assert [row[4] for row in classes.table.rows] == sorted(row[4] for row in classes.table.rows)


def test_mistakes_are_mistakes_and_the_worst_come_first(outcome, run):
    mistakes = run.recipe.report_parts(outcome)[-1]
    pictures, captions = mistakes.draw.args
    model = outcome.model
    logits = model.predict(np.stack(pictures).astype("float32"), verbose=0)
    odds = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    losses = []
    for row, (true, said, probability, loss) in zip(odds, captions, strict=True):
        true, said = int(true.removeprefix("true ")), int(said.removeprefix("predicted "))
        assert true != said == row.argmax()
        assert probability == f"probability {np.exp(row[said]):.1%}"
        losses.append(-row[true])
        assert float(loss.removeprefix("loss ")) == pytest.approx(losses[-1], rel=1e-3)
    assert 0 < len(losses) <= 20
    assert losses == sorted(losses, reverse=True)


def test_the_numbers_are_those_of_the_run(page, run):
    for split in ("validation", "test"):
        found = zoo.evaluate(run, split)
        cells = page.cells("numbers")
        at = cells.index(split)
        assert cells[at + 1 : at + 4] == ["360", rounded(found["loss"]), rounded(found["accuracy"])]
    row = run.history[0]
    cells = page.cells("numbers")
    assert cells[cells.index("training (during training)") + 2] == rounded(row["loss"])
    assert printed(page, "parameters") == 61_750
    assert f"the best by validation loss ({rounded(row['val_loss'])})" in page.sections["numbers"]


def test_the_command_makes_the_same_recipe(page, run):
    command = next(cell for cell in page.cells("reproduce") if cell.startswith("zoo train"))
    verb, train, label, *pairs, option, directory = shlex.split(command)
    assert (verb, train, option) == ("zoo", "train", "--directory")
    assert directory == f"{run.path}-again"
    cls = registry.find(label)[0]
    given = dict(pair.split("=", 1) for pair in pairs)
    assert given == {"epochs": "1", "init_from": "none"}
    parsed = {name: cls.field(name).parse(name, text) for name, text in given.items()}
    assert registry.open_recipe(label, parsed)[0] == run.recipe


def test_only_fields_that_count_are_shown(page, run):
    cells = page.cells("fields")
    values = run.recipe.values()
    for name in values:
        assert (name in cells) == (not type(run.recipe).inactive(name, values)), name
    assert cells[cells.index("epochs") + 2 :][:3] == ["1", "40", "given"]
    assert cells[cells.index("schedule") + 2 :][:3] == ["cosine", "cosine", "default"]


def test_labels_and_captions_are_escaped(copy, monkeypatch):
    source = open_source("digits")
    source.features = {**source.features, "label": Label(tuple(LABELS))}
    monkeypatch.setattr(reporting, "open_source", lambda *_, **__: source)
    reader = runs.Run.open(copy).reader()
    runs.save_reader(ImageReader(reader.image_shape, LABELS), copy / "reader.keras")
    page = Page(zoo.report(copy))
    assert "<b>" not in page.source
    assert "<b>0</b>" in "".join(page.sections["classes"].split("|"))
    assert "#3 猫" in page.sections["classes"]  # the figures, whose font has no such letter, say #3


def test_a_task_adds_what_it_likes(copy, monkeypatch):
    seen = []

    def parts(recipe, outcome):
        inputs, targets, outputs = next(outcome.batches())
        seen.append((outcome.split, inputs.shape, targets.shape, outputs.shape))
        table = figures.Table(("<i>", "count"), [("a & b", 1_000), (None, 0.5)])
        return [
            figures.Part("words", "A table", "Just so.", table=table),
            figures.Part("picture", "An image", "An axis.", draw=lambda theme: figures.new(theme, 1.0)),
        ]

    monkeypatch.setattr(ImageClassification, "report_parts", parts)
    page = Page(zoo.report(copy, copy / "elsewhere"))
    assert seen == [("test", (32, 32, 32, 1), (32,), (32, 10))]
    assert page.cells("words") == ["A table", "Just so.", "<i>", "count", "a & b", "1,000", "0.5000"]
    assert (copy / "elsewhere" / "picture.png").exists()
    assert not (copy / "report").exists()


@pytest.mark.slow
def test_writing_again_replaces_and_repeats(copy):
    first = zoo.report(copy).read_bytes()
    page = copy / "report" / "index.html"
    page.write_text(page.read_text().replace('name="pictures" content="', 'name="pictures" content="stale.png '))
    (copy / "report" / "stale.png").write_bytes(b"old")
    assert zoo.report(copy).read_bytes() == first
    assert not (copy / "report" / "stale.png").exists()
    assert not [path.name for path in copy.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("fails", ["a file", "the place"])
def test_an_error_leaves_what_was_there(tmp_path, monkeypatch, fails):
    target = tmp_path / "report"
    contents = {"index.html": pages.MARK, "one.png": b"1"}
    pages.put_in_place(target, contents)

    def full(path, data):
        if fails == "a file" and path.name == "one.png":
            raise zoo.RunError("no room")
        write(path, data)

    def refused(old, new):
        if fails == "the place" and old.name.endswith(".new"):
            raise OSError(5, "no way")
        rename(old, new)

    write, rename = files.write, pages.os.rename
    monkeypatch.setattr(files, "write", full)
    monkeypatch.setattr(pages.os, "rename", refused if fails == "the place" else rename)
    with pytest.raises(zoo.RunError):
        pages.put_in_place(target, {"index.html": "new", "one.png": b"2"})
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert {path.name: path.read_text() for path in target.iterdir()} == {"index.html": pages.MARK, "one.png": "1"}


def test_an_error_while_measuring_writes_nothing(copy, monkeypatch):
    def broken(recipe, outcome):
        raise RuntimeError("broken")

    monkeypatch.setattr(ImageClassification, "report_parts", broken)
    before = sorted(copy.iterdir())
    with pytest.raises(RuntimeError, match="broken"):
        zoo.report(copy)
    assert sorted(copy.iterdir()) == before


def test_a_folder_of_other_things_is_left_alone(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    for target in (tmp_path, run.path, tmp_path / "thesis.txt"):
        with pytest.raises(zoo.InputError, match="other than a report"):
            zoo.report(run, target)
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_a_run_without_a_checkpoint_is_refused(copy):
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(zoo.InputError, match="no whole checkpoint"):
        zoo.report(copy)
    assert not (copy / "report").exists()


def test_data_in_memory_that_are_gone(in_memory, run):
    page = Page(zoo.report(in_memory))
    assert "cannot be read again" in page.sections[""]
    assert {"numbers", "curves", "fields", "reproduce"} <= page.sections.keys()
    assert not {"confusion", "mistakes"} & page.sections.keys()
    assert printed(page, "validation accuracy") == pytest.approx(run.history[0]["val_accuracy"], abs=1e-4)
    command = page.cells("reproduce")[2]
    assert command.startswith("import zoo\n\nrun = zoo.train('lenet', dataset=data, epochs=1, directory=")
    compile(command, "page", "exec")


def test_data_in_memory_that_come_again(in_memory):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (40, 8, 8, 1), np.uint8), np.arange(40) % 10
    page = Page(zoo.report(in_memory, dataset={"train": data, "validation": data}))
    assert "are not those that the run was trained on" in page.sections[""]
    assert "no test split" in page.sections[""]
    assert "40 examples of the validation split" in page.sections["confusion"]
    with pytest.raises(zoo.InputError, match="classes=10"):
        zoo.report(in_memory, dataset=(data[0], data[1] % 3))


def test_a_class_of_code_is_reproduced_in_code(copy):
    facts = json.loads((copy / "run.json").read_text())
    del facts["digest"]
    facts["recipe"]["name"] = "nowhere"
    (copy / "run.json").write_text(json.dumps(facts))
    command = Page(zoo.report(copy)).cells("reproduce")[2]
    assert "from zoo.recipes.lenet import LeNet\n" in command
    made = eval(re.search(r"LeNet\(.*?\)", command)[0], {"LeNet": type(runs.Run.open(copy).recipe)})
    assert made.values() == runs.Run.open(copy).recipe.values()


# Parts ----------------------------------------------------------------------------------------------------------------


def test_classes_that_nothing_is_known_of():
    """Class 1 is never predicted, class 2 never true, class 3 neither: no warning, and no number that is not one."""
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 0, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = {row[0]: row[1:] for row in figures.scores(true, predicted, list("abcd"), "test").table.rows}
        figures.confusion(true, predicted, list("abcd"), "test").draw(figures.DARK)
    assert rows["a"] == (2, 0.5, 0.5, 0.5, "c (1)")
    assert rows["b"] == (2, None, 0.0, 0.0, "a (1)")
    assert rows["c"] == (0, 0.0, None, 0.0, None)
    assert rows["d"] == (0, None, None, None, None)


@pytest.mark.parametrize("classes", [2, 20, 21, 100, 201, 1000])
def test_any_number_of_classes_is_drawn(classes):
    rng = np.random.default_rng(0)
    true = rng.integers(0, classes, 3000)
    predicted = np.where(rng.random(3000) < 0.8, true, rng.integers(0, classes, 3000))
    part = figures.confusion(true, predicted, [f"class {number}" for number in range(classes)], "test")
    figure = part.draw(figures.LIGHT)
    shown = min(classes, 100 if classes > 200 else classes)
    assert part.draw.args[0].shape == (shown, shown)
    assert bool(figure.axes[0].texts) == (classes <= figures.NUMBERED)
    assert len(figure.axes[0].get_xticks()) <= 30
    assert len(figures.scores(true, predicted, ["x"] * classes, "test").table.rows) == min(classes, 100)


def test_no_mistake_is_good_news(outcome, run):
    class Perfect:
        def predict_on_batch(self, inputs):
            return np.eye(10)[next(self.targets)] * 9

    model = Perfect()
    model.targets = iter([targets for _, targets in outcome.data.as_numpy_iterator()])
    part = run.recipe.report_parts(reporting.Outcome(model, outcome.reader, "test", outcome.data))[-1]
    assert part.draw is None
    assert "nothing to show" in part.caption


def test_pictures_of_any_shape_hang():
    pictures = [np.zeros(shape, "uint8") for shape in ((8, 8, 1), (224, 100, 3), (5, 9, 4))]
    figure = figures.gallery(pictures, [["$a " + "n" * 99, "n" * 99]] * 3, figures.LIGHT)
    figure.draw_without_rendering()
    assert len(figure.axes[0].images) == 3
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not boxes[0].overlaps(boxes[2])
    assert boxes[0].x1 - boxes[0].x0 < figures.DPI * figures.WIDTH / 4


def test_curves_of_any_history():
    row = {"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": float("nan"), "val_accuracy": 0.4, "learning_rate": 0}
    for history, monitor in (
        ([row], None),
        ([row, {**row, "epoch": 2, "loss": 0.001, "val_loss": 0.5}], "val_loss"),
        ([{"epoch": 1, "loss": float("inf"), "learning_rate": 0.1}], "loss"),
    ):
        figure = figures.curves(history, len(history), monitor, figures.DARK)
        figure.draw_without_rendering()
        assert len(figure.axes) == len({key.removeprefix("val_") for key in history[0]} - {"epoch"})


def test_one_epoch_has_no_curve_and_its_values(page):
    row = {"epoch": 1, "loss": 1.0, "val_loss": 2.0, "mean_iou": 0.5, "gate/load": 3.0, "learning_rate": 0.1}
    part = figures.learning([row], 1, "val_loss", "Means.", omit=["gate/load"])
    assert part.draw is None
    assert part.table.rows == [("loss", 1.0, 2.0), ("mean IoU", 0.5, None), ("learning rate", 0.1, None)]
    assert figures.learning([row, {**row, "epoch": 2}], 1, "val_loss", "Means.").table is None
    assert "One epoch was trained" in page.sections["curves"]


def test_numbers_have_four_significant_digits():
    shown = [1.0, 0.03844023780955, 9.99996, 12.3456, -123.456, 54321.9, 4.2e-5, 7654321.0, 0.0, 7654321, None, "a"]
    assert [rounded(one) for one in shown] == (
        ["1.000", "0.03844", "10.00", "12.35", "-123.5", "54,322", "4.200e-05", "7.654e+06", "0", "7,654,321", "", "a"]
    )
    assert [rounded(float(one)) for one in ("nan", "inf")] == ["nan", "inf"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bits_per_character", "bits per character"),
        ("val_mean_iou", "validation mean IoU"),
        ("absolute_error", "absolute error"),
        ("val_r2", "validation R²"),
        ("loss", "loss"),
    ],
)
def test_a_metric_is_named_in_words(name, words):
    assert spoken(name) == words


def test_no_card_stands_alone():
    for count in (*range(2, 13), 14, 15, 16):
        assert count % pages.columns(count) != 1


def test_images_have_alternative_texts_and_the_focus_is_seen(page):
    images = [found for tag, found in page.tags if tag == "img"]
    assert all(len(found["alt"]) > 20 for found in images)
    regions = [found["aria-label"] for _, found in page.tags if found.get("role") == "region"]
    assert len(set(regions)) == len(regions)
    assert ":focus-visible" in page.source


@pytest.mark.parametrize("theme", [figures.LIGHT, figures.DARK], ids=["light", "dark"])
def test_colours_stand_out_from_the_paper(theme):
    """By WCAG 2: 4.5 of text, 3 of what is drawn."""

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    def contrast(colour):
        dark, light = sorted([luminance(colour), luminance(theme.paper)])
        return (light + 0.05) / (dark + 0.05)

    assert min(map(contrast, (theme.ink, theme.muted))) >= 4.5
    assert min(map(contrast, (theme.first, theme.second, *theme.palette))) >= 3
    assert len(set(theme.palette)) == len(theme.palette)


@pytest.mark.parametrize("subject", ["curves", "matrix", "gallery", "attention"])
def test_letters_can_be_read_on_the_screen_of_a_phone(subject):
    names = [f"a long name of class {number}" for number in range(10)]
    looks = (np.full((9, 60), 1 / 60), ["word", *"12345678"], [*"ab", "longer token", *"c" * 57])
    row = {"epoch": 1, "loss": 1.0, "val_loss": 0.1, "bits_per_character": 0.5, "learning_rate": 1e-5}
    draw = {
        "curves": functools.partial(figures.curves, [row, {**row, "epoch": 200, "loss": 1e-3}], 200, "val_loss"),
        "matrix": functools.partial(figures.matrix, np.full((10, 10), 1000), np.full(10, 10_000), names),
        "gallery": functools.partial(figures.gallery, [np.zeros((8, 8, 1), "uint8")] * 5, [names[:2]] * 5),
        "attention": texts.attention([looks]).draw,
    }[subject]
    assert_readable(draw(figures.LIGHT.phone))


def test_importing_is_light():
    code = "import sys, zoo.figures; print({'keras', 'matplotlib', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    top = [*ast.parse(inspect.getsource(reporting)).body, *ast.parse(inspect.getsource(pages)).body]
    names = {ast.unparse(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom)}
    assert not [name for name in names if re.search("matplotlib|sklearn|jinja2", name)]


def test_a_palette_keeps_frequent_colours_and_leaves_photographs_alone():
    rng = np.random.default_rng(0)
    chart = rng.choice(200, (60, 80))[..., None] * np.array([1, 0, 1])
    chart[:, 40:] = (0, 114, 178)
    shades = chart.copy()
    shades[0] = np.stack(np.unravel_index(np.arange(80), (4, 4, 5)), -1) + 100  # more than a palette holds
    noise = rng.integers(0, 256, (120, 80, 3))
    for pixels, mode in ((chart, "P"), (shades, "P"), (noise, "RGB")):
        image = PIL.Image.fromarray(pixels.astype("uint8"))
        made = encoding.with_palette(image)
        assert made.mode == mode
        off = np.abs(np.asarray(made.convert("RGB"), int) - pixels)
        assert off[1:].max() == 0
        assert off[0].max() <= (100 if pixels is shades else 0)
