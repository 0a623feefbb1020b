from typing import Any

import keras

from zoo.layers import _attention, _checks, _masks, _sublayers
from zoo.layers._typing import Initializer, InitializerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class BahdanauAttention(keras.layers.Layer):
    """Additive attention with both of its projections.

    e_j = v^T tanh(W s + U h_j),  a = softmax(e),  context = sum_j a_j h_j

    The keys U h do not depend on the query. Where one value is attended to many times, as in decoding, `project` makes
    them once and `keys=` hands them over.

    Args:
        units: Integer, the width of the alignment, at least 1.
        use_bias: Boolean, whether a bias is added before tanh. The paper has none. Defaults to False.
        kernel_initializer: Initializer for W and U. Defaults to "glorot_uniform".
        score_initializer: Initializer for v. "zeros" makes attention uniform at the start, as in the paper. Defaults to
            "glorot_uniform".

    Call arguments:
        query: Tensor of (batch, query_dim) or (batch, time, query_dim), the states s.
        value: Tensor of (batch, positions, value_dim), the annotations h.
        keys: Tensor of (batch, positions, units), or None: U h, as `project(value)` gives it. None computes it from
            `value`.
        query_mask: Boolean tensor of (batch,) or (batch, time), or None. Where it is False, weights and context are
            zeros.
        value_mask: Boolean tensor of (batch, positions), or None. Where it is False, the weight is exactly 0. Where all
            are False, weights and context are zeros.

    Returns a tuple (context, weights).

    Input shape: query (batch, [time,] query_dim), value (batch, positions, value_dim).
    Output shape: context (batch, [time,] value_dim), weights (batch, [time,] positions).

    Example:

    >>> layer = BahdanauAttention(units=5)
    >>> context, weights = layer(keras.ops.ones((2, 3)), keras.ops.ones((2, 7, 4)))
    >>> tuple(context.shape), tuple(weights.shape)
    ((2, 4), (2, 7))

    Reference: Bahdanau, Cho & Bengio 2014, "Neural Machine Translation by Jointly Learning to Align and Translate",
    section 3.1 and appendix A.1.2.
    """

    def __init__(
        self,
        units: int,
        use_bias: bool = False,
        kernel_initializer: Initializer = "glorot_uniform",
        score_initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units: int = _checks.whole("units", units)
        self.use_bias: bool = _checks.flag("use_bias", use_bias)
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.score_initializer: InitializerFunction = keras.initializers.get(score_initializer)
        self.supports_masking = True

    def build(self, query_shape: Shape, value_shape: Shape) -> None:
        if len(query_shape) not in (2, 3):
            raise ValueError(
                "BahdanauAttention takes a query of (batch, dim) or (batch, time, dim). "
                f"Received: query_shape={tuple(query_shape)}"
            )
        _checks.rank("BahdanauAttention", value_shape, "batch, positions, dim", "value_shape")
        query_dim = _checks.known("BahdanauAttention", query_shape, -1, "query_shape")
        value_dim = _checks.known("BahdanauAttention", value_shape, -1, "value_shape")
        query_kernel, value_kernel = (_sublayers.fresh(self.kernel_initializer, index) for index in range(2))
        self.query_kernel: keras.Variable = self.add_weight(
            name="query_kernel", shape=(query_dim, self.units), initializer=query_kernel
        )
        self.value_kernel: keras.Variable = self.add_weight(
            name="value_kernel", shape=(value_dim, self.units), initializer=value_kernel
        )
        self.score_kernel: keras.Variable = self.add_weight(
            name="score_kernel", shape=(self.units, 1), initializer=_sublayers.fresh(self.score_initializer, 2)
        )
        if self.use_bias:
            self.bias: keras.Variable = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(
        self,
        query: Tensor,
        value: Tensor,
        keys: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        if keys is None:
            keys = self.project(value)  # (batch, positions, units)
        single = len(query.shape) == 2
        if single:
            query = keras.ops.expand_dims(query, 1)  # (batch, 1, query_dim)
            query_mask = None if query_mask is None else keras.ops.expand_dims(query_mask, 1)
        states = _sublayers.on_rows(lambda rows: keras.ops.matmul(rows, self.query_kernel), query)
        states = keras.ops.expand_dims(states, 2)  # (batch, time, 1, units)
        hidden = keras.ops.tanh(states + keras.ops.expand_dims(keys, 1))  # (batch, time, positions, units)
        rows = keras.ops.reshape(hidden, (-1, hidden.shape[-1]))  # XLA has no gradient of more axes in a loop
        scores = keras.ops.reshape(keras.ops.matmul(rows, self.score_kernel), keras.ops.shape(hidden)[:-1])
        weights = self._weigh(scores, query_mask, value_mask)
        context = keras.ops.matmul(weights, value)  # (batch, time, value_dim)
        if single:
            return keras.ops.squeeze(context, 1), keras.ops.squeeze(weights, 1)
        return context, weights

    def _weigh(self, scores, query_mask, value_mask):
        valid = _masks.every(
            None if query_mask is None else keras.ops.expand_dims(query_mask, 2),  # (batch, time, 1)
            None if value_mask is None else keras.ops.expand_dims(value_mask, 1),  # (batch, 1, positions)
        )
        weights = _attention.softmax(scores, valid)
        if valid is None:
            return weights
        return weights * keras.ops.cast(keras.ops.any(valid, axis=-1, keepdims=True), weights.dtype)

    def project(self, value: Tensor) -> Tensor:
        """The keys U h of `value`, (batch, positions, units), for `keys=`."""
        if not self.built:
            raise ValueError("BahdanauAttention.project needs its weights. Call the layer once, or `build`, first.")
        kernel, value = self._cast(self.value_kernel), self._cast(value)
        keys = _sublayers.on_rows(lambda rows: keras.ops.matmul(rows, kernel), value)  # (batch, positions, units)
        return keys + self._cast(self.bias) if self.use_bias else keys

    def _cast(self, tensor):
        return keras.ops.cast(tensor, self.compute_dtype)

    def compute_mask(self, query: Tensor, query_mask: Tensor | None = None) -> list[Tensor | None]:
        return [query_mask, query_mask]

    def compute_output_shape(self, query_shape: Shape, value_shape: Shape) -> tuple[Shape, Shape]:
        leading = tuple(query_shape)[:-1]
        return (*leading, value_shape[-1]), (*leading, value_shape[1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "score_initializer": keras.initializers.serialize(self.score_initializer),
        }
