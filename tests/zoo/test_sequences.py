"""Data sets of texts, and batches of sequences."""

import calendar
import collections
import datetime
import itertools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.data import dates, english, open_source, pipeline, sequences
from zoo.data.masking import hide_tokens
from zoo.data.source import SPLITS, Label, Text
from zoo.data.text_preparations import LabelledPreparation, MaskedPreparation, PairPreparation, RunningPreparation
from zoo.data.text_source import as_texts
from zoo.data.tokens import END, SPECIAL, START, UNKNOWN
from zoo.errors import InputError
from zoo.readers.texts import TextReader
from zoo.readers.vocabulary import fit, training_texts

DATES = "dates:train=600,validation=50,test=100"


def texts(source, split, name="text"):
    return [example[name].decode() for example in source.examples(split).as_numpy_iterator()]


def pairs_of(source, split):
    return list(zip(texts(source, split, "source"), texts(source, split, "target"), strict=True))


def open_texts(spec, **options):
    return as_texts(open_source(spec, **options))


# Built in ---------------------------------------------------------------------------------------------------------


def test_dates_are_split_by_date_and_iso_says_which():
    source = open_source(DATES)
    assert dict(source.sizes) == {"train": 600, "validation": 50, "test": 100}
    assert source.features == {"source": Text(), "target": Text()}
    targets = {split: texts(source, split, "target") for split in source.sizes}
    every = [target for found in targets.values() for target in found]
    assert len(set(every)) == len(every)
    assert all("1900-01-01" <= datetime.date.fromisoformat(target).isoformat() <= "2099-12-31" for target in every)
    assert set("".join(texts(source, "train", "source"))) > set("0123456789 .,")


def test_fewer_training_dates_leave_the_others_as_they_are():
    many, few = open_source(DATES), open_source(DATES.replace("600", "300"))
    for split in ("validation", "test"):
        assert texts(many, split, "source") == texts(few, split, "source")
    assert set(texts(few, "train", "target")) < set(texts(many, "train", "target"))
    assert len(dates.LOCALES) >= 30


def no_two_answers(year):
    """Each text has the year in it, its only number of four digits, so that texts of other years are other texts."""
    found, day = {}, datetime.date(year, 1, 1)
    while day.year == year:
        for style in dates.patterns():
            text = dates.written(day, *style)
            assert re.findall(r"\d{4,}", text) == [str(year)]
            assert found.setdefault(text, day) == day
        day += datetime.timedelta(1)


def test_no_text_of_a_date_has_two_answers():
    no_two_answers(2012)


@pytest.mark.slow
def test_no_text_of_any_date_has_two_answers():
    """Of a year of each of the 14 calendars there are."""
    calendars = {(datetime.date(year, 1, 1).weekday(), calendar.isleap(year)): year for year in range(1990, 2040)}
    assert len(calendars) == 14
    for year in calendars.values():
        no_two_answers(year)


def test_topics_have_no_paragraph_in_common():
    found = english.topics()
    paragraphs = [" ".join(part.split()) for text in found.values() for part in text.split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs)
    assert min(map(len, found.values())) >= english.SHORTEST
    assert sum(map(len, found.values())) == pytest.approx(371_000, rel=0.01)


def test_english_is_split_by_topic_in_three_ways():
    held_out = []
    for split in range(3):
        source = open_source(f"english:split={split}" if split else "english")
        found = {part: texts(source, part) for part in SPLITS}
        every = [text for part in SPLITS for text in found[part]]
        assert sorted(every) == sorted(english.topics().values())
        size = sum(map(len, every))
        for part in ("validation", "test"):
            assert 0.05 * size < sum(map(len, found[part])) <= english.HELD_OUT * size
        grams = {text[start : start + 40] for text in found["train"] for start in range(len(text) - 39)}
        seen = [text[start : start + 40] in grams for text in found["test"] for start in range(len(text) - 39)]
        assert np.mean(seen) < 0.06
        held_out.append(set(found["test"]))
    assert len(set.union(*held_out)) > max(map(len, held_out))


def test_sections_are_told_apart_by_paragraphs_in_proportion():
    source = open_source("sections")
    assert len(source.features["label"].names) == english.SECTIONS
    counts = {
        split: np.bincount([example["label"] for example in source.examples(split).as_numpy_iterator()])
        for split in SPLITS
    }
    assert abs(counts["train"] - 3 * counts["test"]).max() <= 3
    assert not set(texts(source, "train")) & set(texts(source, "test"))


def test_options_that_are_none_are_named():
    with pytest.raises(InputError, match="sections has no options"):
        open_source("sections:split=1")
    with pytest.raises(InputError, match="Did you mean 'split'"):
        open_source("english:splt=1")


# TensorFlow Datasets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "features"), [
    ("ted_hrlr_translate/pt_to_en", {"source": Text(), "target": Text()}),
    ("wmt14_translate/de-en", {"source": Text(), "target": Text()}),
    ("imdb_reviews", {"text": Text(), "label": Label(("neg", "pos"))}),
    ("tiny_shakespeare", {"text": Text()}),
])  # fmt: skip
def test_sets_of_tensorflow_datasets_are_texts(name, features, mocked):
    mocked("train", "test")
    source = open_source(f"tfds:{name}")
    assert source.features == features
    (batch,) = source.examples("train").batch(5).take(1).as_numpy_iterator()
    assert set(batch) == set(features)
    assert all(value.dtype == (np.int64 if key == "label" else object) for key, value in batch.items())


@pytest.mark.parametrize(("name", "other"), [
    ("ted_hrlr_translate/pt_to_en", "ted_hrlr_translate/en_to_pt"), ("wmt14_translate/de-en", "wmt14_translate/en-de"),
])  # fmt: skip
def test_languages_are_translated_either_way(name, other, mocked):
    mocked("train", "test")
    there, back = (open_source(f"tfds:{one}") for one in (name, other))
    assert texts(there, "test", "source") == texts(back, "test", "target")
    assert texts(there, "test", "target") == texts(back, "test", "source")
    assert (there.name, back.name) == (f"tfds:{name}", f"tfds:{other}")


# Files ------------------------------------------------------------------------------------------------------------


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


PAIRS = [f"one {number},eins {number}" for number in range(40)]


def test_a_csv_of_pairs_is_read_as_texts(tmp_path):
    path = write(tmp_path / "pairs.csv", "source,target", *PAIRS, '"a, b","c\nd"')
    table = open_source(f"csv:{path}")
    source = as_texts(table)
    assert source.features == {"source": Text(), "target": Text()}
    assert (source.name, source.sizes, source.fingerprint) == (table.name, table.sizes, table.fingerprint)
    found = {
        pair
        for split in source.sizes
        for pair in zip(*(texts(source, split, n) for n in ("source", "target")), strict=True)
    }
    assert found == {tuple(line.split(",")) for line in PAIRS} | {("a, b", "c\nd")}
    assert as_texts(source) is source


def test_a_csv_of_labels_has_their_names_and_numbers(tmp_path):
    path = write(tmp_path / "mail.csv", "text,label", *(f"mail {n},{'spam' if n % 3 else 'ham'}" for n in range(60)))
    source = open_texts(f"csv:{path}")
    assert source.features["label"] == Label(("ham", "spam"))
    for example in source.examples("train").as_numpy_iterator():
        assert example["label"] == bool(int(example["text"].decode().split()[1]) % 3)


@pytest.mark.parametrize(("lines", "message"), [
    (["source,target", *PAIRS, "alone"], "line 42: 1 cell, but the header has 2"),
    (["source,target", *PAIRS, "a,", "b,"], r"line 42 \(and 1 more\): the target is empty"),
    (["text,label", "a,x", "b,", "c,y"], "line 3: the label is empty"),
    (["from,to", *PAIRS], r"must have the columns source and target, text and label, or text\. It has: from, to"),
])  # fmt: skip
def test_what_a_table_of_texts_has_wrong_is_one_line_that_says_where(lines, message, tmp_path):
    path = write(tmp_path / "pairs.csv", *lines)
    with pytest.raises(InputError, match=message):
        open_texts(f"csv:{path}")


def test_rows_with_an_empty_cell_are_left_out_only_when_asked(tmp_path):
    path = write(tmp_path / "pairs.csv", "source,target", *PAIRS, "a,")
    source = open_texts(f"csv:{path}", skip_bad=True)
    assert sum(source.sizes.values()) == 40
    assert source.notes == ("1 row with an empty cell left out",)


def test_a_label_that_training_has_not_is_named(tmp_path):
    write(tmp_path / "train.csv", "text,label", "a,x", "b,y")
    write(tmp_path / "test.csv", "text,label", "c,z")
    with pytest.raises(InputError, match=r"test.csv, line 2: no training text has the label 'z'"):
        open_texts(f"csv:{tmp_path}")


def test_a_text_file_is_split_where_lines_end(tmp_path):
    path = write(tmp_path / "one.txt", *(f"line {number}" for number in range(200)))
    source = open_texts(f"text:{path}")
    found = [texts(source, split) for split in SPLITS]
    assert [len(part) for part in found] == [1, 1, 1]
    parts = [part[0] for part in found]
    assert "".join(parts) == path.read_text()
    assert all(part.startswith("line") and part.endswith("\n") for part in parts)
    assert [len(part) / path.stat().st_size for part in parts] == pytest.approx([0.7, 0.15, 0.15], abs=0.01)


def test_a_folder_of_texts_has_its_own_splits_or_one_for_each_file(tmp_path):
    write(tmp_path / "train.txt", "to train")
    write(tmp_path / "test.txt", "to test")
    source = open_texts(f"text:{tmp_path}")
    assert texts(source, "train") == ["to train\n"]
    assert source.notes == ("no validation split: training goes without",)
    (tmp_path / "many").mkdir()
    for number in range(60):
        write(tmp_path / "many" / f"{number}.txt", f"text {number}")
    source = open_texts(f"text:{tmp_path / 'many'}")
    assert sum(source.sizes.values()) == 60
    assert set(source.sizes) == set(SPLITS)


@pytest.mark.parametrize(("data", "message"), [
    (b"fine\nnot \xff fine\n", r"one.txt, line 2: this is not UTF-8 text \(byte 9\)"),
    (b" \n", "has no text to train on"),
    (None, "cannot be read: No such file"),
])  # fmt: skip
def test_a_text_file_that_cannot_be_read_is_named(data, message, tmp_path):
    if data is not None:
        (tmp_path / "one.txt").write_bytes(data)
    with pytest.raises(InputError, match=message):
        open_texts(f"text:{tmp_path / 'one.txt'}")


def test_lists_of_texts_are_pairs_or_labelled():
    pairs = open_texts(([f"a{n}" for n in range(50)], [f"b{n}" for n in range(50)]))
    assert pairs.features == {"source": Text(), "target": Text()}
    assert sum(pairs.sizes.values()) == 50
    labelled = open_texts({"train": (["a", "b"], [0, 2]), "test": (["c"], [1])})
    assert labelled.features["label"].names == ("0", "1", "2")
    assert texts(labelled, "test") == ["c"]
    with pytest.raises(InputError, match="3 texts and 2 answers: the one of number 3 is missing"):
        open_texts((["a", "b", "c"], ["x", "y"]))
    for answers in ([1.5, 2], [-1, 0], ["x", 3]):
        with pytest.raises(InputError, match="lists of texts, or of texts and whole numbers from 0"):
            open_texts((["a", "b"], answers))


def test_a_text_to_learn_from_that_is_not_utf_8_is_named():
    class Broken:
        name = "broken"
        sizes = {"train": 2001}

        def examples(self, split):
            return tf.data.Dataset.from_tensor_slices({"text": [b"fine"] * 2000 + [b"ab\xff"]})

    with pytest.raises(InputError, match=r"the text of training example 2,001 is not UTF-8 \(byte 2\)"):
        training_texts(Broken(), "text")


# Batches ----------------------------------------------------------------------------------------------------------


class Seeded(PairPreparation):
    """Tells the seed of a training batch."""

    def finish(self, batch):
        return batch

    def finish_training(self, batch, seed):
        return batch, tf.random.stateless_uniform([], seed)


@pytest.fixture(scope="module")
def pairs():
    source = open_source(DATES)
    return source, TextReader(fit(source, ["source", "target"], "characters"), 64)


def training(source, preparation, epochs, batch_size=32, seed=0):
    """[[batch, ...] an epoch]."""
    data = pipeline.training(source, preparation, batch_size=batch_size, seed=seed, epochs=epochs)
    found = list(data.as_numpy_iterator())
    assert len(found) == len(data)
    steps = pipeline.steps_per_epoch(source, preparation, batch_size)
    return [found[start : start + steps] for start in range(0, len(found), steps)]


def same(first, second):
    return all(
        np.array_equal(a, b) for a, b in zip(tf.nest.flatten(list(first)), tf.nest.flatten(list(second)), strict=True)
    )


def rows(batch):
    """The examples of a batch without their padding."""
    parts = [[tuple(row[row != 0]) for row in part] for part in batch]
    return list(zip(*parts, strict=True))


@pytest.mark.parametrize("tokens", [None, 1024])
def test_an_epoch_has_each_text_once_at_most_in_as_many_shapes_as_buckets(tokens, pairs):
    source, reader = pairs
    preparation = Seeded(source, reader, tokens=tokens)
    made = preparation.training(32)
    epochs = training(source, preparation, range(3))
    shapes = [{tuple(part.shape for part in batch) for batch, _ in epoch} for epoch in epochs]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(shapes[0]) == len(made.shapes)
    every = collections.Counter(encoded_pairs(source, reader, "train"))
    left = []
    for epoch in epochs:
        seen = collections.Counter(row for batch, _ in epoch for row in rows(batch))
        assert not seen - every
        left.append(every - seen)
        assert left[-1].total() < sum(made.sizes)
    assert left[0] != left[1]
    for batch, _ in epochs[0]:
        if tokens is None:
            assert len(batch[0]) == 32
        else:
            assert sum(part.size for part in batch) <= tokens


def encoded(reader, found):
    return [tuple(ids) for ids in reader.tokenizer.encode(tf.constant(found)).to_list()]


def encoded_pairs(source, reader, split):
    return list(zip(*(encoded(reader, texts(source, split, name)) for name in ("source", "target")), strict=True))


def test_order_and_seeds_are_a_function_of_seed_and_epoch(pairs):
    source, reader = pairs
    whole = training(source, Seeded(source, reader), range(3))
    assert same(training(source, Seeded(source, reader), range(1, 3)), whole[1:])
    advancing = pipeline.training(source, Seeded(source, reader), batch_size=32, seed=0)
    assert same([list(advancing.as_numpy_iterator()) for _ in range(2)], whole[:2])
    assert not same(whole[0], whole[1])
    assert not same(training(source, Seeded(source, reader), range(1), seed=1)[0], whole[0])
    seeds = [float(seed) for epoch in whole for _, seed in epoch]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.backend
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch traces nothing")
def test_nothing_is_traced_after_the_first_epoch(pairs):
    """At most one trace for each bucket and each last batch of one, and one to find shapes."""
    source, reader = pairs
    preparation, traces = PairPreparation(source, reader), []

    class Traced(keras.layers.Layer):
        def call(self, inputs):
            traces[-1] += 1
            return inputs

    ids = keras.Input([None], name="source"), keras.Input([None], name="target")
    embedded = keras.layers.Embedding(reader.tokenizer.size, 8)(ids[1])
    traces.append(0)
    model = keras.Model(ids, keras.layers.Dense(reader.tokenizer.size)(Traced()(embedded)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    counted = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: traces.append(0))
    steps = pipeline.steps_per_epoch(source, preparation, 32)
    model.fit(
        pipeline.training(source, preparation, batch_size=32, seed=0, epochs=range(3)),
        validation_data=pipeline.evaluation(source, "validation", preparation, batch_size=32),
        steps_per_epoch=steps,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[counted],
    )
    assert traces[2:] == [0, 0]
    evaluated = len(list(pipeline.evaluation(source, "validation", preparation, batch_size=32)))
    assert 0 < traces[1] <= len(preparation.training(32).shapes) + evaluated + 1


def test_evaluation_has_every_text_once(pairs):
    source, reader = pairs
    data = pipeline.evaluation(source, "test", Seeded(source, reader), batch_size=16)
    found = [row for batch in data.as_numpy_iterator() for row in rows(batch)]
    assert sorted(found) == sorted(encoded_pairs(source, reader, "test"))
    assert pipeline.evaluation(source, "none", Seeded(source, reader), batch_size=16) is None


@pytest.mark.parametrize(("inputs", "spread", "most"), [(1, 0.0, 0.15), (2, 0.0, 0.15), (2, 0.2, 0.25)])
def test_padding_is_little_whatever_the_lengths(inputs, spread, most):
    rng = np.random.default_rng(0)
    base = rng.lognormal(3, 0.6, (2000, 1)) * np.exp(rng.normal(0, spread, (2000, inputs)))
    lengths = base.astype(int).clip(1, 400)
    parts = [(np.zeros(column.sum(), np.int32), np.cumsum(column) - column, column) for column in lengths.T]
    made = sequences.Buckets(sequences._Texts(parts), 16)
    assert made.waste < most
    assert len(made.rows) <= sequences.BUCKETS
    assert sorted(np.concatenate(made.rows)) == list(range(2000))
    assert all(len(found) >= 16 for found in made.rows)
    for found, shape in zip(made.rows, made.shapes, strict=True):
        assert (lengths[found] <= shape).all()


@pytest.mark.parametrize("tokens", [None, 2048])
def test_padding_of_the_built_in_sets_is_below_15_per_cent(tokens, pairs):
    assert Seeded(*pairs, tokens=tokens).training(32).waste < 0.15
    source = open_source("sections")
    preparation = LabelledPreparation(source, TextReader(fit(source, ["text"], "characters"), 512), tokens=tokens)
    with pytest.warns(UserWarning, match=r"of 771 train texts have 512 tokens or more; what is beyond is cut"):
        assert preparation.training(16).waste < 0.15


def test_lengths_are_quantised_finely_enough():
    found = sequences._quantised(np.arange(1, 5000))
    assert (found >= np.arange(1, 5000)).all()
    assert (found <= np.arange(1, 5000) * (1 + 1 / 16)).all()
    assert (np.diff(found) >= 0).all()
    assert (sequences._quantised(found) == found).all()
    assert len(np.unique(found)) < 32 + 16 * 8


def test_few_texts_make_one_batch():
    parts = [(np.zeros(10, np.int32), np.array([0, 1]), np.array([1, 9]))]
    made = sequences.Buckets(sequences._Texts(parts), 16)
    assert (made.steps, made.sizes, made.shapes.tolist()) == (1, [2], [[9]])


# Windows ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running():
    source = open_source("english")
    return source, TextReader(fit(source, ["text"], "characters"), 64)


def stream(source, reader, split):
    return [START, *itertools.chain(*encoded(reader, texts(source, split)))]


@pytest.mark.parametrize("tokens", [129, 200, 256, 10_000])
def test_windows_lie_end_to_end_and_begin_elsewhere_in_each_epoch(tokens):
    made = sequences.Windows(np.arange(tokens), 128, 4, "drawn")
    cut, offsets = made.batch(), []
    for epoch in range(5):
        starts = []
        for at, (number, step, places) in enumerate(made.epoch(7, epoch)):
            windows, answered = cut(places)
            assert (int(number), int(step)) == (epoch, at)
            assert (windows.numpy() == windows.numpy()[:, :1] + np.arange(129)).all()
            assert (answered.numpy() == 1).all()
            starts += places.numpy().tolist()
        assert len(set(starts)) == len(starts) > (tokens // 128 - 5)
        assert len({start % 128 for start in starts}) == 1
        offsets.append(starts[0] % 128)
    assert len(set(offsets)) > 1 or tokens == 129


def test_windows_are_a_function_of_seed_and_epoch(running):
    source, reader = running
    (first, second), (again,) = (
        training(source, RunningPreparation(source, reader), epochs, batch_size=16)
        for epochs in (range(2), range(1, 2))
    )
    assert same(again, second)
    assert not same(first, second)


@pytest.mark.parametrize("context", [0, 32, 63])
def test_evaluation_answers_each_token_once_with_enough_before_it(context):
    stream, found = np.arange(1, 1000), []
    for windows, answered in sequences.answered_once(stream, 64, context, 10).as_numpy_iterator():
        for window, counts in zip(windows, answered, strict=True):
            places = np.flatnonzero(counts)
            assert not found or (places >= context).all()
            found += window[1:][places].tolist()
    assert found == stream[1:].tolist()


def test_a_text_shorter_than_a_window_is_named(running):
    source, reader = running
    with pytest.raises(InputError, match="tokens to train on, but a window has 1,000,000"):
        RunningPreparation(source, TextReader(reader.tokenizer, 1_000_000)).training(4)


# Kinds of problem -------------------------------------------------------------------------------------------------


def batch_of(source, preparation, split="test"):
    return next(pipeline.evaluation(source, split, preparation, batch_size=8).as_numpy_iterator())


def test_what_is_written_is_shifted_by_one(pairs):
    source, reader = pairs
    inputs, answers = batch_of(source, PairPreparation(source, reader))
    assert inputs["target"].shape == answers.shape
    assert (inputs["target"][:, 0] == START).all()
    for given, asked in zip(inputs["target"], answers, strict=True):
        assert [*given[given != 0][1:], END] == asked[asked != 0].tolist()


def test_the_next_token_is_the_answer_once(running):
    source, reader = running
    data = pipeline.evaluation(source, "test", RunningPreparation(source, reader), batch_size=8)
    found = []
    for ids, answers in data.as_numpy_iterator():
        assert ids.shape[1:] == answers.shape[1:] == (64,)
        assert ((answers[:, :-1] == ids[:, 1:]) | (answers[:, :-1] == 0)).all()
        found += answers[answers != 0].tolist()
    assert found == stream(source, reader, "test")[1:]


def test_hidden_tokens_are_asked_and_framed(running):
    source, reader = running
    preparation = MaskedPreparation(source, reader, 0.15)
    found = list(pipeline.evaluation(source, "test", preparation, batch_size=8).as_numpy_iterator())
    for ids, answers in found:
        assert ids.shape == answers.shape
        assert ids.shape[1] == 64
        assert (ids[:, 0] == START).all()
        assert all(row[row != 0][-1] == END for row in ids)
        assert 0.05 < (answers != 0).mean() < 0.25
        assert not np.isin(answers, [START, END, UNKNOWN]).any()
        assert (answers[ids == UNKNOWN] != 0).all()
    (first, second), (again,) = (
        training(source, MaskedPreparation(source, reader, 0.15), epochs, batch_size=16)
        for epochs in (range(2), range(1, 2))
    )
    assert same(again, second)
    assert not same(first, second)


def test_labels_go_with_their_texts():
    source = open_source("sections")
    reader = TextReader(fit(source, ["text"], "bytes"), 8192)
    expected = [(one["text"], one["label"]) for one in source.examples("test").as_numpy_iterator()]
    data = pipeline.evaluation(source, "test", LabelledPreparation(source, reader), batch_size=8)
    found = []
    for ids, labels in data.as_numpy_iterator():
        written = reader.writer.decode(tf.constant(ids)).numpy()
        found += zip(written.tolist(), labels.tolist(), strict=True)
    assert sorted(found) == sorted(expected)


# Masking ----------------------------------------------------------------------------------------------------------


def test_tokens_are_hidden_in_proportion_and_by_seed():
    ids = np.random.default_rng(0).integers(0, 50, (200, 300)).astype("int32")
    hidden, chosen = (part.numpy() for part in hide_tokens(tf.constant(ids), [3, 4], size=50, rate=0.15))
    assert (hidden == ids)[~chosen].all()
    assert not chosen[ids < SPECIAL].any()
    assert chosen[ids >= SPECIAL].mean() == pytest.approx(0.15, abs=0.01)
    assert (hidden == UNKNOWN)[chosen].mean() == pytest.approx(0.8, abs=0.02)
    assert (hidden == ids)[chosen].mean() == pytest.approx(0.1 + 0.1 / 46, abs=0.02)
    assert (hidden[chosen] >= UNKNOWN).all()
    assert (hidden < 50).all()
    again = hide_tokens(tf.constant(ids), [3, 4], size=50, rate=0.15)
    assert same(again, (hidden, chosen))
    assert not same(hide_tokens(tf.constant(ids), [3, 5], size=50, rate=0.15)[1:], (chosen,))


def test_the_end_of_a_text_is_never_hidden():
    hidden, chosen = hide_tokens(tf.fill([100, 10], END), [0, 0], size=50, rate=0.9)
    assert (hidden.numpy() == END).all()
    assert not chosen.numpy().any()
