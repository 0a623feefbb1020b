from typing import Any, ClassVar

import keras

from zoo.recipes.bert import ARCHITECTURES, BASE, ENCODER_NAMES, OTHER_HEADS, Encoder, encoder_target, encoder_values
from zoo.tasks import TextClassification
from zoo.weights.layout import Family
from zoo.weights.parts import dense


class BERTClassifier(
    Encoder,
    TextClassification,
    dataset="sections",
    tokens="words",
    length=128,
    epochs=5,
    batch_size=32,
    learning_rate=3e-4,
    weight_decay=0.01,
    schedule="cosine",
    warmup=0.1,
    clip_norm=1.0,
):
    """BERT that classifies texts, by its answer at their start.

    Devlin et al. 2019, section 3.2. `init_from=RUN`, a run of `bert`, is what it is made for: encoder and vocabulary
    come from there. `bert_classifier/base` has 109,482,240 parameters before its head.
    """

    families: ClassVar[tuple[Family, ...]] = (
        Family(
            architectures=ARCHITECTURES,
            loads=("BertForSequenceClassification",),
            values=encoder_values,
            names={
                **ENCODER_NAMES,
                **dense("features", "pooler.dense"),
                **dense("head", "classifier"),
            },
            prefixes=("bert.", ""),
            ignored=OTHER_HEADS,
            target=encoder_target("BertForSequenceClassification"),
        ),
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {"base": {**BASE, "learning_rate": 3e-5, "epochs": 3}}

    def network(self) -> keras.Model:
        # Layers
        pool = keras.layers.Dense(self.width, "tanh", kernel_initializer=self.make_initializer(), name="features")
        drop = keras.layers.Dropout(self.dropout, name="head_dropout")
        head = keras.layers.Dense(
            self.classes, kernel_initializer=self.make_initializer(), dtype="float32", name="head"
        )

        # Network
        text = keras.Input((None,), dtype="int32", name="text")
        encoded = self.encode(
            text, self.make_embedding(self.vocabulary, self.make_initializer())
        )  # (batch, time, width)
        return keras.Model(text, head(drop(pool(encoded[:, 0]))), name="bert_classifier")
