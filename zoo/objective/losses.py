"""Losses that Keras lacks."""

from typing import Any

import keras

from zoo.objective import Tensor


def mixed(labels: Tensor, logits: Tensor) -> bool:
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

    def __init__(self, smoothing: float = 0.0, name: str = "smoothed_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        ops = keras.ops
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"), axis=-1)  # (batch, n)
        if mixed(y_true, y_pred):
            target = ops.cast(y_true, log_p.dtype)
        else:
            target = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), log_p.shape[-1], dtype=log_p.dtype)
        target = (1.0 - self.smoothing) * target + self.smoothing / log_p.shape[-1]
        return -ops.sum(target * log_p, axis=-1)  # (batch,)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}


@keras.saving.register_keras_serializable("zoo")
class MaskLoss(keras.losses.Loss):
    """How far class scores of pixels are from a mask of class ids. Pixels with any other id are outside the loss.

    cross_entropy: -sum_x w(x) log p_y(x) / n, over the n pixels x with a class
    dice: 1 - mean over classes k of (2 sum_x p_k(x) t_k(x) + 1) / (sum_x p_k(x) + sum_x t_k(x) + 1), t one-hot
    both: their sum. The sums run over a whole batch.

    Args:
        kind: "cross_entropy", "dice" or "both".
    Input shape: masks (batch, height, width) integers; logits (batch, height, width, classes); sample weights, the w
        of cross-entropy, as the masks.
    Reference: Ronneberger, Fischer & Brox 2015, "U-Net", equation 1; Milletari, Navab & Ahmadi 2016, "V-Net",
        section 3 (Dice, here without squares).
    """

    def __init__(self, kind: str = "cross_entropy", name: str = "mask_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.kind = kind

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        ops = keras.ops
        logits = ops.cast(y_pred, "float32")  # (batch, height, width, classes)
        classes, ids = logits.shape[-1], ops.cast(y_true, "int32")
        counts = ops.logical_and(ids >= 0, ids < classes)  # (batch, height, width)
        target = ops.one_hot(ops.where(counts, ids, -1), classes, dtype="float32")  # zeros outside the loss
        loss = 0.0
        if self.kind in ("cross_entropy", "both"):
            weights = 1.0 if sample_weight is None else ops.cast(sample_weight, "float32")
            surprise = -ops.sum(target * ops.log_softmax(logits), axis=-1)  # (batch, height, width)
            loss += ops.sum(surprise * weights) / ops.maximum(ops.sum(ops.cast(counts, "float32")), 1.0)
        if self.kind in ("dice", "both"):
            odds = ops.softmax(logits) * ops.cast(counts, "float32")[..., None]
            both, either = (ops.sum(part, axis=(0, 1, 2)) for part in (odds * target, odds + target))  # (classes,)
            loss += 1.0 - ops.mean((2.0 * both + 1.0) / (either + 1.0))
        return loss

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("zoo")
class TokenLoss(keras.losses.Loss):
    """Cross-entropy of the next token, the mean over all tokens of a batch; padding (id 0) is outside the loss.

    loss = -(1 - smoothing) log p_y - smoothing / n sum_k log p_k

    Args:
        smoothing: the mass of the target that is spread over the vocabulary, in [0, 1).
    Input shape: ids (batch, time); logits (batch, time, n); sample weights, where given, (batch,) or as the ids.
    """

    def __init__(self, smoothing: float = 0.0, name: str = "token_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        ops = keras.ops
        surprise, weights = token_surprise(y_true, y_pred, sample_weight)  # (batch, time) each
        if self.smoothing:
            logits = ops.cast(y_pred, "float32")
            spread = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
            surprise = (1.0 - self.smoothing) * surprise + self.smoothing * spread
        return ops.sum(surprise * weights) / ops.maximum(ops.sum(weights), 1e-7)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}


def token_surprise(ids: Tensor, logits: Tensor, sample_weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(-log p of each token in nats, its weight), each (batch, time): 0 where there is padding (id 0)."""
    ops = keras.ops
    ids, logits = ops.cast(ids, "int32"), ops.cast(logits, "float32")
    weights = ops.cast(ops.not_equal(ids, 0), "float32")
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, "float32")
        weights = weights * (sample_weight if len(sample_weight.shape) == 2 else sample_weight[:, None])
    rows = ops.reshape(logits, (-1, logits.shape[-1]))  # torch sums (batch, time, n) in an order that loses digits
    surprise = ops.sparse_categorical_crossentropy(ops.reshape(ids, (-1,)), rows, from_logits=True)
    return ops.reshape(surprise, ops.shape(ids)), weights


@keras.saving.register_keras_serializable("zoo")
class PairLoss(keras.losses.Loss):
    """How far vectors are from their partners, beside the partners of the others in a batch (InfoNCE).

    loss = -mean_i (log softmax_j(a_i b_j / t)_i + log softmax_j(b_i a_j / t)_i) / 2, with a the first half of a batch,
    b the second, and i the pair. It is log n for n pairs of equal vectors.

    Args:
        temperature: t.
    Input shape: anything (2n,), which is not looked at; vectors (2n, width) of length 1, n and then their n partners.
    Reference: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", equation 4; both
        ways round as in Radford et al. 2021, "Learning Transferable Visual Models", figure 3.
    """

    def __init__(self, temperature: float = 0.05, name: str = "pair_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        ops = keras.ops
        scores = pair_scores(y_pred) / self.temperature  # (n, n)
        there, back = (ops.log_softmax(scores, axis=axis) for axis in (1, 0))
        return -ops.mean(ops.diagonal(there + back)) / 2

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


def pair_scores(vectors: Tensor) -> Tensor:
    """Scalar products (n, n) of the first half of vectors (2n, width) with the second, float32."""
    first, second = keras.ops.split(keras.ops.cast(vectors, "float32"), 2, axis=0)
    return keras.ops.matmul(first, keras.ops.transpose(second))
