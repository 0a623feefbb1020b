from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from zoo.recipes.bert import ARCHITECTURES, BASE, ENCODER_NAMES, OTHER_HEADS, Encoder, encoder_target, encoder_values
from zoo.tasks import TextEmbedding
from zoo.weights.layout import Family


def _modules(values: Mapping[str, Any]) -> dict[str, Any]:
    """What sentence-transformers reads: the mean over tokens, scaled to length 1."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    return {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(kinds.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": values["length"], "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": values["width"],
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    }


class SentenceEncoder(
    Encoder,
    TextEmbedding,
    dataset="dates",
    tokens="characters",
    epochs=5,
    batch_size=64,
    learning_rate=1e-3,
    weight_decay=0.01,
    schedule="cosine",
    warmup=0.1,
    clip_norm=1.0,
    hidden=256,
    dropout=0.0,
):
    """BERT's encoder that gives a text one vector of length 1, near to those of texts that belong to it.

    Reimers & Gurevych 2019, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks": the vector is the mean of
    the encoder's answers over the tokens of a text, scaled to length 1. `sentence_encoder/minilm-l6` has the sizes of
    MiniLM (Wang et al. 2020) with 6 blocks: 22,565,376 parameters, 22,713,216 with the pooler that it does not use.
    Plain `sentence_encoder` is a small one of characters: dates in words, and the same dates in ISO 8601.

    `init_from=RUN`, a run of `bert`, starts from its encoder and vocabulary.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            architectures=ARCHITECTURES,
            loads=("BertModel",),
            values=encoder_values,
            names=ENCODER_NAMES,
            prefixes=("bert.", ""),
            ignored=OTHER_HEADS,
            target=encoder_target("BertModel", prefix="", beside=_modules),
        ),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "minilm-l6": {
            **BASE,
            "depth": 6,
            "width": 384,
            "hidden": 1536,
            "batch_size": 1024,
            "learning_rate": 2e-5,
            "dropout": 0.1,
        }
    }

    def network(self) -> keras.Model:
        # Layers
        embedding = self.make_embedding(self.vocabulary, self.make_initializer())
        normalize = keras.layers.UnitNormalization(dtype="float32", name="features")
        head = keras.layers.Identity(dtype="float32", name="head")

        # Network
        text = keras.Input((None,), dtype="int32", name="text")
        encoded = keras.ops.cast(self.encode(text, embedding), "float32")  # (batch, time, width)
        real = keras.ops.cast(keras.ops.not_equal(text, 0), "float32")[..., None]  # (batch, time, 1)
        share = keras.ops.maximum(keras.ops.mean(real, axis=1), 1e-9)  # of padding alone it is 0
        mean = keras.ops.mean(encoded * real, axis=1) / share  # (batch, width), over tokens
        return keras.Model(text, head(normalize(mean)), name="sentence_encoder")
