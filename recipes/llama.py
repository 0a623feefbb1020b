import typing

from zoo.recipes._decoder import DecoderOnly


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
    network_name: typing.ClassVar[str] = "llama"
    untied_bias: typing.ClassVar[bool] = False
