from typing import Any

import keras

from zoo.layers import _activations, _backend, _checks, _dispatch, _sublayers
from zoo.layers._readings import Readings
from zoo.layers._typing import (
    Activation,
    Initializer,
    InitializerFunction,
    Regularizer,
    RegularizerFunction,
    Shape,
    Tensor,
)
from zoo.layers.router import Router


@keras.saving.register_keras_serializable("zoo")
class ExpertFeedForward(keras.layers.Layer):
    """A mixture of feed-forward experts with stacked weights: the sparse layer of Transformers.

    y = sum over the k best experts e of w_e (activation(x W1_e + b1_e) W2_e + b2_e),  w the weights of a `Router`

    Each position is routed by itself, and no expert is computed for a position that did not choose it: cost grows with
    k and hardly with the number of experts. Nothing is dropped, unless a capacity is set, which acts in training alone.

    Args:
        num_experts: Integer, the number of experts, at least 1.
        hidden_dim: Integer, the number of hidden units in an expert.
        top_k: Integer or None, how many experts a position goes to. None is all of them, weighted by the router's
            softmax. Defaults to 2.
        activation: String or callable, the activation of the hidden units: any that Keras knows, or "gelu_tanh". (Exact
            "gelu" has no ONNX export.) Defaults to "relu".
        gated: Boolean, whether hidden units are activation(x G_e + c_e) * (x W1_e + b1_e), the GLU family. Defaults to
            False.
        use_bias: Boolean, whether experts have biases. Defaults to True.
        output_dim: Integer or None, the width of the output; None is the input's. Defaults to None.
        capacity_factor: Float or None. In training an expert takes at most ceil(capacity_factor k positions /
            num_experts), first choices before second ones, with the factor rounded to two decimals; what is over gets 0
            from it. None drops nothing. Defaults to None.
        normalize: Boolean, as in `Router`. Defaults to True.
        jitter: Float, as in `Router`. Defaults to 0.0.
        balance_loss: Float, as in `Router`. Defaults to 0.01.
        z_loss: Float, as in `Router`. Defaults to 0.0.
        router_initializer: Initializer for the router's weights; None is the router's own. Defaults to None.
        kernel_initializer: Initializer for each expert's matrices, which are drawn one by one. Defaults to
            "glorot_uniform".
        bias_initializer: Initializer for their biases. Defaults to "zeros".
        kernel_regularizer: Regularizer or None, for the stacked matrices. Defaults to None.
        bias_regularizer: Regularizer or None, for the stacked biases. Defaults to None.
        seed: Integer or None, the seed of the jitter. Defaults to None.

    Call arguments:
        inputs: Tensor of (batch, ..., features).
        mask: Boolean tensor of (batch, ...), or None. A False position is not routed, counts for nothing, and gets 0.
        training: Boolean, whether capacity, jitter and losses act.

    Input shape: (batch, ..., features).
    Output shape: (batch, ..., output_dim).

    Readings: `load` of each expert, of sum 1; `entropy` of the router, in nats; `drop_rate`.

    Example:

    >>> layer = ExpertFeedForward(num_experts=8, hidden_dim=16, top_k=2)
    >>> layer(keras.ops.ones((2, 3, 4))).shape == (2, 3, 4)
    True

    Reference: Shazeer et al. 2017, "Outrageously Large Neural Networks"; Fedus, Zoph & Shazeer 2021, "Switch
    Transformers"; Gale et al. 2022, "MegaBlocks: Efficient Sparse Training with Mixture-of-Experts" (blocks).
    """

    def __init__(
        self,
        num_experts: int,
        hidden_dim: int,
        top_k: int | None = 2,
        activation: Activation | None = "relu",
        gated: bool = False,
        use_bias: bool = True,
        output_dim: int | None = None,
        capacity_factor: float | None = None,
        normalize: bool = True,
        jitter: float = 0.0,
        balance_loss: float = 0.01,
        z_loss: float = 0.0,
        router_initializer: Initializer | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        bias_regularizer: Regularizer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_experts: int = _checks.whole("num_experts", num_experts)
        self.hidden_dim: int = _checks.whole("hidden_dim", hidden_dim)
        self.top_k: int | None = top_k
        self.activation: Activation | None = activation
        self.gated: bool = _checks.flag("gated", gated)
        self.use_bias: bool = _checks.flag("use_bias", use_bias)
        self.output_dim: int | None = None if output_dim is None else _checks.whole("output_dim", output_dim)
        self.capacity_factor: float | None = _dispatch.check_capacity_factor(capacity_factor, top_k)
        self.router: Router = Router(
            num_experts,
            top_k,
            normalize,
            jitter,
            balance_loss,
            z_loss,
            router_initializer,
            seed=seed,
            name="router",
            dtype=self.dtype_policy,
        )
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.bias_initializer: InitializerFunction = keras.initializers.get(bias_initializer)
        self.kernel_regularizer: RegularizerFunction | None = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer: RegularizerFunction | None = keras.regularizers.get(bias_regularizer)
        self.readings: Readings = Readings({"load": num_experts, "entropy": 1, "drop_rate": 1})
        self._activation = _activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        features = _checks.known("ExpertFeedForward", input_shape, -1)
        self.router.build((None, features))
        inner = [self.hidden_dim] * (2 if self.gated else 1)  # gates first
        self.kernel_in: keras.Variable = self._add_kernel("kernel_in", features, inner)
        self.kernel_out: keras.Variable = self._add_kernel(
            "kernel_out", self.hidden_dim, [self.output_dim or features], index=2
        )
        if self.use_bias:
            self.bias_in: keras.Variable = self._add_bias("bias_in", sum(inner))
            self.bias_out: keras.Variable = self._add_bias("bias_out", self.output_dim or features)

    def call(self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None) -> Tensor:
        tokens = keras.ops.reshape(inputs, (-1, inputs.shape[-1]))  # (n, features)
        routing = self.router(tokens, mask=_dispatch.flat(mask, inputs), training=training)
        if self.top_k is None:
            outputs, drop_rate = self._feed_all(tokens, routing.weights), 0.0
        else:
            outputs, drop_rate = self._feed_chosen(tokens, routing, training)  # (n, output_dim)
        _dispatch.record(self.readings, routing, drop_rate, training)
        return keras.ops.reshape(outputs, (*keras.ops.shape(inputs)[:-1], outputs.shape[-1]))

    def _feed_chosen(self, tokens, routing, training):
        capacity = None
        if training and self.capacity_factor is not None:
            capacity = _dispatch.Capacity(self.capacity_factor, self.top_k, self.num_experts)
        weights = self._weights()
        if not _backend.static_shapes():
            layout, sizes = _dispatch.packed(routing.experts, self.num_experts, capacity)
            rows = _dispatch.dispatch(tokens, layout, training)
            # unstacked once, because the gradient of each slice would be as large as all experts
            experts = zip(*(keras.ops.unstack(weight, self.num_experts) for weight in weights), strict=True)
            runs = _backend.split(rows, sizes, self.num_experts)
            outputs = [self._feed(*both) for both in zip(runs, experts, strict=True)]
            outputs = keras.ops.concatenate(outputs, axis=0)  # (slots, output_dim)
        elif capacity is not None:
            layout, run = _dispatch.slotted(routing.experts, self.num_experts, capacity)
            rows = _dispatch.dispatch(tokens, layout, training)
            rows = keras.ops.reshape(rows, (self.num_experts, run, tokens.shape[-1]))  # (experts, run, features)
            outputs = self._feed(rows, weights)
            outputs = keras.ops.reshape(outputs, (-1, outputs.shape[-1]))  # (slots, output_dim)
        else:
            layout, spill = _dispatch.spilled(routing.experts, self.num_experts)
            rows = _dispatch.dispatch(tokens, layout, training)
            outputs = _dispatch.feed_spilled(self._feed, self._feed, rows, spill, weights)  # (slots, output_dim)
        return _dispatch.combine(outputs, routing.weights, layout, training), layout.drop_rate

    def _feed(self, rows, weights):
        """The experts' function of rows (..., rows, features), with weights of the same leading axes."""
        kernel_in, kernel_out, *biases = weights
        hidden = keras.ops.matmul(rows, kernel_in)
        if biases:
            hidden = hidden + keras.ops.expand_dims(biases[0], -2)
        outputs = keras.ops.matmul(self._activate(hidden), kernel_out)
        if biases:
            outputs = outputs + keras.ops.expand_dims(biases[1], -2)
        return outputs

    def _feed_all(self, tokens, shares):
        """All experts; the shares act on hidden units, so that no (n, experts, output_dim) is made."""
        kernel_in, kernel_out, *biases = self._weights()
        hidden = keras.ops.einsum("td,edh->teh", tokens, kernel_in)
        if biases:
            hidden = hidden + biases[0]
        shares = keras.ops.cast(shares, hidden.dtype)  # (n, experts)
        hidden = self._activate(hidden) * keras.ops.expand_dims(shares, -1)
        outputs = keras.ops.einsum("teh,eho->to", hidden, kernel_out)
        if biases:
            outputs = outputs + keras.ops.matmul(shares, biases[1])
        return outputs  # (n, output_dim)

    def _activate(self, hidden):
        if not self.gated:
            return self._activation(hidden)
        gates, hidden = keras.ops.split(hidden, 2, axis=-1)
        return self._activation(gates) * hidden

    def _weights(self):
        weights = [self.kernel_in, self.kernel_out]
        if self.use_bias:
            weights += [self.bias_in, self.bias_out]
        return [keras.ops.convert_to_tensor(weight) for weight in weights]

    def _add_kernel(self, name, features, widths, index=0):
        """(experts, features, sum of widths), each of the matrices drawn by itself: fans are those of one."""
        drawers = [
            _sublayers.joined(self.kernel_initializer, widths, index + 3 * expert) for expert in range(self.num_experts)
        ]

        def draw(shape, dtype=None):
            return keras.ops.stack([drawer(shape[1:], dtype=dtype) for drawer in drawers])

        return self.add_weight(
            name=name,
            shape=(self.num_experts, features, sum(widths)),
            initializer=draw,
            regularizer=self.kernel_regularizer,
        )

    def _add_bias(self, name, width):
        return self.add_weight(
            name=name,
            shape=(self.num_experts, width),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        router = self.router.get_config()
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "hidden_dim": self.hidden_dim,
            "top_k": self.top_k,
            "activation": _activations.serialize(self.activation),
            "gated": self.gated,
            "use_bias": self.use_bias,
            "output_dim": self.output_dim,
            "capacity_factor": self.capacity_factor,
            **{name: router[name] for name in ("normalize", "jitter", "balance_loss", "z_loss", "seed")},
            "router_initializer": router["kernel_initializer"],
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }
