import contextlib
import io
import json
import re
import sys
import types

import numpy as np
import pytest

import zoo
from zoo import cli, figures, registry, reporting
from zoo.decoding import Decoded
from zoo.figures.texts import scores
from zoo.tasks import _written

TINY_NETWORK = {"width": 8, "heads": 2, "hidden": 8, "depth": 1}
TINY = {**TINY_NETWORK, "epochs": 1, "quiet": True}
TRANSLATE = {"embedding": 6, "units": 8, "attention": 6, "readout": 6, "epochs": 1,
             "quiet": True}  # fmt: skip
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "dog", "ran", "to", "sea", "where", "one", "old", "ship")


def sentences(count, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(count)]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """`text:PATH` of running text."""
    path = tmp_path_factory.mktemp("running") / "running.txt"
    path.write_text("\n".join(sentences(400)), encoding="utf-8")
    return f"text:{path}"


@pytest.fixture(scope="module")
def pairs():
    texts = sentences(60)
    return {split: (texts[rows], [text[::-1] for text in texts[rows]]) for split, rows in
            (("train", slice(0, 40)), ("validation", slice(40, 60)))}  # fmt: skip


@pytest.fixture(scope="module")
def labelled():
    texts = sentences(60)
    return {split: (texts[rows], [int("dog" in text) for text in texts[rows]]) for split, rows in
            (("train", slice(0, 40)), ("validation", slice(40, 60)))}  # fmt: skip


@pytest.fixture(scope="module")
def translator(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("translator") / "run"
    return zoo.train("seq2seq", dataset=pairs, beam_width=2, directory=folder, **TRANSLATE)


@pytest.fixture(scope="module")
def writer(running, tmp_path_factory):
    folder = tmp_path_factory.mktemp("writer") / "run"
    return zoo.train("gpt", dataset=running, length=16, answer_length=5, directory=folder, **TINY)


@pytest.fixture(scope="module")
def encoder(running, tmp_path_factory):
    return zoo.train("bert", dataset=running, length=16, directory=tmp_path_factory.mktemp("encoder") / "run", **TINY)


@pytest.fixture(scope="module")
def classified(encoder, labelled, tmp_path_factory):
    """(a classifier that started from the encoder, what was said of it)."""
    said, folder = io.StringIO(), tmp_path_factory.mktemp("classifier") / "run"
    options = {**TINY, "length": 16, "init_from": str(encoder.path), "quiet": False}
    with contextlib.redirect_stdout(said):
        run = zoo.train("bert_classifier", dataset=labelled, directory=folder, **options)
    return run, said.getvalue()


def test_an_answer_that_breaks_off_pays_for_its_shortness():
    """Papineni 2002: all n-grams of a beginning are right, and BLEU is 100 exp(1 - reference / answer)."""
    whole = sentences(5)
    begun = [text.rsplit(" ", 1)[0] for text in whole]
    words, written = (sum(len(text.split()) for text in some) for some in (whole, begun))
    found = scores(begun, whole)
    assert found["bleu"] == pytest.approx(100 * np.exp(1 - words / written))
    assert found["exact_match"] == 0
    assert scores(whole, whole) == {"exact_match": 1, "bleu": pytest.approx(100), "chrf": pytest.approx(100)}


@pytest.mark.slow
def test_a_translator_trains_and_is_asked(translator, pairs):
    run = translator
    assert {"token_accuracy", "perplexity"} < set(zoo.evaluate(run, "validation", dataset=pairs))
    other = {**pairs, "test": (["a cät sat", "the öld shüp", "sea"], ["a", "b", "c"])}
    with pytest.warns(UserWarning, match="^3 tokens of 2 texts are out of the vocabulary"):
        zoo.evaluate(run, "test", dataset=other)
    tensors = dict(run.probe())
    assert tensors["serve_tensors/source"].shape[0] == tensors["serve_tensors/target"].shape[0] == 8
    assert (tensors["serve_tensors/target"][:, 0] == 1).all()
    answers = zoo.predict(run, ["a cat sat", "", "where one old ship sat on"])
    assert [answer.name for answer in answers] == ["#0", "#1", "#2"]
    for answer in answers:
        assert isinstance(answer.text, str)
        ((text, score),) = answer.others
        assert (answer.text, answer.score) != (text, score)
        assert answer.score >= score
    alone = zoo.predict(run, ["a cat sat"])[0]
    assert alone.text == answers[0].text
    assert alone.score == pytest.approx(answers[0].score, abs=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("default:Text #", "default:.*out of the vocabulary")
def test_the_command_line_reads_texts_and_lines(translator, monkeypatch, capsys, tmp_path):
    def asked(*arguments, lines=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        status = 0
        try:
            cli.main(["predict", str(translator.path), *arguments])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err

    texts = [answer.text for answer in zoo.predict(translator, ["a cat sat", "", "the sea"])]
    assert asked(lines=b"a cat sat\n\nthe sea\n") == (0, texts, "")
    assert asked("a cat sat", "") == (0, [f"#0  {texts[0]}", f"#1  {texts[1]}"], "")
    path = tmp_path / "lines.txt"
    path.write_bytes(b"a cat sat\n\nthe sea\n")
    assert asked(str(path)) == (0, [f"{path}:{row}  {text}" for row, text in enumerate(texts, 1)], "")
    status, (row,), err = asked(f"{path} cat")  # no file: a text
    assert (status, row[:4]) == (0, "#0  ")
    assert "out of the vocabulary, such as '/'" in err
    status, (header, row), _ = asked("a cat sat", "--csv", "--top", "2")
    assert (status, header) == (0, "input,text_1,score_1,text_2,score_2")
    assert row.startswith("#0,")
    status, (_,), err = asked(lines=b"a cat \xff\n")
    assert (status, err) == (0, "Warning: Text #0 is not UTF-8 (byte 6): it is read as far as it can be.\n")
    length = translator.recipe.length
    for option, lines, message in (
        ("--strict", b"a cat \xff\n", "Error: Text #0 is not UTF-8 (byte 6).\n"),
        (
            "--strict",
            b"the sea\n" + b"a cat " * 19,
            f"Error: Text #1 has 115 tokens, but the network takes {length}.\n",
        ),
        ("--quiet", b"", "Error: Nothing to predict: give at least one input.\n"),
    ):
        assert asked(option, lines=lines) == (2, [], message)


def test_a_report_reads_a_table_as_texts(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("\n".join(["text,label", *(f"{text},{'dog' in text}" for text in sentences(60))]), encoding="utf-8")
    recipe, trained_on = registry.open_recipe("bert_classifier", {"dataset": f"csv:{path}", "length": 16})
    run = types.SimpleNamespace(facts={"data": {"name": trained_on.name}})
    source = reporting._open(run, recipe, None, None, False)
    assert source.features == trained_on.features
    assert source.fingerprint == trained_on.fingerprint


def test_a_language_model_goes_on(writer):
    assert "bits_per_character" in zoo.evaluate(writer)
    first, again = (zoo.predict(writer, ["the cat ", "a dog ran"]) for _ in range(2))
    assert first == again  # the seed draws
    assert all(len(answer.text) <= 5 for answer in first)
    words = zoo.recipe("gpt", tokens="words")
    assert [metric.name for metric in words.make_metrics()] == ["token_accuracy", "perplexity"]


@pytest.mark.slow
def test_weights_and_vocabulary_of_an_encoder_are_carried_over(encoder, classified):
    with pytest.warns(UserWarning, match="^1 token of 1 text is out of the vocabulary, such as 'zebra'"):
        (answer,) = zoo.predict(encoder, ["the zebra sat"])  # nobody has seen a zebra: it is found anew
    assert answer.text.startswith("the")
    assert answer.text.endswith(" sat")
    fine, said = classified
    assert fine.reader().tokenizer.get_config()["tokens"] == encoder.reader().tokenizer.get_config()["tokens"]
    for layer in ("embedding", "positions", "encoder1/self_attention/query_key_value", "norm"):
        assert re.search(rf"^{layer} +[\d,]+ +taken", said, re.MULTILINE)
    assert re.search(r"^features +[\d,]+ +new: it is not there +trains +1$", said, re.MULTILINE)
    assert re.search(r"^head_dense +left out: it has no place here$", said, re.MULTILINE)
    assert zoo.predict(fine, ["a dog ran"])[0].label in ("0", "1")


@pytest.mark.slow
def test_what_networks_on_text_do_is_shown(translator, writer, encoder, classified, pairs, labelled):
    from zoo.reporting import Outcome

    cases = [
        (translator, {"dataset": pairs}, ["scores", "examples", "mistakes", "attention"]),
        (writer, {}, ["examples"]),
        (encoder, {}, ["examples"]),
        (classified[0], {"dataset": labelled}, ["confusion", "classes", "mistakes"]),
    ]
    for run, given, names in cases:
        model = zoo.load(run)
        batches = zoo.dataset(model, "validation", **given)
        parts = run.recipe.report_parts(Outcome(model, model.reader, "validation", batches))
        assert [part.name for part in parts] == names
        for part in parts:
            if part.draw is not None:
                part.draw(figures.LIGHT)
        table = next(part.table for part in parts if part.table is not None)
        assert all(len(row) == len(table.header) for row in table.rows)
    model = zoo.load(writer)
    (examples,) = model.recipe.report_parts(Outcome(model, model.reader, "test", zoo.dataset(model, "test")))
    whole = "\n".join(sentences(400))
    assert all(text + right in whole for text, right, *_ in examples.table.rows)


def test_batches_are_sized_by_their_ids(pairs, labelled):
    uneven = {split: (texts, [text[:9] for text in texts]) for split, (texts, _) in pairs.items()}
    for name, data, given in (
        ("seq2seq", pairs, {"target_length": 64}), ("bert_classifier", labelled, {}), ("sentence_encoder", uneven, {})
    ):  # fmt: skip
        recipe = zoo.recipe(name, batch_tokens=300, **given)
        texts, ids = 0, []
        for inputs, *_ in zoo.dataset(recipe, "train", dataset=data):
            parts = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
            texts += len(parts[0]) // (2 if name == "sentence_encoder" else 1)
            ids.append(sum(np.size(part) for part in parts))
        assert max(ids) <= 300
        assert np.median(ids) > 200
        assert 30 <= texts <= 40  # what is left over is in another epoch's


def test_balanced_weights_give_classes_of_texts_the_same_sum(labelled):
    recipe = zoo.recipe("bert_classifier", class_weight="balanced")
    (_, labels, weights), *_ = zoo.dataset(recipe, "train", dataset=labelled, batch_size=40).as_numpy_iterator()
    assert 0 < labels.sum() < 40
    assert weights[labels == 0].sum() == pytest.approx(20)
    assert weights.sum() == pytest.approx(40)
    rare = {"train": (labelled["train"][0], [0] * 39 + [2])}
    dataset = {**rare, "validation": labelled["validation"]}
    recipe, source = registry.open_recipe("bert_classifier", {"dataset": dataset})
    assert recipe.describe(recipe.make_reader(source), source)[1:] == [
        "The class '1' has no training example.",
        "The class '2' has one training example only.",
    ]


def test_a_given_vocabulary_is_the_most_there_is(pairs):
    for given, size in ((50, 50), (10, 10)):
        model = zoo.build("seq2seq", dataset=pairs, vocabulary=given, embedding=4, units=4, attention=4, readout=4)
        assert model.get_layer("source_embedding").input_dim == size
        assert len(model.recipe.make_reader(opened(pairs)).tokenizer.tokens) <= size - 4
    model = zoo.build("transformer", dataset=pairs, tied=True, width=8, heads=2, hidden=8, depth=1)
    assert model.recipe.vocabulary == model.recipe.target_vocabulary


@pytest.mark.parametrize("tokens", ["characters", "bytes", "words"])
def test_lengths_that_nobody_set_are_those_of_the_training_texts(tokens, pairs):
    recipe, source = registry.open_recipe("seq2seq", {"dataset": pairs, "tokens": tokens})
    for field, texts in zip(("length", "target_length"), pairs["train"], strict=True):
        longest = max(len(text.split() if tokens == "words" else text) for text in texts) + 1  # END
        assert longest < getattr(recipe, field) <= longest + 8
        assert getattr(recipe, field) % 8 == 0
    (line,) = recipe.describe(recipe.make_reader(source), source)
    assert line.startswith(f"Lengths of texts: length={recipe.length} (the longest source has ")
    again, _ = registry.open_recipe(recipe, {"dataset": pairs})
    assert again.values() == recipe.values()


def test_lengths_that_somebody_set_stay(pairs, labelled, encoder):
    def length(name, **given):
        return registry.open_recipe(name, given)[0].length

    assert length("seq2seq", dataset=pairs, length=20) == 20
    assert length("seq2seq/rnnsearch", dataset=pairs) == 51
    assert length("bert_classifier", dataset=labelled, init_from=str(encoder.path)) == 16  # its positions
    own = opened(pairs)
    own.name = "dates:train=40"
    assert zoo.recipe("transformer").fitted(own) == {}
    assert zoo.recipe("transformer").target_length == 16


def test_lengths_of_data_are_bounded_and_what_is_cut_is_counted():
    texts = ["a" * 600, "b" * 511, "c"] * 3
    data = {"train": (texts, texts), "validation": (["a", "b" * 511], ["a", "b"])}
    recipe, source = registry.open_recipe("seq2seq", {"dataset": data})
    assert (recipe.length, recipe.target_length) == (512, 512)
    assert "length=512 (a source may have more ids)" in recipe.describe(None, source)[0]
    with pytest.warns(UserWarning, match=r"6 of 9 train texts have 512 tokens or more.*raise (target_)?length=512"):
        zoo.dataset(recipe, "train", dataset=data)


def opened(data):
    from zoo.data import open_source

    return open_source(data)


@pytest.mark.parametrize(("name", "data", "message"), [
    ("seq2seq", "labelled", r"must have source .text. and target .text.. It has: text, label"),
    ("bert_classifier", "pairs", r"must have text .text. and label .label.. It has: source, target"),
    ("gpt", "pairs", r"must have text .text.. It has: source, target"),
])  # fmt: skip
def test_data_of_another_kind_are_named(name, data, message, request):
    with pytest.raises(zoo.InputError, match=message):
        zoo.build(name, dataset=request.getfixturevalue(data))


@pytest.mark.parametrize(
    "name", ["seq2seq", "transformer", "gpt", "llama", "bert", "bert_classifier", "sentence_encoder"]
)
def test_a_model_that_was_not_trained_on_our_data_has_a_reader_and_a_probe(name):
    recipe = zoo.recipe(name)
    reader = recipe.default_reader()
    probe = recipe.make_probe(reader, recipe.make_noise(3))
    network = recipe.network()
    for one in network.inputs:
        ids = probe[f"serve_tensors/{one.name}"]
        assert ids.shape[0] == 3
        assert ids.max() < recipe.vocabulary
    assert json.dumps(reader.get_config())


@pytest.mark.parametrize("name", ["llama/qwen2-0.5b", "gpt"])
def test_noise_has_few_logits(name):
    """Those of a published vocabulary take long, and are many."""
    recipe = zoo.recipe(name)
    longest = max(len(one["text"].decode()) for one in recipe.make_noise(8))
    assert 8 < longest < 128
    assert longest * recipe.vocabulary < 3e6


@pytest.fixture(scope="module")
def untrained():
    return zoo.build("gpt", length=16, answer_length=5, vocabulary=20, **TINY_NETWORK)


def test_a_model_answers_as_its_recipe_says_now(untrained, monkeypatch):
    class Counting:
        made = []

        def __init__(self, model, decoder, search):
            self.length = search.length
            self.made.append(search.length)

        def predict_on_batch(self, inputs):
            return np.zeros((len(inputs[0]), 1, self.length), "int32"), np.zeros((len(inputs[0]), 1))

    monkeypatch.setattr(_written, "Decoding", Counting)
    ids = np.ones((2, 3), "int32")
    for length in (5, 5, 3):
        tokens, _ = untrained.recipe.replace(answer_length=length).ask(untrained, ids)
        assert tokens.shape == (2, 1, length)
    assert Counting.made == [5, 3]  # made anew for another recipe alone


def test_the_endpoints_that_write_share_one_graph(untrained, monkeypatch):
    """Tracing and saving it twice would take twice as long."""
    tf = pytest.importorskip("tensorflow")
    traced = []

    def search(decoder, inputs):
        traced.append(inputs)
        return Decoded(tf.ones((1, 1, 2), tf.int32), tf.ones((1, 1)))

    monkeypatch.setattr(type(untrained.recipe), "make_search", lambda self: search)
    reader = untrained.recipe.default_reader()
    endpoints = untrained.recipe.endpoints(untrained, reader)
    for name in ("serving_default", "serve_sample"):
        endpoint, specs = endpoints[name]
        tf.function(endpoint).get_concrete_function(*specs.values())
    assert len(traced) == 1
