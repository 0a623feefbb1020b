from typing import Any

import keras

from zoo.layers._transformer_block import TransformerBlock
from zoo.layers._typing import Tensor


@keras.saving.register_keras_serializable("zoo")
class TransformerEncoderBlock(TransformerBlock):
    """Self-attention and a feed-forward network, each with a residual connection and a layer norm.

    post-norm (the default): y = norm(x + attention(x)),  z = norm(y + feed_forward(y))
    pre-norm (`norm_first`): y = x + attention(norm(x)),  z = y + feed_forward(norm(y))

    A stack of pre-norm blocks ends with a norm of its own, which is not in here.

    Args:
        num_heads: Integer, the number of heads in the attention; it must divide the width of the input.
        feed_forward: Integer or layer: the hidden width of a dense network, Dense(hidden, activation) and Dense(dim);
            or a layer from (batch, time, dim) to the same, such as a mixture of experts. It is given the mask where it
            takes one.
        activation: String or callable, the activation of the dense network: any that Keras knows, or "gelu_tanh", the
            GELU of GPT-2. Defaults to "relu".
        dropout: Float, the probability of dropping each number that a sublayer adds, from 0 to below 1. Defaults to
            0.0.
        attention_dropout: Float, the probability of dropping an attention weight. Defaults to 0.0.
        norm_first: Boolean, whether the norms stand before the sublayers. Defaults to False.
        epsilon: Float, the epsilon of the norms. BERT has 1e-12, GPT-2 1e-5, Tensor2Tensor 1e-6. Defaults to 1e-5.
        use_bias: Boolean, whether projections, dense network and norms have biases. Defaults to True.
        attention_bias: Boolean or None, whether the projections of the attention have biases; None is `use_bias`.
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
        inputs: Tensor of (batch, time, dim), the sequence.
        attention_mask: Boolean tensor of (batch, time, time) or what broadcasts to it, or None: what may be attended
            to.
        return_attention_scores: Boolean, whether the weights, (batch, heads, time, time), are returned as well.
            Defaults to False.
        training: Boolean, whether dropout acts.
        mask, inputs_mask: Boolean tensor of (batch, time), or None: two names for one. Keras gives the first where
            `inputs` is the only tensor, the second where it is not.

    Returns the output; with `return_attention_scores` the tuple (output, weights).

    Input shape: (batch, time, dim).
    Output shape: as the input's.

    Example:

    >>> block = TransformerEncoderBlock(num_heads=2, feed_forward=16)
    >>> block(keras.ops.ones((1, 3, 8))).shape == (1, 3, 8)
    True

    Reference: Vaswani et al. 2017, "Attention Is All You Need", section 3.1; Xiong et al. 2020, "On Layer Normalization
    in the Transformer Architecture", for pre-norm.
    """

    def call(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        mask: Tensor | None = None,
        inputs_mask: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        mask = inputs_mask if mask is None else mask
        attended = self._self_attention(
            self._before(self._self_attention_norm, inputs),
            query_mask=mask,
            attention_mask=attention_mask,
            return_attention_scores=return_attention_scores,
            training=training,
        )
        attended, scores = attended if return_attention_scores else (attended, None)
        x = self._after(self._self_attention_norm, inputs, attended, training)
        outputs = self._feed(x, mask, training)
        return (outputs, scores) if return_attention_scores else outputs

    def compute_output_spec(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        **arguments: Any,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, keras.KerasTensor]:
        outputs = keras.KerasTensor(inputs.shape, self.compute_dtype)
        if not return_attention_scores:
            return outputs
        batch, time, _ = inputs.shape
        return outputs, keras.KerasTensor((batch, self.num_heads, time, time), self.compute_dtype)
