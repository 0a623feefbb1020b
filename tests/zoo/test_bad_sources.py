"""Weights from elsewhere that are no good: one line, status 2, nothing half-written, and no code of theirs run.

A few stand in the quick suite; each is a checkpoint of `tests/artefacts/pretrained` with one thing wrong.
"""

import json
import os
import pickle
import re
import shutil
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.reliability.judging import Faults, shell
from tests.zoo.test_pretrained import ARTEFACTS, Evil

TABLE = "transformer.wte.weight"


def copied(folder, name="gpt2"):
    shutil.copytree(ARTEFACTS / name, folder / name)
    return folder / name


def edited(file, change):
    """Makes a function of a folder that changes the bytes of a file of its `gpt2`."""

    def make(folder):
        path = copied(folder) / file
        path.write_bytes(change(path.read_bytes()))
        return path.parent

    return make


def said(name, file="config.json", **values):
    """Makes a function of a folder that changes what a JSON file says."""

    def make(folder):
        path = copied(folder, name) / file
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(before | values))
        return path.parent

    return make


def held(name, change):
    """Makes a function of a folder that changes the tensors."""

    def make(folder):
        path = copied(folder, name) / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file({key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}, path)
        return path.parent

    return make


def as_kind(kind):
    return held("gpt2", lambda tensors: tensors.update({TABLE: tensors[TABLE].astype(kind)}))


def written(name, data, beside=None):
    """Makes a function of a folder that writes a file of weights, and a config beside it."""

    def make(folder):
        content = data(folder) if callable(data) else data
        (folder / name).write_bytes(content)
        if beside is not None:
            (folder / "config.json").write_text(json.dumps(beside))
        return folder / name

    return make


def state(content):
    """Makes a function of a folder that writes what `content` of torch gives as a `.pth` file of a resnet/18."""

    def make(folder):
        torch = pytest.importorskip("torch")
        torch.save(content(torch, folder), folder / "net.pth")
        (folder / "config.json").write_text('{"architecture": "resnet18", "num_classes": 3}')
        return folder / "net.pth"

    return make


def header(kind, shape):
    """Makes a function of a folder in whose safetensors a tensor is of a kind that NumPy does not have."""

    def change(data):
        size = struct.unpack("<Q", data[:8])[0]
        said = json.loads(data[8 : 8 + size])
        said[TABLE] |= {"dtype": kind, "shape": shape}
        text = json.dumps(said).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    return edited("model.safetensors", change)


def sharded(index):
    """Makes a function of a folder in which an index names the shards."""

    def make(folder):
        path = copied(folder)
        (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")
        (path / "model.safetensors.index.json").write_bytes(index)
        return path

    return make


def replaced(file):
    """Makes a function of a folder in which a folder is where a file should be."""

    def make(folder):
        path = copied(folder)
        (path / file).unlink(missing_ok=True)
        (path / file).mkdir()
        return path

    return make


def without(*names, **others):
    """Makes a function of a folder in which files are missing, and others stand instead."""

    def make(folder):
        path = copied(folder)
        for name in names:
            (path / name).unlink()
        for name, data in others.items():
            (path / f"{name}.bin").write_bytes(data)
        return path

    return make


RESNET = {"architecture": "resnet18", "num_classes": 3}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 548105171\n"
CUT = "is not a complete safetensors file"

QUICK = {
    "cut off": (edited("model.safetensors", lambda data: data[:-100]), CUT),
    "a pickle": (written("net.bin", b"x"), "may be a pickle, which can run code"),
    "eight bits": (header("F8_E4M3", [299, 64]), "wte.weight is of a kind that is not read"),
    "whole numbers": (as_kind("int32"), "wte.weight holds int32, and weights are floats"),
    "wider by its config": (said("gpt2", n_embd=32), "contradicts its config.json"),
    "more words by its config": (said("gpt2", vocab_size=99), "has 299 rows, but config.json has vocab_size=99"),
    "quantised": (said("llama", quantization_config={"quant_method": "gptq"}), "quantization_config"),
    "architectures is a number": (said("gpt2", architectures=7), "has the architecture 7, and no recipe"),
    "many labels at once": (
        said("bert_classifier", problem_type="multi_label_classification"), "problem_type=multi_label_classification",
    ),
    "a label left out": (said("bert_classifier", id2label={"0": "a", "1": "b", "7": "c"}), "leaves out numbers"),
}  # fmt: skip

CASES = QUICK | {
    # Files that are not whole
    "cut in half": (edited("model.safetensors", lambda data: data[: len(data) // 2]), CUT),
    "longer": (edited("model.safetensors", lambda data: data + b"\0" * 10), CUT),
    "empty": (edited("model.safetensors", lambda data: b""), CUT),
    "endless header": (edited("model.safetensors", lambda data: struct.pack("<Q", 2**62) + data[8:]), "too large"),
    "a pointer of git": (edited("model.safetensors", lambda data: POINTER), CUT),
    "a page": (edited("model.safetensors", lambda data: b"<!DOCTYPE html>" * 9), CUT),
    "an archive": (edited("model.safetensors", lambda data: b"PK\3\4" + data), CUT),
    "unknown kind": (header("Q3", [299, 16]), CUT),
    "wrong size of kind": (header("F64", [299, 16]), CUT),
    "a folder as weights": (replaced("model.safetensors"), "has no model.safetensors"),
    "a folder as index": (without("model.safetensors"), "has no model.safetensors"),
    "a shard is missing": (
        sharded(b'{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'),
        "is not whole: model-00002-of-00002.safetensors is missing",
    ),
    "an index without a map": (sharded(b"{}"), "index.json is damaged"),
    "an index that is a list": (sharded(b"[]"), "index.json is damaged"),
    "an index of bytes": (sharded(b"\xff\xfe\0"), "index.json is damaged"),
    "a shard elsewhere": (sharded(b'{"weight_map": {"a": "/etc/passwd"}}'), "index.json is damaged"),
    "GGUF, cut off": (written("net.gguf", b"GGUF\3\0\0\0"), "is not a complete GGUF file"),
    "GGUF, empty": (written("net.gguf", b""), "is not a complete GGUF file"),
    "GGUF of endless counts": (written("net.gguf", b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60)), "complete GGUF"),
    # Pickles
    "a pickle as safetensors": (edited("model.safetensors", lambda _: pickle.dumps({"a": 1})), CUT),
    "a pickle in a folder": (
        without("model.safetensors", pytorch_model=pickle.dumps(1)), "It has pytorch_model.bin, which is not opened",
    ),
    "a pickle as .pth": (
        written("net.pth", lambda folder: pickle.dumps(Evil(folder / "ran")), RESNET), "its code is not run",
    ),
    "tensors and code": (
        state(lambda torch, folder: {"conv1.weight": torch.zeros(2), "evil": Evil(folder / "ran")}),
        "its code is not run",
    ),
    "a module": (state(lambda torch, folder: torch.nn.Linear(2, 3)), "its code is not run"),
    "an empty .pth": (written("net.pth", b"", RESNET), "not a complete state dictionary"),
    "a .pt of anything": (written("net.pt", b"x" * 30, RESNET), "is not a complete state dictionary"),
    "a list": (state(lambda torch, folder: [1]), "holds more than tensors by name"),
    "names that are numbers": (state(lambda torch, folder: {1: torch.zeros(2)}), "holds more than tensors by name"),
    "a dictionary of others": (state(lambda torch, folder: {"model": {"a": torch.zeros(2)}}), "lacks weights"),
    # Tensors
    "flags": (as_kind("bool"), "holds bool, and weights are floats"),
    "complex numbers": (as_kind("complex64"), "holds complex64, and weights are floats"),
    "turned": (held("gpt2", lambda tensors: tensors.update({TABLE: tensors[TABLE].T})), "has 16 rows"),
    "one number": (held("gpt2", lambda tensors: tensors.update({TABLE: np.float32(3)})), "has 1 rows"),
    "fewer rows": (held("gpt2", lambda tensors: tensors.update({TABLE: tensors[TABLE][:9]})), "has 9 rows"),
    "more rows": (held("gpt2", lambda one: one.update({TABLE: np.concatenate([one[TABLE]] * 2)})), "has 598 rows"),
    "one is missing": (held("gpt2", lambda one: one.pop("transformer.h.1.ln_2.bias")), "lacks weights of gpt"),
    "the head is missing": (held("bert_classifier", lambda one: one.pop("classifier.bias")), "lacks weights"),
    "an untied head is missing": (held("llama", lambda one: one.pop("lm_head.weight")), "lacks weights of llama"),
    "all are missing": (held("gpt2", lambda tensors: tensors.clear()), "lacks weights of gpt: embedding/embeddings"),
    "one too many": (held("gpt2", lambda one: one.update(more=np.zeros(1))), "weights that gpt does not have: more"),
    "a name that moves the cursor": (held("gpt2", lambda one: one.update({"a\n\x1b[31m": np.zeros(1)})), r"\\x1b"),
    "another share of keys": (
        held("llama", lambda one: one.update({"model.layers.0.self_attn.k_proj.weight": np.zeros((4, 16), "f")})),
        "contradicts its config.json",
    ),
    # Configs
    "one layer more": (said("gpt2", n_layer=3), "lacks weights of gpt: decoder3"),
    "one layer less": (said("gpt2", n_layer=1), "has weights that gpt does not have"),
    "no layer": (said("gpt2", n_layer=0), "depth must be"),
    "half a layer": (said("gpt2", n_layer=2.5), "depth must be"),
    "endless layers": (said("gpt2", n_layer=float("inf")), "depth must be"),
    "more positions": (said("gpt2", n_positions=64), "contradicts its config.json"),
    "three heads": (said("gpt2", n_head=3), "heads must divide"),
    "more heads of keys": (said("llama", num_key_value_heads=4), "contradicts its config.json"),
    "an untied head": (said("gpt2", tie_word_embeddings=False), "lacks weights of gpt: head/kernel"),
    "another activation": (said("gpt2", activation_function="swish"), "activation_function=swish"),
    "scaled attention": (said("gpt2", scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx"),
    "rotary positions in words": (said("llama", rope_parameters="x"), "config.json is damaged"),
    "a number of words in words": (said("gpt2", vocab_size="many"), "vocab_size='many'"),
    "labels as a list": (said("bert_classifier", id2label=["a", "b", "c"]), "contradicts its config.json"),
    "one label": (said("bert_classifier", id2label={"0": "a"}), "classes must be"),
    "an unknown architecture": (said("gpt2", architectures=["FalconForCausalLM"]), "FalconForCausalLM, and no recipe"),
    "no architecture": (said("gpt2", architectures=None, model_type=None), "architecture none"),
    "an architecture of two lines": (said("gpt2", architectures=["a\nb"]), r"a\\nb, and no recipe"),
    "a config in UTF-16": (edited("config.json", lambda data: data.decode().encode("utf-16")), "is damaged"),
    "a config in bytes": (edited("config.json", lambda data: b"\xff" + data), "config.json is damaged"),
    "a number of many digits": (edited("config.json", lambda data: b'{"a": ' + b"9" * 9999 + b"}"), "damaged"),
    "a folder as config": (replaced("config.json"), "is not a run"),
    "a wrong temperature": (
        said("gpt2", "generation_config.json", do_sample=True, temperature=-1), "temperature must be",
    ),
    "a chat template that is none": (
        said("llama", "tokenizer_config.json", chat_template="{% for x in %}"), "template cannot be rendered",
    ),
    # Tokenizers
    "no tokenizer": (without("tokenizer.json", "tokenizer_config.json"), "has no tokenizer that the zoo reads"),
    "a folder as tokenizer": (replaced("tokenizer.json"), "has no tokenizer that the zoo reads"),
    "half a tokenizer": (edited("tokenizer.json", lambda data: data[: len(data) // 2]), "tokenizer.json is damaged"),
    "a tokenizer of nothing": (edited("tokenizer.json", lambda data: b"{}"), "tokenizer.json is damaged"),
    # Names
    "no owner": (lambda folder: "hf:net", "is no name on the hub"),
    "a way out": (lambda folder: "hf:../../etc", "is no name on the hub"),
    "no revision": (lambda folder: "hf:someone/net@", "is no name on the hub"),
    "two lines": (lambda folder: "hf:some\none/net", "is no name on the hub"),
    "a long name": (lambda folder: "hf:someone/" + "x" * 200, "is no name on the hub"),
    "not in the cache": (lambda folder: "hf:someone/net", "is not in the hub's cache"),
    "a revision that is not": (lambda folder: "hf:someone/net@v9", "is not in the hub's cache"),
    "no such weights": (lambda folder: "zoo:../../x", "Unknown weights"),
}  # fmt: skip


def tree(folder):
    """{path: bytes} of all in a folder."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def names():
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES]


@pytest.mark.parametrize("name", names())
def test_a_bad_source_is_one_line_and_leaves_nothing(name, tmp_path, monkeypatch):
    make, message = CASES[name]
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    if "hub" in message:
        pytest.importorskip("huggingface_hub")
    source = make(tmp_path)
    before, faults = tree(tmp_path), Faults()
    answer = shell(faults, "predict", source, "it.png" if "net.p" in os.path.basename(source) else "a cat")
    assert (answer.status, faults.all()) == (2, []), answer.said
    assert re.search(message, answer.said), answer.said
    assert tree(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, "tensors and code", "one is missing"])
def test_a_bad_source_is_not_exported_and_not_trained_from(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    source = CASES[name][0](tmp_path)
    before, faults = tree(tmp_path), Faults()
    assert shell(faults, "export", source, tmp_path / "out").status == 2
    assert shell(faults, "export", source, tmp_path / "out", "--format", "safetensors").status == 2
    assert faults.all() == []
    assert tree(tmp_path) == before
