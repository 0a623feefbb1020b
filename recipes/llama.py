import typing

from zoo.recipes._decoder import DecoderOnly, answering
from zoo.weights.layout import Config, Family, Part, by_columns, by_rows, expect, joined, linear, logits_bias, required

KIND: dict[str, typing.Any] = {
    "ffn": "gated",
    "activation": "silu",
    "norm": "pre",
    "norm_kind": "rms",
    "bias": False,
    "positions": "rotary",
    "head_bias": True,
}
"""What all checkpoints of the kind have in common."""


def _of_transformers(config: Config) -> dict[str, typing.Any]:
    """The values of a checkpoint of transformers, of Llama or Qwen2."""
    qwen = "Qwen2ForCausalLM" in config.get("architectures", ())
    expect(config, "hidden_act", "silu", default="silu")
    expect(config, "attention_bias", False, default=False)
    expect(config, "mlp_bias", False, default=False)
    expect(config, "use_sliding_window", False, None, default=False)
    width, heads = required(config, "hidden_size"), required(config, "num_attention_heads")
    expect(config, "head_dim", width // heads, None)
    rotary = config.get("rope_parameters") or {**(config.get("rope_scaling") or {}), **config}
    expect({"rope_type": rotary.get("rope_type", rotary.get("type"))}, "rope_type", "default", None)
    return {
        **KIND,
        **answering(config, required(config, "max_position_embeddings")),
        "depth": required(config, "num_hidden_layers"),
        "width": width,
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "hidden": required(config, "intermediate_size"),
        "epsilon": config.get("rms_norm_eps", 1e-6),
        "qkv_bias": qwen,
        "rotary_base": float(rotary.get("rope_theta", 10_000.0)),
        "tied": config.get("tie_word_embeddings", False),
    }


def _of_gguf(config: Config) -> dict[str, typing.Any]:
    """The values of a GGUF file, whose epsilon is a float32."""
    heads, width = int(required(config, "attention.head_count")), int(required(config, "embedding_length"))
    expect(config, "rope.dimension_count", width // heads, None)
    expect(config, "rope.scaling.type", "none", None)
    return {
        **KIND,
        **answering(config, int(required(config, "context_length"))),
        "depth": int(required(config, "block_count")),
        "width": width,
        "heads": heads,
        "kv_heads": int(config.get("attention.head_count_kv", heads)),
        "hidden": int(required(config, "feed_forward_length")),
        "epsilon": float(f"{required(config, 'attention.layer_norm_rms_epsilon'):.6g}"),
        "qkv_bias": config["architecture"] == "gguf:qwen2",
        "rotary_base": float(config.get("rope.freq_base", 10_000.0)),
        "tied": config["tied"],
    }


def _names(embedding: str, block: str, attention: str, parts: typing.Sequence[str], last: str) -> dict[str, str | Part]:
    """The table, of the names of: embedding, block, attention in it; (q, k, v, output, norm, gate, up, down, norm) in a
    block, the first four in its attention; the last norm."""
    query, key, value, output, norm, gate, up, down, second_norm = parts
    projections = [f"{block}.{attention}{name}" for name in (query, key, value)]
    return {
        "embedding/embeddings": by_rows(f"{embedding}.weight"),
        "decoder{n}/self_attention_norm/scale": f"{block}.{norm}.weight",
        "decoder{n}/self_attention/query_key_value/kernel": linear(*(f"{name}.weight" for name in projections)),
        "decoder{n}/self_attention/query_key_value/bias": joined(*(f"{name}.bias" for name in projections)),
        "decoder{n}/self_attention/output/kernel": linear(f"{block}.{attention}{output}.weight"),
        "decoder{n}/feed_forward_norm/scale": f"{block}.{second_norm}.weight",
        "decoder{n}/feed_forward/hidden/kernel": linear(f"{block}.{gate}.weight", f"{block}.{up}.weight"),
        "decoder{n}/feed_forward/output/kernel": linear(f"{block}.{down}.weight"),
        "features/scale": f"{last}.weight",
        "head/bias": logits_bias(),
    }


FAMILIES = (
    Family(
        architectures=("LlamaForCausalLM", "Qwen2ForCausalLM"),
        values=_of_transformers,
        names={
            **_names(
                "embed_tokens",
                "layers.{n-1}",
                "self_attn.",
                (
                    *("q_proj", "k_proj", "v_proj", "o_proj", "input_layernorm"),
                    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "post_attention_layernorm"),
                ),
                "norm",
            ),
            "head/kernel": by_columns("lm_head.weight"),
        },
        prefixes=("model.", ""),
        ignored=("lm_head.weight", "layers.*.self_attn.rotary_emb.inv_freq"),
    ),
    Family(
        architectures=("gguf:llama", "gguf:qwen2"),
        values=_of_gguf,
        names={
            **_names(
                "token_embd",
                "blk.{n-1}",
                "attn_",
                ("q", "k", "v", "output", "attn_norm", "ffn_gate", "ffn_up", "ffn_down", "ffn_norm"),
                "output_norm",
            ),
            "head/kernel": by_columns("output.weight"),
        },
        ignored=("rope_freqs.weight",),
    ),
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
    `head_bias=true` gives logits a bias, which can rule out ids that trained weights do not know.
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
    families: typing.ClassVar[tuple[Family, ...]] = FAMILIES
    network_name: typing.ClassVar[str] = "llama"
    untied_bias: typing.ClassVar[bool] = False
