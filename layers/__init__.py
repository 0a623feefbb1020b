"""Keras layers of the zoo: written in `keras.ops`, so that TensorFlow, JAX and torch all run them."""

from zoo.layers.subsampling import Subsampling2D

__all__ = ["Subsampling2D"]
