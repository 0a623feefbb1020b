"""How a camera was held: the EXIF orientation of a JPEG, found and undone by stock TensorFlow operations."""

from zoo.data._tensorflow import Tensor, tensorflow

HEAD = 1 << 17
"""Bytes of a file in which its EXIF block begins; the standard has it at the very beginning."""

_TAG = 0x0112
_SHORT = 3


def is_jpeg(data: Tensor) -> Tensor:
    """Whether bytes (a string scalar) begin as a JPEG does."""
    tf = tensorflow()

    return tf.strings.substr(tf.strings.join([data, b"\0\0"]), 0, 2) == b"\xff\xd8"


def orientation_of(data: Tensor) -> Tensor:
    """The EXIF orientation, int32 from 1 to 8, of the bytes of a JPEG; 1 (upright) where none is stated."""
    tf = tensorflow()

    def read():
        start, length = _exif(data)
        return tf.cond(length > 8, lambda: _entry(tf.strings.substr(data, start, length)), lambda: tf.constant(1))

    head = tf.strings.substr(data, 0, HEAD)
    stated = tf.strings.regex_full_match(head, r"\C*Exif\x00\x00\C*")  # \C is any byte; most files end here
    return tf.cond(stated, read, lambda: tf.constant(1))


def turned(image: Tensor, orientation: Tensor) -> Tensor:
    """An image (height, width, channels) turned upright, as `PIL.ImageOps.exif_transpose` turns it."""
    tf = tensorflow()

    def across():
        return tf.transpose(image, (1, 0, 2))

    turns = [
        lambda: image,
        lambda: image[:, ::-1],
        lambda: image[::-1, ::-1],
        lambda: image[::-1],
        across,
        lambda: across()[:, ::-1],
        lambda: across()[::-1, ::-1],
        lambda: across()[::-1],
    ]
    return tf.switch_case(orientation - 1, turns)


def _exif(data: Tensor) -> tuple[Tensor, Tensor]:
    """(start, length) of the EXIF block of a JPEG; its length is 0 where there is none before the pixels."""
    tf = tensorflow()

    size = tf.strings.length(data)

    def at(place, count):
        return tf.cast(tf.io.decode_raw(tf.strings.substr(data, place, count), tf.uint8), tf.int32)

    def step(place, start, length, done):
        mark, kind, *sizes = tf.unstack(tf.ensure_shape(at(place, 4), (4,)))
        block = 256 * sizes[0] + sizes[1]
        bare = (kind == 0xFF) | (kind == 0x01) | ((kind >= 0xD0) & (kind <= 0xD8))  # fill, and marks without a length
        stop = (mark != 0xFF) | (kind == 0xDA) | (kind == 0xD9) | (~bare & (block < 2))
        inside = (kind == 0xE1) & ~stop & (block >= 8) & (place + 2 + block <= size)
        found = inside & (tf.strings.substr(data, place + 4, tf.minimum(6, size - place - 4)) == b"Exif\0\0")
        start, length = tf.where(found, place + 10, start), tf.where(found, block - 8, length)
        skip = tf.where(kind == 0xFF, 1, tf.where(bare, 2, 2 + block))
        return place + skip, start, length, found | stop

    _, start, length, _ = tf.while_loop(
        lambda place, start, length, done: ~done & (place + 4 <= size),
        step,
        (tf.constant(2), tf.constant(0), tf.constant(0), tf.constant(False)),
    )
    return start, length


def _entry(exif: Tensor) -> Tensor:
    """The orientation in an EXIF block (a TIFF without pixels); 1 where its first directory has none from 1 to 8."""
    tf = tensorflow()

    values = tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int64)
    size = tf.size(values, tf.int64)
    little = tf.strings.substr(exif, 0, 2) == b"II"

    def number(places, count):
        """The unsigned numbers of `count` bytes at `places`."""
        order = tf.range(count, dtype=tf.int64)
        digits = tf.gather(values, places[..., None] + order)
        return tf.reduce_sum(digits * 256 ** tf.where(little, order, count - 1 - order), axis=-1)

    directory = number(tf.constant(4, tf.int64), 4)

    def read():
        count = tf.minimum(number(directory, 2), (size - directory - 2) // 12)
        entries = directory + 2 + 12 * tf.range(count)
        right = (number(entries, 2) == _TAG) & (number(entries + 2, 2) == _SHORT)
        stated = tf.boolean_mask(number(entries + 8, 2), right)
        stated = tf.cast(tf.concat([stated, tf.constant([1], tf.int64)], axis=0)[0], tf.int32)
        return tf.where((stated >= 1) & (stated <= 8), stated, 1)

    known = little | (tf.strings.substr(exif, 0, 2) == b"MM")
    return tf.cond(known & (directory + 2 <= size), read, lambda: tf.constant(1))
