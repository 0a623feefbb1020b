from collections.abc import Sequence
from typing import Any

import keras

from zoo.layers import _checks
from zoo.layers._typing import Initializer, InitializerFunction, Regularizer, RegularizerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class SoftmaxGate(keras.layers.Layer):
    """Mixes n candidates by softmax weights, or with `hard` passes the best one on: a switch.

    f(X, R) = sum_i p_i X_i, with p = softmax(R / temperature)

    Two candidates with the scores [r, 0] are `SoftGate` of r. With `hard` the weights are one-hot at the largest
    score (the first of equals). The gradient then reaches the selected candidate alone; for the scores, which a
    one-hot does not depend on, it is that of the soft weights (straight-through).

    Args:
        temperature: Float above 0. As it falls towards 0 the weights become one-hot, as it grows they become uniform.
            Defaults to 1.0.
        hard: Boolean, whether to select instead of to mix. Defaults to False.
        kernel_initializer: Initializer for the scores' weights where only X is given. Defaults to "glorot_uniform".
        bias_initializer: Initializer for their bias. Defaults to "zeros".
        kernel_regularizer: Regularizer or None, for their weights. Defaults to None.

    Call arguments:
        inputs: List `[X, R]` of two tensors, candidates and scores; or the tensor X alone: then candidate i's score is
            w . mean(X_i) + b_i, the mean over all its positions, with trained w and b.
        mask: Boolean tensor of (batch, n), X's Keras mask, or None. A False candidate has weight 0. Where all are
            False, the answer is 0.

    Input shape: X (batch, n, ..., features) or (batch, n); R (batch, n).
    Output shape: (batch, ..., features), or (batch,).

    Example:

    >>> candidates = keras.ops.array([[[1.0, 2.0], [3.0, 4.0]]])
    >>> SoftmaxGate(hard=True)([candidates, keras.ops.array([[0.0, 1.0]])]).tolist()
    [[3.0, 4.0]]

    Reference: LeCun 2020, Deep Learning course, "Multiplicative modules"; Bengio, Léonard & Courville 2013,
    "Estimating or Propagating Gradients Through Stochastic Neurons", section 4 (straight-through).
    """

    def __init__(
        self,
        temperature: float = 1.0,
        hard: bool = False,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        _checks.real("temperature", temperature, 0, above=True)
        self.temperature: float = temperature
        self.hard: bool = _checks.flag("hard", hard)
        self.kernel_initializer: InitializerFunction = keras.initializers.get(kernel_initializer)
        self.bias_initializer: InitializerFunction = keras.initializers.get(bias_initializer)
        self.kernel_regularizer: RegularizerFunction | None = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape | Sequence[Shape]) -> None:
        candidates, scores = self._shapes(input_shape)
        if len(candidates) < 2:
            raise ValueError(f"SoftmaxGate takes candidates of (batch, n, ...). Received: X of {candidates}")
        if scores is not None:
            if not _checks.agree(scores, candidates[:2]):
                raise ValueError(
                    f"SoftmaxGate takes one score a candidate, (batch, n). Received: R of {scores}, X of {candidates}"
                )
            return
        features = _checks.known("SoftmaxGate", candidates, -1) if len(candidates) > 2 else 1
        self.kernel: keras.Variable = self.add_weight(
            name="kernel",
            shape=(features, 1),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias: keras.Variable = self.add_weight(
            name="bias", shape=(_checks.known("SoftmaxGate", candidates, 1),), initializer=self.bias_initializer
        )

    def call(self, inputs: Tensor | Sequence[Tensor], mask: Tensor | Sequence[Tensor | None] | None = None) -> Tensor:
        if isinstance(inputs, (list, tuple)):
            candidates, scores = inputs
            mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        else:
            candidates, scores = inputs, self._score(inputs)  # (batch, n, ...), (batch, n)
        weights = self._weigh(scores, mask)  # (batch, n)
        weights = keras.ops.cast(weights, candidates.dtype)
        return keras.ops.einsum("bn,bn...->b...", weights, candidates)  # (batch, ...)

    def _score(self, candidates):
        if len(candidates.shape) == 2:
            candidates = keras.ops.expand_dims(candidates, -1)  # (batch, n, 1)
        between = tuple(range(2, len(candidates.shape) - 1))
        pooled = keras.ops.mean(candidates, axis=between) if between else candidates  # (batch, n, features)
        return keras.ops.squeeze(keras.ops.matmul(pooled, self.kernel), -1) + self.bias  # (batch, n)

    def _weigh(self, scores, mask):
        scores = keras.ops.cast(scores, "float32") / self.temperature  # half precision has no digits for far scores
        if mask is not None:
            scores = keras.ops.where(mask, scores, -1e30)
        soft = keras.ops.softmax(scores, axis=1)  # (batch, n)
        if mask is not None:
            soft = keras.ops.where(mask, soft, 0.0)  # a row without a candidate would be uniform
        if not self.hard:
            return soft
        best = keras.ops.cast(soft == keras.ops.max(soft, axis=1, keepdims=True), "int32")
        best = best * keras.ops.cast(keras.ops.cumsum(best, axis=1) == 1, "int32")  # (batch, n), one-hot
        best = keras.ops.cast(best, "float32")
        if mask is not None:
            best = keras.ops.where(mask, best, 0.0)
        return best + (soft - keras.ops.stop_gradient(soft))  # the bracket is exactly 0

    def _shapes(self, input_shape):
        """(X's shape, R's or None)"""
        if input_shape and isinstance(input_shape[0], (list, tuple)):
            return _checks.several("SoftmaxGate", input_shape, (2,), "[X, R]")
        return tuple(input_shape), None

    def compute_output_shape(self, input_shape: Shape | Sequence[Shape]) -> Shape:
        candidates, _ = self._shapes(input_shape)
        return (candidates[0], *candidates[2:])

    def compute_mask(
        self, inputs: Tensor | Sequence[Tensor], previous_mask: Tensor | Sequence[Tensor | None] | None
    ) -> None:
        return None  # the masked axis is gone

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "hard": self.hard,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
