"""What layers made of other layers share."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from zoo.layers._typing import InitializerFunction, Shape, Tensor


def fresh(initializer: InitializerFunction, index: int) -> InitializerFunction:
    """A copy of `initializer` for the `index`-th of several weights: equal seeds would make equal weights."""
    if not isinstance(initializer, keras.Initializer):
        return initializer
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += index
    return type(initializer).from_config(config)


def joined(initializer: InitializerFunction, widths: list[int], first: int = 0) -> InitializerFunction:
    """An initializer of kernels of `widths` columns side by side, each drawn as a matrix of its own."""
    parts = [fresh(initializer, first + index) for index in range(len(widths))]

    def draw(shape, dtype=None):
        drawn = [part((*shape[:-1], width), dtype=dtype) for part, width in zip(parts, widths, strict=True)]
        return keras.ops.concatenate(drawn, axis=-1)

    return draw


def policy_for(layer: keras.layers.Layer, name: str) -> keras.dtype_policies.DTypePolicy:
    """The dtype policy of the sublayer `name` that `layer` makes in its `build`; with its counterpart `policy_of`.

    A map of policies is resolved: Keras's dense layer, quantised by a map, cannot be saved.
    """
    own = layer.dtype_policy
    return own[f"{layer.path}/{name}"] if isinstance(own, keras.dtype_policies.DTypePolicyMap) else own


def policy_of(layer: keras.layers.Layer, held: Iterable[keras.layers.Layer] = ()) -> str | dict[str, Any]:
    """What `dtype` in the config of `layer` says, so that what `quantize` changed within comes back so.

    Args:
        layer: gives each sublayer that it makes what `policy_for` says, or its own `dtype_policy` where that layer
            does so in turn.
        held: its sublayers that are arguments; their own configs say what they are.
    """
    own = layer.dtype_policy
    mapped = isinstance(own, keras.dtype_policies.DTypePolicyMap)
    theirs = {id(sublayer) for one in held for sublayer in one._flatten_layers()}
    found = {path: own[path] for path in own} if mapped else {}
    for sublayer in layer._flatten_layers(include_self=False):
        if sublayer.quantization_mode is not None and id(sublayer) not in theirs:
            quantized = sublayer.dtype_policy
            if isinstance(quantized, keras.dtype_policies.DTypePolicyMap):
                quantized = quantized[sublayer.path]
            # a pattern, because the layer may stand elsewhere when it comes back
            found[".*/" + sublayer.path.removeprefix(f"{layer.path}/")] = quantized
    if found:
        own = keras.dtype_policies.DTypePolicyMap(own.default_policy if mapped else own, found)
    return keras.dtype_policies.serialize(own)


def output_shape(layer: keras.layers.Layer, shape: Shape) -> Shape:
    """The shape of what `layer` makes of an input of `shape`, also where it does not say so itself."""
    return tuple(layer.compute_output_spec(keras.KerasTensor(shape, layer.compute_dtype)).shape)


def on_rows(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """`function`, which acts on the last axis alone, of `inputs` (batch, time, dim), by way of (batch * time, dim).

    XLA takes half as long again on a CPU for a matrix product with two axes in front.
    """
    rows = function(keras.ops.reshape(inputs, (-1, inputs.shape[-1])))
    return keras.ops.reshape(rows, (-1, keras.ops.shape(inputs)[1], rows.shape[-1]))


def revive(layer: keras.layers.Layer | dict[str, Any]) -> keras.layers.Layer:
    """The layer that an entry of a config stands for: of a dict as Keras saves it, or a new one like a live layer.

    Configs hold the layers themselves, so that Keras saves one that is shared once; whoever makes a layer from such a
    config gets one of its own.
    """
    if isinstance(layer, dict):
        return keras.saving.deserialize_keras_object(layer)
    return type(layer).from_config(layer.get_config())
