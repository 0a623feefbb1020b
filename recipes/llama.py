import typing

import numpy as np

from zoo.errors import InputError
from zoo.layers.rotary_positions import rotary_rates
from zoo.recipes._decoder import DecoderOnly, answering, writing
from zoo.weights.layout import Config, Family, Target, expect, required
from zoo.weights.parts import by_columns, by_rows, dense, linear, logits_bias

KIND: dict[str, typing.Any] = {
    "ffn": "gated",
    "activation": "silu",
    "norm": "pre",
    "norm_kind": "rms",
    "bias": False,
    "positions": "rotary",
    "head_bias": "fixed",
}
"""What all checkpoints of the kind have in common."""


def _fewer(kv_heads: typing.Any, heads: int) -> int | None:
    """Heads of keys and values; None where there are as many as others."""
    return None if kv_heads is None or int(kv_heads) == heads else int(kv_heads)


def _of_transformers(config: Config) -> dict[str, typing.Any]:
    """The values of a checkpoint of transformers, of Llama or Qwen2."""
    qwen = "Qwen2ForCausalLM" in config.get("architectures", ())
    expect(config, "hidden_act", "silu", default="silu")
    expect(config, "attention_bias", False, default=False)
    expect(config, "mlp_bias", False, default=False)
    expect(config, "use_sliding_window", False, None, default=False)
    width, heads = required(config, "hidden_size"), required(config, "num_attention_heads")
    expect(config, "head_dim", width // heads, None)
    rotary = config.get("rope_parameters") or {**config, **(config.get("rope_scaling") or {})}
    return {
        **KIND,
        **answering(config, required(config, "max_position_embeddings")),
        "depth": required(config, "num_hidden_layers"),
        "width": width,
        "heads": heads,
        "kv_heads": _fewer(config.get("num_key_value_heads"), heads),
        "hidden": required(config, "intermediate_size"),
        "epsilon": config.get("rms_norm_eps", 1e-6),
        "qkv_bias": qwen,
        "rotary_base": float(rotary.get("rope_theta", config.get("rope_theta", 10_000.0))),
        "rotary_scaling": _scaling(config, rotary),
        "tied": config.get("tie_word_embeddings", False),
    }


def _scaling(config: Config, rotary: Config) -> tuple[float, ...]:
    """How rotations are slowed, by what config.json says of rotary positions."""
    kind = rotary.get("rope_type", rotary.get("type"))
    expect({"rope_type": kind}, "rope_type", "default", "linear", "llama3", None)
    expect(rotary, "partial_rotary_factor", 1.0, default=1.0)
    if kind in ("default", None):
        return (1.0,)
    if kind == "linear":
        return (float(rotary["factor"]),)
    length = rotary.get("original_max_position_embeddings") or config["max_position_embeddings"]
    return *(float(rotary[name]) for name in ("factor", "low_freq_factor", "high_freq_factor")), float(length)


def _rotary(base: float, scaling: typing.Sequence[float]) -> dict[str, typing.Any]:
    """What config.json says of rotary positions: the inverse of `_scaling`."""
    if len(scaling) == 1:
        own = {"rope_type": "default"} if scaling[0] == 1 else {"rope_type": "linear", "factor": scaling[0]}
        return {**own, "rope_theta": base}
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return {"rope_type": "llama3", **dict(zip(names, (*scaling[:3], int(scaling[3])), strict=True)), "rope_theta": base}


def _to_transformers(values: typing.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """The config of a checkpoint of transformers."""
    rotary = _rotary(values["rotary_base"], values["rotary_scaling"])
    kind = "qwen2" if values["qkv_bias"] else "llama"
    own = {"use_sliding_window": False} if values["qkv_bias"] else {"attention_bias": False, "mlp_bias": False}
    return {
        "architectures": ["Qwen2ForCausalLM" if values["qkv_bias"] else "LlamaForCausalLM"],
        "model_type": kind,
        "hidden_act": "silu",
        "max_position_embeddings": values["length"],
        "hidden_size": values["width"],
        "num_hidden_layers": values["depth"],
        "num_attention_heads": values["heads"],
        "num_key_value_heads": values["kv_heads"] or values["heads"],
        "intermediate_size": values["hidden"],
        "rms_norm_eps": values["epsilon"],
        "rope_parameters": rotary,
        "rope_theta": values["rotary_base"],  # as transformers before 5 has it, and the next line too
        **({} if rotary["rope_type"] == "default" else {"rope_scaling": rotary}),
        "tie_word_embeddings": values["tied"],
        "attention_dropout": values["attention_dropout"],
        **own,
        "generation": writing(values),
    }


def _factors(config: Config, base: float, dim: int) -> tuple[float, ...]:
    """How rotations are slowed, by a GGUF file, which has a factor for each pair where Llama 3.1 has four numbers."""
    if config.get("rope.scaling.type") == "linear":
        return (float(required(config, "rope.scaling.factor")),)
    found = np.asarray(config.get("rope_freqs", (1.0,)), "float64")
    if np.allclose(found, 1):
        return (1.0,)
    scaling = (float(found.max()), 1.0, 4.0, 8192.0)
    expected = rotary_rates(dim, base) / rotary_rates(dim, base, scaling)
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-5):
        raise InputError("rope_freqs.weight has factors of rotary positions that are not Llama 3.1's.")
    return scaling


def _of_gguf(config: Config) -> dict[str, typing.Any]:
    """The values of a GGUF file, whose epsilon is a float32."""
    heads, width = int(required(config, "attention.head_count")), int(required(config, "embedding_length"))
    base = float(config.get("rope.freq_base", 10_000.0))
    expect(config, "rope.dimension_count", width // heads, None)
    expect(config, "rope.scaling.type", "none", "linear", None)
    return {
        **KIND,
        **answering(config, int(required(config, "context_length"))),
        "depth": int(required(config, "block_count")),
        "width": width,
        "heads": heads,
        "kv_heads": _fewer(config.get("attention.head_count_kv"), heads),
        "hidden": int(required(config, "feed_forward_length")),
        "epsilon": float(f"{required(config, 'attention.layer_norm_rms_epsilon'):.6g}"),
        "qkv_bias": config["architecture"] == "gguf:qwen2",
        "rotary_base": base,
        "rotary_scaling": _factors(config, base, width // heads),
        "tied": config["tied"],
    }


LAYER = "layers.{n-1}"

TRANSFORMERS = Family(
    architectures=("LlamaForCausalLM", "Qwen2ForCausalLM"),
    values=_of_transformers,
    names={
        "embedding/embeddings": by_rows("embed_tokens.weight"),
        "decoder{n}/self_attention_norm/scale": f"{LAYER}.input_layernorm.weight",
        **dense(
            "decoder{n}/self_attention/query_key_value",
            f"{LAYER}.self_attn.q_proj",
            f"{LAYER}.self_attn.k_proj",
            f"{LAYER}.self_attn.v_proj",
            shares=("heads", "kv_heads|heads", "kv_heads|heads"),
        ),
        "decoder{n}/self_attention/output/kernel": linear(f"{LAYER}.self_attn.o_proj.weight"),
        "decoder{n}/feed_forward_norm/scale": f"{LAYER}.post_attention_layernorm.weight",
        "decoder{n}/feed_forward/hidden/kernel": linear(f"{LAYER}.mlp.gate_proj.weight", f"{LAYER}.mlp.up_proj.weight"),
        "decoder{n}/feed_forward/output/kernel": linear(f"{LAYER}.mlp.down_proj.weight"),
        "features/scale": "norm.weight",
        "head/kernel": by_columns("lm_head.weight"),
        "head/bias": logits_bias(),
    },
    prefixes=("model.", ""),
    ignored=("lm_head.weight", "layers.*.self_attn.rotary_emb.inv_freq"),
    target=Target(_to_transformers, "model.", bare=("lm_head.*",)),
)

BLOCK = "blk.{n-1}"

GGUF = Family(
    architectures=("gguf:llama", "gguf:qwen2"),
    values=_of_gguf,
    names={
        "embedding/embeddings": by_rows("token_embd.weight"),
        "decoder{n}/self_attention_norm/scale": f"{BLOCK}.attn_norm.weight",
        **dense("decoder{n}/self_attention/query_key_value", f"{BLOCK}.attn_q", f"{BLOCK}.attn_k", f"{BLOCK}.attn_v"),
        "decoder{n}/self_attention/output/kernel": linear(f"{BLOCK}.attn_output.weight"),
        "decoder{n}/feed_forward_norm/scale": f"{BLOCK}.ffn_norm.weight",
        "decoder{n}/feed_forward/hidden/kernel": linear(f"{BLOCK}.ffn_gate.weight", f"{BLOCK}.ffn_up.weight"),
        "decoder{n}/feed_forward/output/kernel": linear(f"{BLOCK}.ffn_down.weight"),
        "features/scale": "output_norm.weight",
        "head/kernel": by_columns("output.weight"),
        "head/bias": logits_bias(),
    },
    ignored=("rope_freqs.weight",),
)


class Llama(
    DecoderOnly,
    dataset="english",
    length=128,
    answer_length=64,
    epochs=18,
    batch_size=8,
    learning_rate=3e-3,
    beta_2=0.99,
    weight_decay=0.1,
    schedule="cosine",
    warmup=0.05,
    clip_norm=1.0,
    depth=4,
    kv_heads=2,
    ffn="gated",
    hidden=384,
    activation="silu",
    norm_kind="rms",
    epsilon=1e-5,
    bias=False,
    positions="rotary",
    tied=True,
    dropout=0.1,
):
    """Llama, a decoder with rotary positions, grouped heads, gated units and RMS norms that goes on with a text.

    Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models"; grouped heads since Llama 2. The
    variants are later models of that kind: SmolLM2 (Allal et al. 2025), TinyLlama (Zhang et al. 2024) and Qwen2 (Yang
    et al. 2024, with biases of queries, keys and values): 134,515,008, 1,100,048,384 and 494,032,768 parameters. Plain
    `llama` is a small one of characters, for the English of Python's documentation.

    The `vocabulary` of a variant is the published one, special tokens and all. Ids 0 to 3 here are padding, start, end
    and unknown; a published vocabulary that has none of them goes behind, and takes `vocabulary` up to four larger.
    `head_bias=fixed` gives logits a bias that is not trained, to rule out ids that trained weights do not know.
    """

    variants: typing.ClassVar[dict[str, dict[str, typing.Any]]] = {
        "smollm2-135m": {
            "dataset": None,
            "tokens": "subwords",
            "vocabulary": 49_152,
            "length": 8192,
            "depth": 30,
            "width": 576,
            "heads": 9,
            "kv_heads": 3,
            "hidden": 1536,
            "rotary_base": 100_000.0,
            "dropout": 0.0,
            "beta_2": 0.95,
        },
        "qwen2-0.5b": {
            "dataset": None,
            "tokens": "subwords",
            "vocabulary": 151_936,
            "length": 32_768,
            "depth": 24,
            "width": 896,
            "heads": 14,
            "kv_heads": 2,
            "hidden": 4864,
            "qkv_bias": True,
            "rotary_base": 1_000_000.0,
            "epsilon": 1e-6,
            "dropout": 0.0,
            "learning_rate": 4e-4,
            "beta_2": 0.95,
        },
        "tinyllama-1.1b": {
            "dataset": None,
            "tokens": "subwords",
            "vocabulary": 32_000,
            "length": 2048,
            "depth": 22,
            "width": 2048,
            "heads": 32,
            "kv_heads": 4,
            "hidden": 5632,
            "tied": False,
            "dropout": 0.0,
            "batch_size": 1024,
            "learning_rate": 4e-4,
            "beta_2": 0.95,
        },
    }
    families: typing.ClassVar[tuple[Family, ...]] = (TRANSFORMERS, GGUF)
    network_name: typing.ClassVar[str] = "llama"
    untied_bias: typing.ClassVar[bool] = False
