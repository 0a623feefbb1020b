"""Losses that Keras lacks."""

import keras


@keras.saving.register_keras_serializable("zoo")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with integer labels whose mass `smoothing` is spread over all classes.

    loss = -(1 - smoothing) log p_y - smoothing / n sum_k log p_k

    Args:
        smoothing: the mass spread, in [0, 1).
    Input shape: labels (batch,) integers; logits (batch, n).
    Reference: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
    """

    def __init__(self, smoothing=0.0, name="smoothed_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        ops = keras.ops
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)  # (batch, n)
        target = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), log_p.shape[-1], dtype=log_p.dtype)
        target = (1.0 - self.smoothing) * target + self.smoothing / log_p.shape[-1]
        return -ops.sum(target * log_p, axis=-1)  # (batch,)

    def get_config(self):
        return {**super().get_config(), "smoothing": self.smoothing}
