from typing import Any, Self

import keras

from zoo.layers import _checks, _sublayers
from zoo.layers._typing import Activation, ActivationFunction, Shape, Tensor


@keras.saving.register_keras_serializable("zoo")
class ResidualBlock(keras.layers.Layer):
    """Adds to its input what layers make of it.

    y = activation(shortcut(x) + body(x))

    With `drop_path` p, training drops the body of an example with probability p and divides that of the others by
    1 - p, so that the expectation is that of inference, where every body counts whole (stochastic depth).

    Args:
        body: Layer, or list of layers that follow each other.
        shortcut: Layer that gives the input the shape of the body's output, such as a strided 1 x 1 convolution or
            `ZeroPadShortcut`; None is the identity. Defaults to None.
        activation: String or callable, the activation of the sum; None is none, as in blocks whose body starts with
            norm and activation. Defaults to None.
        drop_path: Float, the probability of dropping the body, from 0 to below 1. Defaults to 0.0.
        seed: Integer or None, the seed of `drop_path`. Defaults to None.

    Call arguments:
        inputs: Tensor, what the body takes.
        training: Boolean, whether `drop_path` acts.

    Input shape: the body's.
    Output shape: the body's.

    Example:

    >>> block = ResidualBlock([keras.layers.Dense(16, activation="relu"), keras.layers.Dense(4)])
    >>> block(keras.ops.ones((2, 4))).shape == (2, 4)
    True

    Reference: He, Zhang, Ren & Sun 2016, "Deep Residual Learning for Image Recognition", equations 1 and 2; Huang et
    al. 2016, "Deep Networks with Stochastic Depth".
    """

    def __init__(
        self,
        body: keras.layers.Layer | list[keras.layers.Layer] | tuple[keras.layers.Layer, ...],
        shortcut: keras.layers.Layer | None = None,
        activation: Activation | None = None,
        drop_path: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        layers = list(body) if isinstance(body, (list, tuple)) else [body]
        if not layers or not all(isinstance(layer, keras.layers.Layer) for layer in layers):
            raise ValueError(f"body must be a Keras layer, or a list of at least one. Received: body={body!r}")
        if shortcut is not None and not isinstance(shortcut, keras.layers.Layer):
            raise ValueError(f"shortcut must be a Keras layer, or None. Received: shortcut={shortcut!r}")
        self.body: keras.layers.Layer | list[keras.layers.Layer] = layers if isinstance(body, (list, tuple)) else body
        self.shortcut: keras.layers.Layer | None = shortcut
        self.activation: ActivationFunction = keras.activations.get(activation)
        self.drop_path: float = _checks.real("drop_path", drop_path, 0, 1, below=True)
        self.seed: int | None = None if seed is None else _checks.whole("seed", seed, low=0)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape)
        for layer in self._layers_of_body():
            if not layer.built:
                layer.build(shape)
            shape = _sublayers.output_shape(layer, shape)
        aside = tuple(input_shape)
        if self.shortcut is not None:
            if not self.shortcut.built:
                self.shortcut.build(aside)
            aside = _sublayers.output_shape(self.shortcut, aside)
        if not _checks.agree(aside, shape):
            raise ValueError(
                "ResidualBlock adds the shortcut to the body, so that both must have one shape. "
                f"Received: {aside} and {shape}. Give a shortcut that makes {shape} of the input."
            )
        # one draw an example, for all of its numbers
        noise_shape = (None, *(1 for _ in shape[1:]))
        self._drop_path = keras.layers.Dropout(self.drop_path, noise_shape, seed=self.seed, dtype=self.dtype_policy)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        outputs = inputs
        for layer in self._layers_of_body():
            outputs = layer(outputs)
        outputs = self._drop_path(outputs, training=training)
        shortcut = inputs if self.shortcut is None else self.shortcut(inputs)
        return self.activation(shortcut + outputs)

    def _layers_of_body(self):
        return self.body if isinstance(self.body, list) else [self.body]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for layer in self._layers_of_body():
            input_shape = _sublayers.output_shape(layer, input_shape)
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "body": list(self.body) if isinstance(self.body, list) else self.body,
            "shortcut": self.shortcut,
            "activation": keras.activations.serialize(self.activation),
            "drop_path": self.drop_path,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        body, shortcut = config["body"], config["shortcut"]
        several = isinstance(body, (list, tuple))
        body = [_sublayers.revive(layer) for layer in body] if several else _sublayers.revive(body)
        shortcut = None if shortcut is None else _sublayers.revive(shortcut)
        return cls(**{**config, "body": body, "shortcut": shortcut})
