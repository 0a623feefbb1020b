"""`resize`: images resized in the two rounded passes of Pillow, columns first, by stock operations."""

import math
from collections.abc import Sequence
from typing import Any

from zoo.data._tensorflow import Tensor, tensorflow

_BITS = 22
"""Binary places of the weights, as Pillow keeps them for 8-bit pixels: 32 - 8 - 2."""

SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
"""How many pixels of the smaller image a filter reaches to each side."""


def covering(size: Sequence[int], fraction: float) -> tuple[int, int]:
    """Returns (height, width) of what an image has to cover, so that `size` is that `fraction` of it, rounded down."""
    height, width = (math.floor(edge / fraction) for edge in size[:2])
    return height, width


def resize(images: Tensor, size: Any, window: Any, method: str) -> Tensor:
    """Returns a window of images that are resized as `PIL.Image.resize` does: antialiased, columns first, each pass
    rounded to whole numbers.

    Args:
        images: uint8 (count, height, width, channels).
        size: (height, width) of the whole images, resized.
        window: (top, left, height, width) of what is wanted of them.
        method: "bilinear" or "bicubic".
    Returns: uint8 (count, height, width, channels) of the window.
    """
    tf = tensorflow()

    pixels = images
    for axis in (1, 0):  # columns, then rows; what is gathered stands in one piece
        pixels = tf.transpose(pixels, [0, 2, 1, 3])
        places, weights = _taps(tf.shape(pixels)[1], size[axis], window[axis], window[axis + 2], method)
        pixels = _weighed(pixels, places, weights)
    return pixels


def _taps(before: Tensor, after: Any, begin: Any, count: Any, method: str) -> tuple[Tensor, Tensor]:
    """Which pixels of an axis make `count` pixels from `begin` on, and how much each counts: int32 (taps, count) both.

    An axis of `before` pixels becomes one of `after`.
    """
    tf = tensorflow()

    scale = tf.cast(before, tf.float64) / tf.cast(after, tf.float64)
    stretch = tf.maximum(scale, 1.0)
    reach = SUPPORT[method] * stretch
    centers = (tf.cast(tf.range(count) + begin, tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(centers - reach + 0.5, tf.int32), 0)  # casts cut off, as C does
    last = tf.minimum(tf.cast(centers + reach + 0.5, tf.int32), before)
    places = first + tf.range(2 * tf.cast(tf.math.ceil(reach), tf.int32) + 1)[:, None]
    weights = _filter((tf.cast(places, tf.float64) - centers + 0.5) / stretch, method)
    weights = tf.where(places < last, weights, 0.0)
    weights = weights / tf.reduce_sum(weights, axis=0) * 2.0**_BITS
    half = tf.where(weights < 0, tf.constant(-0.5, tf.float64), 0.5)
    return tf.minimum(places, before - 1), tf.cast(weights + half, tf.int32)


def _filter(x: Tensor, method: str) -> Tensor:
    """A triangle, or the cubic of Keys with a = -0.5, at float64 `x`."""
    tf = tensorflow()

    x = tf.abs(x)
    if method == "bilinear":
        return tf.maximum(1.0 - x, 0.0)
    a = -0.5
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))


def _weighed(pixels: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """uint8 pixels whose axis 1 is made of what stands at `places` (taps, count) of it, times `weights`."""
    tf = tensorflow()

    def tapped(tap):
        return tf.cast(tf.gather(pixels, places[tap], axis=1), tf.int32) * weights[tap][:, None, None]

    begin = tapped(0) + (1 << (_BITS - 1))
    _, total = tf.while_loop(
        lambda tap, _: tap < tf.shape(places)[0],
        lambda tap, total: (tap + 1, total + tapped(tap)),
        (tf.constant(1), begin),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, None, pixels.shape[-1]])),
    )
    return tf.cast(tf.clip_by_value(tf.bitwise.right_shift(total, _BITS), 0, 255), tf.uint8)
