"""Metrics that Keras lacks."""

import keras

from zoo.losses import mixed


@keras.saving.register_keras_serializable("zoo")
class Accuracy(keras.metrics.SparseCategoricalAccuracy):
    """How often the largest logit is that of the label, or of the largest share of a mixed one.

    Input shape: labels (batch,) integers, or (batch, n) distributions; logits (batch, n).
    """

    def update_state(self, y_true, y_pred, sample_weight=None):
        if mixed(y_true, y_pred):
            y_true = keras.ops.argmax(y_true, axis=-1)
        return super().update_state(y_true, y_pred, sample_weight)
