"""Augmentation as a stateless function of (batch, seed): the same seed gives the same images, in any order.

Keras's Random* layers hold a counter, and in a parallel pipeline two equal runs would differ.
"""

import dataclasses
import math

from zoo.data._tensorflow import Tensor, tensorflow


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much training images are changed at random; 0 (or "none") leaves that property alone.

    Attributes:
        crop: pixels; images are padded by so many zeros on each side and cropped back at random.
        flip: "none", "horizontal" or "both"; each with probability 1/2.
        rotation: degrees, uniform in -rotation to rotation.
        shear: degrees, as rotation.
        zoom: factor, log-uniform in 1 / (1 + zoom) to 1 + zoom.
        shift: fraction of height and width, uniform.
        brightness: fraction of 255 added, uniform.
        contrast, saturation: factor, uniform in 1 - x to 1 + x.
        blur: pixels; sigma of a Gaussian, uniform in 0 to blur.
    Reference: He et al. 2015 (crop and flip); Simard et al. 2003 (affine).
    """

    crop: int = 0
    flip: str = "none"
    rotation: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    blur: float = 0.0

    def __call__(self, images: Tensor, seed: Tensor) -> Tensor:
        """float32 (batch, height, width, channels), 0 to 255, of images of that shape and an integer pair."""
        tf = tensorflow()
        images = tf.cast(images, tf.float32)
        draw = _Draw(tf.shape(images)[0], seed)
        if self.crop or self.flip != "none" or self.rotation or self.shear or self.zoom or self.shift:
            images = self._move(images, draw)
        if self.blur:
            images = _blurred(images, (draw.uniform("blur", self.blur) + self.blur) / 2, math.ceil(2 * self.blur))
        if self.brightness or self.contrast or self.saturation:
            images = self._colour(images, draw)
        return images

    def _move(self, images: Tensor, draw: "_Draw") -> Tensor:
        """All geometry in one interpolation: output pixel (x, y) is read at A (x, y); zeros lie outside."""
        tf = tensorflow()
        height, width = images.shape[1:3]
        angle = draw.uniform("rotation", math.radians(self.rotation))
        slant = draw.uniform("shear", math.radians(self.shear))
        scale = tf.exp(draw.uniform("zoom", math.log1p(self.zoom)))
        across = draw.sign("horizontal") if self.flip != "none" else 1.0
        down = draw.sign("vertical") if self.flip == "both" else 1.0
        a, b = tf.cos(angle) * across / scale, (tf.sin(slant) - tf.sin(angle)) * down / scale
        c, d = tf.sin(angle) * across / scale, tf.cos(angle) * down / scale
        move_x = draw.uniform("x", self.shift * width) + draw.integer("left", self.crop)
        move_y = draw.uniform("y", self.shift * height) + draw.integer("top", self.crop)
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        left = middle_x - a * middle_x - b * middle_y + move_x
        top = middle_y - c * middle_x - d * middle_y + move_y
        zero = tf.zeros_like(a)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=tf.stack([a, b, left, c, d, top, zero, zero], axis=1),
            output_shape=[height, width],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )

    def _colour(self, images: Tensor, draw: "_Draw") -> Tensor:
        tf = tensorflow()

        def factor(name, amount):
            return (1 + draw.uniform(name, amount))[:, None, None, None]

        images += draw.uniform("brightness", 255 * self.brightness)[:, None, None, None]
        mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        images = mean + (images - mean) * factor("contrast", self.contrast)
        if self.saturation:
            grey = tf.reduce_sum(images * [0.299, 0.587, 0.114], axis=-1, keepdims=True)
            images = grey + (images - grey) * factor("saturation", self.saturation)
        return tf.clip_by_value(images, 0.0, 255.0)


class _Draw:
    """Random numbers, one an image and purpose, all drawn at once: a row a purpose, so one more changes no other."""

    _rows = ("rotation", "shear", "zoom", "horizontal", "vertical", "x", "y", "left", "top", "blur")
    _rows += ("brightness", "contrast", "saturation")

    def __init__(self, count: Tensor, seed: Tensor) -> None:
        self._uniform = tensorflow().random.stateless_uniform([len(self._rows), count], seed)  # (purposes, batch)

    def uniform(self, name: str, most: float) -> Tensor:
        """Uniform in -most to most."""
        return (self._uniform[self._rows.index(name)] * 2 - 1) * most

    def integer(self, name: str, most: int) -> Tensor:
        """A whole number from -most to most, as float32."""
        return tensorflow().floor(self._uniform[self._rows.index(name)] * (2 * most + 1)) - most

    def sign(self, name: str) -> Tensor:
        """-1 or 1."""
        return tensorflow().where(self._uniform[self._rows.index(name)] < 0.5, -1.0, 1.0)


def _blurred(images: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Each image blurred with its own sigma: two passes of shifted sums, edges mirrored."""
    tf = tensorflow()
    offsets = tf.range(-reach, reach + 1, dtype=tf.float32)
    weights = tf.exp(-0.5 * (offsets / tf.maximum(sigma[:, None], 1e-3)) ** 2)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)  # (batch, taps)
    for axis in (1, 2):
        size = images.shape[axis]
        padding = [[0, 0]] * 4
        padding[axis] = [reach, reach]
        padded = tf.pad(images, padding, mode="SYMMETRIC")
        images = tf.add_n(
            [
                weights[:, tap, None, None, None] * tf.gather(padded, tf.range(tap, tap + size), axis=axis)
                for tap in range(2 * reach + 1)
            ]
        )
    return images
