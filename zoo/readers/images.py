"""`ImageReader`: an image file to the pixels that a network takes."""

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import keras
import numpy as np

from zoo.data import pictures as picture_files
from zoo.data._tensorflow import Tensor, tensorflow
from zoo.errors import InputError, check_whole
from zoo.readers.resizing import covering, resize

Signatures: TypeAlias = dict[str, tuple[Callable[..., Any], dict[str, Any]]]
"""{signature of an export: (function from its raw inputs, {input: its `tf.TensorSpec`})}."""


def class_answers(logits: Tensor, labels: Sequence[str]) -> dict[str, Tensor]:
    """{output name: tensor} of logits (batch, classes), all float32 but `label`, for an export."""
    tf = tensorflow()

    logits = tf.cast(logits, tf.float32)
    probabilities = tf.nn.softmax(logits)
    best = tf.argmax(logits, axis=-1)
    return {
        "label": tf.gather(tf.constant(labels), best),
        "probability": tf.reduce_max(probabilities, axis=-1),
        "probabilities": probabilities,
        "logits": logits,
    }


def raw_images(examples: Iterable[Mapping[str, Any]]) -> list[np.ndarray]:
    """The images of raw examples of a source: uint8, or uint16 where there are 16 bits."""
    images = [(np.asarray(example["image"]), example.get("deep", True)) for example in examples]
    return [image if deep else image.astype(np.uint8) for image, deep in images]


def _each(inputs: Iterable[Any]) -> list[tuple[str, Any]]:
    """[(name, path, bytes or array of an image)] of inputs, of which one may be an array of many images."""
    found = []
    for number, one in enumerate(inputs):
        if isinstance(one, (str, os.PathLike, bytes)):
            found.append((f"#{number}" if isinstance(one, bytes) else str(one), one))
            continue
        pictures = np.asarray(one)
        if pictures.ndim == 4:
            found += [(f"#{number}:{row}", picture) for row, picture in enumerate(pictures)]
        else:
            found.append((f"#{number}", pictures))
    return found


@keras.saving.register_keras_serializable("zoo")
class ImageReader(keras.layers.Layer):
    """Reads images: the bytes of PNG, JPEG, GIF, BMP and WebP files, or arrays of 1 to 4 channels of any size, to
    uint8 of one shape. JPEG files are turned upright by their EXIF orientation.

    Args:
        image_shape: (height, width, channels) of what comes out; channels 1 or 3. Transparency is dropped.
        labels: names of the classes, in the order of the network's outputs.
        resize: "stretch" changes both edges to those of `image_shape`; "crop" keeps the proportions: the image is
            resized until it just covers `image_shape / crop_fraction`, rounded down, and its middle is taken.
            Defaults to "stretch".
        crop_fraction: Float, above 0 and at most 1, the part of an edge that a crop keeps. Defaults to 0.875.
        interpolation: "bilinear" or "bicubic", both antialiased. Defaults to "bilinear".
        bits: how many bits of 16-bit images count, from 8 to 16: 2^bits - 1 is white, and so is all above it. Defaults
            to `None`: the full range, the lower byte dropped.
    """

    endings: tuple[str, ...] = picture_files.ENDINGS  # of the files that are read of a folder

    def __init__(
        self,
        image_shape: Sequence[int],
        labels: Iterable[str],
        resize: Literal["stretch", "crop"] = "stretch",
        crop_fraction: float = 0.875,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        bits: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape: tuple[int, ...] = tuple(image_shape)
        self.labels: tuple[str, ...] = tuple(labels)
        if bits is not None and check_whole("bits", bits, 8) > 16:
            raise InputError(f"bits must be a whole number from 8 to 16. Received: bits={bits!r}.")
        self.bits: int | None = None if bits is None else int(bits)
        self.resize: str = resize
        self.crop_fraction: float = crop_fraction
        self.interpolation: str = interpolation
        self.built = True  # it has no weights

    def decode(self, data: Tensor) -> Tensor:
        """The image in bytes (a string scalar), as `zoo.data.pictures.decode` reads it with TensorFlow alone; of one
        of 16 bits, the `bits` that count.
        """
        tf = tensorflow()

        if self.bits is None:
            return picture_files.decode(data)
        return tf.cond(
            picture_files.is_deep(data),
            lambda: self.to_8_bits(picture_files.decode_deep(data)),
            lambda: picture_files.decode(data),
        )

    def to_8_bits(self, images: Tensor, deep: Tensor | None = None) -> Tensor:
        """uint8 of images of uint8 or uint16; where `deep` is given and False, uint16 pixels are of 8 bits already."""
        tf = tensorflow()

        images = tf.convert_to_tensor(images)
        if images.dtype != tf.uint16:
            return images
        if deep is None:
            return picture_files.to_8_bits(images, self.bits)
        return tf.where(deep, picture_files.to_8_bits(images, self.bits), tf.cast(images, tf.uint8))

    def read_example(self, example: Mapping[str, Tensor]) -> Tensor:
        """The image of an example of a source, as `fit_images` leaves it."""
        return self.fit_images(self.to_8_bits(example["image"], example.get("deep")))

    def fit_images(self, images: Tensor) -> Tensor:
        """uint8 or uint16 (..., height, width, 1 to 4) of any size, to uint8 (..., *image_shape)."""
        tf = tensorflow()

        pixels, (height, width) = self._fit_channels(self.to_8_bits(images)), self.image_shape[:2]
        if self.resize == "stretch" and self.interpolation == "bilinear":
            pixels = tf.image.resize(pixels, (height, width), antialias=True)
            return tf.cast(tf.round(tf.clip_by_value(pixels, 0.0, 255.0)), tf.uint8)
        whole, window = (height, width), (0, 0, height, width)
        if self.resize == "crop":
            whole = self._covering(tf.shape(images)[-3:-1])
            top, left = (tf.cast(tf.round((whole[axis] - (height, width)[axis]) / 2), tf.int32) for axis in (0, 1))
            window = (top, left, height, width)
        several = tf.reshape(pixels, tf.concat([[-1], tf.shape(pixels)[-3:]], axis=0))
        fitted = resize(tf.cast(tf.round(several), tf.uint8), whole, window, self.interpolation)
        fitted = tf.reshape(fitted, tf.concat([tf.shape(images)[:-3], self.image_shape], axis=0))
        return tf.ensure_shape(fitted, [*images.shape[:-3], *self.image_shape])

    def _covering(self, size: Tensor) -> Tensor:
        """(height, width) of an image of `size` that just covers what is cropped, in its proportions, rounded down."""
        tf = tensorflow()

        height, width = covering(self.image_shape, self.crop_fraction)
        flat = size[0] * width <= size[1] * height  # the height decides
        return tf.cond(
            flat,
            lambda: tf.stack([height, size[1] * height // size[0]]),
            lambda: tf.stack([size[0] * width // size[1], width]),
        )

    def _fit_channels(self, images: Tensor) -> Tensor:
        """uint8 images of 1 to 4 channels, to float32 of those that the network takes."""
        tf = tensorflow()

        channels = self.image_shape[-1]
        count = tf.shape(images)[-1]
        colour = count >= 3  # 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha
        pixels = tf.cast(images, tf.float32)
        if channels == 1:
            luma = tf.constant([0.299, 0.587, 0.114])
            pixels = tf.cond(
                colour,
                lambda: tf.reduce_sum(pixels[..., :3] * luma, axis=-1, keepdims=True),
                lambda: pixels[..., :1],
            )
        else:
            pixels = tf.cond(colour, lambda: pixels[..., :3], lambda: tf.repeat(pixels[..., :1], 3, axis=-1))
        return tf.ensure_shape(pixels, [None] * (len(images.shape) - 1) + [channels])

    def read_bytes(self, data: Tensor) -> Tensor:
        """A batch of the bytes of images, strings (batch,), to uint8 (batch, *image_shape)."""
        tf = tensorflow()

        spec = tf.TensorSpec(self.image_shape, tf.uint8)
        return tf.map_fn(lambda one: self.fit_images(self.decode(one)), data, fn_output_signature=spec)

    def read_raw(self, inputs: Iterable[Any], skip_bad: bool = False) -> tuple[list[str], Any]:
        """(names, uint8 (n, *image_shape)) of paths of images, of the bytes of such files, and of arrays of one image
        (height, width, channels) or of many (n, height, width, channels): uint8; uint16, read as a PNG of them is; or
        floats from 0 to 1 where none in `inputs` is above 1, else from 0 to 255.

        What TensorFlow cannot read, such as a TIFF, Pillow reads; an export cannot.

        Raises: `InputError` for one that cannot be read, unless `skip_bad`.
        """
        names, pictures = self._read(inputs, skip_bad)
        return names, np.stack(pictures) if pictures else np.empty((0, *self.image_shape), np.uint8)

    def _read(self, inputs: Iterable[Any], skip_bad: bool) -> tuple[list[str], list[np.ndarray]]:
        """([name], [uint8 (height, width, channels)]), as `fit_images` leaves them."""
        names, pictures, each = [], [], _each(inputs)
        white = picture_files.white_of(one for _, one in each if isinstance(one, np.ndarray))
        for name, one in each:
            try:
                pictures.append(self.fit_images(self._picture(one, white)).numpy())
                names.append(name)
            except InputError:
                if not skip_bad:
                    raise
        return names, pictures

    def _picture(self, one: Any, white: float) -> Tensor:
        """uint8 or uint16 (height, width, channels) of a path, a file's bytes or an array with floats up to `white`."""
        tf = tensorflow()

        if not isinstance(one, (str, os.PathLike, bytes)):
            picture = one[..., None] if one.ndim == 2 else one
            try:
                if picture.ndim != 3 or not 1 <= picture.shape[-1] <= 4:
                    raise ValueError("its shape is (height, width, 1 to 4)")
                return tf.constant(picture_files.as_pixels(picture, white))
            except ValueError as error:
                raise InputError(
                    f"An image must be uint8, uint16 or floats (height, width, 1 to 4): {error}. "
                    f"Received: {picture.dtype} {picture.shape}."
                ) from None
        name = "This" if isinstance(one, bytes) else one
        try:
            data = one if isinstance(one, bytes) else pathlib.Path(one).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
            raise InputError(f"{one} cannot be read: {getattr(error, 'strerror', error)}.") from None
        try:
            return picture_files.read(data).pixels
        except ValueError as error:
            why = str(error).rstrip(".")
            raise InputError(f"{name} is not a whole image ({picture_files.KINDS}): {why}.") from None

    def raw_probe(self, pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """{signature/input: array}: `raw_images` as the raw inputs that an export is verified on."""
        tf = tensorflow()

        encoded = [tf.io.encode_png(picture).numpy() for picture in pictures]
        probe = {"serving_default/image_bytes": np.array(encoded, "S")}  # "S" drops trailing zeros; a PNG has none
        if len({np.shape(picture) for picture in pictures}) == 1:
            probe["serve_images/images"] = np.stack([self.to_8_bits(picture).numpy() for picture in pictures])
        return probe

    def signatures(self) -> Signatures:
        """{signature name: (function to network inputs, input specs by name)}, for the export."""
        tf = tensorflow()

        def to_network(images):
            return tf.cast(images, tf.float32)

        return {
            "serving_default": (
                lambda image_bytes: to_network(self.read_bytes(image_bytes)),
                {"image_bytes": tf.TensorSpec([None], tf.string)},
            ),
            "serve_images": (
                lambda images: to_network(self.fit_images(images)),
                {"images": tf.TensorSpec([None, None, None, None], tf.uint8)},
            ),
            "serve_tensors": (to_network, {"images": tf.TensorSpec([None, *self.image_shape], tf.float32)}),
        }

    def answer(self, logits: Tensor) -> dict[str, Tensor]:
        """{output name: tensor} of logits (batch, classes), for the export."""
        return class_answers(logits, self.labels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_shape": list(self.image_shape),
            "labels": list(self.labels),
            "resize": self.resize,
            "crop_fraction": self.crop_fraction,
            "interpolation": self.interpolation,
            "bits": self.bits,
        }
