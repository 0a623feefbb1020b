"""What the recipes share whose network is one stack of decoder blocks: that network, and how it is decoded from."""

import typing

import keras

import zoo.layers
from zoo.recipes._blocks import Blocks, Tensor, Writes
from zoo.tasks import LanguageModel
from zoo.weights.layout import Config

if typing.TYPE_CHECKING:
    from zoo.decoding import Decoder


def answering(config: Config, length: int) -> dict[str, typing.Any]:
    """The values of how a checkpoint of transformers of so many positions writes: greedily, unless it says so."""
    said = config.get("generation", {})
    writes = {"temperature": 1.0, "top_k": 1, "top_p": 1.0}
    if said.get("do_sample"):
        writes = {name: said.get(name) or default for name, default in {**writes, "top_k": None}.items()}
    return {"length": length, "answer_length": min(64, length // 2), **writes}


def writing(values: typing.Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """What generation_config.json says of values: the inverse of `answering`."""
    draws = values["top_k"] != 1
    said = {name: values[name] or 0 for name in ("temperature", "top_k", "top_p")} if draws else {}
    return {"do_sample": draws, "max_new_tokens": values["answer_length"], **said}


class DecoderOnly(Blocks, Writes, LanguageModel):
    """A stack of Transformer decoder blocks that goes on with a text."""

    network_name: typing.ClassVar[str]

    def make_initializer(self) -> keras.initializers.Initializer:
        return keras.initializers.RandomNormal(stddev=0.02)

    def network(self) -> keras.Model:
        # Layers
        embedding = self.make_embedding(self.vocabulary, self.make_initializer())
        positions = self.make_positions(self.length)
        numbers = range(1, self.depth + 1)
        blocks = [self.make_block(zoo.layers.TransformerDecoderBlock, f"decoder{number}") for number in numbers]
        head = self.make_head(self.vocabulary)

        # Network
        text = keras.Input((None,), dtype="int32", name="text")
        x = keras.layers.Dropout(self.dropout, name="dropout")(positions(embedding(text)))  # (batch, time, width)
        for block in blocks:
            x = block(x)
        features = self.make_last("features")(x)
        return keras.Model(text, self.logits(features, embedding, head), name=self.network_name)

    def make_decoder(self, model: keras.Model) -> "Decoder":
        return _Decoder(self, model)


class _Decoder:
    """`zoo.decoding.Decoder` of a stack. Inputs are prompts (batch, time), START and ids, then padding; the first step
    begins where each ends."""

    def __init__(self, recipe: DecoderOnly, model: keras.Model) -> None:
        self._recipe = recipe
        self._embedding, self._positions = model.get_layer("embedding"), model.get_layer("positions")
        self._blocks = [model.get_layer(f"decoder{number}") for number in range(1, recipe.depth + 1)]
        self._last, self._head = model.get_layer("features"), model.get_layer("head")

    def start(self, inputs: Tensor, length: typing.Any) -> tuple[typing.Any, typing.Any]:
        prompts = self._end(inputs, self._recipe.length + 1 - length)
        batch, count = keras.ops.shape(prompts)
        place = _counts(prompts) - 1  # of the last token, (batch,)
        # what the cache holds of padding is written over before anything may attend to it
        _, caches = self._read(prompts, 0, [block.empty_cache(batch, count + length) for block in self._blocks])
        last = keras.ops.sum(keras.ops.where(keras.ops.arange(count) == place[:, None], prompts, 0), axis=1)
        return {"caches": caches, "last": last, "place": place}, None

    def step(self, tokens: Tensor, index: Tensor, state: typing.Any, memory: typing.Any) -> tuple[Tensor, typing.Any]:
        # the last token of a prompt takes the place of START
        tokens = keras.ops.where(index == 0, state["last"], tokens)
        x, caches = self._read(tokens[:, None], state["place"] + index, state["caches"])
        logits = self._recipe.logits(self._last(x), self._embedding, self._head)[:, 0]
        return logits, {**state, "caches": caches}

    def _read(self, tokens: Tensor, start: Tensor, caches: list[typing.Any]) -> tuple[Tensor, list[typing.Any]]:
        """(the last block's answer, caches) to `tokens` (n, time) from position `start` on."""
        x = self._recipe.placed(self._positions, self._embedding(tokens), start)
        written = []
        for block, cache in zip(self._blocks, caches, strict=True):
            x, cache = block(x, cache=cache, cache_index=start)
            written.append(cache)
        return x, written

    @staticmethod
    def _end(prompts: Tensor, room: typing.Any) -> Tensor:
        """The last `room` tokens of each prompt."""
        prompts = keras.ops.cast(prompts, "int32")
        count = keras.ops.shape(prompts)[1]
        known = isinstance(count, int) and isinstance(room, int)
        kept = keras.ops.arange(min(count, room) if known else keras.ops.minimum(count, room))
        first = keras.ops.maximum(_counts(prompts) - room, 0)  # (batch,)
        return keras.ops.take_along_axis(prompts, kept + first[:, None], axis=1)


def _counts(ids: Tensor) -> Tensor:
    """How many ids of each row (batch, time) are no padding."""
    return keras.ops.sum(keras.ops.cast(keras.ops.not_equal(ids, 0), "int32"), axis=1)
