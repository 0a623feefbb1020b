"""Weights out: checkpoints that another library loads. The test machines have no such library: what is written is read
by our own reader, whose answers `test_pretrained` compares with theirs."""

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file

import zoo
from zoo import InputError, RunError, cli, registry, runs, weights
from zoo.readers import own_json
from zoo.readers.published import read_tokenizer
from zoo.readers.texts import TextReader
from zoo.readers.vocabulary import learn
from zoo.serving import checkpoints, vocabularies
from zoo.weights import parts

RNG = np.random.default_rng(0)
ARTEFACTS = pathlib.Path(__file__).parents[1] / "artefacts" / "pretrained"
SMALL = {"depth": 1, "width": 16, "heads": 4, "hidden": 24}
WRITES = {**SMALL, "length": 16, "answer_length": 8}


def export(what, folder, **options):
    return zoo.export(what, folder, format="safetensors", **options)


def _slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def said(folder, name="config.json"):
    return json.loads((folder / name).read_text())


# Tables, there and back -----------------------------------------------------------------------------------------------

ROWS = [3, 0, 2, -1, 1, 5, 4]


@pytest.mark.parametrize(("part", "shape", "shares"), [
    (parts.same("a"), (3, 2), [1]),
    (parts.joined("a", "b", "c"), (5, 6), [1, 1, 1]),
    (parts.linear("a", "b", "c"), (5, 8), [2, 1, 1]),
    (parts.convolution("a"), (3, 2, 4, 5), [1]),
    (parts.first("a"), (4, 3), [1]),
    (parts.by_rows("a"), (7, 3), [1]),
    (parts.by_columns("a"), (3, 7), [1]),
    (parts.logits_bias("a"), (7,), [1]),
])  # fmt: skip
def test_a_variable_comes_back_from_its_tensors(part, shape, shares):
    rows = ROWS if 7 in shape else None
    value = RNG.normal(size=shape).astype("float32")
    if rows is not None:
        absent = parts.ABSENT if len(shape) == 1 else 0
        value[(..., 3) if shape[-1] == 7 else 3] = absent
    tensors = part.back(value, shares, rows)
    np.testing.assert_array_equal(part.make(tensors, shape, rows), value)
    again = part.back(part.make(tensors, shape, rows), shares, rows)
    for one, other in zip(tensors, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert_classifier", _slow("qwen2"), _slow("bert")])
def test_a_checkpoint_that_was_read_is_written_as_it_was(name, tmp_path):
    folder = tmp_path / "out"
    checkpoints.Checkpoint(runs.Pretrained(ARTEFACTS / name)).write(folder)
    before = load_file(ARTEFACTS / name / "model.safetensors")
    before = {key.replace("gamma", "weight").replace("beta", "bias"): one for key, one in before.items()}
    after = load_file(folder / "model.safetensors")
    assert set(after) == set(before)
    for key, tensor in before.items():
        np.testing.assert_array_equal(after[key], tensor)
    theirs, ours = said(ARTEFACTS / name), said(folder)
    aside = {"transformers_version", "label2id", "dtype", "eos_token_id", "bos_token_id"}
    shared = (set(theirs) & set(ours)) - aside
    wanted = {key: theirs[key] for key in shared if theirs[key] is not None and "drop" not in key}
    assert {key: ours[key] for key in wanted} == wanted
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (folder / file).read_bytes() == (ARTEFACTS / name / file).read_bytes()


@pytest.mark.parametrize("architecture", ["resnet50", "vit_tiny_patch16_224"])
def test_a_config_of_timm_is_written_as_it_is_read(architecture, tmp_path):
    cfg = {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic",
           "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"architecture": architecture, "pretrained_cfg": cfg}))
    recipe = registry.recipe_of(zoo.weights.hub.locate(tmp_path))
    _, config = registry.written_as(recipe, said(tmp_path))
    assert config["architecture"] == architecture
    assert {name: config["pretrained_cfg"][name] for name in cfg} == cfg


# Networks that were trained here --------------------------------------------------------------------------------------


def shaken(name, **given):
    """A model whose weights are no longer those that it was made with."""
    model = zoo.build(name, **given)
    for variable in model.weights:
        if not weights.is_seed(variable):
            variable.assign(np.asarray(variable) + RNG.uniform(0, 0.3, variable.shape).astype("float32"))
    return model


@pytest.mark.parametrize(("name", "given"), [
    _slow("gpt", WRITES),
    ("llama", {**WRITES, "tied": False, "kv_heads": None}),
    ("bert", {**SMALL, "tied": False, "segments": 3}),
    _slow("bert_classifier", {**SMALL, "classes": 3, "tokens": "characters"}),
    _slow("sentence_encoder", SMALL),
    _slow("vit", {**SMALL, "input_shape": (8, 12, 1), "classes": 3}),
    ("vit", {**SMALL, "input_shape": (8, 8, 3), "classes": 3, "resize": "crop", "mean": (0.5, 0.4, 0.3)}),
    _slow("resnet/18", {"input_shape": (32, 32, 3), "classes": 3}),
])  # fmt: skip
def test_a_network_of_ours_is_read_again_as_it_was(name, given, tmp_path):
    model = shaken(name, **given)
    labels = ["a", "b", "c"] if "classes" in given else None
    folder = export(model, tmp_path / "out", labels=labels)
    read = zoo.load(folder)
    assert read.recipe.name == model.recipe.name
    assert tuple(read.reader.labels) == tuple(labels or ())
    if "input_shape" in given:
        inputs = RNG.uniform(0, 255, (2, *given["input_shape"])).astype("float32")
        assert read.recipe.resize == model.recipe.resize
    else:
        inputs = RNG.integers(4, 20, (2, 9)).astype("int32")
    ours, theirs = model.predict_on_batch(inputs), read.predict_on_batch(inputs)
    np.testing.assert_allclose(theirs, ours, atol=1e-5 * np.abs(ours).max())


def test_vectors_of_sentences_have_the_files_of_their_library(tmp_path):
    folder = tmp_path / "out"
    checkpoints.Checkpoint(zoo.build("sentence_encoder", **SMALL)).write(folder)
    assert [one["path"] for one in said(folder, "modules.json")] == ["", "1_Pooling", "2_Normalize"]
    pooling = said(folder / "1_Pooling")
    assert [name for name, value in pooling.items() if value is True] == ["pooling_mode_mean_tokens"]


def test_how_a_network_writes_goes_along(tmp_path):
    model = zoo.build("gpt", **WRITES, temperature=0.7, top_k=5)
    folder = tmp_path / "out"
    checkpoints.Checkpoint(model).write(folder)
    wanted = {"do_sample": True, "temperature": 0.7, "top_k": 5, "max_new_tokens": 8, "eos_token_id": 2}
    assert wanted.items() <= said(folder, "generation_config.json").items()
    assert registry.recipe_of(zoo.weights.hub.locate(folder)).temperature == 0.7


@pytest.mark.parametrize(("name", "given", "message"), [
    ("lenet", {}, "No other library has lenet: format=safetensors writes bert, bert_classifier, gpt"),
    ("gpt", {**WRITES, "ffn": "moe"}, "cannot be written as GPT2LMHeadModel: it has ffn=moe, and that dense"),
    ("gpt", {**WRITES, "kv_heads": 2}, "kv_heads=2"),
    ("gpt", {**WRITES, "activation": "silu"}, "activation=silu, and that gelu_tanh"),
    ("llama", {**WRITES, "norm": "post"}, "norm=post"),
    ("bert", {**SMALL, "activation": "relu"}, "activation=relu, and that gelu"),
    ("bert_classifier", {**SMALL, "norm_kind": "rms"}, "norm_kind=rms"),
    ("vit", {**SMALL, "pool": "mean"}, "pool=mean, and that class"),
    ("vit", {**SMALL, "input_shape": (8, 12, 1), "resize": "crop"}, "input_shape=8,12,1"),
    ("resnet", {}, "cannot be written as ResNetForImageClassification: it has family=small, and that imagenet"),
])  # fmt: skip
def test_what_the_other_library_lacks_is_refused_by_name(name, given, message):
    recipe = zoo.recipe(name, **given)
    with pytest.raises(InputError, match=message) as caught:
        registry.written_as(recipe)
    assert "\n" not in str(caught.value)


def test_a_refusal_writes_nothing(tmp_path):
    model = zoo.build("lenet")
    with pytest.raises(InputError, match="No other library has lenet"):
        export(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_bias_that_was_trained_is_refused_where_there_is_none(tmp_path):
    model = shaken("gpt", **WRITES, head_bias=True)
    with pytest.raises(InputError, match="the bias of its logits was trained"):
        export(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_answers_that_differ_leave_no_folder(tmp_path, monkeypatch):
    write = checkpoints.Checkpoint.write

    def wrong(self, folder):
        self._tensors = {name: one * 1.001 for name, one in self._tensors.items()}
        write(self, folder)

    monkeypatch.setattr(checkpoints.Checkpoint, "write", wrong)
    with pytest.raises(RunError, match="could not be verified: it is off by"):
        export(shaken("vit", **SMALL, classes=3), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_a_checkpoint(tmp_path, capsys):
    cli.main(["export", str(ARTEFACTS / "bert"), str(tmp_path / "out"), "--format", "safetensors"])
    assert "Verified by zoo.load on 8 examples" in capsys.readouterr().out


# Vocabularies ---------------------------------------------------------------------------------------------------------

TEXTS = ["The cat sat on the mat.", "the  cat's 2 hats_x", " lead and trail ", "naïve café\nnew line", "a-b\tc"]
OTHERS = ["", "  ", "<pad> <start>x", "你好你好 zz", "é̀x ½²", "\r\n\n x", "q", "Zebra  QQ!!", "a\xa0b", "\x00x"]


def vocabulary(kind):
    return learn(TEXTS * 3, kind, 40 if kind == "subwords" else None)


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "subwords"])
def test_a_vocabulary_of_ours_is_read_again(kind, tmp_path):
    tokenizer = vocabulary(kind)
    for start, end in ((True, True), (True, False), (False, False)):
        (tmp_path / "tokenizer.json").write_text(json.dumps(own_json.written(tokenizer, start, end)))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>", "bos_token": "<start>",
                                                                    "eos_token": "<end>"}))  # fmt: skip
        read = read_tokenizer(tmp_path)
        assert vocabularies._settings(read.tokenizer) == vocabularies._settings(tokenizer)
        assert (read.rows, read.start, read.end) == (tuple(range(tokenizer.size)), start, end)


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "subwords"])
def test_the_library_tokenizers_cuts_as_a_vocabulary_of_ours(kind):
    library = pytest.importorskip("tokenizers")
    tokenizer = vocabulary(kind)
    theirs = library.Tokenizer.from_str(json.dumps(own_json.written(tokenizer, True, True)))
    theirs.encode_special_tokens = True
    letters = sorted(set("".join(TEXTS))) + list("你QZ<>é")
    texts = TEXTS + OTHERS + ["".join(RNG.choice(letters, RNG.integers(1, 30))) for _ in range(200)]
    for text, ids in zip(texts, tokenizer.encode(np.array(texts)).to_list(), strict=True):
        assert theirs.encode(text).ids == [1, *ids[:-1], 2]
    for text, ids in zip(texts, tokenizer.encode(np.array(texts)).to_list(), strict=True):
        if 3 not in ids:
            assert theirs.decode(ids[:-1]) == text


def test_subwords_that_no_file_can_say_are_refused():
    tokenizer = vocabulary("subwords")
    odd = type(tokenizer)("subwords", [*tokenizer.tokens, "ab$"], [*tokenizer.scores, -3.0])
    with pytest.raises(InputError, match=r"no piece for '\$' alone"):
        own_json.written(odd, True, True)


def test_a_start_that_was_trained_apart_from_the_end_becomes_a_token(tmp_path):
    """GPT-2 has one token for both. Training puts START in front of texts, and its vector goes its own way."""
    model = zoo.build("gpt", init_from=str(ARTEFACTS / "gpt2"), answer_length=8)
    table = next(one for one in model.weights if one.path == "embedding/embeddings")
    values = np.array(table)
    values[1] += 1
    table.assign(values)
    tokenizer = zoo.load(ARTEFACTS / "gpt2").reader.tokenizer
    folder = export(model, tmp_path / "out", reader=TextReader(tokenizer, 32, start=True, end=False))
    config, writes = said(folder), said(folder, "generation_config.json")
    theirs = said(ARTEFACTS / "gpt2")
    assert (config["vocab_size"], config["bos_token_id"]) == (theirs["vocab_size"] + 1, theirs["vocab_size"])
    assert config["eos_token_id"] == theirs["eos_token_id"]
    assert writes["suppress_tokens"] == [theirs["vocab_size"]]
    read = zoo.load(folder)
    assert (read.reader.start, read.reader.end) == (True, False)
    ids = read.reader.read_texts(np.array(["The cat"])).numpy()
    assert ids[0, 0] == 1
    ours, again = model.predict_on_batch(ids), read.predict_on_batch(ids)
    possible = np.arange(ours.shape[-1]) > 1
    np.testing.assert_allclose(again[..., possible], ours[..., possible], atol=1e-5 * np.abs(ours[..., 4:]).max())


@pytest.mark.parametrize("tied", [True, False])
def test_a_fixed_bias_is_not_trained(tied):
    model = zoo.build("llama", **WRITES, tied=tied, head_bias="fixed")
    trained = {one.path for one in model.trainable_variables}
    assert {one.path for one in model.weights} - trained == {"head/bias"}
    assert set(weights.of(model)) == set(weights.of(zoo.build("llama", **WRITES, tied=tied, head_bias=True)))


def test_a_tokenizer_that_is_not_there_any_more_is_said(tmp_path):
    model = zoo.load(ARTEFACTS / "llama")
    object.__setattr__(model, "source", str(tmp_path / "gone.safetensors"))
    with pytest.raises(InputError, match=r"the tokenizer of .*gone.safetensors, which must still be there"):
        export(model, tmp_path / "out")
    object.__setattr__(model, "source", str(ARTEFACTS / "qwen2"))
    model.reader.tokenizer = zoo.load(ARTEFACTS / "gpt2").reader.tokenizer
    with pytest.raises(InputError, match="has another tokenizer than the one that llama was trained with"):
        export(model, tmp_path / "out")
