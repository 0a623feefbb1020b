"""Tables: the same numbers in training, prediction and export, and one clear line for what a file has wrong."""

import csv
import io
import json
import os
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests import warm
from zoo import cli, reporting, weights
from zoo.data import csv_file, open_source, pipeline, table_source
from zoo.data.table_source import CsvSource
from zoo.fields.texts import rounded
from zoo.figures import tables
from zoo.readers.table_fitting import fit
from zoo.readers.tables import TableReader
from zoo.registry import open_recipe

CITIES = ("Berlin", 'Paris, "nord"', "Zürich", "")


def table(rows=240):
    """Rows of numbers with gaps, cities, whole numbers as codes, something constant nowhere, and a class."""
    rng = np.random.default_rng(0)
    made = []
    for row in range(rows):
        age, code = rng.uniform(18, 80), int(rng.integers(3))
        made.append(
            {
                "alter (Jahre)": "" if row % 11 == 0 else f"{age:.1f}",
                "city": CITIES[rng.integers(4)],
                "code": str(code),
                "income": f"{rng.normal(5e4, 9e3):.2f}",
                "label": "ja" if age / 40 + code > 1.9 else "nein",
            }
        )
    return made


def write(path, rows, delimiter=",", encoding="utf-8"):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("csv") / "table.csv", table())


FIELDS = {"target": "label", "categorical": "code", "epochs": 2}


@pytest.fixture(scope="module")
def run(path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "table"
    return zoo.train("mlp", dataset=f"csv:{path}", directory=folder, quiet=True, **FIELDS)


def columns(source, split):
    return {name: values[source.rows[split]] for name, values in source.columns.items()}


# Data -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rows", "inputs", "classes"), [
    ("moons", 2000, 2, 2), ("spirals", 2000, 2, 2), ("xor", 2000, 2, 2),
    ("iris", 150, 4, 3), ("wine", 178, 13, 3), ("breast_cancer", 569, 30, 2),
])  # fmt: skip
def test_tables_of_the_package_are_the_same_for_ever_and_split_in_proportion(name, rows, inputs, classes):
    source = open_source(name)
    assert source.fingerprint == open_source(name).fingerprint
    assert sum(source.sizes.values()) == source.verify() == rows
    recipe, _ = open_recipe("mlp", {"dataset": name})
    assert (recipe.inputs, recipe.classes) == (inputs, classes)
    labels = source.columns[source.target]
    for indices in source.rows.values():
        for label in set(labels):
            assert abs((labels[indices] == label).mean() - (labels == label).mean()) < 0.03


def test_a_row_keeps_its_split_whatever_is_added_around_it(tmp_path):
    rows = table()
    before = open_source(f"csv:{write(tmp_path / 'a.csv', rows)}")
    after = open_source(f"csv:{write(tmp_path / 'b.csv', [*table(400)[240:], *rows[::-1], *rows])}")
    assert before.sizes["train"] == pytest.approx(0.7 * 240, abs=25)
    for split in before.sizes:
        ours, theirs = (
            {tuple(row) for row in zip(*columns(one, split).values(), strict=True)} for one in (before, after)
        )
        assert ours <= theirs


def test_a_folder_may_have_its_own_splits(tmp_path):
    rows = table()
    write(tmp_path / "train.csv", rows[:100])
    write(tmp_path / "test.csv", rows[100:130])
    source = open_source(f"csv:{tmp_path}")
    assert source.sizes == {"train": 100, "test": 30}
    assert source.notes == ("no validation split: training goes without",)
    assert source.columns["income"][source.rows["test"]].tolist() == [row["income"] for row in rows[100:130]]
    assert source.where(101) == f"{tmp_path / 'test.csv'}, line 3"


@pytest.mark.parametrize(("text", "expected"), [
    ('a,b\n1,"x, ""y"""\n', {"a": ["1"], "b": ['x, "y"']}),
    ("\ufeffa;b\r\n1,5;x\r\n\r\n2;y\r\n", {"a": ["1,5", "2"], "b": ["x", "y"]}),
    ("größe\t猫\n 1 \t x \n", {"größe": ["1"], "猫": ["x"]}),
    ('a,b\n"two\nlines",2\n3,\n', {"a": ["two\nlines", "3"], "b": ["2", ""]}),
    ("a\n1\n2\n", {"a": ["1", "2"]}),
    (",a,b\n0,1,x\n1,2,y\n", {"a": ["1", "2"], "b": ["x", "y"]}),
    ("a,b,\n1,x,\n2,y,\n", {"a": ["1", "2"], "b": ["x", "y"]}),
    ('sep=;\r\na;b\r\n"1,5";x\r\n', {"a": ["1,5"], "b": ["x"]}),
])  # fmt: skip
def test_cells_are_what_the_file_says(text, expected, tmp_path):
    (tmp_path / "t.csv").write_bytes(text.encode())
    source = CsvSource(f"csv:{_in_train(tmp_path / 't.csv')}")
    assert {name: values.tolist() for name, values in source.columns.items()} == expected
    odd = "," in (text[0], text.partition("\n")[0][-1]) or "\r\n\r\n" in text
    assert len(source.notes) == 1 + odd  # the first: there is no validation


def _in_train(path):
    """A folder whose train.csv is the file: so few rows may all fall into another split."""
    folder = path.parent / "folder"
    folder.mkdir()
    path.rename(folder / "train.csv")
    return folder


# Reading --------------------------------------------------------------------------------------------------------------


CELLS = ("1", "-2.5e3", "", "nan", "NA", "1_000", "1e99", "inf", "\u0663", "\u00a07", "0x1", "text", "1,5")


def test_a_block_of_columns_is_read_as_each_of_them_alone(monkeypatch):
    monkeypatch.setattr(table_source, "_BLOCK", 4)
    rng = np.random.default_rng(0)
    numbers = [[f"{value:.17g}" for value in rng.normal(size=11) * 10.0 ** rng.integers(-30, 30)] for _ in range(5)]
    gaps = [["" if row % 3 == 1 else "7.25" for row in range(11)], [""] * 11]
    odd = [["3.5"] * row + [cell] + ["4"] * (10 - row) for cell in CELLS for row in (0, 3, 4, 10)]
    cells = np.array([*numbers, *gaps, *odd], object).T
    columns = dict(zip(map(str, range(cells.shape[1])), cells.T, strict=True))
    read = table_source.numbers_of(columns, cells)
    for name, values in columns.items():
        (found, bad), (expected, wrong) = read(name), table_source.numbers(values)
        assert found.tobytes() == expected.tobytes()
        assert bad == wrong
    assert {len(read(name)[1]) for name in columns} == {0, 1}


def test_a_file_without_quotes_is_split_as_one_with_them():
    rng = np.random.default_rng(0)
    for delimiter in csv_file.DELIMITERS:
        parts = ["a", "1.5", " ", "\t", "\u00a0", "\x0b", "\u2028", "\0", "\n", "\r", "\r\n", delimiter, delimiter, "'"]
        for _ in range(200):
            text = "".join(rng.choice(parts, 12))
            both = [list(split(io.StringIO(text, newline=""), delimiter)) for split in SPLITS]
            assert both[0] == both[1]
    for length in (131_072, 131_073):
        both = []
        for split in SPLITS:
            try:
                both.append(len(next(split(["x" * length + ",y"], ","))[0][0]))
            except csv.Error as error:
                both.append(str(error))
        assert both[0] == both[1]


SPLITS = (csv_file._quoted, csv_file._unquoted)


def test_numbers_are_scaled_by_the_training_rows_and_categories_are_one_hot(path):
    source = open_source(f"csv:{path}")
    reader = fit(source, "label", regression=False, categorical=("code",))
    train = columns(source, "train")
    ages = np.array([float(age or "nan") for age in train["alter (Jahre)"]])
    read = reader.read(reader.parse(train, str))
    assert read.shape == (source.sizes["train"], reader.width) == (source.sizes["train"], 2 + 4 + 3 + 1)
    expected = np.nan_to_num((ages - np.nanmean(ages)) / np.nanstd(ages))
    np.testing.assert_allclose(read[:, 0], expected, atol=1e-5)
    np.testing.assert_array_equal(read[:, 1], np.isnan(ages))
    np.testing.assert_array_equal(read[:, 2:6], [[city == one for one in sorted(CITIES)] for city in train["city"]])
    np.testing.assert_array_equal(read[:, 6:9], [[code == one for one in "012"] for code in train["code"]])
    income = train["income"].astype(float)
    np.testing.assert_allclose(read[:, 9], (income - income.mean()) / income.std(), atol=1e-5)


@pytest.mark.parametrize("gap", ["", "NA", "nan", "?", None, float("nan")])
def test_a_number_that_is_missing_is_the_mean_and_says_so(gap, run):
    reader = run.reader()
    row = {"alter (Jahre)": gap, "city": "Berlin", "code": 1, "income": reader.columns[3]["mean"]}
    _, read = reader.read_raw([row])
    assert read[0].tolist() == [0, 1, 0, 1, 0, 0, 0, 1, 0, 0]


def test_a_category_that_training_had_not_is_all_zeros(run):
    row = {"alter (Jahre)": 30, "city": "Oslo", "code": 7, "income": 1.0}
    _, read = run.reader().read_raw([row])
    assert not read[0, 1:9].any()


def test_scales_far_from_one_are_no_trouble():
    for scale in (1e-12, 1.0, 1e12):
        values = scale * np.array([1.0, 2.0, 3.0, 4.0])
        rows = values[:, None], np.array([0, 1, 0, 1])
        source = open_source({"train": rows, "test": rows})
        reader = fit(source, "y", regression=False)
        read = reader.read(reader.parse(source.columns, str))[:4]
        np.testing.assert_allclose(read[:, 0], np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25), rtol=1e-5)


@pytest.mark.backend
def test_training_prediction_and_export_read_the_same_numbers(run, path):
    source = open_source(f"csv:{path}")
    recipe, reader = run.recipe, run.reader()
    preparation = recipe.make_preparation(reader, source)
    test = np.concatenate(
        [x for x, _ in pipeline.evaluation(source, "test", preparation, batch_size=7).as_numpy_iterator()]
    )
    names, every = reader.read_raw([str(path)])
    np.testing.assert_array_equal(test, every[source.rows["test"]])
    assert [names[row] for row in source.rows["test"][:2]] == [
        f"{path}:{row + 2}" for row in source.rows["test"][:2]
    ]  # fmt: skip
    batch, _ = next(iter(pipeline.training(source, preparation, batch_size=20, seed=0).as_numpy_iterator()))
    known = {row.tobytes() for row in every[source.rows["train"]]}
    assert all(row.tobytes() in known for row in batch)
    read, specs = reader.signatures()["serving_default"]
    parsed = reader.parse(source.columns, str)
    probe = reader.raw_probe(parsed)
    raw = {key.partition("/")[2]: values for key, values in probe.items() if key.startswith("serving_default/")}
    assert list(specs) == list(raw) == ["alter_Jahre", "city", "code", "income"]
    answers = read(*(tf.constant(list(values), specs[name].dtype) for name, values in raw.items()))
    np.testing.assert_array_equal(answers.numpy(), every)
    np.testing.assert_array_equal(rows_exported(reader, probe), every)


def rows_exported(reader, probe):
    """What `serve_rows` of an export reads of a probe."""
    read, specs = reader.signatures()["serve_rows"]
    blocks = (probe[f"serve_rows/{kind}"] for kind in specs)
    return read(*(tf.constant(one.tolist(), spec.dtype) for one, spec in zip(blocks, specs.values(), strict=True)))


def test_a_reader_is_its_config():
    columns = [{"name": "a", "mean": 0.5, "deviation": 2.0, "gaps": True}, {"name": "b", "values": ["", "[UNK]", "é"]}]
    reader = TableReader(columns, "c", labels=["no", "yes"])
    again = TableReader.from_config(json.loads(json.dumps(reader.get_config())))
    rows = [{"a": 4.5, "b": "[UNK]"}, {"a": None, "b": "é"}, {"a": 0.5, "b": "x"}]
    np.testing.assert_array_equal(reader.read_raw(rows)[1], again.read_raw(rows)[1])
    assert reader.read_raw(rows)[1].tolist() == [[2, 0, 0, 1, 0], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0]]


def test_inputs_of_an_export_have_plain_names():
    names = ["km/h", "größe (cm)", "a b", "a_b", "A B", "class", "self", "1st", "猫", "_"]
    reader = TableReader([{"name": name, "mean": 0.0, "deviation": 1.0, "gaps": False} for name in names], "y")
    assert list(reader.input_names) == names
    plain = list(reader.input_names.values())
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) for name in plain)
    assert len({name.lower() for name in plain}) == len(plain)
    assert plain[:3] == ["km_h", "groe_cm", "a_b"]


def learned(tmp_path, delimiter=",", **cells):
    """(the source, its reader) of a train.csv of columns of text, and a class."""
    count = len(next(iter(cells.values())))
    rows = [{name: cells[name][n] for name in cells} | {"y": "ab"[n % 2]} for n in range(count)]
    path = write(tmp_path / "train.csv", rows, delimiter)
    source = open_source(f"csv:{path.parent}")
    return source, fit(source, "y", regression=False)


def exported(reader, **cells):
    """What an export reads of columns of text or numbers."""
    read, specs = reader.signatures()["serving_default"]
    return read(*(tf.constant(cells[name], spec.dtype) for name, spec in specs.items())).numpy()


@pytest.mark.parametrize(("cells", "beside", "delimiter", "numbers"), [
    (("0,455", "12,5", "-3", ""), "", ";", (0.455, 12.5, -3, None)),
    (("0,455", "0,365", "0,53"), "", ",", (0.455, 0.365, 0.53)),
    (("1,234", "2,500", "950"), "", ",", (1234, 2500, 950)),
    (("1,234", "2,500", "950"), "", ";", (1.234, 2.5, 950)),
    (("1,234", "2,500", "950"), "0.5", ";", (1234, 2500, 950)),
    (("1,234,567", "8", "1,000"), "", ";", (1234567, 8, 1000)),
    (("1,234.50", "950.00", "12.25"), "", ",", (1234.5, 950, 12.25)),
    (("1.234,5", "950", "1.000.000"), "", ";", (1234.5, 950, 1e6)),
    (("1.234", "12.500", "950"), "0,5", ";", (1234, 12500, 950)),
    (("1.234", "12.500", "950"), "", ";", (1.234, 12.5, 950)),
    (("1 234,5", "12\u00a0000", "950"), "", ";", (1234.5, 12000, 950)),
    (("1'234.5", "12\u2019000", "950"), "", ",", (1234.5, 12000, 950)),
    (("12%", "3.5 %", "NA"), "", ",", (12, 3.5, None)),
    (("12,5 %", "3 %", "0,1%"), "", ";", (12.5, 3, 0.1)),
    (("1,5e3", "2,5E-1", "4"), "", ";", (1500, 0.25, 4)),
])  # fmt: skip
def test_numbers_are_read_as_they_are_written_in_training_and_in_the_export(
    cells, beside, delimiter, numbers, tmp_path
):
    columns = {"x": cells} | ({"z": [beside, *"12345"[: len(cells) - 1]]} if beside else {})
    source, reader = learned(tmp_path, delimiter, **columns)
    known = np.array([number for number in numbers if number is not None])
    expected = [0 if one is None else (one - known.mean()) / known.std() for one in numbers]
    read = reader.read(reader.parse(source.columns, str))
    np.testing.assert_allclose(read[:, 0], expected, atol=1e-6)
    names = ["x", *(["z"] if beside else [])]
    asked = {name: list(reader.parse(source.columns, str)[name]) for name in names}
    np.testing.assert_array_equal(exported(reader, **asked), read)
    assert reader.columns[0]["gaps"] == (None in numbers)


def test_a_number_that_is_written_otherwise_is_named(tmp_path):
    _, reader = learned(tmp_path, ";", x=("0,455", "12,5", "-3"))
    (tmp_path / "new.csv").write_text("x\n1.5\n")
    message = "new.csv:2, column 'x': '1.5' is text where training has numbers with a decimal comma"
    with pytest.raises(zoo.InputError, match=re.escape(message)):
        reader.read_raw([tmp_path / "new.csv"])
    by_number, by_text, missing = reader.read_raw([{"x": 12.5}, {"x": "12,5"}, {"x": None}])[1]
    assert by_number == by_text
    assert missing == exported(reader, x=["no number"]) == 0


def test_a_target_is_read_as_it_is_written(tmp_path):
    rows = [{"a": str(n), "y": f"{n / 8:.3f}".replace(".", ",")} for n in range(8)]
    source = open_source(f"csv:{write(tmp_path / 'train.csv', rows, ';').parent}")
    reader = fit(source, "y", regression=True)
    np.testing.assert_allclose(reader.scale, (np.mean(np.arange(8) / 8), np.std(np.arange(8) / 8)))
    with pytest.raises(zoo.InputError, match="predict it as a number with loss=mse"):
        open_recipe("mlp", {"dataset": f"csv:{tmp_path}", "target": "y"})


def test_large_numbers_keep_their_differences(tmp_path):
    now = [1_700_000_000_000 + 1000 * n * n for n in range(12)]
    _, reader = learned(tmp_path, x=list(map(str, now)))
    expected = (np.array(now) - np.mean(now)) / np.std(now)
    np.testing.assert_allclose(reader.read_raw([{"x": now}])[1][:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(exported(reader, x=now)[:, 0], expected, atol=1e-6)
    probe = reader.raw_probe(reader.parse({"x": now}, str))
    np.testing.assert_array_equal(rows_exported(reader, probe), exported(reader, x=now))
    _, reader = learned(tmp_path, x=[f"{n / 8}" for n in range(12)])
    assert reader.signatures()["serving_default"][1]["x"].dtype == tf.float32  # as small numbers always were


def test_identifiers_beyond_float64_are_left_out_and_named(tmp_path):
    _, reader = learned(tmp_path, x=[str(10**18 + n) for n in range(60)], a=list(map(str, range(60))))
    assert reader.left_out == {"x": "60 different texts in 60 training rows"}
    assert [column["name"] for column in reader.columns] == ["a"]
    _, reader = learned(tmp_path, x=[str(10**18 + n % 3) for n in range(60)])
    assert reader.columns[0]["values"] == [str(10**18 + n) for n in range(3)]


def test_whole_numbers_that_pandas_wrote_after_a_gap_are_the_same_categories(tmp_path):
    for cells, asked in (("0123" * 3, "{}.0"), ([f"{n % 4}.0" for n in range(12)], "{}")):
        source = open_source(
            f"csv:{write(tmp_path / 'train.csv', [{'x': c, 'y': 'ab'[n % 2]} for n, c in enumerate(cells)]).parent}"
        )
        reader = fit(source, "y", regression=False, categorical=("x",))
        texts = [asked.format(n) for n in range(4)]
        np.testing.assert_array_equal(reader.read_raw([{"x": texts}])[1], np.eye(4))
        np.testing.assert_array_equal(exported(reader, x=texts), np.eye(4))
    before = TableReader([{"name": "x", "values": ["1", "1.0"]}], "y")  # as it was written before
    np.testing.assert_array_equal(before.read_raw([{"x": ["1", "1.0"]}])[1], np.eye(2))


def test_cells_of_categories_that_training_did_not_have_are_counted(tmp_path):
    _, reader = learned(tmp_path, x=["p", "q"] * 4, a=list("12345678"))
    rows = reader.read_raw([{"x": ["p", "r", "s", "q"], "a": [1, 2, 3, 4]}])[1]
    assert reader.unseen(rows) == {"x": 2}
    assert reader.unseen(rows[:1]) == {}


DATES = (
    "2024-02-29",
    "1969-12-31 18:00",
    "2000-01-01T00:00:30.5Z",
    "2024-03-01T01:30+02:00",
    "1900-03-01 00:00:00 -0130",
)


def test_dates_are_days_and_cycles_in_training_and_in_the_export(tmp_path):
    source, reader = learned(tmp_path, when=[*DATES, ""])
    days = np.array([19782, -0.25, 10957 + 30.5 / 86400, 19782 + 23.5 / 24, -25508 + 1.5 / 24])
    read = reader.read(reader.parse(source.columns, str))
    assert read.shape == (6, 8)
    np.testing.assert_allclose(read[:5, 0], (days - days.mean()) / days.std(), atol=1e-6)
    assert read[5].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    for place, turns in ((2, days), (4, np.floor(days) / 7), (6, np.floor(days) / 365.2425)):
        np.testing.assert_allclose(read[:5, place], np.sin(2 * np.pi * turns), atol=1e-5)
        np.testing.assert_allclose(read[:5, place + 1], np.cos(2 * np.pi * turns), atol=1e-5)
    np.testing.assert_array_equal(exported(reader, when=[*DATES, ""]), read)
    np.testing.assert_array_equal(exported(reader, when=["2023-02-29"]), read[5:])
    with pytest.raises(zoo.InputError, match="'2023-02-29' is text where training has dates"):
        reader.read_raw([{"when": "2023-02-29"}])


@pytest.mark.parametrize(("cells", "cycles"), [
    ([f"2024-01-{n:02}" for n in range(1, 11)], []),
    ([f"2024-01-{n:02}" for n in range(1, 31)], [7.0]),
    ([f"{y}-0{m}-01" for y in (2022, 2023) for m in range(1, 8)], [7.0, 365.2425]),
    ([f"{n:02}:30" for n in range(20)], [1.0]),
])  # fmt: skip
def test_dates_have_the_cycles_that_training_shows(cells, cycles, tmp_path):
    assert learned(tmp_path, when=cells)[1].columns[0]["cycles"] == cycles


def test_a_column_of_texts_is_left_out_where_most_rows_have_their_own(tmp_path):
    names, few = [f"n{n}" for n in range(60)], [f"c{n % 30}" for n in range(60)]
    source, reader = learned(tmp_path, name=names, few=few)
    assert reader.left_out == {"name": "60 different texts in 60 training rows"}
    assert (reader.width, reader.columns[0]["name"]) == (30, "few")
    assert fit(source, "y", regression=False, categorical=("name",)).width == 90


# Bad input ------------------------------------------------------------------------------------------------------------


def broken(row, **cells):
    """The table with other cells in a row; line row + 2 of the file."""
    rows = table()
    rows[row] |= cells
    return rows


@pytest.mark.parametrize(("rows", "fields", "message"), [
    (table(), {"target": None}, "target=COLUMN. There are: alter (Jahre), city, code, income, label."),
    (table(), {"target": "lable"}, "Did you mean 'label'"),
    (table(), {"ignore": "incom"}, "ignore=incom: there is no column 'incom'. Did you mean 'income'"),
    (table(), {"categorical": "label"}, "there is no column 'label'"),
    (broken(5, label=""), {}, "line 7: the target 'label' is missing"),
    (broken(5, income="viel"), {}, "line 7, column 'income': 'viel' is text where training has numbers."),
    (broken(5, income="1_000"), {}, "'1_000' is text"),
    (broken(5, income="1e99"), {}, "'1e99' is text"),
    ([row | {"same": "3"} for row in table()], {}, "column 'same' is '3' in all "),
    ([row | {"label": "ja"} for row in table()], {}, "the target 'label' is 'ja' in all "),
    (table(), {"target": "income"}, "predict it as a number with loss=mse"),
    (table(), {"target": "city", "loss": "mse"}, "line 2: the target 'city' is "),
    (table(), {"target": "label", "ignore": "alter (Jahre),city,code,income"}, "no column beside the target"),
    ([row | {"id": f"x{n // 3}"} for n, row in enumerate(table(4000))], {}, "ignore=id"),
    ([{"id": f"x{n}", "label": row["label"]} for n, row in enumerate(table())], {}, "categorical=id keeps it"),
])  # fmt: skip
def test_what_a_table_has_wrong_is_one_line_that_says_where(rows, fields, message, tmp_path):
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(zoo.InputError) as raised:
        zoo.train("mlp", dataset=f"csv:{path}", directory=tmp_path / "run", **{"target": "label", **fields})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("data", "message"), [
    (None, "No such file"),
    (b"", "every column needs a name of its own"),
    (b"a,b\n", "no row below its header"),
    (b"a,a\n1,2\n", "every column needs a name of its own. Received: a, a."),
    (b"a,\n1,2\n", "every column needs a name"),
    (b"a,,c\n1,2,3\n", "every column needs a name"),
    (b"sep=;\na;b\n1;2\n3\n", "line 4: 1 cell, but the header has 2"),
    (b"a,b\n1,2\n3\n", "line 3: 1 cell, but the header has 2"),
    (b'a,b\n1,"2\n3,4\n', "Is a quote missing?"),
    ("a,b\nß,2\n".encode("latin-1"), "line 2: this is not UTF-8 text (byte 4)"),
])  # fmt: skip
def test_what_is_no_csv_is_named(data, message, tmp_path):
    if data is not None:
        (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(zoo.InputError, match=re.escape(message)) as raised:
        open_source(f"csv:{tmp_path / 't.csv'}")
    assert str(tmp_path / "t.csv") in str(raised.value)


def test_a_folder_without_train_and_one_of_two_headers_are_named(tmp_path):
    with pytest.raises(zoo.InputError, match=r"has no train\.csv"):
        open_source(f"csv:{tmp_path}")
    write(tmp_path / "train.csv", table())
    write(tmp_path / "test.csv", [{"city": "x"}])
    with pytest.raises(zoo.InputError, match=r"other columns than train\.csv: alter"):
        open_source(f"csv:{tmp_path}")


def test_bad_rows_are_left_out_and_bad_numbers_are_missing_only_when_asked(tmp_path, run):
    path = write(tmp_path / "t.csv", broken(3, income="viel"))
    with open(path, "a", encoding="utf-8") as file:
        file.write("1,2\n")
    source = open_source(f"csv:{path}", skip_bad=True)
    assert source.notes == ("1 unreadable row left out",)
    assert source.verify() == 240
    with pytest.raises(zoo.InputError, match="line 242: 2 cells"):
        zoo.predict(run, [path])
    assert len(zoo.predict(run, [path], skip_bad=True)) == 240


def test_one_value_and_gaps_are_two(tmp_path):
    rows = [row | {"flag": "1" if number % 3 else ""} for number, row in enumerate(table())]
    source = open_source(f"csv:{write(tmp_path / 't.csv', rows)}")
    reader = fit(source, "label", regression=False)
    flags = reader.read(reader.parse(source.columns, str))[:, -2:]
    np.testing.assert_array_equal(flags, [[0, row["flag"] == ""] for row in rows])


def test_predictions_want_the_columns_of_training(run, tmp_path):
    row = {"alter (Jahre)": "3", "city": "x", "code": "1", "income": "5"}
    short = {name: value for name, value in row.items() if name != "income"}
    for inputs, message in (
        ([short], "there is no column 'income'"),
        ([write(tmp_path / "t.csv", [row | {"income": "viel"}])], f"{tmp_path / 't.csv'}:2, column 'income': 'viel'"),
        ([row | {"income": "viel"}], "#0, column 'income': 'viel'"),
        ([{**row, "city": ["a", "b"]}], "lists of one length"),
        ([3], "Received: int"),
        ([tmp_path / "nowhere.csv"], "nowhere.csv cannot be read"),
    ):
        with pytest.raises(zoo.InputError, match=re.escape(message)):
            zoo.predict(run, inputs)
    with pytest.raises(zoo.InputError, match="must be a table"):
        zoo.train("mlp", dataset="digits", directory=tmp_path / "run")


def test_other_data_are_read_as_the_run_learned_to(run, tmp_path):
    rows = [row | {"city": "Oslo", "code": "1"} for row in table() if row["label"] == "ja"]
    source = open_source(f"csv:{write(tmp_path / 'ja.csv', rows)}")
    new = f"'city': {source.sizes['test']} cells have categories that training did not have, of {source.sizes['test']}"
    with pytest.warns(UserWarning, match=new):
        found = zoo.evaluate(run, dataset=source.name)
    assert 0 <= found["accuracy"] <= 1
    unlabelled = [{name: cell for name, cell in row.items() if name != "label"} for row in table()]
    with pytest.raises(zoo.InputError, match="there is no column 'label'"):
        zoo.evaluate(run, dataset=f"csv:{write(tmp_path / 'x.csv', unlabelled)}")
    with pytest.raises(zoo.InputError, match="'vielleicht' is no class that the network was trained on: ja, nein"):
        zoo.evaluate(run, dataset=f"csv:{write(tmp_path / 'v.csv', broken(9, label='vielleicht'))}")


# Runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.backend
def test_a_run_that_paused_ends_as_one_that_did_not(run, path, tmp_path):
    zoo.train("mlp", dataset=f"csv:{path}", directory=tmp_path / "run", until=1, quiet=True, **FIELDS)
    again = zoo.train(resume=tmp_path / "run", quiet=True)
    assert (run.path / "history.csv").read_text() == (again.path / "history.csv").read_text()
    for stem in ("weights", "optimizer", "answers"):
        ours, theirs = (weights.read(one.checkpoint() / f"{stem}.npz") for one in (run, again))
        for key, array in ours.items():
            np.testing.assert_array_equal(array, theirs[key])


def test_a_table_is_answered_row_by_row(run, path):
    rows = table()
    by_file = zoo.predict(run, path)
    by_row = zoo.predict(run, rows[:3])
    by_column = zoo.predict(run, {name: [row[name] for row in rows[:3]] for name in rows[0]})
    assert [one.name for one in by_file[:2]] == [f"{path}:2", f"{path}:3"]
    assert [one.name for one in by_row] == ["#0", "#1", "#2"]
    assert [one.name for one in by_column] == ["#0:0", "#0:1", "#0:2"]
    for file, row, column in zip(by_file, by_row, by_column, strict=False):
        assert set(file.probabilities) == {"ja", "nein"}
        assert file.probabilities == pytest.approx(row.probabilities, abs=1e-6)
        assert file.probabilities == pytest.approx(column.probabilities, abs=1e-6)


ALONE = """
import json, sys
import tensorflow as tf
assert not any(name == "zoo" or name.startswith("zoo.") for name in sys.modules)
model = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
columns = json.loads(sys.argv[2])
answers = model(**{name: tf.constant(values) for name, values in columns.items()})
print(json.dumps({name: [v.decode() if isinstance(v, bytes) else v for v in value.numpy().tolist()]
                  for name, value in answers.items()}))
"""


def alone(export, columns, folder):
    command = [sys.executable, "-I", "-c", ALONE, str(export), json.dumps(columns)]
    done = warm.run(command, cwd=folder, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_an_export_takes_columns_where_there_is_only_tensorflow(run, tmp_path):
    target = zoo.export(run, tmp_path / "export")
    columns = {
        "alter_Jahre": [30.5, float("nan")],
        "city": ["Zürich", "Oslo"],
        "code": ["1", "2"],
        "income": [4e4, 5e4],
    }
    answers = alone(target, columns, tmp_path)
    rows = {"alter (Jahre)": [30.5, None], "city": ["Zürich", "Oslo"], "code": [1, 2], "income": [4e4, 5e4]}
    with pytest.warns(UserWarning, match="'city': 1 cell has a category that training did not have, of 2"):
        expected = zoo.predict(run, rows)
    assert answers["label"] == [one.label for one in expected]
    assert answers["probability"] == pytest.approx([one.probability for one in expected], abs=1e-5)
    description = json.loads((target / "signature.json").read_text())
    assert description["columns"]["alter_Jahre"] == "alter (Jahre)"
    assert description["labels"] == ["ja", "nein"]


@pytest.fixture(scope="module")
def regression(path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "regression"
    return zoo.train(
        "mlp", dataset=f"csv:{path}", target="income", loss="huber", epochs=1, directory=folder, quiet=True
    )


@pytest.mark.slow
def test_a_regression_is_exported_in_the_units_of_its_target(regression, tmp_path):
    target = zoo.export(regression, tmp_path / "export")
    assert not (target / "labels.txt").exists()
    row = {"alter_Jahre": [30.5], "city": ["Zürich"], "code": [1.0], "label": ["ja"]}
    (said,) = zoo.predict(regression, {"alter (Jahre)": 30.5, "city": "Zürich", "code": 1, "label": "ja"})
    assert alone(target, row, tmp_path)["value"] == pytest.approx([said.value], rel=1e-5)
    assert 1e4 < said.value < 1e5
    assert set(zoo.evaluate(regression)) == {"loss", "r2", "absolute_error"}


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "litert"])
@pytest.mark.parametrize("which", ["run", "regression"])
def test_other_formats_take_the_numbers_that_the_network_takes(which, format, tmp_path, request):
    pytest.importorskip({"onnx": "tf2onnx", "litert": "ai_edge_litert"}[format])
    target = zoo.export(request.getfixturevalue(which), tmp_path / "export", format=format)
    outputs = json.loads((target / "signature.json").read_text())["signatures"]["serve_tensors"]["outputs"]
    assert set(outputs) == ({"logits", "probabilities"} if which == "run" else {"scaled", "value"})


@pytest.mark.slow
def test_a_model_that_its_owner_fitted_is_exported_with_plain_columns(tmp_path):
    model = zoo.build("mlp", inputs=3, classes=2)
    target = zoo.export(model, tmp_path / "export", labels=["no", "yes"])
    answers = alone(target, {"x0": [1.0], "x1": [2.0], "x2": [3.0]}, tmp_path)
    logits = keras.ops.convert_to_numpy(model(np.array([[1, 2, 3]], "float32")))
    np.testing.assert_allclose(answers["logits"], logits, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_fresh_process_of_another_backend_answers_the_same(run, path, backend):
    pytest.importorskip(backend)
    code = (
        "import json, sys, zoo; print(json.dumps([one.probabilities for one in zoo.predict(sys.argv[1], sys.argv[2])]))"
    )
    command = [sys.executable, "-c", code, str(run.path), str(path)]
    done = warm.run(command, env={**os.environ, "KERAS_BACKEND": backend}, check=True)
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    for ours, other in zip(zoo.predict(run, path), theirs, strict=True):
        assert other == pytest.approx(ours.probabilities, abs=1e-5)


def test_an_absolute_error_is_in_the_unit_of_the_target(regression, path):
    recipe, source = open_recipe("mlp", {"dataset": f"csv:{path}", "target": "income", "loss": "huber"})
    income = source.columns["income"][source.rows["test"]].astype(float)
    rows = columns(source, "test")
    said = [one.value for one in zoo.predict(regression, {name: list(cells) for name, cells in rows.items()})]
    found = zoo.evaluate(regression)
    assert found["absolute_error"] == pytest.approx(np.abs(np.array(said) - income).mean(), rel=1e-4)
    assert found["absolute_error"] > 100 * found["loss"]
    (curves, *_) = reporting._parts(reporting._measure(regression, None, None, False))
    said = {name: validation for name, _, validation in curves.table.rows}  # of one epoch there is no curve
    (kept,) = regression.history
    assert said["absolute error"] == pytest.approx(regression.reader().scale[1] * kept["val_absolute_error"])
    assert said["loss"] == kept["val_loss"]
    assert recipe.in_units(regression.reader(), {"val_absolute_error": 1.0, "r2": 0.5}) == {
        "val_absolute_error": regression.reader().scale[1],
        "r2": 0.5,
    }


def test_a_training_says_how_each_column_is_read(tmp_path):
    cells = {
        "share": [f"{n},5 %" for n in range(60)],
        "when": [f"2024-{1 + n // 28:02}-{1 + n % 28:02}" for n in range(60)],
        "city": ["Rome", "Oslo"] * 30,
        "name": [f"n{n}" for n in range(60)],
        "age": list(map(str, range(60))),
    }
    source, reader = learned(tmp_path, ";", **cells)
    recipe, _ = open_recipe("mlp", {"dataset": source.name, "target": "y"})
    assert recipe.describe(reader, source) == [
        "Columns: numbers share (a decimal comma and percent signs), age; dates when (day of week); "
        "categories city (2). 7 inputs.",
        "Left out: name (60 different texts in 60 training rows). To read such a column: categorical=name.",
    ]
    many = TableReader([{"name": f"c{n}", "mean": 0.0, "deviation": 1.0, "gaps": False} for n in range(2000)], "y")
    assert len(many.describe()[0]) < 120


def test_classes_that_are_hardly_trained_are_named_and_classes_can_weigh_the_same(tmp_path):
    rows = [{"x": str(n), "y": "often" if n > 9 else "seldom"} for n in range(40)] + [{"x": "7", "y": "once"}]
    write(tmp_path / "train.csv", rows)
    write(tmp_path / "test.csv", [{"x": "3", "y": "never"}])
    given = {"dataset": f"csv:{tmp_path}", "target": "y", "batch_size": 41, "class_weight": "balanced"}
    recipe, source = open_recipe("mlp", given)
    reader = recipe.make_reader(source)
    assert recipe.describe(reader, source)[1:] == [
        "The class 'never' has no training example.",
        "The class 'once' has one training example only.",
    ]
    preparation = recipe.make_preparation(reader, source)
    batch = next(iter(pipeline.training(source, preparation, batch_size=41, seed=0).as_numpy_iterator()))
    counts = {"often": 30, "seldom": 10, "once": 1}
    expected = [41 / (4 * counts[reader.labels[label]]) for label in batch[1]]
    np.testing.assert_allclose(batch[2], expected, rtol=1e-6)
    assert len(next(iter(pipeline.evaluation(source, "test", preparation, batch_size=41)))) == 2
    with pytest.raises(zoo.InputError, match="class_weight"):
        open_recipe("mlp", {**given, "target": "x", "loss": "mse"})


def test_arrays_are_columns_of_numbers():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 3)), rng.integers(0, 4, 100)
    recipe, source = open_recipe("mlp", {"dataset": (x, y)})
    assert (recipe.inputs, recipe.classes) == (3, 4)
    assert list(source.columns) == ["x0", "x1", "x2", "y"]
    splits = {"train": (x[:50], y[:50]), "test": (x[50:], y[50:])}
    assert open_source(splits).sizes == {"train": 50, "test": 50}
    with pytest.raises(zoo.InputError, match=r"numbers \(n, features\) and n targets"):
        open_source((x, y[:5]))


@pytest.mark.slow
def test_batches_that_are_ready_are_used_as_they_are(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(64, 2)).astype("float32"), np.arange(64) % 2
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    run = zoo.train("mlp", dataset=data, epochs=1, directory=tmp_path / "run", quiet=True)
    assert zoo.predict(run, {"x0": 0.5, "x1": 1.0})[0].label in "01"
    zoo.export(run, tmp_path / "export")


# Command line and report ----------------------------------------------------------------------------------------------


def test_the_command_line_answers_each_row(run, regression, path, tmp_path, capfd):
    def said(*arguments):
        cli.main([str(argument) for argument in arguments])
        return capfd.readouterr().out

    lines = said("predict", run.path, path).splitlines()
    assert len(lines) == 240
    assert re.fullmatch(rf"{re.escape(str(path))}:2 +(ja|nein) \d+\.\d%   (ja|nein) \d+\.\d%", lines[0])
    assert len({line.index("%") - len(line.split()[1]) for line in lines}) == 1  # in columns
    assert said("predict", run.path, path, "--top", "1", "--csv").startswith("input,label_1,probability_1\n")
    assert re.fullmatch(
        rf"{re.escape(str(path))}:2 +\d+(\.\d+)?", said("predict", regression.path, path).splitlines()[0]
    )
    assert said("predict", regression.path, path, "--csv").startswith("input,value\n")
    assert re.search(r"^moons +a table", said("data", "list"), re.MULTILINE)
    assert said("data", "verify", "iris") == "iris: all 150 examples were read.\n"


def test_reports_show_what_a_table_has_to_show(run, regression, tmp_path):
    assert {part.stem for part in zoo.report(run).parent.glob("*.png")} == {"curves", "confusion"}
    page = zoo.report(regression)
    assert {part.stem for part in page.parent.glob("*.png")} == {"residuals"}  # one epoch has no curves
    assert "in the units of income" in page.read_text()
    assert page.read_text().count(rounded(zoo.evaluate(regression)["absolute_error"])) >= 2  # card and table


@pytest.mark.slow
def test_a_report_on_a_plane_shows_the_regions_and_the_experts(tmp_path):
    run = zoo.train("mlp", hidden="moe", epochs=1, directory=tmp_path / "run", quiet=True)
    page = zoo.report(run)
    assert {part.stem for part in page.parent.glob("*.png")} == {"confusion", "regions", "experts"}
    assert all(words in page.read_text() for words in ("Readings of layers", "One epoch was trained"))


def test_regions_are_what_the_network_says():
    """A network that says the sign of the second column, and another that is sure of one class."""
    reader = TableReader(
        [{"name": name, "mean": 10.0, "deviation": 2.0, "gaps": False} for name in "xy"], "c", labels=["low", "high"]
    )
    inputs = np.array([[-1.0, -1.0], [1.0, 1.0], [0.5, -0.5]], "float32")
    plane = tables.Plane(reader, inputs, np.array([0, 1, 1]), "test")
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    network.layers[0].set_weights([np.array([[0, 0], [-1, 1]], "float32")])
    said = plane._ask(network).argmax(-1)
    assert said[0].max() == 0
    assert said[-1].min() == 1
    part = plane.regions(network)
    assert "ring around the 1 misclassified" in part.caption
    axes = part.draw(zoo.figures.LIGHT).axes[0]
    low, high = axes.get_ylim()
    assert low < 8 < 12 < high  # in the units of the table
