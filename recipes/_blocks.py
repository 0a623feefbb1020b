"""What the recipes of Transformers share: the fields of a stack of blocks, and how its parts are made of them."""

import typing

import keras

import zoo.layers
from zoo.errors import InputError
from zoo.fields import Declared, choice, flag, integer, real, reals

Tensor: typing.TypeAlias = typing.Any
"""A tensor of the backend that Keras runs on, or a symbolic one; `typing.Any`, because they share no type."""


class Blocks(Declared):
    """Fields of a stack of Transformer blocks, and the blocks."""

    tuned: typing.ClassVar[tuple[str, ...]] = ("dropout", "depth", "width")

    depth: int = integer(default=2, legal=(1, 1000), search=(1, 6), help="number of Transformer blocks per stack")
    width: int = integer(
        default=128, legal=(1, 65_536), search=(64, 512), step=64, help="model dimension: features per token"
    )
    heads: int = integer(default=4, legal=(1, 1024), help="attention heads; must divide width")
    kv_heads: int | None = integer(
        default=None, legal=(1, 1024), optional=True,
        help="heads of keys and values (grouped-query attention); must divide heads; none: as many as heads",
    )  # fmt: skip
    ffn: str = choice(
        "dense", "gated", "quadratic", "moe", default="dense", search=("dense", "gated", "quadratic", "moe"),
        help="feed-forward part of a block; gated: GLU; moe: mixture of experts",
    )  # fmt: skip
    hidden: int = integer(
        default=512,
        legal=(1, 1_000_000),
        search=(128, 2048),
        log=True,
        help="hidden units of the feed-forward part, or of each expert",
    )
    activation: str = choice(
        "relu", "gelu", "gelu_tanh", "silu", default="relu", search=("relu", "gelu", "gelu_tanh", "silu"),
        when={"ffn": ("dense", "gated", "moe")}, help="activation of the feed-forward part",
    )  # fmt: skip
    experts: int = integer(
        default=4, legal=(1, 4096), search=(2, 16), log=True, when={"ffn": "moe"}, help="number of experts"
    )
    top_k_experts: int = integer(default=2, legal=(1, 64), search=(1, 2), when={"ffn": "moe"}, help="experts per token")
    norm: str = choice(
        "pre",
        "post",
        default="pre",
        search=("pre", "post"),
        help="place of the norms: before (pre) or after (post) attention and feed-forward part",
    )
    norm_kind: str = choice("layer", "rms", default="layer", help="layer norm or RMSNorm")
    epsilon: float = real(default=1e-6, legal=(1e-15, 0.1), help="epsilon of the norms")
    bias: bool = flag(default=True, help="whether norms and dense layers have biases")
    qkv_bias: bool = flag(
        default=False, when={"bias": False}, help="whether queries, keys and values have biases even with bias=false"
    )
    positions: str = choice(
        "sinusoidal", "learned", "rotary", default="sinusoidal", search=("sinusoidal", "learned", "rotary"),
        help="position encoding",
    )  # fmt: skip
    rotary_base: float = real(
        default=10_000.0,
        legal=(1, 1e9),
        when={"positions": "rotary"},
        help="base (theta) of the rotary wavelengths",
    )
    rotary_scaling: tuple[float, ...] = reals(
        default=(1.0,), length=0, legal=(1e-6, 1e9), when={"positions": "rotary"},
        help="scaling of rotary positions: a factor, or factor, low, high, length as in Llama 3.1",
    )  # fmt: skip
    dropout: float = real(
        default=0.0, legal=(0, 0.95), search=(0.0, 0.3), help="dropout of the output of attention and feed-forward part"
    )
    attention_dropout: float = real(default=0.0, legal=(0, 0.95), help="dropout of attention weights")

    def check(self) -> None:
        super().check()
        if self.width % self.heads:
            raise InputError(f"heads must divide width={self.width}. Received: heads={self.heads}.")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise InputError(f"kv_heads must divide heads={self.heads}. Received: kv_heads={self.kv_heads}.")
        if self.positions == "rotary" and self.width // self.heads % 2:
            raise InputError(
                "width over heads must be even with positions=rotary. "
                f"Received: width={self.width}, heads={self.heads}."
            )
        scaling = self.rotary_scaling
        if len(scaling) not in (1, 4) or (len(scaling) == 4 and scaling[1] >= scaling[2]):
            raise InputError(
                "rotary_scaling must be a factor, or factor,low,high,length with low below high. "
                f"Received: rotary_scaling={','.join(f'{one:g}' for one in scaling)}."
            )
        if self.positions == "sinusoidal" and self.width % 2:
            raise InputError(f"width must be even with positions=sinusoidal. Received: width={self.width}.")
        if self.ffn == "moe" and self.top_k_experts > self.experts:
            raise InputError(
                f"top_k_experts must be at most experts={self.experts}. Received: top_k_experts={self.top_k_experts}."
            )

    def make_initializer(self) -> keras.initializers.Initializer:
        """A new initializer of kernels: one that is drawn from twice gives the same numbers."""
        return keras.initializers.GlorotUniform()

    def make_block(self, kind: type[typing.Any], name: str) -> typing.Any:
        """A block of `kind`, `TransformerEncoderBlock` or `TransformerDecoderBlock`."""
        return kind(
            self.heads,
            self._make_feed_forward(),
            activation=self.activation,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            norm_first=self.norm == "pre",
            epsilon=self.epsilon,
            use_bias=self.bias,
            attention_bias=self.bias or self.qkv_bias,
            attention_output_bias=self.bias,
            kernel_initializer=self.make_initializer(),
            norm=self.norm_kind,
            num_kv_heads=self.kv_heads,
            rotary_base=self.rotary_base if self.positions == "rotary" else None,
            rotary_scaling=self.rotary_scaling,
            name=name,
        )

    def _make_feed_forward(self) -> int | keras.layers.Layer:
        """What a block takes: hidden units, or a layer."""
        if self.ffn == "dense":
            return self.hidden
        if self.ffn == "moe":
            return zoo.layers.ExpertFeedForward(
                self.experts, self.hidden, self.top_k_experts, self.activation, use_bias=self.bias, name="experts"
            )
        if self.ffn == "gated":
            hidden = zoo.layers.GatedDense(
                self.hidden, self.activation, self.bias, kernel_initializer=self.make_initializer(), name="hidden"
            )
        else:
            hidden = zoo.layers.Quadratic(
                self.hidden, rank=1, use_bias=self.bias, kernel_initializer=self.make_initializer(), name="hidden"
            )
        output = keras.layers.Dense(
            self.width, use_bias=self.bias, kernel_initializer=self.make_initializer(), name="output"
        )
        return keras.Sequential([hidden, output], name="feed_forward")

    def make_embedding(
        self, vocabulary: int, initializer: keras.initializers.Initializer, name: str = "embedding"
    ) -> keras.layers.Layer:
        return keras.layers.ReversibleEmbedding(
            vocabulary, self.width, embeddings_initializer=initializer, mask_zero=True, name=name
        )

    def make_positions(self, length: int, name: str = "positions") -> keras.layers.Layer:
        """What adds positions to tokens; nothing where each attention has them."""
        if self.positions == "rotary":
            return keras.layers.Identity(name=name)
        if self.positions == "sinusoidal":
            return zoo.layers.SinusoidalPositions(name=name)
        return zoo.layers.LearnedPositions(length, keras.initializers.RandomNormal(stddev=0.02), name=name)

    def placed(self, positions: typing.Any, tokens: Tensor, start: typing.Any) -> Tensor:
        """`tokens` (batch, time, width) with what `make_positions` made added, from the position `start` on."""
        return tokens if self.positions == "rotary" else positions(tokens, start=start)

    def make_norm(self, name: str) -> keras.layers.Layer:
        if self.norm_kind == "rms":
            return zoo.layers.RMSNorm(epsilon=self.epsilon, name=name)
        return keras.layers.LayerNormalization(epsilon=self.epsilon, center=self.bias, name=name)

    def make_last(self, name: str) -> keras.layers.Layer:
        """What ends a stack: a norm where the blocks have theirs in front, else nothing."""
        return self.make_norm(name) if self.norm == "pre" else keras.layers.Identity(name=name)


class Writes(Declared):
    """What the recipes have in common that answer with tokens."""

    untied_bias: typing.ClassVar[bool] = True
    """Whether an output matrix of its own has a bias where `head_bias` says nothing."""

    tied: bool = flag(default=False, help="whether the output layer shares the embedding matrix")
    head_bias: bool | str | None = choice(
        True, False, "fixed", default=None, optional=True,
        help="whether logits have a bias; fixed: an untrained one that masks ids; none: only if not tied",
    )  # fmt: skip

    def make_head(self, vocabulary: int) -> keras.layers.Layer:
        """The layer `head`, with which `logits` ends."""
        biased = (self.untied_bias and not self.tied) if self.head_bias is None else bool(self.head_bias)
        fixed = self.head_bias == "fixed"
        if not self.tied:
            head = keras.layers.Dense(vocabulary, use_bias=biased, dtype="float32", name="head")
            if fixed:
                head.build((None, self.width))
                head.bias.trainable = False
            return head
        if biased:
            return zoo.layers.Bias(dtype="float32", trainable=not fixed, name="head")
        return keras.layers.Identity(dtype="float32", name="head")

    def logits(self, features: Tensor, embedding: typing.Any, head: typing.Any) -> Tensor:
        return head(embedding(features, reverse=True) if self.tied else features)
