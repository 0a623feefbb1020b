"""TensorFlow as the reader of data, on every backend."""


def tensorflow():
    """The module; under JAX and torch it sees no GPU, or it would take the memory from them."""
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        tf.config.set_visible_devices([], "GPU")
    return tf
