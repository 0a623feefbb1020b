from typing import Any

import keras
import numpy as np

from zoo.layers import _backend, _checks, _sublayers
from zoo.layers._typing import Initializer, InitializerFunction, Shape, Tensor
from zoo.layers.bahdanau_attention import BahdanauAttention

GATES = {"gru": 3, "lstm": 4, "rnn": 1}


@keras.saving.register_keras_serializable("zoo")
class AttentionRNN(keras.layers.Layer):
    """A recurrent decoder whose state attends over an encoded sequence at every step.

    a_i, c_i = attention(s_{i-1}, h),  s_i = cell(s_{i-1}, x_i W + c_i C + b)

    What does not depend on the state is computed before the loop, for all steps in one product: the attention's keys,
    x W, and h C, of which the loop takes the weighted sum in place of c_i C.

    Args:
        units: Integer, the width of the state.
        attention_units: Integer or None, the width of the alignment; None is `units`. Defaults to None.
        cell: String, "gru" (the candidate sees the reset state, as in the paper), "lstm", or "rnn" with tanh. Defaults
            to "gru".
        kernel_initializer: Initializer for W and C. Defaults to "glorot_uniform".
        recurrent_initializer: Initializer for the recurrent matrix. Defaults to "orthogonal".
        attention_initializer: Initializer for the attention, as `kernel_initializer` of `BahdanauAttention`. Defaults
            to "glorot_uniform".
        score_initializer: Initializer for the attention, as `score_initializer` of `BahdanauAttention`. Defaults to
            "glorot_uniform".

    Call arguments:
        inputs: Tensor x of (batch, time, dim), what is fed in at each step.
        annotations: Tensor h of (batch, positions, width), the encoded sequence.
        state: Tensor s_0 of (batch, units). The memory cell of an LSTM starts at zeros.
        annotations_mask: Boolean tensor of (batch, positions), or None: what of `annotations` may be attended to.

    Returns a tuple (states, contexts, weights): s_{i-1}, with which step i begins, c_i and a_i.

    To decode step by step. The state may have several consecutive rows for each row of the memory, as in beam search:

        states, memory = layer.begin(state), layer.project(annotations, mask)
        context, states = layer.step(x, states, memory)          # x is (rows, dim)

    Input shape: inputs (batch, time, dim), annotations (batch, positions, width), state (batch, units).
    Output shape: (batch, time, units), (batch, time, width), (batch, time, positions).

    Example:

    >>> layer = AttentionRNN(units=5)
    >>> ones = keras.ops.ones
    >>> states, contexts, weights = layer(ones((2, 3, 4)), ones((2, 7, 6)), ones((2, 5)))
    >>> tuple(states.shape), tuple(contexts.shape), tuple(weights.shape)
    ((2, 3, 5), (2, 3, 6), (2, 3, 7))

    Reference: Bahdanau, Cho & Bengio 2014, "Neural Machine Translation by Jointly Learning to Align and Translate",
    appendix A.2.2. Their update gate z is 1 - z here, as in Keras.
    """

    def __init__(
        self,
        units: int,
        attention_units: int | None = None,
        cell: str = "gru",
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        attention_initializer: Initializer = "glorot_uniform",
        score_initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units: int = _checks.whole("units", units)
        self.attention_units: int | None = (
            None if attention_units is None else _checks.whole("attention_units", attention_units)
        )
        self.cell: str = _checks.choice("cell", cell, tuple(GATES))
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer: InitializerFunction = keras.initializers.get(recurrent_initializer)
        self.attention_initializer: InitializerFunction = keras.initializers.get(attention_initializer)
        self.score_initializer: InitializerFunction = keras.initializers.get(score_initializer)
        self.supports_masking = True

    def build(self, inputs_shape: Shape, annotations_shape: Shape, state_shape: Shape) -> None:
        dim, width = (
            _checks.known("AttentionRNN", _checks.rank("AttentionRNN", shape, axes, name), -1, name)
            for name, shape, axes in (
                ("inputs_shape", inputs_shape, "batch, time, dim"),
                ("annotations_shape", annotations_shape, "batch, positions, width"),
            )
        )
        if tuple(state_shape)[1:] != (self.units,):
            raise ValueError(f"state must be (batch, units). Received: state_shape={state_shape}, units={self.units}")
        self.attention: BahdanauAttention = BahdanauAttention(
            self.attention_units or self.units,
            kernel_initializer=self.attention_initializer,
            score_initializer=self.score_initializer,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention.build(state_shape, annotations_shape)
        gates = GATES[self.cell]
        self.kernel: keras.Variable = self._add_kernel("kernel", dim, self.kernel_initializer, gates)
        self.context_kernel: keras.Variable = self._add_kernel(
            "context_kernel", width, self.kernel_initializer, gates, gates
        )
        self.bias: keras.Variable = self.add_weight(
            name="bias", shape=(gates * self.units,), initializer=self._make_bias
        )
        if self.cell == "gru":  # the candidate's matrix acts on another state than the gates'
            self.candidate_kernel: keras.Variable = self._add_kernel(
                "candidate_kernel", self.units, self.recurrent_initializer, 1, 2
            )
            gates = 2
        self.recurrent_kernel: keras.Variable = self._add_kernel(
            "recurrent_kernel", self.units, self.recurrent_initializer, gates
        )

    def call(
        self, inputs: Tensor, annotations: Tensor, state: Tensor, annotations_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        memory = self.project(annotations, annotations_mask)
        projected = self._project(inputs, self.kernel) + self._cast(self.bias)  # (batch, time, gates * units)
        state = self._cast(state)

        def step(states, x):
            weights, states_after = self._advance(x, states, memory)
            return states_after, (states[0], weights)

        like = (state, memory[1][..., 0])  # (batch, units), (batch, positions)
        steps = keras.ops.transpose(projected, (1, 0, 2))
        _, given = _backend.scan(step, self.begin(state), steps, like)
        states, weights = (keras.ops.transpose(part, (1, 0, 2)) for part in given)
        return states, keras.ops.matmul(weights, self._cast(annotations)), weights

    def begin(self, state: Tensor) -> tuple[Tensor, ...]:
        """The states of the cell, each (rows, units), before the first step."""
        return (state, keras.ops.zeros_like(state)) if self.cell == "lstm" else (state,)

    def project(self, annotations: Tensor, annotations_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """What each step reads of `annotations`: (annotations, keys, h C[, mask])."""
        annotations = self._cast(annotations)
        memory = (annotations, self.attention.project(annotations), self._project(annotations, self.context_kernel))
        return memory if annotations_mask is None else (*memory, annotations_mask)

    def step(
        self, inputs: Tensor, states: tuple[Tensor, ...], memory: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(context, states) of one step: `inputs` (rows, dim), `states` as `begin` gives them."""
        projected = keras.ops.matmul(self._cast(inputs), self._cast(self.kernel)) + self._cast(self.bias)
        weights, states = self._advance(projected, states, memory)
        sentences, positions = keras.ops.shape(memory[1])[:2]
        context = keras.ops.matmul(keras.ops.reshape(weights, (sentences, -1, positions)), memory[0])
        return keras.ops.reshape(context, (-1, context.shape[-1])), states

    def _advance(self, projected, states, memory):
        """(weights (rows, positions), states) after a step whose input is `projected` (rows, gates * units)."""
        _, keys, values, *mask = memory
        sentences = keras.ops.shape(keys)[0]
        query = keras.ops.reshape(states[0], (sentences, -1, self.units))  # (batch, hypotheses, units)
        context, weights = self.attention(query, values, keys, value_mask=mask[0] if mask else None)
        projected = projected + keras.ops.reshape(context, keras.ops.shape(projected))
        weights = keras.ops.reshape(weights, (-1, keras.ops.shape(keys)[1]))
        return weights, getattr(self, f"_{self.cell}")(projected, *states)

    def _gru(self, x, s):
        x, x_h = keras.ops.split(x, [2 * self.units], axis=-1)
        gates = keras.ops.sigmoid(x + keras.ops.matmul(s, self._cast(self.recurrent_kernel)))
        z, r = keras.ops.split(gates, 2, axis=-1)
        candidate = keras.ops.tanh(x_h + keras.ops.matmul(r * s, self._cast(self.candidate_kernel)))
        return (z * s + (1 - z) * candidate,)

    def _lstm(self, x, s, c):
        i, f, g, o = keras.ops.split(x + keras.ops.matmul(s, self._cast(self.recurrent_kernel)), 4, axis=-1)
        c = keras.ops.sigmoid(f) * c + keras.ops.sigmoid(i) * keras.ops.tanh(g)
        return keras.ops.sigmoid(o) * keras.ops.tanh(c), c

    def _rnn(self, x, s):
        return (keras.ops.tanh(x + keras.ops.matmul(s, self._cast(self.recurrent_kernel))),)

    def _add_kernel(self, name, rows, initializer, gates, first=0):
        """A weight of several gates' matrices side by side, each drawn by itself."""
        drawn = _sublayers.joined(initializer, [self.units] * gates, first)
        return self.add_weight(name=name, shape=(rows, gates * self.units), initializer=drawn)

    def _make_bias(self, shape, dtype=None):
        """Zeros, but for an LSTM's forget gate, which starts open."""
        bias = np.zeros(shape, "float32")
        if self.cell == "lstm":
            bias[self.units : 2 * self.units] = 1
        return keras.ops.convert_to_tensor(bias, dtype)

    def _project(self, sequence, kernel):
        return _sublayers.on_rows(lambda rows: keras.ops.matmul(rows, self._cast(kernel)), self._cast(sequence))

    def _cast(self, tensor):
        return keras.ops.cast(tensor, self.compute_dtype)

    def compute_mask(self, inputs: Tensor, inputs_mask: Tensor | None = None) -> list[Tensor | None]:
        return [inputs_mask] * 3

    def compute_output_shape(
        self, inputs_shape: Shape, annotations_shape: Shape, state_shape: Shape
    ) -> tuple[Shape, Shape, Shape]:
        leading = tuple(inputs_shape)[:2]
        return (*leading, self.units), (*leading, annotations_shape[-1]), (*leading, annotations_shape[1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "attention_units": self.attention_units,
            "cell": self.cell,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
            "attention_initializer": keras.initializers.serialize(self.attention_initializer),
            "score_initializer": keras.initializers.serialize(self.score_initializer),
        }
