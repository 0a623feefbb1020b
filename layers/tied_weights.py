import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras

from zoo.layers import _checks
from zoo.layers._typing import Initializer, InitializerFunction, Regularizer, RegularizerFunction, Tensor


@keras.saving.register_keras_serializable("zoo")
class TiedWeights(keras.layers.Layer):
    """Any layer whose weights w are a function of fewer trainable ones: w = H(u).

    The gradient of u is the sum over all its uses, dL/du = (dw/du)^T dL/dw.

    Args:
        layer: Layer, which is this one's from now on: it no longer has the weights that `transform` gives. The others
            stay as they are.
        transform: Callable, H: a function (registered with Keras, to be saved) or a layer without weights. It takes u
            and returns {name: tensor} for the weights it gives; a name is that in the layer, such as "kernel", or
            "lstm_cell/kernel" where layers lie within.
        shape: Tuple of integers, the shape of u.
        initializer: Initializer for u. Defaults to "glorot_uniform".
        regularizer: Regularizer or None, for u. Regularizers of the layer's tied weights go on acting, on H(u).
            Defaults to None.

    Call arguments:
        inputs: Tensor, or whatever the layer takes.
        training: Boolean, passed on where the layer takes it.
        mask: Boolean tensor, passed on where the layer takes it.

    Input shape and output shape: the layer's.

    Example, a circulant matrix, four weights for sixteen:

    >>> import numpy as np
    >>> turns = (np.arange(4)[None, :] - np.arange(4)[:, None]) % 4
    >>> layer = TiedWeights(
    ...     keras.layers.Dense(4, use_bias=False), lambda u: {"kernel": keras.ops.take(u, turns)}, shape=(4,)
    ... )
    >>> layer(keras.ops.ones((2, 4))).shape == (2, 4), layer.count_params()
    (True, 4)

    Reference: LeCun 1989, "Generalization and Network Design Strategies", section 4 (weight sharing); LeCun 2020, Deep
    Learning course, "Parameter transformations".
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        transform: Callable[[Tensor], dict[str, Tensor]],
        shape: Sequence[int],
        initializer: Initializer = "glorot_uniform",
        regularizer: Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"layer must be a Keras layer. Received: layer={layer!r}")
        if not callable(transform):
            raise ValueError(f"transform must be a function of u. Received: transform={transform!r}")
        self.layer: keras.layers.Layer = layer
        self.transform: Callable[[Tensor], dict[str, Tensor]] = transform
        self.shape: tuple[int, ...] = tuple(_checks.whole("shape", size) for size in shape)
        self.initializer: InitializerFunction = keras.initializers.get(initializer)
        self.regularizer: RegularizerFunction | None = keras.regularizers.get(regularizer)
        self.supports_masking: bool = layer.supports_masking
        self.autocast = False  # the layer casts by its own policy; u and H(u) keep their digits

    def build(self, input_shape: Any) -> None:
        self.u: keras.Variable = self.add_weight(
            name="u", shape=self.shape, initializer=self.initializer, regularizer=self.regularizer
        )
        if not self.layer.built:
            self.layer.build(input_shape)
        named = {variable.path.removeprefix(f"{self.layer.path}/"): variable for variable in self.layer.weights}
        shapes = {name: tuple(tensor.shape) for name, tensor in self.transform(self.u.value).items()}
        for name, shape in shapes.items():
            if name not in named:
                raise ValueError(
                    f"transform gives a weight that {self.layer.name} does not have. "
                    f"Received: {name!r}. There are: {', '.join(map(repr, named))}"
                )
            if shape != tuple(named[name].shape):
                raise ValueError(
                    f"transform must give {name!r} the shape {tuple(named[name].shape)}. Received: {shape}"
                )
        self._tied = _Held({name: named[name] for name in shapes})
        for owner in self.layer._flatten_layers():
            for variable in self._tied.variables.values():
                if any(variable is own for own in owner._trainable_variables):
                    self._take(variable, owner)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        tied = self._transformed()
        others = self.layer.variables
        mapping = [(variable, tied[name]) for name, variable in self._tied.variables.items()]
        mapping += [(variable, variable.value) for variable in others]  # the inner scope hides an outer one
        taken = inspect.signature(self.layer.call).parameters
        arguments = {name: value for name, value in (("training", training), ("mask", mask)) if name in taken}
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            outputs = self.layer(inputs, **arguments)
        for variable in others:
            if not variable.trainable:
                variable.assign(scope.get_current_value(variable))
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def _take(self, variable, owner):
        """Takes a weight from the layer that owns it, and from what that layer saves: Dense names its kernel there."""
        owner._untrack_variable(variable)
        owner.save_own_variables = functools.partial(keras.layers.Layer.save_own_variables, owner)
        owner.load_own_variables = functools.partial(keras.layers.Layer.load_own_variables, owner)

    def _transformed(self):
        """{name: H(u)}, whose regularizers act."""
        tied = self.transform(self.u.value)
        for name, variable in self._tied.variables.items():
            tied[name] = keras.ops.cast(tied[name], variable.dtype)
            if variable.regularizer is not None:
                self.add_loss(variable.regularizer(tied[name]))
        return tied

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),  # a copy's layer is its own
            "transform": keras.saving.serialize_keras_object(self.transform),
            "shape": self.shape,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        held = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("layer", "transform")}
        return cls(**{**config, **held})


class _Held:
    """Variables that Keras does not track."""

    def __init__(self, variables: dict[str, keras.Variable]) -> None:
        self.variables = variables
