"""Pieces of images and of their masks, cut at random: a stateless function of (image, seed)."""

import dataclasses
import math
from collections.abc import Sequence

from zoo.data._tensorflow import Tensor, tensorflow


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crops:
    """Cuts a piece out of an image, moved and bent at random, and the same piece out of its masks.

    The piece is read off the whole image in one interpolation, so a turned piece shows what lies beside it. Beyond
    the image it is mirrored; what is mirrored is told, for it has no mask of its own.

    Attributes:
        height, width: of a piece. Where the image is smaller it lies anywhere in it.
        flip: "none", "horizontal" or "both"; each with probability 1/2.
        rotation: degrees, uniform in -rotation to rotation.
        zoom: factor, log-uniform in 1 / (1 + zoom) to 1 + zoom.
        shift: fraction of height and width, uniform.
        elastic: pixels; the deviation of random displacements at 3 x 3 points, bicubic between them.
    Reference: Ronneberger, Fischer & Brox 2015, "U-Net", section 3.1 (elastic deformations).
    """

    height: int
    width: int
    flip: str = "none"
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0

    def __call__(self, picture: Tensor, masks: Sequence[Tensor], seed: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """A piece of each, float32 (height, width, channels) and (height, width), and where it is not mirrored.

        Args:
            image: (height, width, channels).
            masks: a sequence of (height, width), read at the nearest pixel.
            seed: an integer pair.
        """
        tf = tensorflow()
        y, x = self._places(tf.shape(picture)[:2], seed)
        near_y, near_x = (tf.cast(tf.round(axis), tf.int32) for axis in (y, x))
        inside = _within(near_y, tf.shape(picture)[0]) & _within(near_x, tf.shape(picture)[1])
        masks = [_read(mask, near_y, near_x) for mask in masks]
        if self.rotation or self.zoom or self.shift or self.elastic:
            return _interpolated(picture, y, x), masks, inside
        return tf.cast(_read(picture, near_y, near_x), tf.float32), masks, inside

    def _places(self, size: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        """(y, x), float32 (height, width): which place of an image of `size` each pixel of the piece shows."""
        tf = tensorflow()
        draw = tf.unstack(tf.random.stateless_uniform([8], seed) * 2 - 1)  # each -1 to 1
        angle = draw[0] * math.radians(self.rotation)
        scale = tf.exp(draw[1] * math.log1p(self.zoom))
        across = tf.where(draw[2] < 0, -1.0, 1.0) if self.flip != "none" else 1.0
        down = tf.where(draw[3] < 0, -1.0, 1.0) if self.flip == "both" else 1.0
        middle_y, middle_x = (self.height - 1) / 2, (self.width - 1) / 2
        y, x = (tf.range(float(size)) - middle for size, middle in ((self.height, middle_y), (self.width, middle_x)))
        y, x = tf.meshgrid(y * down / scale, x * across / scale, indexing="ij")
        y, x = y * tf.cos(angle) + x * tf.sin(angle), x * tf.cos(angle) - y * tf.sin(angle)
        y += self._start(size[0], self.height, draw[4]) + middle_y + draw[6] * self.shift * self.height
        x += self._start(size[1], self.width, draw[5]) + middle_x + draw[7] * self.shift * self.width
        if self.elastic:
            points = tf.random.stateless_normal([3, 3, 2], tf.random.experimental.stateless_fold_in(seed, 1))
            moved = tf.image.resize(points * self.elastic, (self.height, self.width), method="bicubic")
            y, x = y + moved[..., 0], x + moved[..., 1]
        return y, x

    @staticmethod
    def _start(whole: Tensor, piece: int, draw: Tensor) -> Tensor:
        """The first of `whole` pixels that a piece starts at: any at which one of the two lies in the other."""
        tf = tensorflow()
        room = tf.cast(whole - piece, tf.float32)
        places = tf.abs(room) + 1
        return tf.sign(room) * tf.minimum(tf.floor((draw + 1) / 2 * places), places - 1)


def mirrored(places: Tensor, size: Tensor) -> Tensor:
    """Places, integers, beyond `size` pixels, as those that they mirror: -1 is 1, `size` is `size` - 2."""
    tf = tensorflow()
    period = tf.maximum(2 * (size - 1), 1)
    places = places % period
    return tf.minimum(places, period - places)


def _within(places: Tensor, size: Tensor) -> Tensor:
    return (places >= 0) & (places < size)


def _read(picture: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The pixels of (height, width, ...) at integer places (y, x), mirrored beyond."""
    tf = tensorflow()
    height, width = tf.unstack(tf.shape(picture)[:2])
    return tf.gather_nd(picture, tf.stack([mirrored(y, height), mirrored(x, width)], axis=-1))


def _interpolated(picture: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The image at (y, x), bilinear between the four pixels around."""
    tf = tensorflow()
    above, left = tf.floor(y), tf.floor(x)
    down, right = (y - above)[..., None], (x - left)[..., None]
    above, left = tf.cast(above, tf.int32), tf.cast(left, tf.int32)

    def at(dy, dx):
        return tf.cast(_read(picture, above + dy, left + dx), tf.float32)

    upper = at(0, 0) * (1 - right) + at(0, 1) * right
    lower = at(1, 0) * (1 - right) + at(1, 1) * right
    return upper * (1 - down) + lower * down
