"""Optimizers that train each variable at a rate of its own, and from an update of its own on.

They are Keras's, with a factor for each variable on what an update adds to it, weight decay included.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from zoo.objective import Tensor
from zoo.objective.optimizers import L2SGD


class Layerwise(keras.optimizers.Optimizer):
    """Base of an optimizer, in front of one of Keras's, that multiplies the update of each variable by a factor.

    w = w + factor(w) [number of the update >= start(w)] u(w)

    u is what the other base would add, weight decay included. It is the learning rate that is multiplied, so Adam's
    moments see gradients as they are: they fill up before `start`, and the first update from then on is no larger than
    others. Momentum of SGD and RMSprop is of updates, and is 0 until then. With `global_clipnorm`, variables that have
    not started have no part in the norm by which the others are clipped.

    Args: those of the optimizer. And
        rates: {path of a variable: its factor}; 1 where it is not named.
        starts: {path of a variable: the number of updates before its first}; 0 where it is not named.
    """

    def __init__(
        self,
        *args: Any,
        rates: Mapping[str, float] | None = None,
        starts: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.rates: dict[str, float] = dict(rates or {})
        self.starts: dict[str, int] = dict(starts or {})

    def build(self, variables: Sequence[keras.Variable]) -> None:
        self._factors = [float(self.rates.get(variable.path, 1.0)) for variable in variables]
        self._firsts = [int(self.starts.get(variable.path, 0)) for variable in variables]
        super().build(variables)

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        index = self._get_variable_index(variable)
        rate = learning_rate * self._factors[index]
        if self._firsts[index]:
            rate = rate * self._started(index)
        if self.weight_decay and not isinstance(self, L2SGD) and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * keras.ops.cast(rate * self.weight_decay, variable.dtype))
        super().update_step(gradient, variable, rate)

    def _started(self, index: int) -> Tensor:
        """1 where the variable of this index trains in the update that is made now, else 0."""
        return keras.ops.cast(self.iterations >= self._firsts[index], "float32")

    def _apply_weight_decay(self, variables: Iterable[keras.Variable]) -> None:
        """Nothing: `update_step` does it, at the variable's rate."""

    def _clip_gradients(self, grads: list[Tensor]) -> list[Tensor]:
        if not (self.global_clipnorm and any(self._firsts)) or len(grads) != len(self._firsts):
            return super()._clip_gradients(grads)
        started = [self._started(index) if first else 1.0 for index, first in enumerate(self._firsts)]
        training = super()._clip_gradients([gradient * one for gradient, one in zip(grads, started, strict=True)])
        every = super()._clip_gradients(grads)  # for the moments of those that wait
        return [part + whole * (1.0 - one) for part, whole, one in zip(training, every, started, strict=True)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rates": dict(self.rates), "starts": dict(self.starts)}


@keras.saving.register_keras_serializable("zoo")
class LayerwiseSGD(Layerwise, L2SGD):
    """`L2SGD`, layerwise."""


@keras.saving.register_keras_serializable("zoo")
class LayerwiseAdam(Layerwise, keras.optimizers.Adam):
    """`keras.optimizers.Adam`, layerwise."""


@keras.saving.register_keras_serializable("zoo")
class LayerwiseAdamW(Layerwise, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, layerwise."""


@keras.saving.register_keras_serializable("zoo")
class LayerwiseRMSprop(Layerwise, keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop`, layerwise."""


@keras.saving.register_keras_serializable("zoo")
class LayerwiseAdadelta(Layerwise, keras.optimizers.Adadelta):
    """`keras.optimizers.Adadelta`, layerwise."""


KINDS: dict[str, type[Layerwise]] = {
    "sgd": LayerwiseSGD,
    "adam": LayerwiseAdam,
    "adamw": LayerwiseAdamW,
    "rmsprop": LayerwiseRMSprop,
    "adadelta": LayerwiseAdadelta,
}
"""{name of an optimizer: its layerwise class}."""
