from typing import TYPE_CHECKING, Any, ClassVar

import keras

import zoo.layers
from zoo.errors import InputError
from zoo.recipes._blocks import Blocks, Tensor, Writes
from zoo.tasks import SequenceToSequence

if TYPE_CHECKING:
    from zoo.decoding import Decoder

PAPER: dict[str, Any] = {
    "dataset": "tfds:wmt14_translate/de-en",
    "tokens": "subwords",
    "vocabulary": 37_000,
    "target_vocabulary": 37_000,
    "length": 256,
    "target_length": 256,
    "tied": True,
    "depth": 6,
    "norm": "post",
    "label_smoothing": 0.1,
    "schedule": "noam",
    "clip_norm": None,
    "batch_tokens": 50_000,
    "beam_width": 4,
}
"""What the variants `base` and `big` have in common."""


class Transformer(
    Blocks,
    Writes,
    SequenceToSequence,
    dataset="dates",
    target_length=16,
    epochs=10,
    batch_size=64,
    optimizer="adam",
    learning_rate=1.5e-3,
    beta_2=0.98,
    schedule="cosine",
    warmup=0.1,
    clip_norm=1.0,
    hidden=256,
):
    """Transformer, an encoder and a decoder of attention alone, that writes one text from another.

    Vaswani et al. 2017, "Attention Is All You Need". `transformer/base` and `transformer/big` are the paper's, with a
    shared vocabulary of 37,000: 63,082,496 and 214,245,376 parameters, norms after each half of a block, trained by
    Adam on its schedule. Plain `transformer` is a small one for the dates, with norms in front.

    `ffn` replaces the second half of every block: gated units (Shazeer 2020), quadratic units, or a mixture of experts.
    """

    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "base": {
            **PAPER,
            "width": 512,
            "heads": 8,
            "hidden": 2048,
            "dropout": 0.1,
            "epochs": 18,
            "learning_rate": (512 * 4000) ** -0.5,
            "warmup": 0.04,
        },
        "big": {
            **PAPER,
            "width": 1024,
            "heads": 16,
            "hidden": 4096,
            "dropout": 0.3,
            "epochs": 54,
            "learning_rate": (1024 * 4000) ** -0.5,
            "warmup": 4 / 300,
        },
    }

    def check(self) -> None:
        super().check()
        if self.tied and self.vocabulary != self.target_vocabulary:
            raise InputError(
                "tied=true needs one vocabulary for source and target. "
                f"Received: vocabulary={self.vocabulary}, target_vocabulary={self.target_vocabulary}."
            )

    @property
    def shares(self) -> bool:
        return self.tied

    def network(self) -> keras.Model:
        # Layers
        drawn = keras.initializers.RandomNormal(stddev=self.width**-0.5)
        if self.tied:
            source_embedding = target_embedding = self.make_embedding(self.vocabulary, drawn)
        else:
            source_embedding = self.make_embedding(self.vocabulary, drawn, "source_embedding")
            target_embedding = self.make_embedding(self.target_vocabulary, drawn.clone(), "target_embedding")
        scale = keras.layers.Rescaling(self.width**0.5, name="scale")  # of tokens, to that of positions
        source_positions = self.make_positions(self.length, "source_positions")
        target_positions = self.make_positions(self.target_length, "target_positions")
        numbers = range(1, self.depth + 1)
        encoder = [self.make_block(zoo.layers.TransformerEncoderBlock, f"encoder{number}") for number in numbers]
        decoder = [self.make_block(zoo.layers.TransformerDecoderBlock, f"decoder{number}") for number in numbers]
        head = self.make_head(self.target_vocabulary)

        # Network
        source = keras.Input((None,), dtype="int32", name="source")
        x = source_positions(scale(source_embedding(source)))  # (batch, positions, width)
        x = keras.layers.Dropout(self.dropout, name="source_dropout")(x)
        for block in encoder:
            x = block(x)
        encoded = self.make_last("encoded")(x)
        target = keras.Input((None,), dtype="int32", name="target")
        x = target_positions(scale(target_embedding(target)))  # (batch, time, width)
        x = keras.layers.Dropout(self.dropout, name="target_dropout")(x)
        for block in decoder:
            x = block(x, encoded)
        features = self.make_last("features")(x)
        return keras.Model([source, target], self.logits(features, target_embedding, head), name="transformer")

    def make_decoder(self, model: keras.Model) -> "Decoder":
        return _Decoder(self, model)

    def make_attention(self, model: keras.Model) -> keras.Model:
        """The weights of the last block, the mean over its heads."""
        before = "target_dropout" if self.depth == 1 else f"decoder{self.depth - 1}"
        x, encoded = model.get_layer(before).output, model.get_layer("encoded").output
        weigh = _Weights(model.get_layer(f"decoder{self.depth}"))
        return keras.Model(model.inputs, weigh(x, encoded), name="attention")


class _Weights(keras.layers.Layer):
    """What a block attends to in the encoded sequence, (batch, time, positions), the mean over its heads."""

    def __init__(self, block: keras.layers.Layer) -> None:
        super().__init__(name="weights")
        self.block = block
        self.supports_masking = True

    def call(
        self, x: Tensor, encoded: Tensor, x_mask: Tensor | None = None, encoded_mask: Tensor | None = None
    ) -> Tensor:
        masks = {"inputs_mask": x_mask, "encoded_mask": encoded_mask}
        _, weights = self.block(x, encoded, return_attention_scores=True, **masks)
        return keras.ops.mean(weights, axis=1)

    def compute_mask(self, x: Tensor, previous_mask: Tensor | None = None) -> None:
        return None


class _Decoder:
    """`zoo.decoding.Decoder` of a Transformer: keys and values of what was written are cached, and of the source made
    once."""

    def __init__(self, recipe: Transformer, model: keras.Model) -> None:
        self._recipe = recipe
        self._encode = keras.Model(model.inputs[0], model.get_layer("encoded").output)
        self._embedding = model.get_layer("embedding" if recipe.tied else "target_embedding")
        self._scale, self._positions = model.get_layer("scale"), model.get_layer("target_positions")
        self._blocks = [model.get_layer(f"decoder{number}") for number in range(1, recipe.depth + 1)]
        self._last, self._head = model.get_layer("features"), model.get_layer("head")

    def start(self, inputs: Tensor, length: Any) -> tuple[Any, Any]:
        encoded = self._encode(inputs)
        memory = {"mask": keras.ops.not_equal(inputs, 0), "blocks": [block.project(encoded) for block in self._blocks]}
        return [block.empty_cache(keras.ops.shape(inputs)[0], length) for block in self._blocks], memory

    def step(self, tokens: Tensor, index: Tensor, state: Any, memory: Any) -> tuple[Tensor, Any]:
        embedded = self._scale(self._embedding(tokens[:, None]))  # (n, 1, width)
        x = self._recipe.placed(self._positions, embedded, index)
        caches = []
        for block, cache, keys_values in zip(self._blocks, state, memory["blocks"], strict=True):
            x, cache = block(x, cache=cache, cache_index=index, memory=keys_values, encoded_mask=memory["mask"])
            caches.append(cache)
        return self._recipe.logits(self._last(x), self._embedding, self._head)[:, 0], caches
