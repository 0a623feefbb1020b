"""`llama` against the formulas of the papers in NumPy, and against Hugging Face's implementation."""

import keras
import numpy as np
import pytest

import zoo
from tests.recipes.sequences import LLAMA, make, numbers, says, texts
from zoo import InputError, decoding
from zoo.layers.rotary_positions import rotary_rates
from zoo.recipes.llama import GGUF, TRANSFORMERS

WIDE = {**LLAMA, "width": 16}  # four numbers a head
KINDS = {
    "llama, tied": {},
    "llama, untied": {"tied": False, "kv_heads": 4, "rotary_base": 100.0},
    "llama, slowed": {"rotary_scaling": (3.0,)},
    "qwen2": {"qkv_bias": True, "kv_heads": 1, "epsilon": 1e-3, "head_bias": True},
}


def reference(recipe, weights, text):
    """Logits (time, vocabulary) of ids (time,), position by position, in float64.

    Rotary positions are rotations of complex numbers; a head attends to the keys of its group one by one.
    """
    weights = {path: array.astype("float64") for path, array in weights.items()}
    heads, groups, size = recipe.heads, recipe.kv_heads, recipe.width // recipe.heads
    rates = recipe.rotary_base ** (-np.arange(size // 2) * 2 / size) / recipe.rotary_scaling[0]

    def normed(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + recipe.epsilon) * weights[f"{name}/scale"]

    def turned(vector, position):
        pairs = (vector[: size // 2] + 1j * vector[size // 2 :]) * np.exp(1j * position * rates)
        return np.concatenate([pairs.real, pairs.imag])

    x = weights["embedding/embeddings"][text]
    for number in range(1, recipe.depth + 1):
        block = f"decoder{number}"
        projected = (
            normed(x, f"{block}/self_attention_norm") @ weights[f"{block}/self_attention/query_key_value/kernel"]
        )
        projected = projected + weights.get(f"{block}/self_attention/query_key_value/bias", 0)
        rows = projected.reshape(len(text), heads + 2 * groups, size)
        answers = np.zeros((len(text), heads, size))
        for position in range(len(text)):
            for head in range(heads):
                group = head // (heads // groups)
                query = turned(rows[position, head], position)
                keys = [turned(rows[place, heads + group], place) for place in range(position + 1)]
                odds = np.exp(np.array(keys) @ query / np.sqrt(size))
                answers[position, head] = odds / odds.sum() @ rows[: position + 1, heads + groups + group]
        x = x + answers.reshape(len(text), -1) @ weights[f"{block}/self_attention/output/kernel"]
        gate, up = np.split(
            normed(x, f"{block}/feed_forward_norm") @ weights[f"{block}/feed_forward/hidden/kernel"], 2, axis=-1
        )
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{block}/feed_forward/output/kernel"]
    output = weights["embedding/embeddings"].T if recipe.tied else weights["head/kernel"]
    return normed(x, "features") @ output + weights.get("head/bias", 0)


@pytest.mark.backend
@pytest.mark.parametrize("kind", KINDS)
def test_says_what_the_formulas_say(kind):
    recipe, network = make("llama", **{**WIDE, **KINDS[kind]})
    text = texts(11, [9, 6], 9)
    weights = {weight.path: numbers(weight) for weight in network.weights if "seed" not in weight.path}
    found = says(network, text)
    for row, length in enumerate([9, 6]):
        expected = reference(recipe, weights, text[row, :length])
        np.testing.assert_allclose(found[row, :length], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    biases = [path for path in weights if path.endswith("bias")]
    expected = [f"decoder{number}/self_attention/query_key_value/bias" for number in (1, 2)] + ["head/bias"]
    assert biases == (expected if kind == "qwen2" else [])


# Hugging Face -------------------------------------------------------------------------------------------------------


def theirs(family, recipe, network):
    """Hugging Face's model with the weights of `network`."""
    transformers = pytest.importorskip("transformers")
    import torch

    config = getattr(transformers, f"{family}Config")(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.hidden,
        num_hidden_layers=recipe.depth,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        rms_norm_eps=recipe.epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rotary_base},
        tie_word_embeddings=recipe.tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    ours = {weight.path: torch.tensor(numbers(weight)) for weight in network.weights if "seed" not in weight.path}
    named = {"model.embed_tokens.weight": ours["embedding/embeddings"], "model.norm.weight": ours["features/scale"]}
    named["lm_head.weight"] = named["model.embed_tokens.weight"] if recipe.tied else ours["head/kernel"].T
    size = recipe.width // recipe.heads
    for number in range(recipe.depth):
        block, layer = f"decoder{number + 1}", f"model.layers.{number}"
        for old, new in (("self_attention_norm", "input_layernorm"), ("feed_forward_norm", "post_attention_layernorm")):
            named[f"{layer}.{new}.weight"] = ours[f"{block}/{old}/scale"]
        for old, new in (("self_attention/output", "self_attn.o_proj"), ("feed_forward/output", "mlp.down_proj")):
            named[f"{layer}.{new}.weight"] = ours[f"{block}/{old}/kernel"].T
        for part, name in zip(ours[f"{block}/feed_forward/hidden/kernel"].chunk(2, 1), ("gate", "up"), strict=True):
            named[f"{layer}.mlp.{name}_proj.weight"] = part.T
        widths = [recipe.width, size * recipe.kv_heads, size * recipe.kv_heads]
        for old, new in (("kernel", "weight"), ("bias", "bias"))[: 1 + recipe.qkv_bias]:
            parts = ours[f"{block}/self_attention/query_key_value/{old}"].split(widths, -1)
            for part, name in zip(parts, "qkv", strict=True):
                named[f"{layer}.self_attn.{name}_proj.{new}"] = part.T if old == "kernel" else part
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    model.load_state_dict(named)
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["Llama", "Qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_says_and_writes_what_hugging_face_does(family, tied):
    recipe, network = make("llama", **WIDE, tied=tied, qkv_bias=family == "Qwen2", rotary_base=100.0)
    model = theirs(family, recipe, network)
    import torch

    text = texts(11, [9, 9, 9], 9)
    with torch.no_grad():
        expected = model(torch.tensor(text.astype("int64"))).logits.numpy()
    found = says(network, text)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    # greedy decoding with a cache, token by token, from prompts of several lengths
    decoder, counts = recipe.make_decoder(network), np.array([5, 3, 1])
    prompts = np.where(np.arange(5) < counts[:, None], text[:, :5], 0)
    state, memory = decoder.start(prompts, 8)
    rows = [list(prompt[:count]) for prompt, count in zip(prompts, counts, strict=True)]
    last = np.ones(3, "int32")
    for index in range(8):
        logits, state = decoder.step(keras.ops.convert_to_tensor(last), index, state, memory)
        logits = numbers(logits)
        for row, ids in enumerate(rows):
            with torch.no_grad():
                said = model(torch.tensor([ids])).logits[0, -1].numpy()
            np.testing.assert_allclose(logits[row], said, rtol=0, atol=1e-5 * np.abs(said).max())
            ids.append(2 + int(said[2:].argmax()))  # neither padding nor START, as in `zoo.decoding`
        last = 2 + logits[:, 2:].argmax(-1).astype("int32")
        assert list(last) == [ids[-1] for ids in rows]


@pytest.mark.backend
def test_a_bias_rules_out_ids():
    recipe, network = make("llama", **WIDE, head_bias=True)
    bias = np.zeros(11, "float32")
    bias[[0, 1, 3, 4, 5, 6]] = -1e4
    network.get_layer("head").set_weights([bias])
    prompts = texts(11, [5, 3], 5)
    decoder = recipe.make_decoder(network)
    tokens, _ = decoding.Decoding(network, decoder, decoding.Search(4)).predict_on_batch(prompts)
    assert set(np.unique(tokens)) <= {0, 2, 7, 8, 9, 10}
    drawn = decoding.sample(decoder, prompts, np.linspace(0, 0.99, 8).reshape(2, 4).astype("float32"), 5.0)
    assert set(np.unique(numbers(drawn.tokens))) <= {0, 2, 7, 8, 9, 10}


SIZES = {"architecture": "gguf:llama", "attention.head_count": 2, "embedding_length": 128, "block_count": 1,
         "tied": True, "feed_forward_length": 8,
         "attention.layer_norm_rms_epsilon": 1e-5, "context_length": 9}  # fmt: skip


def test_the_factors_of_a_gguf_file_are_those_of_llama_3():
    """The converter of llama.cpp writes them for each pair of features, and not what they are made of."""
    scaling = (32.0, 1.0, 4.0, 8192.0)
    factors = rotary_rates(64, 5e5) / rotary_rates(64, 5e5, scaling)
    config = {**SIZES, "rope.freq_base": 5e5}
    assert GGUF.values(config)["rotary_scaling"] == (1.0,)
    assert GGUF.values({**config, "rope_freqs": factors.astype("float32").tolist()})["rotary_scaling"] == scaling
    linear = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    assert GGUF.values({**config, **linear})["rotary_scaling"] == (4.0,)
    with pytest.raises(InputError, match=r"not Llama 3\.1's"):
        GGUF.values({**config, "rope_freqs": (factors**2).tolist()})


@pytest.mark.parametrize("scaling", [(1.0,), (4.0,), (8.0, 1.0, 4.0, 8192.0)])
@pytest.mark.parametrize("old", [False, True])
def test_a_config_says_how_rotations_are_slowed(scaling, old):
    """transformers before 5 has `rope_scaling`, and later ones `rope_parameters`."""
    config = TRANSFORMERS.target.config(zoo.recipe("llama", rotary_scaling=scaling).values())
    del config["rope_parameters" if old else "rope_theta"]
    values = TRANSFORMERS.values(config)
    assert (values["rotary_scaling"], values["rotary_base"]) == (scaling, 10_000.0)


@pytest.mark.parametrize("given", ["8,1", "8,4,1,64", "0"])
def test_other_scalings_are_refused(given):
    with pytest.raises(InputError, match="rotary_scaling"):
        zoo.recipe("llama", rotary_scaling=given)
