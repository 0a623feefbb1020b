"""`MaskReader`: images of any size for segmentation, and masks from its answers."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.crops import mirrored
from zoo.readers.images import ImageReader, Signatures


@keras.saving.register_keras_serializable("zoo")
class MaskReader(ImageReader):
    """Reads images as `ImageReader` does, but leaves them the size that they have, and answers with masks.

    Args:
        image_shape, labels, bits: as of `ImageReader`; of the shape only the channels count.
        margin: pixels that the network's answer is smaller than its input on each side. What it takes is mirrored by
            so many, so that a mask is of its image's size.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        labels: Iterable[str],
        margin: int = 0,
        bits: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, labels, bits=bits, **kwargs)
        self.margin = margin

    def fit_images(self, images: Tensor) -> Tensor:
        """uint8 or uint16 (..., height, width, 1 to 4), to uint8 (..., height, width, image_shape[2])."""
        tf = tensorflow()

        return tf.cast(tf.round(self._fit_channels(self.to_8_bits(images))), tf.uint8)

    def frame(self, images: Tensor) -> Tensor:
        """Images (batch, height, width, channels), as the network takes them: float32, mirrored by `margin`."""
        tf = tensorflow()

        if self.margin:
            for axis in (1, 2):
                size = tf.shape(images)[axis]
                places = mirrored(tf.range(-self.margin, size + self.margin), size)
                images = tf.gather(images, places, axis=axis)
        return tf.cast(images, tf.float32)

    def read_bytes(self, data: Tensor) -> Tensor:
        """A batch of PNG or JPEG bytes of images of one size, to uint8 (batch, height, width, image_shape[2])."""
        tf = tensorflow()

        def read(one):
            picture = self.fit_images(self.decode(one))
            return tf.shape(picture), tf.reshape(picture, [-1])

        pixels = tf.RaggedTensorSpec([None], tf.uint8, ragged_rank=0)
        shapes, pixels = tf.map_fn(read, data, fn_output_signature=(tf.TensorSpec([3], tf.int32), pixels))
        one_size = tf.reduce_all(shapes == shapes[:1])
        with tf.control_dependencies([tf.Assert(one_size, ["Images asked together must be of one size:", shapes])]):
            shape = tf.concat([tf.shape(shapes)[:1], shapes[0]], axis=0)
        return tf.ensure_shape(tf.reshape(pixels.flat_values, shape), [None, None, None, self.image_shape[-1]])

    def read_raw(self, inputs: Iterable[Any], skip_bad: bool = False) -> tuple[list[str], list[np.ndarray]]:
        """(names, [uint8 (height, width, image_shape[2])]); otherwise as of `ImageReader`."""
        return self._read(inputs, skip_bad)

    def signatures(self) -> Signatures:
        """{signature name: (function to network inputs, input specs by name)}, for the export."""
        tf = tensorflow()

        return {
            "serving_default": (
                lambda image_bytes: self.frame(self.read_bytes(image_bytes)),
                {"image_bytes": tf.TensorSpec([None], tf.string)},
            ),
            "serve_images": (
                lambda images: self.frame(self.fit_images(images)),
                {"images": tf.TensorSpec([None, None, None, None], tf.uint8)},
            ),
            "serve_tensors": (
                lambda images: images,
                {"images": tf.TensorSpec([None, None, None, self.image_shape[-1]], tf.float32)},
            ),
        }

    def answer(self, logits: Tensor) -> dict[str, Tensor]:
        """{output name: tensor} of logits (batch, height, width, classes), for the export."""
        tf = tensorflow()

        logits = tf.cast(logits, tf.float32)
        return {
            "mask": tf.cast(tf.argmax(logits, axis=-1), tf.uint8),
            "probabilities": tf.nn.softmax(logits),
            "logits": logits,
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}
