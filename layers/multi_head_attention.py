from typing import Any

import keras

from zoo.layers import _attention, _backend, _checks, _masks, _sublayers
from zoo.layers._typing import Initializer, InitializerFunction, Regularizer, RegularizerFunction, Shape, Tensor
from zoo.layers.rotary_positions import RotaryPositions, Scaling, check_scaling


@keras.saving.register_keras_serializable("zoo")
class MultiHeadAttention(keras.layers.Layer):
    """Multi-head attention with fused projections and a cache of keys and values for decoding.

    head_i = softmax(Q_i K_i^T / sqrt(key_dim)) V_i,  output = [head_1, ..., head_n] W_o

    Masks and names are those of `keras.layers.MultiHeadAttention`, but a query that may attend to nothing gets zeros
    instead of the mean of the values. `attention(x)` is self-attention, with one matrix product for Q, K and V;
    `attention(x, value)` has one for Q and one for K and V. `attention(x, x)` is the latter: the same function, a
    little slower, with weights laid out otherwise.

    With `num_kv_heads` consecutive heads share keys and values, which makes the cache smaller: grouped-query attention,
    and multi-query attention where it is 1. With `rotary_base` queries and keys are rotated by their positions, as
    `RotaryPositions` says; a cache holds the keys rotated.

    Args:
        num_heads: Integer, the number of heads, at least 1.
        key_dim: Integer or None, the width of a head's queries and keys. None is the query's width over `num_heads`,
            which must divide it. Defaults to None.
        value_dim: Integer or None, the width of a head's values; None is the width of its keys. Defaults to None.
        dropout: Float, the probability of dropping an attention weight in training, from 0 to below 1. Above 0 training
            leaves the backend's fused attention. Defaults to 0.0.
        use_bias: Boolean, whether the projections have biases. Defaults to True.
        output_shape: Integer or None, the width of the output; None is the query's. Defaults to None.
        kernel_initializer: Initializer for the projections; Q, K and V are each drawn as a matrix of their own.
            Defaults to "glorot_uniform".
        bias_initializer: Initializer for their biases. Defaults to "zeros".
        kernel_regularizer: Regularizer or None, for the projections. Defaults to None.
        bias_regularizer: Regularizer or None, for their biases. Defaults to None.
        seed: Integer or None, the seed of dropout. Defaults to None.
        num_kv_heads: Integer or None, heads of keys and values, which divide `num_heads`; None: all. Defaults to None.
        rotary_base: Float above 0, the base of rotary positions, for self-attention alone; or None. Defaults to None.
        output_bias: Boolean or None, whether W_o has a bias; None is `use_bias`. Defaults to None.
        rotary_scaling: Sequence of floats, `scaling` of `RotaryPositions`. Defaults to (1,).

    Call arguments:
        query: Tensor of (batch, time, dim).
        value: Tensor of (batch, positions, value's dim), or None for self-attention.
        key: Tensor of (batch, positions, key's dim), or None, which is `value`.
        query_mask: Boolean tensor of (batch, time), or None. Where it is False, the output is zeros.
        value_mask: Boolean tensor of (batch, positions), or None: which values may be attended to. In self-attention
            the query's mask is the value's too.
        key_mask: Boolean tensor of (batch, positions), or None: which keys may be attended to.
        attention_mask: Boolean tensor of (batch, time, positions) or (batch, heads, time, positions), or what
            broadcasts to it, or None.
        return_attention_scores: Boolean, whether weights (batch, heads, time, positions) come too. Defaults to False.
        training: Boolean, whether dropout acts.
        use_causal_mask: Boolean, whether a query attends to no position after its own. Defaults to False.
        cache: Tuple of keys and values already projected, or None: from `empty_cache` for self-attention, from
            `project(value)` for attention to a value that stays. It is returned as well, last. `value_mask` is then
            (batch, length).
        cache_index: Integer or integer tensor, scalar or (batch,): where in the cache the keys and values of `query`
            are written, the position of its first element. A query then attends to all positions up to its own. None
            writes nothing.
        mask: Boolean tensor of (batch, time), or None: the query's mask, as Keras calls it for a query alone.

    Returns the output; with `return_attention_scores` or a cache the tuple `(output[, weights][, (keys, values)])`.

    Input shape: query (batch, time, dim), value (batch, positions, dim).
    Output shape: (batch, time, output_shape).

    Example, a step of decoding beside the whole:

    >>> attention = MultiHeadAttention(num_heads=2)
    >>> x = keras.random.normal((3, 5, 8))
    >>> whole = attention(x, use_causal_mask=True)
    >>> cache = attention.empty_cache(3, 5)
    >>> for t in range(5):
    ...     step, cache = attention(x[:, t : t + 1], cache=cache, cache_index=t)
    >>> bool(keras.ops.all(keras.ops.abs(step[:, 0] - whole[:, 4]) < 1e-5))
    True

    Reference: Vaswani et al. 2017, "Attention Is All You Need", section 3.2; Ainslie et al. 2023, "GQA: Training
    Generalized Multi-Query Transformer Models from Multi-Head Checkpoints"; Su et al. 2021, "RoFormer".
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int | None = None,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        bias_regularizer: Regularizer | None = None,
        seed: int | None = None,
        num_kv_heads: int | None = None,
        rotary_base: float | None = None,
        output_bias: bool | None = None,
        rotary_scaling: Scaling = (1.0,),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads: int = _checks.whole("num_heads", num_heads)
        self.key_dim: int | None = _checks.optional(_checks.whole, "key_dim", key_dim)
        self.value_dim: int | None = _checks.optional(_checks.whole, "value_dim", value_dim)
        self.dropout: float = _checks.real("dropout", dropout, 0, 1, below=True)
        self.use_bias: bool = _checks.flag("use_bias", use_bias)
        self.output_dim: int | None = _checks.optional(_checks.whole, "output_shape", output_shape)
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.bias_initializer: InitializerFunction = keras.initializers.get(bias_initializer)
        self.kernel_regularizer: RegularizerFunction | None = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer: RegularizerFunction | None = keras.regularizers.get(bias_regularizer)
        self.seed: int | None = _checks.optional(_checks.whole, "seed", seed, low=0)
        self.num_kv_heads: int | None = _checks.optional(_checks.whole, "num_kv_heads", num_kv_heads)
        self._kv_heads = self.num_kv_heads or self.num_heads
        if self.num_heads % self._kv_heads:
            raise ValueError(f"num_kv_heads must divide num_heads={num_heads}. Received: num_kv_heads={num_kv_heads}")
        self.rotary_base: float | None = _checks.optional(_checks.real, "rotary_base", rotary_base, 0, above=True)
        self.output_bias: bool | None = _checks.optional(_checks.flag, "output_bias", output_bias)
        self.rotary_scaling: tuple[float, ...] = check_scaling("rotary_scaling", rotary_scaling)
        self.supports_masking = True
        self._dropout = keras.layers.Dropout(self.dropout, seed=seed, dtype=self.dtype_policy)

    def build(self, query_shape: Shape, value_shape: Shape | None = None, key_shape: Shape | None = None) -> None:
        width = _attention.check_shapes(query_shape, value_shape, key_shape)
        self._check_heads(width, value_shape)
        self._key_width = self.key_dim or width // self.num_heads  # of one head
        self._value_width = self.value_dim or self._key_width
        queries = self.num_heads * self._key_width
        keys, values = self._kv_heads * self._key_width, self._kv_heads * self._value_width
        self._is_self_attention = value_shape is None
        self._key_value_dense = None
        if value_shape is None:
            self._query_key_value_dense = self._make_dense("query_key_value", query_shape, [queries, keys, values])
        else:
            self._query_dense = self._make_dense("query", query_shape, [queries])
            if key_shape is None:
                self._key_value_dense = self._make_dense("key_value", value_shape, [keys, values])
            else:
                self._key_dense = self._make_dense("key", key_shape, [keys])
                self._value_dense = self._make_dense("value", value_shape, [values])
        heads = self.num_heads * self._value_width
        self._output_dense = self._make_dense("output", (*query_shape[:-1], heads), [self.output_dim or width])
        if self.rotary_base is not None:
            self._rotary = RotaryPositions(self.rotary_base, self.rotary_scaling, dtype=self.dtype_policy)
            self._rotary.build((None, self.num_heads, None, self._key_width))

    def call(
        self,
        query: Tensor,
        value: Tensor | None = None,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        cache: tuple[Tensor, Tensor] | None = None,
        cache_index: int | Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor | tuple[Any, ...]:
        query_mask = mask if query_mask is None else query_mask
        if self._is_self_attention and cache is None and value_mask is None:
            value_mask = query_mask
        queries, keys, values = self._project(query, value, key, cache, cache_index)  # each (batch, heads, ..., width)
        given = _masks.every(
            None if value_mask is None else value_mask[:, None, None, :],
            None if key_mask is None else key_mask[:, None, None, :],
            None if attention_mask is None else _masks.of_heads(attention_mask),
        )  # what broadcasts to (batch, heads, time, positions)
        plain = cache is None and not return_attention_scores and not (training and self.dropout)
        # JAX's kernel needs keys and values of one width
        fused = plain and self._key_width == self._value_width and _backend.has_fused_attention()
        causal = None
        if cache_index is not None or (use_causal_mask and not (fused and given is None)):
            causal = _attention.causal(keras.ops.shape(queries)[2], keras.ops.shape(keys)[2], cache_index)
        allowed = _masks.every(given, causal)
        if fused:
            context = self._attend_fused(queries, keys, values, allowed, use_causal_mask and allowed is None)
        else:
            decoding = cache is not None and not training
            context, weights = self._attend(queries, keys, values, allowed, training, decoding)

        valid = _masks.every(
            None if given is None else keras.ops.any(allowed, axis=-1, keepdims=True),
            None if query_mask is None else query_mask[:, None, :, None],
        )  # what broadcasts to (batch, heads, time, 1)
        if valid is not None and valid.shape[1] != 1:  # heads of their own masks
            context = context * keras.ops.cast(valid, context.dtype)
        outputs = _sublayers.on_rows(self._output_dense, self._merged(context))  # (batch, time, output_shape)
        if valid is not None:  # zeros, where there would be a mean of values, or the bias
            outputs = outputs * keras.ops.cast(keras.ops.any(valid, axis=1), outputs.dtype)

        returned = [outputs]
        if return_attention_scores:
            returned.append(weights if valid is None else weights * keras.ops.cast(valid, weights.dtype))
        if cache is not None:
            returned.append((keys, values))
        return returned[0] if len(returned) == 1 else tuple(returned)

    def empty_cache(self, batch_size: int | Tensor, length: int) -> tuple[Tensor, Tensor]:
        """(keys, values) of zeros for `length` positions of self-attention, each (batch, key heads, length, width)."""
        self._check_use("empty_cache", self_attention=True)
        keys, values = (
            keras.ops.zeros((batch_size, self._kv_heads, length, width), self.compute_dtype)
            for width in (self._key_width, self._value_width)
        )
        return keys, values

    def project(self, value: Tensor, key: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(keys, values) of a `value` that is attended to many times, for `cache=`."""
        self._check_use("project", self_attention=False)
        if self._key_value_dense is None:
            keys = _sublayers.on_rows(self._key_dense, value if key is None else key)
            values = _sublayers.on_rows(self._value_dense, value)
        else:
            keys, values = self._split(_sublayers.on_rows(self._key_value_dense, value))
        return self._heads(keys, self._kv_heads), self._heads(values, self._kv_heads)

    def _project(self, query, value, key, cache, cache_index):
        """Queries, (batch, heads, time, width), and keys and values, (batch, key heads, positions, width)."""
        self._check_call(value, key, cache, cache_index)
        if self._is_self_attention:
            projected = _sublayers.on_rows(self._query_key_value_dense, query)
            counts = (self.num_heads, self._kv_heads, self._kv_heads)
            queries, keys, values = map(self._heads, self._split(projected), counts)
            if self.rotary_base is not None:
                start = 0 if cache_index is None else cache_index
                queries, keys = self._rotary(queries, start=start), self._rotary(keys, start=start)
            if cache is not None:
                keys, values = (
                    _attention.write(old, new, cache_index) for old, new in zip(cache, (keys, values), strict=True)
                )
            return queries, keys, values
        queries = self._heads(_sublayers.on_rows(self._query_dense, query), self.num_heads)
        return queries, *(self.project(value, key) if cache is None else cache)

    def _split(self, projected):
        """The projections that stand side by side in `projected`, the last of which are the values."""
        queries, keys = self.num_heads * self._key_width, self._kv_heads * self._key_width
        parts = [queries, queries + keys] if self._is_self_attention else [keys]
        return keras.ops.split(projected, parts, axis=-1)  # its gradient is one concatenation

    def _heads(self, projected, count):
        """(batch, heads, time, width) of (batch, time, heads * width)."""
        width = projected.shape[-1] // count
        if projected.shape[1] == 1:  # a step of decoding: nothing changes places
            return keras.ops.reshape(projected, (-1, count, 1, width))
        parts = keras.ops.reshape(projected, (-1, keras.ops.shape(projected)[1], count, width))
        return keras.ops.transpose(parts, (0, 2, 1, 3))

    def _merged(self, context):
        """(batch, time, heads * width) of (batch, heads, time, width)."""
        width = self.num_heads * self._value_width
        if context.shape[2] == 1:
            return keras.ops.reshape(context, (-1, 1, width))
        context = keras.ops.transpose(context, (0, 2, 1, 3))
        return keras.ops.reshape(context, (-1, keras.ops.shape(context)[1], width))

    def _attend(self, queries, keys, values, allowed, training, decoding):
        """(context, weights)"""
        queries = queries * self._key_width**-0.5

        def multiplied():
            scores = _attention.product(queries, keras.ops.swapaxes(keys, -1, -2))
            weights = _attention.softmax(scores, allowed)  # (batch, heads, time, positions)
            dropped = self._dropout(weights, training=training)
            return _attention.product(dropped, values), weights  # (batch, heads, time, value width)

        if decoding and self.compute_dtype == "float32" and _backend.has_slow_small_products():
            return _attention.of_few(queries, keys, values, allowed, multiplied)
        return multiplied()

    def _attend_fused(self, queries, keys, values, allowed, is_causal):
        """The context, by the fastest kernel that the backend has for it."""
        every = (_attention.repeated(part, self.num_heads) for part in (queries, keys, values))
        parts = [keras.ops.swapaxes(part, 1, 2) for part in every]  # (batch, time, heads, width)
        context = keras.ops.dot_product_attention(*parts, mask=allowed, is_causal=is_causal)
        return keras.ops.swapaxes(context, 1, 2)  # (batch, heads, time, value width)

    def _make_dense(self, name, input_shape, widths):
        """A dense layer whose columns are several projections side by side."""
        first = {"query_key_value": 0, "query": 0, "key_value": 1, "key": 1, "value": 2, "output": 3}[name]
        dense = keras.layers.Dense(
            sum(widths),
            use_bias=self.use_bias if name != "output" or self.output_bias is None else self.output_bias,
            kernel_initializer=_sublayers.joined(self.kernel_initializer, widths, first),
            bias_initializer=_sublayers.fresh(self.bias_initializer, first),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            dtype=_sublayers.policy_for(self, name),
            name=name,
        )
        dense.build(input_shape)
        return dense

    def _check_heads(self, width, value_shape):
        if self.key_dim is None and width % self.num_heads:
            raise ValueError(
                "num_heads must divide the width of the query where key_dim is None. "
                f"Received: num_heads={self.num_heads}, width={width}. Give key_dim, or other heads."
            )
        if value_shape is not None and self.rotary_base is not None:
            raise ValueError(
                "rotary_base is for self-attention: a query and another sequence have no common positions. "
                f"Received: rotary_base={self.rotary_base}, value_shape={tuple(value_shape)}"
            )

    def _check_call(self, value, key, cache, cache_index):
        if self._is_self_attention:
            if value is not None or key is not None:
                raise ValueError(
                    "This MultiHeadAttention was built for self-attention, attention(x), and has one projection for "
                    "queries, keys and values. Call another layer with a value."
                )
            if (cache is None) != (cache_index is None):
                raise ValueError(
                    "Self-attention takes cache and cache_index together. "
                    f"Received: {'cache_index' if cache is None else 'cache'} alone"
                )
            return
        if (value is None) == (cache is None):
            raise ValueError(
                "This MultiHeadAttention was built for attention to a value: give value, or cache=project(value), and "
                f"not both. Received: {'neither' if value is None else 'both'}"
            )
        if cache_index is not None:
            raise ValueError("cache_index is for self-attention: what project gives stays as it is.")
        if key is not None and self._key_value_dense is not None:
            raise ValueError(
                "This MultiHeadAttention was built without a key, with one projection of the value for keys and "
                "values. Give the key from the first call on."
            )

    def _check_use(self, method, self_attention):
        if not self.built:
            raise ValueError(f"MultiHeadAttention.{method} needs the layer's sizes. Call the layer, or build, first.")
        if self_attention != self._is_self_attention:
            raise ValueError(
                f"MultiHeadAttention.{method} is for {'self-attention' if self_attention else 'attention to a value'}, "
                f"this layer was built for {'attention to a value' if self_attention else 'self-attention'}. "
                f"Use {'project' if self_attention else 'empty_cache'}."
            )

    def compute_output_shape(
        self, query_shape: Shape, value_shape: Shape | None = None, key_shape: Shape | None = None
    ) -> Shape:
        return (*query_shape[:-1], self.output_dim or query_shape[-1])

    def compute_output_spec(
        self,
        query: Tensor,
        value: Tensor | None = None,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        cache: tuple[Tensor, Tensor] | None = None,
        **arguments: Any,
    ) -> keras.KerasTensor | tuple[Any, ...]:
        specs = [keras.KerasTensor(self.compute_output_shape(query.shape), self.compute_dtype)]
        if return_attention_scores:
            positions = (query if value is None else value).shape[1] if cache is None else cache[0].shape[2]
            shape = (query.shape[0], self.num_heads, query.shape[1], positions)
            specs.append(keras.KerasTensor(shape, self.compute_dtype))
        if cache is not None:
            specs.append(tuple(keras.KerasTensor(part.shape, part.dtype) for part in cache))
        return specs[0] if len(specs) == 1 else tuple(specs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dtype": _sublayers.policy_of(self),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "output_shape": self.output_dim,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "seed": self.seed,
            "num_kv_heads": self.num_kv_heads,
            "rotary_base": self.rotary_base,
            "output_bias": self.output_bias,
            "rotary_scaling": list(self.rotary_scaling),
        }
