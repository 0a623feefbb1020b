"""`preprocess.py` makes of raw input what the reader of the run makes of it, without anything of ours."""

import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.readers.images import ImageReader
from zoo.readers.masks import MaskReader
from zoo.readers.tables import TableReader
from zoo.serving import _export_worker, preprocessing

LABELS = ("a", "b")


def made(reader):
    """The `preprocess` of a script."""
    found = {}
    exec(compile(preprocessing.script(reader, "model.onnx", "images"), "preprocess.py", "exec"), found)
    return found["preprocess"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images of each kind that a file may hold, of several shapes."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)

    def drawn(height, width, channels=()):
        return rng.integers(0, 256, (height, width, *channels), "uint8")

    turned = Image.Exif()
    turned[0x0112] = 6
    pictures = {
        "grey.png": (Image.fromarray(drawn(23, 17)), {}),
        "colour.png": (Image.fromarray(drawn(40, 31, (3,))), {}),
        "clear.png": (Image.fromarray(drawn(9, 30, (4,))), {}),
        "grey-clear.png": (Image.fromarray(drawn(12, 12, (2,)), "LA"), {}),
        "palette.png": (Image.fromarray(drawn(20, 25, (3,))).quantize(16), {}),
        "bits.png": (Image.fromarray(drawn(16, 16) > 99), {}),
        "deep.png": (Image.fromarray(rng.integers(0, 2500, (21, 14), "uint16")), {}),
        "turned.jpg": (Image.fromarray(drawn(24, 33, (3,))), {"exif": turned, "quality": 95}),
        "deep.tiff": (Image.fromarray(rng.integers(0, 2500, (10, 11), "uint16")), {}),
        "one.bmp": (Image.fromarray(drawn(15, 8, (3,))), {}),
    }
    for name, (picture, options) in pictures.items():
        picture.save(folder / name, **options)
    return [folder / name for name in pictures]


def assert_same_pixels(found, expected):
    """Equal, but where a pixel lies in the middle of two levels, and a rounding of float32 decides."""
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("options", [
    {},
    pytest.param({"bits": 11, "image_shape": (28, 20, 3)}, marks=pytest.mark.slow),
    pytest.param({"resize": "crop", "interpolation": "bicubic", "image_shape": (14, 14, 3)}, marks=pytest.mark.slow),
    {"resize": "crop", "image_shape": (14, 10, 1), "crop_fraction": 0.8},
    pytest.param({"interpolation": "bicubic", "image_shape": (19, 24, 1)}, marks=pytest.mark.slow),
])  # fmt: skip
def test_images_are_read_as_by_the_reader(options, files):
    reader = ImageReader(labels=LABELS, **{"image_shape": (16, 16, 1), **options})
    found, (_, expected) = made(reader)(*files), reader.read_raw(files)
    assert_same_pixels(found, expected.astype("float32"))
    if {"resize", "interpolation"} & set(options):  # two rounded passes of whole numbers, in both
        assert (found == expected).mean() > 0.9999


@pytest.mark.parametrize(("channels", "margin"), [(3, 0), (1, 4)])
def test_images_for_masks_keep_their_size(channels, margin, files):
    reader = MaskReader((32, 32, channels), LABELS, margin=margin)
    preprocess = made(reader)
    for file in files:
        _, (expected,) = reader.read_raw([file])
        assert_same_pixels(preprocess(file), reader.frame(expected[None]).numpy())


ROWS = {
    "age": ["31.5", "", "1e2", " 7 ", "-3"],
    "big": ["1700000000123", "1700000000456", "1700000001789", "1700000000000", "1700000099999"],
    "price": ["1.234,5", "12,25", "1.000.000", "3", "0,5"],
    "share": ["3.5 %", "4%", "0.25 %", "100 %", "7%"],
    "day": ["2024-05-31", "2023-01-01", "", "2025-12-24", "2024-02-29"],
    "moment": [
        "2024-05-31T14:30:05.25+02:00",
        "2024-06-01 00:00",
        "2024-07-01 12:15:00 -03:00",
        "14:30",
        "2024-06-09",
    ],
    "city": ["Bern", "Zürich", "", "Oslo", "Bern"],
    "code": ["1", "2.0", "1.0", "3", "2"],
}


@pytest.fixture(scope="module")
def columns():
    number = {"mean": 0.1, "deviation": 3.7, "gaps": False}
    return [
        {"name": "city", "values": ["", "Bern", "Zürich"]},
        {"name": "age", **number, "gaps": True},
        {"name": "big", "mean": 1.7e12, "deviation": 5e4, "gaps": False, "dtype": "float64"},
        {"name": "price", **number, "notation": {"decimal": ",", "thousands": "."}},
        {"name": "share", **number, "notation": {"percent": True}},
        {"name": "day", "mean": 19_700.0, "deviation": 200.0, "gaps": True, "cycles": [7.0, 365.2425]},
        {"name": "moment", "mean": 19_900.0, "deviation": 90.0, "gaps": False, "cycles": [1.0]},
        {"name": "code", "values": ["1", "2"], "whole": True},
    ]


def rows_of(table):
    return [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]


def test_rows_are_read_as_by_the_reader(columns):
    reader = TableReader(columns, "y", LABELS)
    table, (_, expected) = made(reader)(*rows_of(ROWS)), reader.read_raw([ROWS])
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, expected, rtol=1e-6, atol=1e-6)
    numbers = {"age": [31.5, math.nan, None], "code": [1, 2.0, 3], "price": [1234.5, 2, 0.25], "share": [3.5, 4, 5]}
    numbers = {**{name: cells[:3] for name, cells in ROWS.items()}, **numbers}
    np.testing.assert_allclose(made(reader)(*rows_of(numbers)), reader.read_raw([numbers])[1], rtol=1e-6, atol=1e-6)


def test_a_script_has_only_what_its_reader_needs(columns):
    words = {"cycles": "datetime", "notation": "groups", "values": "fullmatch"}
    for kept in (columns, columns[:1], columns[1:3], columns[3:4], columns[5:6]):
        text = preprocessing.script(TableReader(kept, "y", LABELS), "model.onnx", "table")
        for key, word in words.items():
            assert (word in text) == any(key in column for column in kept)
    images = preprocessing.script(ImageReader((16, 16, 3), LABELS), "model.onnx", "images")
    assert "0.299" not in images
    assert "crop(" not in images
    assert len([line for line in images.partition("def read")[2].splitlines() if line.strip()]) < 20


def test_a_name_that_would_end_a_docstring_is_not_shown():
    column = {"name": 'a""" + str(1) + """\\', "mean": 0.0, "deviation": 1.0, "gaps": False}
    preprocess = made(TableReader([column], "y", LABELS))
    np.testing.assert_array_equal(preprocess({column["name"]: 2.0}), [[2.0]])


def test_a_reader_of_ones_own_has_no_script():
    class Mine(ImageReader):
        pass

    assert preprocessing.script(Mine((16, 16, 3), LABELS), "model.onnx", "images") is None


def test_dimensions_that_vary_have_names():
    assert _export_worker.dimensions((None, 28, 28, 1)) == ["batch", 28, 28, 1]
    assert _export_worker.dimensions((None, None, None, 3)) == ["batch", "height", "width", 3]
    assert _export_worker.dimensions((None, None, None, 2), "answer_") == ["batch", "answer_height", "answer_width", 2]
    assert _export_worker.dimensions((None, None, 8)) == ["batch", "length", 8]
    assert _export_worker.dimensions((None,)) == ["batch"]


ALONE = """
import sys
from preprocess import preprocess
inputs = preprocess(*sys.argv[2:])
assert not {"tensorflow", "keras", "zoo"} & set(sys.modules)
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
(one,) = session.get_inputs()
print([one.shape, *(output.shape for output in session.get_outputs())])
print(session.run(["logits"], {one.name: inputs})[0].tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "shapes"), [
    ("lenet", [["batch", 32, 32, 1], ["batch", 10], ["batch", 10]]),
    ("unet/original", [["batch", "height", "width", 1], ["batch", "answer_height", "answer_width", 2]]),
    ("unet/same", [["batch", "height", "width", 1], ["batch", "height", "width", 2]]),
])  # fmt: skip
def test_a_file_goes_through_the_script_and_the_model_alone(recipe, shapes, files, tmp_path):
    pytest.importorskip("tf2onnx")
    small = {} if recipe == "lenet" else {"filters": 4, "depth": 2}
    model = zoo.build(recipe, **small)
    target = zoo.export(model, tmp_path / "export", format="onnx")
    facts = json.loads((target / "signature.json").read_text())
    assert facts["preprocess"] == "preprocess.py"
    chosen = files[1:2] if small else files
    command = [sys.executable, "-c", ALONE, "-", *map(str, chosen)]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, check=True)
    found, logits = map(json.loads, done.stdout.replace("'", '"').strip().splitlines())
    assert found[: len(shapes)] == shapes
    (signature,) = facts["signatures"].values()
    assert [one["dimensions"] for one in signature["inputs"].values()] == found[:1]
    reader = model.recipe.default_reader()
    inputs = reader.read_raw(chosen)[1]
    inputs = reader.frame(inputs[0][None]) if small else inputs
    expected = keras.ops.convert_to_numpy(model(keras.ops.cast(inputs, "float32")))
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())


LITERT = """
import json, sys
from ai_edge_litert.interpreter import Interpreter
from preprocess import preprocess
runner = Interpreter("model.tflite").get_signature_runner()
row = json.loads(sys.argv[1])
print(json.dumps(runner(table=preprocess(row, row, row))["logits"].tolist()))
"""


@pytest.mark.slow
def test_rows_go_through_the_script_and_a_litert_model(tmp_path):
    pytest.importorskip("ai_edge_litert")
    model = zoo.build("mlp", inputs=3, classes=2)
    target = zoo.export(model, tmp_path / "export", format="litert")
    (signature,) = json.loads((target / "signature.json").read_text())["signatures"].values()
    assert signature["inputs"]["table"]["dimensions"] == ["batch", 3]
    row = {"x0": 1.5, "x1": "-2", "x2": 3}
    command = [sys.executable, "-c", LITERT, json.dumps(row)]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, check=True)
    expected = keras.ops.convert_to_numpy(model(np.array([[1.5, -2, 3]] * 3, "float32")))
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4 * np.abs(expected).max())
