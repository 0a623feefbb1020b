"""Readers: how a raw input becomes what the network takes, in training and in the export alike.

A reader is a Keras layer that is saved as `reader.keras` and reads with stock TensorFlow operations only, so that an
exported model carries it. TensorFlow is imported where it is used: under JAX and torch, it still does the reading.
Importing this package registers every reader with Keras.
"""

from zoo.readers.images import ImageReader as ImageReader
from zoo.readers.masks import MaskReader as MaskReader
from zoo.readers.tables import TableReader as TableReader
from zoo.readers.texts import TextReader as TextReader
