"""Readers: how a raw input becomes what the network takes, in training and in the export alike.

A reader is a Keras layer that is saved as `reader.keras` and reads with stock TensorFlow operations only, so that
an exported model carries it. TensorFlow is imported where it is used: on JAX and torch, reading still is its work.
"""

import keras


@keras.saving.register_keras_serializable("zoo")
class ImageReader(keras.layers.Layer):
    """Reads pictures: PNG or JPEG bytes, or arrays of 1 to 4 channels of any size, to uint8 of one shape.

    Args:
        image_shape: (height, width, channels) of what comes out; channels 1 or 3. Transparency is dropped.
        labels: names of the classes, in the order of the network's outputs.
    """

    def __init__(self, image_shape, labels, **kwargs):
        super().__init__(**kwargs)
        self.image_shape = tuple(image_shape)
        self.labels = tuple(labels)

    def decode(self, data):
        """The picture in PNG or JPEG bytes (a string scalar), as it is: uint8 (height, width, channels)."""
        import tensorflow as tf

        return tf.ensure_shape(tf.io.decode_image(data, expand_animations=False), (None, None, None))

    def fit_images(self, images):
        """uint8 (..., height, width, channels) of any size and 1 to 4 channels, to uint8 (..., *image_shape)."""
        import tensorflow as tf

        height, width, channels = self.image_shape
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
        rank = len(images.shape)
        pixels = tf.ensure_shape(pixels, [None] * (rank - 1) + [channels])
        pixels = tf.image.resize(pixels, (height, width), antialias=True)
        return tf.cast(tf.round(tf.clip_by_value(pixels, 0.0, 255.0)), tf.uint8)

    def read_bytes(self, data):
        """A batch of PNG or JPEG bytes, strings (batch,), to uint8 (batch, *image_shape)."""
        import tensorflow as tf

        spec = tf.TensorSpec(self.image_shape, tf.uint8)
        return tf.map_fn(lambda one: self.fit_images(self.decode(one)), data, fn_output_signature=spec)

    def raw_probe(self, examples):
        """{signature/input: array}: examples as the export gets them raw, PNG bytes; what an export is verified on."""
        import numpy as np
        import tensorflow as tf

        pictures = [tf.io.encode_png(example["image"]).numpy() for example in examples]
        return {"serving_default/image_bytes": np.array(pictures, dtype="S")}  # "S" drops trailing zeros; PNG has none

    def signatures(self):
        """{signature name: (function to network inputs, input specs by name)}, for the export."""
        import tensorflow as tf

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

    def answer(self, logits):
        """{output name: tensor} of logits (batch, classes), all float32 but `label`, for the export."""
        import tensorflow as tf

        logits = tf.cast(logits, tf.float32)
        probabilities = tf.nn.softmax(logits)
        best = tf.argmax(logits, axis=-1)
        return {
            "label": tf.gather(tf.constant(self.labels), best),
            "probability": tf.reduce_max(probabilities, axis=-1),
            "probabilities": probabilities,
            "logits": logits,
        }

    def get_config(self):
        return {**super().get_config(), "image_shape": list(self.image_shape), "labels": list(self.labels)}
