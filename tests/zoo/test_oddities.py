"""Whatever is left out, changed, cut or unknown in data is counted in their notes; no kind of data is read in silence.

Each kind is given one of each oddity. `tests/zoo/test_images.py` has the same for folders of images.
"""

import re
import types

import numpy as np
import PIL.Image
import pytest

import zoo
from tests.zoo.pages import Page
from zoo.data import open_source, pipeline
from zoo.data.text_source import as_texts
from zoo.devices import Resolved
from zoo.registry import open_recipe
from zoo.runs import Run
from zoo.training import fitting


def notes_of(tmp_path, name, **given):
    """What `run.json` of a training says of its data; nothing is trained."""
    recipe, source = open_recipe(name, given, skip_bad=True)
    reader = recipe.make_reader(source)
    preparation = recipe.make_preparation(reader, source)
    pipeline.steps_per_epoch(source, preparation, recipe.batch_size)
    pipeline.evaluation(source, "validation", preparation, batch_size=recipe.batch_size)
    read, warned = fitting._told_of_reading(recipe, reader, source, preparation)
    plan = types.SimpleNamespace(steps_per_epoch=1, device=Resolved("tensorflow", "cpu", "float32", "auto"))
    run = Run.create(tmp_path / "run", recipe, source, plan, read=[*read, *warned])
    assert run.facts["data"]["notes"][: len(source.notes)] == list(source.notes)
    return run.facts["data"]["notes"]


# Tables ---------------------------------------------------------------------------------------------------------------


def odd_table(root):
    """train.csv, validation.csv and test.csv with one of each oddity."""
    root.mkdir()
    lines = [";id;age;price;when;city;y;"]
    for row in range(60):
        age = {3: "", 4: "NA", 5: "old"}.get(row, str(20 + row % 7))
        price = {6: "", 7: "dear"}.get(row, f"{row},5")
        when = {8: "", 9: "yesterday"}.get(row, f"2024-{1 + row // 28:02}-{1 + row % 28:02}")
        city = "" if row == 10 else "Rome" if row % 2 else "Oslo"
        label = "once" if row == 11 else "yes" if row % 3 else "no"
        lines.append(f"{row};n{row};{age};{price};{when};{city};{label};")
    lines[20:20] = ["", "1;2"]
    (root / "train.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    odd = [lines[0], "0;n;21;1,5;2024-01-01;Bonn;yes;", "1;m;22;2,5;2024-01-02;Rome;no;", ""]
    (root / "validation.csv").write_text("\n".join([*odd, "\n"]))
    (root / "extra.csv").write_text("a,b\n1,2\n")
    return {"dataset": f"csv:{root}", "target": "y", "epochs": 1}


TABLE = [
    "1 unreadable row left out",
    "3 empty lines skipped",
    "the last column, which has no name and no values, is left out",
    "the first column, which has no name, is taken as the index and left out",
    "left out beside the splits 1 other: extra.csv",
    "Columns: numbers age, price (a decimal comma); dates when (day of week); categories city (3). 11 inputs",
    "Left out: id (60 different texts in 60 training rows). To read such a column: categorical=id",
    "Missing cells, read as the mean: age 2, price 1, when 1",
    "Cells that are no number or date, read as missing: age 1, price 1, when 1",
    "Empty cells, read as a category: city 1",
    "Cells of categories that no training row has, read as none: city 1",
    "The class 'once' has one training example only",
]


def test_a_table_with_one_of_each_oddity_counts_them(tmp_path):
    assert notes_of(tmp_path, "mlp", **odd_table(tmp_path / "odd")) == TABLE
    (tmp_path / "odd" / "train.csv").write_bytes("a\nß\n".encode("latin-1"))
    with pytest.raises(zoo.InputError, match="line 2: this is not UTF-8 text"):
        open_source(f"csv:{tmp_path / 'odd'}", skip_bad=True)


def test_notes_are_printed_once_at_the_start_and_stand_in_the_report(tmp_path, capsys):
    run = zoo.train("mlp", directory=tmp_path / "run", skip_bad=True, **odd_table(tmp_path / "odd"))
    said = capsys.readouterr().out
    begun = said[: said.index("Training mlp")]
    page = Page(zoo.report(run, skip_bad=True))
    text = re.sub(r"\s+", " ", "".join(page.sections.values()))
    for note in TABLE:
        assert said.count(note) == begun.count(note) == 1
        assert f"Note on the data: {note}." in text


def test_a_table_without_an_oddity_has_the_note_of_its_columns_alone(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["a,b,y", *(f"{rng.normal():.3f},{rng.normal():.3f},{'no' if row % 2 else 'yes'}" for row in range(100))]
    (tmp_path / "even.csv").write_text("\n".join(lines))
    found = notes_of(tmp_path, "mlp", dataset=f"csv:{tmp_path / 'even.csv'}", target="y")
    assert found == ["Columns: numbers a, b. 2 inputs"]


# Texts ----------------------------------------------------------------------------------------------------------------


def odd_pairs(root):
    root.mkdir()
    lines = ["source,target,id", *(f"one {'abcdefgh'[row % 8]} {row // 8},eins {row},{row}" for row in range(64))]
    lines += [
        "one a 0,eins 0,64",
        "lone,,65",
        ",allein,66",
        "",
        f"{'long ' * 40},lang,67",
        "too,few",
        '"a, b","c\nd",68',
    ]
    (root / "train.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    (root / "validation.csv").write_text("source,target,id\none z 1,eins 1,1\none q q,zwei,2\n")
    return {"dataset": f"csv:{root}", "length": 24, "target_length": 24}


@pytest.mark.filterwarnings("ignore:.*what is beyond is cut")
def test_pairs_with_one_of_each_oddity_count_them(tmp_path):
    assert notes_of(tmp_path, "transformer", **odd_pairs(tmp_path / "odd")) == [
        "1 unreadable row left out",
        "1 empty line skipped",
        "left out the column id",
        "2 rows with an empty cell left out",
        "1 row like another",
        "5 tokens of 3 validation texts are out of the vocabulary: the network reads them as unknown",
        "1 of 67 train texts have 24 tokens or more; what is beyond is cut. To read more, raise length=24",
    ]


def test_labelled_texts_with_one_of_each_oddity_count_them(tmp_path):
    lines = [
        "text,label,author",
        *(f"mail {'abcdefgh'[row % 8]} {row // 8},{'spam' if row % 3 else 'ham'},x" for row in range(64)),
    ]
    lines += ["mail,once,x", ",spam,x", "mail,,x"]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    (tmp_path / "validation.csv").write_text("text,label,author\nmail z,ham,x\n")
    found = notes_of(tmp_path, "bert_classifier", dataset=f"csv:{tmp_path}")
    assert found[:2] == ["left out the column author", "2 rows with an empty cell left out"]
    assert "The class 'once' has one training example only" in found
    assert found[-1] == "1 token of 1 validation text is out of the vocabulary: the network reads them as unknown"


def test_running_text_with_one_of_each_oddity_counts_them(tmp_path):
    root = tmp_path / "texts"
    root.mkdir()
    for number in range(40):
        (root / f"{number}.txt").write_text(f"a text of number {number}\n\nand one more line\n" * 3)
    (root / "0.txt").write_bytes(b"\xef\xbb\xbf" + (root / "0.txt").read_bytes())
    (root / "1.txt").write_bytes((root / "1.txt").read_bytes().replace(b"\n", b"\r\n"))
    (root / "empty.txt").write_text(" \n")
    (root / "readme.md").write_text("hello")
    (root / ".hidden.txt").write_text("hello")
    source = as_texts(open_source(f"text:{root}"))
    assert source.notes == (
        "left out 1 file of another kind than .txt: readme.md",
        "1 file with a byte order mark in front, which is left out",
        "1 file with carriage returns at the ends of lines, which are read as line feeds",
        "1 file without a text left out",
    )
    found = [
        text for split in source.sizes for one in source.examples(split) for text in [one["text"].numpy().decode()]
    ]
    assert len(found) == 40
    assert not any("\r" in text or "\ufeff" in text for text in found)
    path = next(path for path in sorted(root.glob("*.txt")) if path.read_text() in
                {one["text"].numpy().decode() for one in source.examples("validation")})  # fmt: skip
    path.write_text(path.read_text() + "ÄÖ")
    found = notes_of(tmp_path, "gpt", dataset=f"text:{root}", length=16, answer_length=8)
    assert found[-1] == "2 tokens of 1 validation text are out of the vocabulary: the network reads them as unknown"
    (root / "2.txt").write_bytes(b"fine\n\xff")
    with pytest.raises(zoo.InputError, match=r"2\.txt, line 2: this is not UTF-8 text"):
        open_source(f"text:{root}")


def test_a_folder_of_splits_names_what_lies_beside_them(tmp_path):
    for name in ("train", "validation", "old"):
        (tmp_path / f"{name}.txt").write_text(f"a text of {name}\n" * 9)
    assert open_source(f"text:{tmp_path}").notes == ("left out beside the splits 1 other: old.txt",)


def test_lists_of_texts_count_what_is_empty_and_what_repeats():
    texts = [f"one {number}" for number in range(30)]
    source = open_source({"train": ([*texts, "", "one 1"], [*texts, "", "one 1"])})
    assert source.notes == ("2 empty texts", "1 row like another")
    assert open_source((texts, texts)).notes == ()


# Images and masks -----------------------------------------------------------------------------------------------------


def test_masks_with_one_of_each_oddity_count_them(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("images", "masks", "old"):
        (tmp_path / kind).mkdir()
    for number in range(30):
        PIL.Image.fromarray(rng.integers(0, 256, (9, 8, 3), "uint8")).save(tmp_path / "images" / f"{number}.png")
        mask = rng.integers(0, 3, (9, 8), "uint8")
        if number < 2:
            mask[0] = 255
        PIL.Image.fromarray(mask[:8] if number == 5 else mask + 3 * (number == 6)).save(
            tmp_path / "masks" / f"{number}.png"
        )
    (tmp_path / "masks" / "3.png").unlink()
    (tmp_path / "images" / "4.png").unlink()
    (tmp_path / "images" / "7.png").write_text("hello")
    (tmp_path / "masks" / "8.png").write_bytes((tmp_path / "masks" / "8.png").read_bytes()[:50])
    PIL.Image.fromarray(np.zeros((9, 8, 3), "uint8")).save(tmp_path / "masks" / "9.png")
    (tmp_path / "images" / "readme.txt").write_text("hello")
    (tmp_path / "labels.txt").write_bytes("\ufeffground\nleaf\nstem\n".encode())
    with pytest.raises(zoo.InputError, match=r"images/3\.png has no mask.* \(6 more are bad\.\)"):
        open_source(f"folder:{tmp_path}")
    source = open_source(f"folder:{tmp_path}", skip_bad=True)
    assert sum(source.sizes.values()) == 23
    assert source.features["mask"].names == ("ground", "leaf", "stem")
    assert source.notes == (
        "left out, images without a mask: 1",
        "left out, masks without an image: 1",
        "left out, masks of another size than their image: 1",
        "left out, masks with an id that is no class: 1",
        "left out, unreadable images: 1",
        "left out, unreadable masks: 2",
        "left out 1 file that is no image: images/readme.txt",
        "left out beside images and masks 1 other: old",
        "2 masks with pixels of id 255, which are outside the loss",
    )


def test_what_lies_beside_class_folders_is_counted(tmp_path):
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (tmp_path / split / label).mkdir(parents=True)
            PIL.Image.fromarray(np.zeros((5, 4), "uint8")).save(tmp_path / split / label / "0.png")
    PIL.Image.fromarray(np.zeros((5, 4), "uint8")).save(tmp_path / "train" / "stray.png")
    (tmp_path / "more").mkdir()
    assert open_source(f"folder:{tmp_path}").notes == (
        "left out beside the splits 1 other: more",
        "left out beside the class folders 1 other: stray.png",
        "no validation split: training goes without",
    )
