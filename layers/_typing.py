"""Aliases that the annotations of layers share.

Keras has no type that covers the tensors of all backends, so `Tensor` is `Any` to a type checker: it is there for the
reader.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A `tf.Tensor`, `jax.Array` or `torch.Tensor`, whatever Keras runs on, or a `keras.KerasTensor` in a functional model.
"""

Shape: TypeAlias = tuple[int | None, ...]
"""A tensor's size along each axis; None where it is unknown."""

Activation: TypeAlias = str | dict[str, Any] | Callable[[Tensor], Tensor]
"""What `keras.activations.get` takes: a name, a config, or the function itself."""

Initializer: TypeAlias = str | dict[str, Any] | Callable[..., Tensor]
"""What `keras.initializers.get` takes: a name, a config, or the initializer itself, which is callable."""

Regularizer: TypeAlias = str | dict[str, Any] | Callable[[Tensor], Tensor]
"""What `keras.regularizers.get` takes: a name, a config, or the regularizer itself, which is callable."""

ActivationFunction: TypeAlias = Callable[[Tensor], Tensor]
"""What `keras.activations.get` returns."""

InitializerFunction: TypeAlias = Callable[..., Tensor]
"""What `keras.initializers.get` returns: a function of a shape and a dtype."""

RegularizerFunction: TypeAlias = Callable[[Tensor], Tensor]
"""What `keras.regularizers.get` returns: a function from a weight to its penalty."""
