"""What training minimises and reports: losses, metrics, optimizers."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the backend that Keras runs on; `Any`, because those of TensorFlow, JAX and torch share no type."""
