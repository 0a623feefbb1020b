import functools
from typing import Any

import keras

from zoo.layers._typing import Activation, ActivationFunction


def get(activation: Activation | None) -> ActivationFunction:
    """The function of `activation`: what Keras knows, or "gelu_tanh", the approximate GELU of GPT-2."""
    if activation == "gelu_tanh":
        return functools.partial(keras.ops.gelu, approximate=True)
    return keras.activations.get(activation)


def serialize(activation: Activation | None) -> str | dict[str, Any]:
    """What a config says of `activation`: a name as it is."""
    return activation if isinstance(activation, str) else keras.activations.serialize(activation)
