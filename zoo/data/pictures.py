"""Image files: by TensorFlow where it can, else by Pillow."""

import dataclasses
import functools
import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.orientation import is_jpeg, orientation_of, turned

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
KINDS = "PNG, JPEG, GIF, BMP, WebP or TIFF"


def white_of(arrays: Iterable[np.ndarray]) -> float:
    """What white is in arrays of pixels that belong together: 1 where no float among them is above 1, else 255."""
    floats = (array for array in arrays if np.issubdtype(array.dtype, np.floating))
    return 255.0 if any(array.max(initial=0) > 1 for array in floats) else 1.0


def as_pixels(array: np.ndarray, white: float) -> np.ndarray:
    """An array of pixels: uint8 or uint16 as it is; floats, from 0 to `white`, which is 1 or 255, rounded to uint8.

    Raises: `ValueError` for other numbers, and for floats outside of 0 to 255.
    """
    if array.dtype in (np.uint8, np.uint16):
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError("pixels are uint8, uint16 or floats")
    if not (array.min(initial=0) >= 0 and array.max(initial=0) <= 255):  # NaN is neither
        raise ValueError("floats are from 0 to 1, or from 0 to 255")
    return np.rint(array.astype("float64") * (255 / white)).astype(np.uint8)


def largest_of(pixels: np.ndarray) -> int | None:
    """The largest value of 16-bit pixels (..., channels), not that of their alpha; None of 8-bit ones."""
    if pixels.dtype != np.uint16:
        return None
    colours = pixels.shape[-1] - (pixels.shape[-1] in (2, 4))
    return int(pixels[..., :colours].max(initial=0))


def bits_of(largest: Iterable[int | None]) -> int | None:
    """How many bits 16-bit images use, from 8 to 16, by the `largest_of` of each; None where none is of 16 bits."""
    found = [value for value in largest if value is not None]
    return max(8, max(found).bit_length()) if found else None


def note_of_bits(bits: int | None, train: Iterable[int | None], others: Iterable[int | None] = ()) -> tuple[str, ...]:
    """What a report says of 16-bit images whose upper bits are empty, by the `largest_of` of each in the splits."""
    if bits is None or bits == 16:
        return ()
    white = 2**bits - 1
    largest = max(value for value in train if value is not None)
    above = sum(value is not None and value > white for value in others)
    beyond = f", and so is what is above in {above:,} outside of the training split" if above else ""
    return (f"16-bit images whose largest value is {largest:,}: {white:,} is read as white{beyond}",)


def note_of_turned(count: int) -> tuple[str, ...]:
    """What a report says of `count` images that were turned upright."""
    if not count:
        return ()
    return (f"{count:,} image{'s' if count > 1 else ''} turned upright by the EXIF orientation",)


def to_8_bits(pixels: Tensor, bits: int | None) -> Tensor:
    """uint8 of 16-bit pixels: 2^bits - 1 is white, as is all above it; None: the full range, the lower byte dropped."""
    tf = tensorflow()

    values = tf.cast(pixels, tf.int32)
    if bits is None:
        return tf.cast(values // 256, tf.uint8)
    white = 2**bits - 1
    return tf.cast((510 * tf.minimum(values, white) + white) // (2 * white), tf.uint8)  # rounded; white is odd: no ties


def _head(data: Tensor) -> Tensor:
    """The first 30 bytes, with zeros behind what is shorter."""
    tf = tensorflow()

    return tf.strings.substr(tf.strings.join([data, b"\0" * 30]), 0, 30)


def is_deep(data: Tensor) -> Tensor:
    """Whether bytes (a string scalar) are a PNG of 16 bits."""
    tf = tensorflow()

    head = _head(data)
    return (tf.strings.substr(head, 0, 8) == b"\x89PNG\r\n\x1a\n") & (tf.strings.substr(head, 24, 1) == b"\x10")


def decode_deep(data: Tensor) -> Tensor:
    """The image in the bytes of a PNG of 16 bits (`is_deep`): uint16 (height, width, channels)."""
    tf = tensorflow()

    return tf.ensure_shape(tf.io.decode_png(data, dtype=tf.uint16), (None, None, None))


def decode(data: Tensor) -> Tensor:
    """The image in bytes (a string scalar), by TensorFlow alone: uint8 (height, width, channels).

    A JPEG is turned upright by its EXIF orientation. Of 16 bits it is the upper byte, of an animation the first frame.
    Raises: `tf.errors.InvalidArgumentError` for what TensorFlow cannot read: no image, a TIFF, or a BMP with a
        palette, whose indices TensorFlow would take for greys.
    """
    tf = tensorflow()

    image = _as_stored(data)
    return tf.cond(is_jpeg(data), lambda: turned(image, orientation_of(data)), lambda: image)


def _as_stored(data: Tensor) -> Tensor:
    """As `decode`, and not turned."""
    tf = tensorflow()

    head = _head(data)
    bits = tf.strings.substr(head, 28, 1)
    palette = (tf.strings.substr(head, 0, 2) == b"BM") & tf.reduce_any(bits == [b"\1", b"\4", b"\x08"])
    with tf.control_dependencies([tf.debugging.Assert(~palette, ["A BMP with a palette is not read here."])]):
        data = tf.identity(data)
    image = tf.cond(
        is_jpeg(data),
        lambda: tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE"),  # as Pillow: the default is faster, and coarser
        lambda: tf.io.decode_image(data, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, None))


def decode_with_pillow(data: bytes) -> np.ndarray:
    """The first frame or page of a BMP, TIFF or WebP, by Pillow: uint8 (height, width, 1 or 3), uint16 of a deep TIFF.

    A TIFF is turned upright by its orientation. Other kinds are TensorFlow's alone: Pillow fills what is missing of a
    truncated PNG.

    Raises: `ValueError` for no such image, and for one whose pixels are neither of 8 bits nor grey ones of 16.
    """
    return _by_pillow(data)[0]


def _by_pillow(data: bytes) -> tuple[np.ndarray, bool]:
    """(what `decode_with_pillow` returns, whether it was turned)."""
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(io.BytesIO(data), formats=["BMP", "TIFF", "WEBP"]) as picture:
            tiff = picture.format == "TIFF"
            bits = max(picture.tag_v2.get(258, (8,))) if tiff else 8
            orientation = picture.tag_v2.get(274, 1) if tiff else 1
            deep = picture.mode.startswith("I;16") and picture.tag_v2.get(262) != 0  # where 0 is white, it is refused
            if bits > 8 and not deep:
                raise ValueError(f"its pixels are of {bits} bits, save it as PNG")
            grey = deep or picture.mode in ("1", "L", "LA", "La")
            upright = PIL.ImageOps.exif_transpose(picture) if tiff else picture
            pixels = np.asarray(upright if deep else upright.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None
    pixels = pixels.astype(np.uint16) if deep else pixels
    return (pixels[..., None] if grey else pixels), orientation in range(2, 9)


@dataclasses.dataclass(frozen=True)
class Decoded:
    """An image file, read.

    Attributes:
        pixels: uint8 (height, width, channels), or uint16 where the file has 16 bits.
        pillow: whether Pillow had to read it.
        turned: whether it was turned upright.
    """

    pixels: Tensor
    pillow: bool
    turned: bool


def read(data: bytes) -> Decoded:
    """The image in the bytes of a file.

    Raises: `ValueError` that says what is wrong.
    """
    tf = tensorflow()
    if not data:
        raise ValueError("the file is empty")
    try:
        if is_deep(data):
            return Decoded(decode_deep(data), False, False)
        image = _as_stored(tf.constant(data))
        orientation = _orientation()(data) if is_jpeg(data) else tf.constant(1)
        return Decoded(turned(image, orientation), False, bool(orientation != 1))
    except tf.errors.InvalidArgumentError as error:
        message = str(error.message).splitlines()[0].split("}}")[-1].split(" [Op:")[0].strip()
    try:
        pixels, was_turned = _by_pillow(data)
        return Decoded(tf.constant(pixels), True, was_turned)
    except ValueError as error:
        known = "cannot identify" not in str(error)
        raise ValueError(str(error) if known else message) from None


@functools.cache
def _orientation() -> Callable[[Any], Tensor]:
    """`orientation_of` as a graph: operation by operation it takes longer than the decoding."""
    tf = tensorflow()
    return tf.function(orientation_of, input_signature=[tf.TensorSpec([], tf.string)])


def fetch(path: Tensor, pillow: Tensor, deep: Tensor | None = None) -> Tensor:
    """The image (height, width, channels) of the file at `path`, read by Pillow where `pillow` is true.

    Args:
        deep: whether the file has 16 bits. None: none has, and what is returned is uint8; else it is uint16, in which
            pixels of 8 bits keep their values.
    """
    tf = tensorflow()

    data = tf.io.read_file(path)
    kind = tf.uint8 if deep is None else tf.uint16

    def by_pillow():
        image = tf.numpy_function(lambda one: decode_with_pillow(one).astype(kind.as_numpy_dtype), [data], kind)
        return tf.ensure_shape(image, (None, None, None))

    def by_tensorflow():
        if deep is None:
            return decode(data)
        return tf.cond(deep, lambda: decode_deep(data), lambda: tf.cast(decode(data), kind))

    return tf.cond(pillow, by_pillow, by_tensorflow)
