"""Picture files: by TensorFlow where it can, else by Pillow."""

import io
from collections.abc import Iterable

import numpy as np

from zoo.data._tensorflow import Tensor, tensorflow

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
KINDS = "PNG, JPEG, GIF, BMP, WebP or TIFF"


def white_of(arrays: Iterable[np.ndarray]) -> float:
    """What white is in arrays of pixels that belong together: 1 where no float among them is above 1, else 255."""
    floats = (array for array in arrays if np.issubdtype(array.dtype, np.floating))
    return 255.0 if any(array.max(initial=0) > 1 for array in floats) else 1.0


def as_pixels(array: np.ndarray, white: float) -> np.ndarray:
    """An array of pixels as uint8; floats are from 0 to `white`, which is 1 or 255, and are rounded.

    Raises: `ValueError` for other numbers, and for floats outside of 0 to 255.
    """
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError("pixels are uint8 or floats")
    if not (array.min(initial=0) >= 0 and array.max(initial=0) <= 255):  # NaN is neither
        raise ValueError("floats are from 0 to 1, or from 0 to 255")
    return np.rint(array.astype("float64") * (255 / white)).astype(np.uint8)


def decode(data: Tensor) -> Tensor:
    """The picture in bytes (a string scalar), by TensorFlow alone: uint8 (height, width, channels).

    Of an animation it is the first frame.
    Raises: `tf.errors.InvalidArgumentError` for what TensorFlow cannot read: no picture, a TIFF, or a BMP with a
        palette, whose indices TensorFlow would take for greys.
    """
    tf = tensorflow()

    head = tf.strings.substr(tf.strings.join([data, b"\0" * 30]), 0, 30)
    bits = tf.strings.substr(head, 28, 1)
    palette = (tf.strings.substr(head, 0, 2) == b"BM") & tf.reduce_any(bits == [b"\1", b"\4", b"\x08"])
    with tf.control_dependencies([tf.debugging.Assert(~palette, ["A BMP with a palette is not read here."])]):
        data = tf.identity(data)
    return tf.ensure_shape(tf.io.decode_image(data, expand_animations=False), (None, None, None))


def decode_with_pillow(data: bytes) -> np.ndarray:
    """The first frame or page of a BMP, TIFF or WebP, by Pillow: uint8 (height, width, 1 or 3).

    Other kinds are TensorFlow's alone: Pillow fills what is missing of a truncated PNG.

    Raises: `ValueError` for no such picture, and for one whose pixels do not fit 8 bits.
    """
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data), formats=["BMP", "TIFF", "WEBP"]) as picture:
            bits = max(picture.tag_v2.get(258, (8,))) if picture.format == "TIFF" else 8
            if bits > 8:
                raise ValueError(f"its pixels are of {bits} bits, save it as PNG")
            grey = picture.mode in ("1", "L", "LA", "La")
            pixels = np.asarray(picture.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None
    return pixels[..., None] if grey else pixels


def read(data: bytes) -> tuple[Tensor, bool]:
    """(uint8 (height, width, channels), whether Pillow had to read it) of the bytes of a file.

    Raises: `ValueError` that says what is wrong.
    """
    tf = tensorflow()
    if not data:
        raise ValueError("the file is empty")
    try:
        return decode(tf.constant(data)), False
    except tf.errors.InvalidArgumentError as error:
        message = str(error.message).splitlines()[0].split("}}")[-1].split(" [Op:")[0].strip()
    try:
        return tf.constant(decode_with_pillow(data)), True
    except ValueError as error:
        known = "cannot identify" not in str(error)
        raise ValueError(str(error) if known else message) from None


def fetch(path: Tensor, pillow: Tensor) -> Tensor:
    """uint8 (height, width, channels) of the file at `path`, read by Pillow where `pillow` is true."""
    tf = tensorflow()

    data = tf.io.read_file(path)

    def by_pillow():
        image = tf.numpy_function(decode_with_pillow, [data], tf.uint8)
        return tf.ensure_shape(image, (None, None, None))

    return tf.cond(pillow, by_pillow, lambda: decode(data))
