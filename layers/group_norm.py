import functools
import math
from typing import Any

import keras

from zoo.layers import _backend, _checks
from zoo.layers._typing import Initializer, InitializerFunction, Regularizer, RegularizerFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class GroupNorm(keras.layers.Layer):
    """Normalises each example over its positions and over groups of channels; no example depends on its batch.

    y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and (biased) variance over a group

    groups = channels is instance norm, groups = 1 layer norm over all positions and channels. Statistics are summed
    in float32 about the mean and corrected once more, so that they stay exact where the mean is a thousand times
    the deviation; no E[x^2] - E[x]^2.

    Args:
        groups: Integer, the number of groups. It must divide the number of channels. Defaults to 32.
        epsilon: Float above 0, added to the variance. Defaults to 1e-5.
        axis: Integer, the axis of the channels; not 0, the batch. Defaults to -1.
        center: Boolean, whether there is a beta for each channel. Defaults to True.
        scale: Boolean, whether there is a gamma for each channel. Defaults to True.
        beta_initializer: Initializer for beta. Defaults to "zeros".
        gamma_initializer: Initializer for gamma. Defaults to "ones".
        beta_regularizer: Regularizer or None, for beta. Defaults to None.
        gamma_regularizer: Regularizer or None, for gamma. Defaults to None.

    Call arguments:
        inputs: Tensor to normalise.
        mask: Boolean tensor of (batch, positions ...), Keras's mask of the input, or None. Positions that are False do
            not take part in the statistics.
        training: Boolean, whether to compute in a quicker form with the same numbers (one closed-form gradient).

    Input shape: (batch, ...) with a known number of channels.
    Output shape: as the input's.

    Example:

    >>> y = GroupNorm(groups=2)(keras.random.normal((4, 8, 8, 6)))
    >>> y.shape == (4, 8, 8, 6)
    True

    Reference: Wu & He 2018, "Group Normalization", section 3; Chan, Golub & LeVeque 1983, "Algorithms for Computing
    the Sample Variance", equation 1.7 (the corrected two-pass algorithm).
    """

    def __init__(
        self,
        groups: int = 32,
        epsilon: float = 1e-5,
        axis: int = -1,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        beta_regularizer: Regularizer | None = None,
        gamma_regularizer: Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.autocast = False  # half precision input is cast up once, here
        self.groups: int = _checks.whole("groups", groups)
        _checks.real("epsilon", epsilon, 0, above=True)
        self.epsilon: float = epsilon
        if isinstance(axis, bool) or not isinstance(axis, int) or axis == 0:
            raise ValueError(f"axis must be a whole number other than 0, the batch. Received: axis={axis!r}")
        self.axis: int = axis
        self.center: bool = _checks.flag("center", center)
        self.scale: bool = _checks.flag("scale", scale)
        self.beta_initializer: InitializerFunction = keras.initializers.get(beta_initializer)
        self.gamma_initializer: InitializerFunction = keras.initializers.get(gamma_initializer)
        self.beta_regularizer: RegularizerFunction | None = keras.regularizers.get(beta_regularizer)
        self.gamma_regularizer: RegularizerFunction | None = keras.regularizers.get(gamma_regularizer)

    def build(self, input_shape: Shape) -> None:
        channels = _checks.known("GroupNorm", input_shape, self.axis)
        if self.axis % len(input_shape) == 0:
            raise ValueError(f"GroupNorm's axis is the batch. Received: axis={self.axis}, input_shape={input_shape}")
        if channels % self.groups:
            fits = [number for number in range(1, channels + 1) if channels % number == 0]
            nearest = min(fits, key=lambda number: abs(number - self.groups))
            raise ValueError(
                f"groups must divide the number of channels. Received: groups={self.groups}, {channels} channels. "
                f"The nearest that does is groups={nearest}."
            )
        if self.scale:
            self.gamma: keras.Variable = self.add_weight(
                name="gamma",
                shape=(channels,),
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                autocast=False,
            )
        if self.center:
            self.beta: keras.Variable = self.add_weight(
                name="beta",
                shape=(channels,),
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                autocast=False,
            )

    def call(self, inputs: Tensor, mask: Tensor | None = None, training: bool | None = None) -> Tensor:
        last = self.axis % len(inputs.shape) == len(inputs.shape) - 1
        x = inputs if last else keras.ops.moveaxis(inputs, self.axis, -1)
        shape, channels = keras.ops.shape(x), x.shape[-1]
        x = keras.ops.reshape(keras.ops.cast(x, "float32"), (shape[0], math.prod(shape[1:-1]), channels))
        gamma = self.gamma.value if self.scale else keras.ops.ones((channels,))
        beta = self.beta.value if self.center else keras.ops.zeros((channels,))
        if mask is None:
            weights = keras.ops.ones_like(x[:, None, :, 0])  # (batch, 1, positions)
        else:
            weights = keras.ops.reshape(keras.ops.cast(mask, "float32"), (shape[0], 1, x.shape[1] or -1))
        if training:
            backward = functools.partial(self._backward, masked=mask is not None)
            y = _backend.custom_gradient(self._forward, backward)(x, gamma, beta, weights)
        else:  # plain operations: exports take no custom gradient
            y, _ = self._forward(x, gamma, beta, weights)
        y = keras.ops.reshape(keras.ops.cast(y, self.compute_dtype), shape)
        return y if last else keras.ops.moveaxis(y, -1, self.axis)

    def _forward(self, x, gamma, beta, weights):
        """x (batch, positions, channels) normalised, and what its gradient needs.

        Sums over positions are matrix products with the weights: the quickest reduction on every backend.
        """
        shares = weights / keras.ops.maximum(keras.ops.sum(weights, axis=2, keepdims=True), 1.0)
        deviation = x - self._group_mean(keras.ops.matmul(shares, x))  # (batch, positions, channels)
        left = self._group_mean(keras.ops.matmul(shares, deviation))  # what rounding left of the mean
        square = self._group_mean(keras.ops.matmul(shares, keras.ops.square(deviation)))  # (batch, 1, channels)
        inverse = keras.ops.rsqrt(keras.ops.maximum(square - keras.ops.square(left), 0.0) + self.epsilon)
        slope = inverse * gamma  # (batch, 1, channels)
        return deviation * slope + (beta - left * slope), (deviation, left, inverse, gamma, shares)

    def _backward(self, kept, upstream, masked):
        """The gradients for x, gamma and beta; the mask's is never asked for."""
        deviation, left, inverse, gamma, shares = kept
        ones = keras.ops.ones_like(shares)
        total = keras.ops.matmul(ones, upstream)  # (batch, 1, channels)
        along = keras.ops.matmul(ones, upstream * deviation) - left * total
        # the mean and the variance are means over `shares`: through them each position gets its share
        by_mean = self._group_mean(total * gamma) * inverse
        by_variance = self._group_mean(along * gamma) * inverse**3
        by_rest = by_mean - left * by_variance
        if masked:
            shares = keras.ops.transpose(shares, (0, 2, 1))  # (batch, positions, 1)
            through = shares * (deviation * by_variance + by_rest)
        else:  # all shares are one number: one pass over the positions less
            share = shares[:, :, :1]  # (batch, 1, 1)
            through = deviation * (share * by_variance) + share * by_rest
        gradient = upstream * (inverse * gamma) - through
        return (
            gradient,
            keras.ops.sum(along * inverse, axis=(0, 1)),
            keras.ops.sum(total, axis=(0, 1)),
            keras.ops.zeros_like(ones),
        )

    def _group_mean(self, values):
        """(batch, 1, channels) with each channel's value replaced by the mean of its group."""
        channels = values.shape[-1]
        if self.groups == channels:
            return values
        grouped = keras.ops.reshape(values, (-1, 1, self.groups, channels // self.groups))
        means = keras.ops.mean(grouped, axis=3, keepdims=True)
        return keras.ops.reshape(keras.ops.broadcast_to(means, keras.ops.shape(grouped)), (-1, 1, channels))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "groups": self.groups,
            "epsilon": self.epsilon,
            "axis": self.axis,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": keras.initializers.serialize(self.beta_initializer),
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "beta_regularizer": keras.regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": keras.regularizers.serialize(self.gamma_regularizer),
        }
