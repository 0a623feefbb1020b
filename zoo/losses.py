"""Losses that Keras lacks."""

import keras


def mixed(labels, logits):
    """Whether labels are distributions over the classes of `logits` (batch, classes), as mixup makes them."""
    return len(labels.shape) == 2 and labels.shape[-1] == logits.shape[-1]


@keras.saving.register_keras_serializable("zoo")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with labels whose mass `smoothing` is spread over all classes.

    loss = -(1 - smoothing) sum_k q_k log p_k - smoothing / n sum_k log p_k, with q the one-hot or mixed label

    Args:
        smoothing: the mass spread, in [0, 1).
    Input shape: labels (batch,) integers, or (batch, n) distributions; logits (batch, n).
    Reference: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
    """

    def __init__(self, smoothing=0.0, name="smoothed_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        ops = keras.ops
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)  # (batch, n)
        if mixed(y_true, y_pred):
            target = ops.cast(y_true, log_p.dtype)
        else:
            target = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), log_p.shape[-1], dtype=log_p.dtype)
        target = (1.0 - self.smoothing) * target + self.smoothing / log_p.shape[-1]
        return -ops.sum(target * log_p, axis=-1)  # (batch,)

    def get_config(self):
        return {**super().get_config(), "smoothing": self.smoothing}
