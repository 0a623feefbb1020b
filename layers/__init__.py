"""Keras layers of the zoo: written in `keras.ops`, so that TensorFlow, JAX and torch all run them."""

from zoo.layers.batch_norm import BatchNorm
from zoo.layers.group_norm import GroupNorm
from zoo.layers.hyper_dense import HyperDense
from zoo.layers.maxout import Maxout
from zoo.layers.quadratic import Quadratic
from zoo.layers.soft_gate import SoftGate
from zoo.layers.softmax_gate import SoftmaxGate
from zoo.layers.subsampling import Subsampling2D
from zoo.layers.tied_weights import TiedWeights

__all__ = [
    "BatchNorm",
    "GroupNorm",
    "HyperDense",
    "Maxout",
    "Quadratic",
    "SoftGate",
    "SoftmaxGate",
    "Subsampling2D",
    "TiedWeights",
]
