import typing

from zoo.recipes._decoder import DecoderOnly


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
    network_name: typing.ClassVar[str] = "gpt"
