import typing

import keras

import zoo.layers
from zoo.fields import integer
from zoo.recipes._blocks import Blocks, Tensor, Writes
from zoo.tasks import MaskedLanguageModel
from zoo.weights.layout import Config, Family, Target, expect, required
from zoo.weights.parts import Part, by_columns, by_rows, dense, first, logits_bias, norm, same

END = 2

BASE: dict[str, typing.Any] = {
    "dataset": None,
    "tokens": "words",
    "vocabulary": 30_522,
    "length": 512,
    "depth": 12,
    "width": 768,
    "heads": 12,
    "hidden": 3072,
    "attention_dropout": 0.1,
}
"""What the variants `base` of `bert` and `bert_classifier` have in common."""


def encoder_values(config: Config) -> dict[str, typing.Any]:
    """The values of a BERT of transformers, of whatever head."""
    expect(config, "hidden_act", "gelu", "relu", "silu", default="gelu")
    expect(config, "position_embedding_type", "absolute", default="absolute")
    expect(config, "is_decoder", False, default=False)
    return {
        "length": required(config, "max_position_embeddings"),
        "depth": required(config, "num_hidden_layers"),
        "width": required(config, "hidden_size"),
        "heads": required(config, "num_attention_heads"),
        "hidden": required(config, "intermediate_size"),
        "activation": config.get("hidden_act", "gelu"),
        "epsilon": config.get("layer_norm_eps", 1e-12),
        "segments": config.get("type_vocab_size", 2),
        "norm": "post",
        "positions": "learned",
        "ffn": "dense",
    }


def _with_head(config: Config) -> dict[str, typing.Any]:
    expect(config, "hidden_act", "gelu", default="gelu")
    return {**encoder_values(config), "tied": config.get("tie_word_embeddings", True), "head_bias": True}


TWINS = {"cls.predictions.decoder.bias": "cls.predictions.bias"}
"""The bias of the logits, which the layer `decoder` has too where its matrix is its own."""


def encoder_target(
    architecture: str,
    prefix: str = "bert.",
    activations: tuple[str, ...] = ("gelu", "relu", "silu"),
    beside: typing.Callable[..., typing.Any] | None = None,
) -> Target:
    """How the encoder, and a head, are written as `architecture` of transformers."""

    def config(values: typing.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
        return {
            "architectures": [architecture],
            "model_type": "bert",
            "hidden_act": values["activation"] if values["activation"] in activations else "gelu",
            "max_position_embeddings": values["length"],
            "num_hidden_layers": values["depth"],
            "hidden_size": values["width"],
            "num_attention_heads": values["heads"],
            "intermediate_size": values["hidden"],
            "layer_norm_eps": values["epsilon"],
            "type_vocab_size": values["segments"],
            "tie_word_embeddings": values.get("tied", True),
            "hidden_dropout_prob": values["dropout"],
            "attention_probs_dropout_prob": values["attention_dropout"],
        }

    return Target(config, prefix, bare=("cls.*", "classifier.*"), twins=TWINS, beside=beside)


LAYER = "encoder.layer.{n-1}"

ENCODER_NAMES: dict[str, Part] = {
    "embedding/embeddings": by_rows("embeddings.word_embeddings.weight"),
    "positions/table": first("embeddings.position_embeddings.weight"),
    "segments/embeddings": same("embeddings.token_type_embeddings.weight"),
    **norm("norm", "embeddings.LayerNorm"),
    **dense(
        "encoder{n}/self_attention/query_key_value",
        *(f"{LAYER}.attention.self.{name}" for name in ("query", "key", "value")),
    ),
    **dense("encoder{n}/self_attention/output", f"{LAYER}.attention.output.dense"),
    **norm("encoder{n}/self_attention_norm", f"{LAYER}.attention.output.LayerNorm"),
    **dense("encoder{n}/feed_forward_hidden", f"{LAYER}.intermediate.dense"),
    **dense("encoder{n}/feed_forward_output", f"{LAYER}.output.dense"),
    **norm("encoder{n}/feed_forward_norm", f"{LAYER}.output.LayerNorm"),
}
"""The table of the encoder, for all that is made of it."""

OTHER_HEADS = ("pooler.*", "cls.*", "classifier.*", "qa_outputs.*", "embeddings.position_ids")
"""Tensors of a BERT of transformers that stand outside of the encoder."""

ARCHITECTURES = (
    "BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification", "BertForTokenClassification",
    "BertForQuestionAnswering", "BertForNextSentencePrediction",
)  # fmt: skip


class Encoder(Blocks, activation="gelu", norm="post", positions="learned", dropout=0.1, epsilon=1e-12):
    """The network that `bert` trains and `bert_classifier` goes on with."""

    segments: int = integer(
        default=2,
        legal=(1, 64),
        help="segment embeddings: parts of a text that are distinguished, each ending with END",
    )

    def encode(self, text: Tensor, embedding: typing.Any) -> Tensor:
        """(batch, time, width) of `text`, ids (batch, time)."""
        # Layers
        positions = self.make_positions(self.length)
        segments = keras.layers.Embedding(self.segments, self.width, self.make_initializer(), name="segments")
        numbers = range(1, self.depth + 1)
        blocks = [self.make_block(zoo.layers.TransformerEncoderBlock, f"encoder{number}") for number in numbers]

        # Network
        ends = keras.ops.cast(keras.ops.equal(text, END), "int32")
        part = keras.ops.minimum(keras.ops.cumsum(ends, axis=1) - ends, self.segments - 1)  # (batch, time)
        x = keras.layers.Add(name="sum")([positions(embedding(text)), segments(part)])  # (batch, time, width)
        x = keras.layers.Dropout(self.dropout, name="dropout")(self.make_norm("norm")(x))
        mask = keras.ops.not_equal(text, 0)
        for block in blocks:
            x = block(x, mask=mask)
        return self.make_last("encoded")(x)

    def make_initializer(self) -> keras.initializers.Initializer:
        return keras.initializers.TruncatedNormal(stddev=0.02)


class BERT(
    Encoder,
    Writes,
    MaskedLanguageModel,
    dataset="english",
    tokens="words",
    length=128,
    epochs=10,
    batch_size=32,
    learning_rate=1e-3,
    weight_decay=0.01,
    schedule="cosine",
    warmup=0.1,
    clip_norm=1.0,
    tied=True,
):
    """BERT, an encoder of Transformer blocks that is trained to find hidden words.

    Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding".
    `bert/base` is the paper's smaller one, without next-sentence prediction: 108,891,648 parameters in the encoder.
    Plain `bert` is a small one. `zoo train bert_classifier init_from=RUN` goes on with its encoder.
    """

    families: typing.ClassVar[tuple[Family, ...]] = (
        Family(
            architectures=ARCHITECTURES,
            loads=("BertForMaskedLM", "BertForPreTraining"),
            values=_with_head,
            names={
                **ENCODER_NAMES,
                **dense("head_dense", "cls.predictions.transform.dense"),
                **norm("head_norm", "cls.predictions.transform.LayerNorm"),
                "head/kernel": by_columns("cls.predictions.decoder.weight"),
                "head/bias": logits_bias("cls.predictions.decoder.bias|cls.predictions.bias"),
            },
            prefixes=("bert.", ""),
            ignored=OTHER_HEADS,
            target=encoder_target("BertForMaskedLM", activations=("gelu",)),
        ),
    )
    variants: typing.ClassVar[dict[str, dict[str, typing.Any]]] = {
        "base": {**BASE, "batch_size": 256, "learning_rate": 1e-4, "epochs": 40, "warmup": 0.01}
    }

    def network(self) -> keras.Model:
        # Layers
        embedding = self.make_embedding(self.vocabulary, self.make_initializer())
        hidden = keras.layers.Dense(self.width, "gelu", kernel_initializer=self.make_initializer(), name="head_dense")
        last = self.make_norm("head_norm")
        head = self.make_head(self.vocabulary)

        # Network
        text = keras.Input((None,), dtype="int32", name="text")
        features = keras.layers.Identity(name="features")(self.encode(text, embedding))
        return keras.Model(text, self.logits(last(hidden(features)), embedding, head), name="bert")
