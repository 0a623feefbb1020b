import typing

from zoo.recipes._decoder import DecoderOnly, answering, writing
from zoo.weights.layout import Config, Family, Target, expect, required
from zoo.weights.parts import by_columns, by_rows, dense, first, logits_bias, norm

ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
"""What transformers calls the activations."""


def _of_transformers(config: Config) -> dict[str, typing.Any]:
    """The values of a checkpoint of transformers."""
    expect(config, "activation_function", *ACTIVATIONS, default="gelu_new")
    expect(config, "scale_attn_weights", True, default=True)
    expect(config, "scale_attn_by_inverse_layer_idx", False, default=False)
    expect(config, "add_cross_attention", False, default=False)
    width, length = required(config, "n_embd"), required(config, "n_positions")
    return {
        **answering(config, length),
        "depth": required(config, "n_layer"),
        "width": width,
        "heads": required(config, "n_head"),
        "hidden": config.get("n_inner") or 4 * width,
        "activation": ACTIVATIONS[config.get("activation_function", "gelu_new")],
        "epsilon": config.get("layer_norm_epsilon", 1e-5),
        "tied": config.get("tie_word_embeddings", True),
        "head_bias": "fixed",
        "norm": "pre",
        "positions": "learned",
        "ffn": "dense",
    }


def _to_transformers(values: typing.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """The config of a checkpoint of transformers."""
    named = {ours: theirs for theirs, ours in ACTIVATIONS.items() if theirs != "gelu_pytorch_tanh"}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_positions": values["length"],
        "n_embd": values["width"],
        "n_layer": values["depth"],
        "n_head": values["heads"],
        "n_inner": values["hidden"],
        "activation_function": named.get(values["activation"], "gelu_new"),
        "layer_norm_epsilon": values["epsilon"],
        "tie_word_embeddings": values["tied"],
        "embd_pdrop": values["dropout"],
        "resid_pdrop": values["dropout"],
        "attn_pdrop": values["attention_dropout"],
        "generation": writing(values),
    }


GPT2 = Family(
    architectures=("GPT2LMHeadModel", "GPT2Model"),
    values=_of_transformers,
    names={
        "embedding/embeddings": by_rows("wte.weight"),
        "positions/table": first("wpe.weight"),
        **norm("decoder{n}/self_attention_norm", "h.{n-1}.ln_1"),
        **dense("decoder{n}/self_attention/query_key_value", "h.{n-1}.attn.c_attn", turned=False),
        **dense("decoder{n}/self_attention/output", "h.{n-1}.attn.c_proj", turned=False),
        **norm("decoder{n}/feed_forward_norm", "h.{n-1}.ln_2"),
        **dense("decoder{n}/feed_forward_hidden", "h.{n-1}.mlp.c_fc", turned=False),
        **dense("decoder{n}/feed_forward_output", "h.{n-1}.mlp.c_proj", turned=False),
        **norm("features", "ln_f"),
        "head/kernel": by_columns("lm_head.weight"),
        "head/bias": logits_bias(),
    },
    prefixes=("transformer.", ""),
    ignored=("lm_head.weight", "h.*.attn.bias", "h.*.attn.masked_bias"),
    target=Target(_to_transformers, "transformer.", bare=("lm_head.*",)),
)


class GPT(
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
    activation="gelu_tanh",
    positions="learned",
    tied=True,
    dropout=0.1,
    epsilon=1e-5,
):
    """GPT, a decoder of Transformer blocks that goes on with a text.

    Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". `gpt/124m` is GPT-2's smallest:
    124,439,808 parameters. Plain `gpt` is a small one of characters, for the English of Python's documentation.
    """

    variants: typing.ClassVar[dict[str, dict[str, typing.Any]]] = {
        "124m": {
            "dataset": None,
            "tokens": "subwords",
            "vocabulary": 50_257,
            "length": 1024,
            "depth": 12,
            "width": 768,
            "heads": 12,
            "hidden": 3072,
            "attention_dropout": 0.1,
            "batch_size": 512,
            "learning_rate": 6e-4,
            "beta_2": 0.95,
        }
    }
    families: typing.ClassVar[tuple[Family, ...]] = (GPT2,)
    network_name: typing.ClassVar[str] = "gpt"
