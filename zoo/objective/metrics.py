"""Metrics that Keras lacks. Each says by `_direction`, as Keras's own do, whether more (up) or less of it is better."""

import math
from typing import Any

import keras

from zoo.objective import Tensor
from zoo.objective.losses import mixed, pair_scores, token_surprise


@keras.saving.register_keras_serializable("zoo")
class Accuracy(keras.metrics.SparseCategoricalAccuracy):
    """How often the largest logit is that of the label, or of the largest share of a mixed one.

    Input shape: labels (batch,) integers, or (batch, n) distributions; logits (batch, n).
    """

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Any:
        if mixed(y_true, y_pred):
            y_true = keras.ops.argmax(y_true, axis=-1)
        return super().update_state(y_true, y_pred, sample_weight)


class _Confusion(keras.metrics.Metric):
    """Counts of pixels by true and predicted class; a true id that is no class is not counted.

    Args:
        classes: how many.
    Input shape: masks (batch, height, width) integers; logits (batch, height, width, classes).
    """

    def __init__(self, classes: int, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._direction = "up"
        self.classes = classes
        self.counts = self.add_variable((classes, classes), "zeros", name="counts")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        ops = keras.ops
        true = ops.reshape(ops.cast(y_true, "int32"), (-1,))  # (pixels,)
        cells = true * self.classes + ops.reshape(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), (-1,))
        counted = ops.cast(ops.logical_and(true >= 0, true < self.classes), self.dtype)
        cells = ops.where(counted > 0, cells, 0)
        found = ops.segment_sum(counted, cells, num_segments=self.classes**2)
        self.counts.assign_add(ops.reshape(found, (self.classes, self.classes)))

    def _overlap(self) -> tuple[Tensor, Tensor, Tensor]:
        """(pixels that are of each class and are called so, pixels of it, pixels called so)."""
        counts = keras.ops.convert_to_tensor(self.counts)
        return keras.ops.diagonal(counts), keras.ops.sum(counts, axis=1), keras.ops.sum(counts, axis=0)

    def _mean(self, parts: Tensor, wholes: Tensor) -> Tensor:
        """The mean of parts / wholes over the classes that there are."""
        present = keras.ops.cast(wholes > 0, self.dtype)
        return keras.ops.sum(parts / keras.ops.maximum(wholes, 1)) / keras.ops.maximum(keras.ops.sum(present), 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable("zoo")
class MeanIoU(_Confusion):
    """Intersection over union, TP / (TP + FP + FN) of all pixels so far, the mean over classes that occur.

    Keras's own takes no ids outside the classes together with logits.
    """

    def result(self) -> Tensor:
        hits, true, said = self._overlap()
        return self._mean(hits, true + said - hits)


@keras.saving.register_keras_serializable("zoo")
class MeanDice(_Confusion):
    """Dice's coefficient, 2 TP / (2 TP + FP + FN) of all pixels so far, the mean over classes that occur."""

    def result(self) -> Tensor:
        hits, true, said = self._overlap()
        return self._mean(2 * hits, true + said)


@keras.saving.register_keras_serializable("zoo")
class TokenAccuracy(keras.metrics.Mean):
    """How often the largest logit is that of the token; padding (id 0) is not counted.

    Input shape: ids (batch, time); logits (batch, time, vocabulary).
    """

    def __init__(self, name: str = "token_accuracy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._direction = "up"

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Any:
        right = keras.ops.equal(keras.ops.cast(y_true, "int32"), keras.ops.cast(keras.ops.argmax(y_pred, -1), "int32"))
        return super().update_state(right, token_surprise(y_true, y_pred, sample_weight)[1])


@keras.saving.register_keras_serializable("zoo")
class Perplexity(keras.metrics.Mean):
    """exp of the mean surprise of a token, in nats; padding (id 0) is not counted.

    Input shape: ids (batch, time); logits (batch, time, vocabulary).
    """

    def __init__(self, name: str = "perplexity", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._direction = "down"

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Any:
        return super().update_state(*token_surprise(y_true, y_pred, sample_weight))

    def result(self) -> Tensor:
        return keras.ops.exp(super().result())


@keras.saving.register_keras_serializable("zoo")
class BitsPerToken(Perplexity):
    """The mean surprise of a token, in bits: of a network of characters, its bits per character."""

    def result(self) -> Tensor:
        return keras.ops.log(super().result()) / math.log(2.0)


@keras.saving.register_keras_serializable("zoo")
class PairAccuracy(keras.metrics.Mean):
    """How often a text's partner is the nearest of the partners in its batch, both ways round.

    Input shape: anything (2n,), which is not looked at; vectors (2n, width), n and then their n partners.
    """

    def __init__(self, name: str = "pair_accuracy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._direction = "up"

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Any:
        scores = pair_scores(y_pred)  # (n, n)
        own = keras.ops.arange(keras.ops.shape(scores)[0], dtype="int32")
        found = [keras.ops.cast(keras.ops.argmax(scores, axis=axis), "int32") for axis in (1, 0)]
        return super().update_state(keras.ops.concatenate([keras.ops.equal(one, own) for one in found]))
