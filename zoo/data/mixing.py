"""Images of a batch mixed with one another, as a stateless function of (batch, seed)."""

import dataclasses

from zoo.data._tensorflow import Tensor, tensorflow

MIXING = 7
"""Told apart from the augmentation's numbers, which come of the same seed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixing:
    """Each image is mixed with the next of its batch, and so is its label. 0 leaves images alone.

    Attributes:
        mixup: alpha; share x + (1 - share) x', the share of Beta(alpha, alpha).
        cutmix: alpha; a box of x' in x, of an area of Beta(alpha, alpha), cut off at the border; the label's share is
            the area that is left. Where both are given, half of the batches get each.
        classes: how many; labels become distributions over them.
    Reference: Zhang et al. 2018, "mixup", equation 1; Yun et al. 2019, "CutMix", equations 1 and 2.
    """

    mixup: float
    cutmix: float
    classes: int

    def __call__(self, images: Tensor, labels: Tensor, *weights: Tensor, seed: Tensor) -> tuple[Tensor, ...]:
        """(images, labels, *weights) mixed: labels (batch,) become (batch, classes); `weights` are (batch,)."""
        if not (self.mixup or self.cutmix):
            return (images, labels, *weights)
        tf = tensorflow()
        seed = tf.stack([seed[0], seed[1] + MIXING])
        coin = tf.random.stateless_uniform([], seed)
        if self.mixup and self.cutmix:
            images, share = tf.cond(coin < 0.5, lambda: self._blended(images, seed), lambda: self._boxed(images, seed))
        else:
            images, share = (self._blended if self.mixup else self._boxed)(images, seed)
        target = tf.one_hot(labels, self.classes)  # (batch, classes)
        target = share[:, None] * target + (1 - share[:, None]) * _next(target)
        return (images, target, *(share * weight + (1 - share) * _next(weight) for weight in weights))

    def _blended(self, images: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        share = _beta(self.mixup, images, seed)
        weight = share[:, None, None, None]
        return weight * images + (1 - weight) * _next(images), share

    def _boxed(self, images: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        tf = tensorflow()
        height, width = images.shape[1:3]
        side = tf.sqrt(1 - _beta(self.cutmix, images, seed))  # of the box, as a fraction of the image's
        middle = tf.random.stateless_uniform([2, tf.shape(images)[0]], seed)
        down = _within(middle[0], side, height)  # (batch, height)
        across = _within(middle[1], side, width)
        box = (down[:, :, None] & across[:, None, :])[..., None]  # (batch, height, width, 1)
        return tf.where(box, _next(images), images), 1 - tf.reduce_mean(tf.cast(box, tf.float32), axis=(1, 2, 3))


def _next(batch: Tensor) -> Tensor:
    return tensorflow().roll(batch, -1, axis=0)


def _beta(alpha: float, images: Tensor, seed: Tensor) -> Tensor:
    """(batch,) numbers of Beta(alpha, alpha): x / (x + y) of two of Gamma(alpha)."""
    tf = tensorflow()
    x, y = tf.unstack(tf.random.stateless_gamma([2, tf.shape(images)[0]], seed, alpha))
    return tf.math.divide_no_nan(x, x + y)


def _within(middle: Tensor, side: Tensor, size: int) -> Tensor:
    """(batch, size): which pixels of an axis lie within `side` around `middle`, both fractions."""
    tf = tensorflow()
    pixel = (tf.range(size, dtype=tf.float32) + 0.5) / size
    return tf.abs(pixel[None] - middle[:, None]) < side[:, None] / 2
