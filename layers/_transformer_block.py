"""What the encoder's and the decoder's block share."""

import inspect
from typing import Any, Self

import keras

from zoo.layers import _activations, _checks, _sublayers
from zoo.layers._typing import Activation, Initializer, InitializerFunction, Shape
from zoo.layers.multi_head_attention import MultiHeadAttention
from zoo.layers.rms_norm import RMSNorm
from zoo.layers.rotary_positions import Scaling, check_scaling


class TransformerBlock(keras.layers.Layer):
    """Sublayers with a residual connection, dropout and a layer norm each; the last is the feed-forward network."""

    def __init__(
        self,
        num_heads: int,
        feed_forward: int | keras.layers.Layer,
        activation: Activation | None = "relu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        norm_first: bool = False,
        epsilon: float = 1e-5,
        use_bias: bool = True,
        attention_bias: bool | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        seed: int | None = None,
        norm: str = "layer",
        num_kv_heads: int | None = None,
        rotary_base: float | None = None,
        attention_output_bias: bool | None = None,
        rotary_scaling: Scaling = (1.0,),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = _checks.whole("num_heads", num_heads)
        given = isinstance(feed_forward, keras.layers.Layer)
        if isinstance(feed_forward, keras.Model):
            feed_forward.supports_masking = True  # it hands masks on; Keras warns of it all the same
        self.feed_forward: int | keras.layers.Layer = (
            feed_forward if given else _checks.whole("feed_forward", feed_forward)
        )
        _activations.get(activation)  # refuses what it does not know
        self.activation: Activation | None = activation
        self.dropout: float = _checks.real("dropout", dropout, 0, 1, below=True)
        self.attention_dropout: float = _checks.real("attention_dropout", attention_dropout, 0, 1, below=True)
        self.norm_first: bool = _checks.flag("norm_first", norm_first)
        self.epsilon: float = _checks.real("epsilon", epsilon, 0, above=True)
        self.use_bias: bool = _checks.flag("use_bias", use_bias)
        self.attention_bias: bool | None = _checks.optional(_checks.flag, "attention_bias", attention_bias)
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.seed: int | None = _checks.optional(_checks.whole, "seed", seed, low=0)
        self.norm: str = _checks.choice("norm", norm, ("layer", "rms"))
        self.num_kv_heads: int | None = _checks.optional(_checks.whole, "num_kv_heads", num_kv_heads)
        self.rotary_base: float | None = _checks.optional(_checks.real, "rotary_base", rotary_base, 0, above=True)
        self.attention_output_bias: bool | None = _checks.optional(
            _checks.flag, "attention_output_bias", attention_output_bias
        )
        self.rotary_scaling: tuple[float, ...] = check_scaling("rotary_scaling", rotary_scaling)
        self.supports_masking = True
        self._dropout = keras.layers.Dropout(self.dropout, seed=self._seed(2), dtype=self.dtype_policy)

    def build(self, inputs_shape: Shape) -> None:
        _checks.rank(type(self).__name__, inputs_shape, "batch, time, dim", "inputs_shape")
        width = _checks.known(type(self).__name__, inputs_shape, -1, "inputs_shape")
        self._self_attention = self._make_attention("self_attention", 0)
        self._self_attention.build(inputs_shape)
        self._self_attention_norm = self._make_norm("self_attention_norm", inputs_shape)
        if isinstance(self.feed_forward, keras.layers.Layer):
            if not self.feed_forward.built:
                self.feed_forward.build(inputs_shape)
            given = _sublayers.output_shape(self.feed_forward, inputs_shape)
            if given[-1] != width:
                raise ValueError(
                    f"feed_forward must keep the width of its input, {width}, because the input is added to its "
                    f"output. Received: a layer with output_shape={given}"
                )
        else:
            hidden_shape = (*inputs_shape[:-1], self.feed_forward)
            activation = _activations.get(self.activation)
            self._hidden_dense = self._make_dense("feed_forward_hidden", inputs_shape, self.feed_forward, 8, activation)
            self._output_dense = self._make_dense("feed_forward_output", hidden_shape, width, 9)
        self._feed_forward_norm = self._make_norm("feed_forward_norm", inputs_shape)

    def _make_attention(self, name, index):
        return MultiHeadAttention(
            self.num_heads,
            num_kv_heads=self.num_kv_heads,
            rotary_base=self.rotary_base if name == "self_attention" else None,
            rotary_scaling=self.rotary_scaling,
            output_bias=self.attention_output_bias,
            dropout=self.attention_dropout,
            use_bias=self.use_bias if self.attention_bias is None else self.attention_bias,
            kernel_initializer=_sublayers.fresh(self.kernel_initializer, 4 * index),
            seed=self._seed(index),
            dtype=self.dtype_policy,
            name=name,
        )

    def _make_norm(self, name, shape):
        arguments = {"epsilon": self.epsilon, "dtype": self.dtype_policy, "name": name}
        if self.norm == "rms":
            norm = RMSNorm(**arguments)
        else:
            norm = keras.layers.LayerNormalization(center=self.use_bias, **arguments)
        norm.build(shape)
        return norm

    def _make_dense(self, name, shape, units, index, activation=None):
        dense = keras.layers.Dense(
            units,
            activation,
            use_bias=self.use_bias,
            kernel_initializer=_sublayers.fresh(self.kernel_initializer, index),
            dtype=_sublayers.policy_for(self, name),
            name=name,
        )
        dense.build(shape)
        return dense

    def _seed(self, index):
        return None if self.seed is None else self.seed + index

    def _before(self, norm, inputs):
        """What a sublayer sees."""
        return norm(inputs) if self.norm_first else inputs

    def _after(self, norm, inputs, outputs, training):
        """What leaves a sublayer that answered `outputs`: its residual connection, dropout, and norm."""
        outputs = self._dropout(keras.ops.cast(outputs, inputs.dtype), training=training)
        return inputs + outputs if self.norm_first else norm(inputs + outputs)

    def _feed(self, inputs, mask, training):
        """The feed-forward sublayer, residual connection and all."""
        x = self._before(self._feed_forward_norm, inputs)
        if not isinstance(self.feed_forward, keras.layers.Layer):
            x = _sublayers.on_rows(lambda rows: self._output_dense(self._hidden_dense(rows)), x)
        elif "mask" in inspect.signature(self.feed_forward.call).parameters:
            x = self.feed_forward(x, mask=mask)
        else:
            x = self.feed_forward(x)
        return self._after(self._feed_forward_norm, inputs, x, training)

    def compute_output_shape(self, inputs_shape: Shape, encoded_shape: Shape | None = None) -> Shape:
        return tuple(inputs_shape)

    def get_config(self) -> dict[str, Any]:
        held = [self.feed_forward] if isinstance(self.feed_forward, keras.layers.Layer) else []
        return {
            **super().get_config(),
            "dtype": _sublayers.policy_of(self, held),
            "num_heads": self.num_heads,
            "feed_forward": self.feed_forward,
            "activation": _activations.serialize(self.activation),
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "norm_first": self.norm_first,
            "epsilon": self.epsilon,
            "use_bias": self.use_bias,
            "attention_bias": self.attention_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
            "norm": self.norm,
            "num_kv_heads": self.num_kv_heads,
            "rotary_base": self.rotary_base,
            "attention_output_bias": self.attention_output_bias,
            "rotary_scaling": list(self.rotary_scaling),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        if not isinstance(config["feed_forward"], int):
            config = {**config, "feed_forward": _sublayers.revive(config["feed_forward"])}
        return cls(**config)
