import typing

import keras

import zoo.layers
from zoo.recipes._blocks import Blocks, Tensor, Writes
from zoo.tasks import LanguageModel
from zoo.weights.layout import Config, Family, by_columns, by_rows, expect, first, logits_bias, required

if typing.TYPE_CHECKING:
    from zoo.decoding import Decoder


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
        "length": length,
        "answer_length": min(64, length // 2),
        "depth": required(config, "n_layer"),
        "width": width,
        "heads": required(config, "n_head"),
        "hidden": config.get("n_inner") or 4 * width,
        "activation": ACTIVATIONS[config.get("activation_function", "gelu_new")],
        "epsilon": config.get("layer_norm_epsilon", 1e-5),
        "tied": config.get("tie_word_embeddings", True),
        "head_bias": config.get("tie_word_embeddings", True),
        "norm": "pre",
        "positions": "learned",
        "ffn": "dense",
    }


def _both(ours: str, theirs: str, names: tuple[str, str] = ("kernel", "bias")) -> dict[str, str]:
    """The names of a layer's two weights."""
    return {f"{ours}/{names[0]}": f"{theirs}.weight", f"{ours}/{names[1]}": f"{theirs}.bias"}


NORM = ("gamma", "beta")

GPT2 = Family(
    title="GPT-2 of transformers",
    architectures=("GPT2LMHeadModel", "GPT2Model"),
    values=_of_transformers,
    names={
        "embedding/embeddings": by_rows("wte.weight"),
        "positions/table": first("wpe.weight"),
        **_both("decoder{n}/self_attention_norm", "h.{n-1}.ln_1", NORM),
        **_both("decoder{n}/self_attention/query_key_value", "h.{n-1}.attn.c_attn"),
        **_both("decoder{n}/self_attention/output", "h.{n-1}.attn.c_proj"),
        **_both("decoder{n}/feed_forward_norm", "h.{n-1}.ln_2", NORM),
        **_both("decoder{n}/feed_forward_hidden", "h.{n-1}.mlp.c_fc"),
        **_both("decoder{n}/feed_forward_output", "h.{n-1}.mlp.c_proj"),
        **_both("features", "ln_f", NORM),
        "head/kernel": by_columns("lm_head.weight"),
        "head/bias": logits_bias(),
    },
    prefixes=("transformer.", ""),
    ignored=("lm_head.weight", "h.*.attn.bias", "h.*.attn.masked_bias"),
)


class GPT(
    Blocks,
    Writes,
    LanguageModel,
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
    epsilon: typing.ClassVar[float] = 1e-5

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
        return keras.Model(text, self.logits(features, embedding, head), name="gpt")

    def make_decoder(self, model: keras.Model) -> "Decoder":
        return _Decoder(self, model)


class _Decoder:
    """`zoo.decoding.Decoder` of a GPT. Inputs are prompts (batch, time), START and ids, then padding; the first step
    begins where each ends."""

    def __init__(self, recipe: GPT, model: keras.Model) -> None:
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
        x = self._positions(self._embedding(tokens), start=start)
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
