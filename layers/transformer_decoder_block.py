from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._transformer_block import TransformerBlock
from zoo.layers._typing import Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class TransformerDecoderBlock(TransformerBlock):
    """Causal self-attention, attention to an encoded sequence, and a feed-forward network.

    Each has a residual connection and a layer norm, after the sum or, with `norm_first`, before the sublayer:
    `TransformerEncoderBlock` has the formulas. `block(x)` has no attention to an encoded sequence, as in GPT;
    `block(x, encoded)` has it. Which one it is, the first call decides.

    To decode step by step, keep the cache of each block and hand it back:

        cache = block.empty_cache(batch_size, length)
        memory = block.project(encoded)                 # None for a block without `encoded`
        y, cache = block(x, cache=cache, cache_index=t, memory=memory)

    Args:
        num_heads: Integer, the number of heads in each attention; it must divide the width of the input.
        feed_forward: Integer or layer: the hidden width of a dense network, Dense(hidden, activation) and Dense(dim);
            or a layer from (batch, time, dim) to the same, such as a mixture of experts. It is given the mask where it
            takes one.
        activation: String or callable, the activation of the dense network: any that Keras knows, or "gelu_tanh", the
            GELU of GPT-2. Defaults to "relu".
        dropout: Float, the probability of dropping each number that a sublayer adds, from 0 to below 1. Defaults to
            0.0.
        attention_dropout: Float, the probability of dropping an attention weight. Defaults to 0.0.
        norm_first: Boolean, whether the norms stand before the sublayers. Defaults to False.
        epsilon: Float, the epsilon of the norms. Defaults to 1e-5.
        use_bias: Boolean, whether projections, dense network and norms have biases. Defaults to True.
        attention_bias: Boolean or None, whether the projections of the attentions have biases; None is `use_bias`.
            Defaults to None.
        kernel_initializer: Initializer for all kernels. Defaults to "glorot_uniform".
        seed: Integer or None, the seed of dropout. Defaults to None.
        norm: String, "layer" for layer norms or "rms" for norms by the root mean square, which have no bias. Defaults
            to "layer".
        num_kv_heads: Integer or None, the number of heads of keys and values, which must divide `num_heads`; None is
            `num_heads`. Defaults to None.
        rotary_base: Float above 0 or None, the base of rotary positions in self-attention; None is without them.
            Defaults to None.
        attention_output_bias: Boolean or None, whether the last projection of the attention has a bias; None is what
            its other projections have. Defaults to None.
        rotary_scaling: Sequence of floats, `scaling` of `RotaryPositions`. Defaults to (1,).

    Call arguments:
        inputs: Tensor of (batch, time, dim), the sequence, or the part of it at `cache_index`.
        encoded: Tensor of (batch, positions, encoded dim), what the encoder gives; None where there is none, or
            `memory`.
        attention_mask: Boolean tensor of (batch, time, time) or what broadcasts to it, or None: what self-attention may
            attend to, beside being causal. With a cache its last axis is the cache's length.
        return_attention_scores: Boolean, whether weights are returned as well: those of the attention to `encoded`,
            (batch, heads, time, positions), or of self-attention where there is none. Defaults to False.
        training: Boolean, whether dropout acts.
        cache: Tuple (keys, values) of self-attention, or None; it is returned as well, last.
        cache_index: Integer or integer tensor, scalar or (batch,), or None: the position in the cache of the first of
            `inputs`.
        memory: Tuple (keys, values) of `encoded`, as `project` gives them, or None. If it has fewer rows than `inputs`,
            each of its rows serves several consecutive rows of `inputs`, such as the hypotheses of one sentence.
        encoded_mask: Boolean tensor of (batch, positions), or None: what of `encoded` or `memory` may be attended to.
        mask, inputs_mask: Boolean tensor of (batch, time), or None: two names for one. Keras gives the first where
            `inputs` is the only tensor, the second where it is not.

    Returns the output; with `return_attention_scores` or a cache the tuple `(output[, weights][, (keys, values)])`.

    Input shape: (batch, time, dim), and (batch, positions, encoded dim).
    Output shape: (batch, time, dim).

    Example:

    >>> block = TransformerDecoderBlock(num_heads=2, feed_forward=16)
    >>> block(keras.ops.ones((1, 3, 8)), keras.ops.ones((1, 5, 4))).shape == (1, 3, 8)
    True

    Reference: Vaswani et al. 2017, "Attention Is All You Need", section 3.1; Touvron et al. 2023, "LLaMA: Open and
    Efficient Foundation Language Models", section 2.2, for RMS norms, rotary positions and gated units.
    """

    def build(self, inputs_shape: Shape, encoded_shape: Shape | None = None) -> None:
        super().build(inputs_shape)
        self._cross_attention = None
        if encoded_shape is not None:
            _checks.rank("TransformerDecoderBlock", encoded_shape, "batch, positions, dim", "encoded_shape")
            self._cross_attention = self._make_attention("cross_attention", 1)
            self._cross_attention.build(inputs_shape, encoded_shape)
            self._cross_attention_norm = self._make_norm("cross_attention_norm", inputs_shape)

    def call(
        self,
        inputs: Tensor,
        encoded: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        cache: tuple[Tensor, Tensor] | None = None,
        cache_index: int | Tensor | None = None,
        memory: tuple[Tensor, Tensor] | None = None,
        encoded_mask: Tensor | None = None,
        mask: Tensor | None = None,
        inputs_mask: Tensor | None = None,
    ) -> Tensor | tuple[Any, ...]:
        self._check_call(encoded, memory)
        mask = inputs_mask if mask is None else mask
        crossing = self._cross_attention is not None
        attended, *others = _as_tuple(
            self._self_attention(
                self._before(self._self_attention_norm, inputs),
                query_mask=mask,
                attention_mask=attention_mask,
                return_attention_scores=return_attention_scores and not crossing,
                training=training,
                use_causal_mask=True,
                cache=cache,
                cache_index=cache_index,
            )
        )
        x = self._after(self._self_attention_norm, inputs, attended, training)
        if crossing:
            query = self._before(self._cross_attention_norm, x)
            sharing = memory is not None
            attended, *weights = _as_tuple(
                self._cross_attention(
                    _joined(query, memory) if sharing else query,
                    encoded,
                    query_mask=_joined(mask, memory) if sharing and mask is not None else mask,
                    value_mask=encoded_mask,
                    return_attention_scores=return_attention_scores,
                    training=training,
                    cache=memory,
                )
            )
            if sharing:
                attended = keras.ops.reshape(attended, keras.ops.shape(x))
            weights = weights[: int(return_attention_scores)]
            if sharing and weights:
                weights = [_parted(weights[0], keras.ops.shape(x)[1])]
            others = weights + others
            x = self._after(self._cross_attention_norm, x, attended, training)
        outputs = self._feed(x, mask, training)
        return (outputs, *others) if others else outputs

    def empty_cache(self, batch_size: int | Tensor, length: int) -> tuple[Tensor, Tensor]:
        """The (keys, values) of a self-attention that has seen nothing, for `length` positions."""
        self._check_built("empty_cache")
        return self._self_attention.empty_cache(batch_size, length)

    def project(self, encoded: Tensor) -> tuple[Tensor, Tensor] | None:
        """The (keys, values) of `encoded`, for `memory=`; None for a block without attention to it."""
        self._check_built("project")
        return None if self._cross_attention is None else self._cross_attention.project(encoded)

    def _check_built(self, method):
        if not self.built:
            raise ValueError(
                f"TransformerDecoderBlock.{method} needs the block's sizes. Call the block, or build, first."
            )

    def _check_call(self, encoded, memory):
        given = sum(one is not None for one in (encoded, memory))
        if given != (self._cross_attention is not None):
            built = "with" if self._cross_attention is not None else "without"
            takes = "one of encoded and memory" if self._cross_attention is not None else "neither encoded nor memory"
            found = ["neither", "encoded" if memory is None else "memory", "both"][given]
            raise ValueError(
                f"This TransformerDecoderBlock was built {built} attention to an encoded sequence and takes {takes}. "
                f"Received: {found}"
            )

    def compute_output_spec(
        self,
        inputs: Tensor,
        encoded: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        cache: tuple[Tensor, Tensor] | None = None,
        cache_index: int | Tensor | None = None,
        memory: tuple[Tensor, Tensor] | None = None,
        **arguments: Any,
    ) -> keras.KerasTensor | tuple[Any, ...]:
        specs = [keras.KerasTensor(inputs.shape, self.compute_dtype)]
        if return_attention_scores:
            batch, time, _ = inputs.shape
            positions = time if cache is None else cache[0].shape[2]
            if self._cross_attention is not None:
                positions = encoded.shape[1] if memory is None else memory[0].shape[2]
            specs.append(keras.KerasTensor((batch, self.num_heads, time, positions), self.compute_dtype))
        if cache is not None:
            specs.append(tuple(keras.KerasTensor(part.shape, part.dtype) for part in cache))
        return tuple(specs) if len(specs) > 1 else specs[0]


def _joined(tensor: Tensor, memory: tuple[Tensor, Tensor]) -> Tensor:
    """`tensor` (batch, time, ...) with the time of all rows that share a row of `memory` in one: attention to a memory
    looks at no other query."""
    return keras.ops.reshape(tensor, (keras.ops.shape(memory[0])[0], -1, *tensor.shape[2:]))


def _parted(weights: Tensor, time: int | Tensor) -> Tensor:
    """Weights (batch, heads, time, positions) of those (rows of the memory, heads, all their time, positions)."""
    _, heads, _, positions = keras.ops.shape(weights)
    weights = keras.ops.reshape(weights, (-1, heads, keras.ops.shape(weights)[2] // time, time, positions))
    return keras.ops.reshape(keras.ops.transpose(weights, (0, 2, 1, 3, 4)), (-1, heads, time, positions))


def _as_tuple(answer: Any) -> tuple[Any, ...]:
    return answer if isinstance(answer, tuple) else (answer,)
