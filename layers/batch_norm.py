import keras

from zoo.layers import _backend
from zoo.layers._typing import Tensor


@keras.saving.register_keras_serializable("zoo")
class BatchNorm(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with TensorFlow's fused kernel where that applies.

    Arguments, weights, names and numbers are Keras's: the moving variance is that of the biased variance, although
    the kernel returns the unbiased one. The kernel serves training on TensorFlow, on inputs of
    (batch, height, width, channels), without a mask, renormalisation or synchronisation; everything else is Keras's
    own code. What it gains is in docs/benchmarks.md.

    Args:
        **kwargs: The arguments of `keras.layers.BatchNormalization`, with its defaults. Papers' epsilon is 1e-5 and
            momentum 0.9; Keras's defaults are 1e-3 and 0.99.

    Call arguments:
        inputs: Tensor to normalise.
        training: Boolean, whether to normalise by the batch's statistics and to move the averages.
        mask: Boolean tensor with one axis less than `inputs`, or None.

    Input shape: (batch, ..., channels), or as `axis` says.
    Output shape: as the input's.

    Example:

    >>> BatchNorm(epsilon=1e-5)(keras.ops.ones((2, 4, 4, 3)), training=True).shape == (2, 4, 4, 3)
    True

    Reference: Ioffe & Szegedy 2015, "Batch Normalization", algorithm 1.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        if not (training and self.trainable and mask is None and self._fused(inputs)):
            return super().call(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        gamma = self.gamma.value if self.scale else keras.ops.ones((channels,))
        beta = self.beta.value if self.center else keras.ops.zeros((channels,))
        outputs, mean, variance = _backend.fused_batch_norm(inputs, gamma, beta, self.epsilon)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average.value * self.momentum + value * (1.0 - self.momentum))
        return outputs

    def _fused(self, inputs):
        plain = keras.backend.backend() == "tensorflow" and not self.renorm and not self.synchronized
        images = len(inputs.shape) == 4 and self.axis in (-1, 3)
        return plain and images and inputs.dtype in ("float32", "float16", "bfloat16")
