"""What layers made of other layers share."""

import keras


def fresh(initializer, index):
    """A copy of `initializer` for the `index`-th of several weights: equal seeds would make equal weights."""
    if not isinstance(initializer, keras.Initializer):
        return initializer
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += index
    return type(initializer).from_config(config)


def joined(initializer, widths, first=0):
    """An initializer of kernels of `widths` columns side by side, each drawn as a matrix of its own."""
    parts = [fresh(initializer, first + index) for index in range(len(widths))]

    def draw(shape, dtype=None):
        drawn = [part((*shape[:-1], width), dtype=dtype) for part, width in zip(parts, widths, strict=True)]
        return keras.ops.concatenate(drawn, axis=-1)

    return draw


def policy(layer, held=()):
    """What `dtype` in the config of `layer` says, so that what `quantize` changed within comes back so.

    Args:
        layer: gives each sublayer that it makes its own `dtype_policy`.
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


def revive(layer):
    """The layer that an entry of a config stands for: of a dict as Keras saves it, or a new one like a live layer.

    Configs hold the layers themselves, so that Keras saves one that is shared once; whoever makes a layer from such a
    config gets one of its own.
    """
    if isinstance(layer, dict):
        return keras.saving.deserialize_keras_object(layer)
    return type(layer).from_config(layer.get_config())
