"""What fine-tuning does to the layers of a network by their depth: rates, starts and adapters."""

import typing
from collections.abc import Iterable, Iterator

import keras

from zoo import weights
from zoo.base.models import matching
from zoo.errors import InputError
from zoo.objective.layerwise import Layerwise


def depths(model: keras.Model) -> tuple[dict[str, int], int]:
    """Returns {layer with weights: its depth}, and the depth of the head.

    Depth is how many blocks there are on the longest way to a layer, itself included. A block is a layer of layers,
    such as a residual block or that of a Transformer; what stands in front of the first has depth 0. In a network
    without any, each layer with a kernel counts, and a norm has the depth of the layer that it follows. The layers
    `head...`, and all behind the last block, are one deeper than the rest.
    """
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    blocks = {name for name, layer in layers.items() if any(v.path.count("/") > 1 for v in layer.weights)}
    kernels = {name for name, layer in layers.items() if any(len(v.shape) > 1 for v in layer.weights)}
    steps = {name for name in blocks or kernels if not name.startswith("head")}
    found = _reached(model, steps)
    last = max((found[name] for name in steps), default=0)
    behind = {name for name in layers if blocks and name not in steps and found[name] == last}
    return {name: last + 1 if name in behind or name.startswith("head") else found[name] for name in layers}, last + 1


def _reached(model: keras.Model, steps: set[str]) -> dict[str, int]:
    """{operation of a network: the most `steps` on a way from an input to its first use, itself included}"""
    calls = {  # each use of a layer, and what it is called with
        (layer["name"], index): [tuple(history[:2]) for history in _histories(node)]
        for layer in model.get_config()["layers"]
        for index, node in enumerate(layer["inbound_nodes"] or [{}])
    }
    found: dict[tuple[str, int], int] = {}
    while len(found) < len(calls):  # uses stand nearly in the order in which they are made
        before = len(found)
        for call, inputs in calls.items():
            if call not in found and all(one in found for one in inputs):
                found[call] = max((found[one] for one in inputs), default=0) + (call[0] in steps)
        if len(found) == before:
            raise RuntimeError(f"{model.name} has a use of a layer whose inputs are not its own.")
    return {name: depth for (name, index), depth in found.items() if index == 0}


def _histories(node: typing.Any) -> Iterator[typing.Any]:
    """(name of a layer, index of its use, index of the output) of each tensor in the saved arguments of a call."""
    if isinstance(node, dict):
        if "keras_history" in node:
            yield node["keras_history"]
        for value in node.values():
            yield from _histories(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _histories(value)


def rates(recipe: typing.Any, model: keras.Model) -> dict[str, float]:
    """Returns {path of a variable: what `layer_decay` multiplies its rate by}."""
    found, last = depths(model)
    made: dict[str, float] = {}
    for layer in model.layers:
        for variable in layer.weights:
            made.setdefault(variable.path, recipe.layer_decay ** (last - found[layer.name]))
    return made


def starts(recipe: typing.Any, model: keras.Model) -> dict[str, int]:
    """Returns {path of a variable that `freeze` holds for a while: epochs before it trains}.

    Batch norms are not among them: `freeze` holds them to the end.
    """
    if not recipe.unfreeze_epochs:
        return {}
    held, (found, _) = matching(model, recipe.freeze), depths(model)
    groups = sorted({found[name] for name in held}, reverse=True)
    late = recipe.unfreeze_epochs
    begins = {depth: late[min(place, len(late) - 1)] for place, depth in enumerate(groups)}
    return {
        variable.path: begins[found[name]]
        for name in held
        for layer in _leaves(model.get_layer(name))
        if not isinstance(layer, keras.layers.BatchNormalization)
        for variable in _own(layer)
    }


def hold(recipe: typing.Any, model: keras.Model, adapters: bool = True) -> None:
    """Makes untrainable what `freeze` and `lora` hold still for the whole of a training, and adds the adapters.

    Args:
        adapters: False leaves `lora` out.
    """
    held = [] if recipe.freeze is None else matching(model, recipe.freeze)
    waits = bool(recipe.unfreeze_epochs)
    if recipe.lora and adapters:
        _adapt(recipe, model, [] if waits else held)
    for name in held:
        for layer in _leaves(model.get_layer(name)) if waits else [model.get_layer(name)]:
            if not waits or isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False


def _adapt(recipe: typing.Any, model: keras.Model, held: Iterable[str]) -> None:
    """Holds still what is not as deep as the head, and gives kernels there adapters, except in layers of `held`."""
    found, last = depths(model)
    adapted = False
    for name in [name for name, depth in found.items() if depth < last and name not in held]:
        for layer in _leaves(model.get_layer(name)):
            if _adaptable(layer):
                adapted = True
                if not layer.lora_enabled:
                    layer.enable_lora(recipe.lora, lora_alpha=recipe.lora_alpha)
                if getattr(layer, "bias", None) is not None:
                    layer.bias.trainable = False
            elif len(_flat(layer)) == 1:
                layer.trainable = False
            else:
                for variable in _own(layer):
                    variable.trainable = False
    if not adapted:
        raise InputError(
            f"lora={recipe.lora} finds nothing to adapt in {recipe.label}: no dense layer and no convolution stands in "
            "front of its head, outside of what freeze names."
        )


def _adaptable(layer: typing.Any) -> bool:
    """Whether a layer gets adapters: all with Keras's `enable_lora` (dense layers, convolutions) but embeddings."""
    return hasattr(layer, "enable_lora") and not isinstance(layer, keras.layers.Embedding)


def described(recipe: typing.Any, model: keras.Model, optimizer: typing.Any) -> dict[str, tuple[str, str]]:
    """Returns {path of a variable: (how it trains, its share of the rate)}, for a person, of a compiled `model`."""
    starting, rate = starts(recipe, model), rates(recipe, model)
    never = {path for path, first in getattr(optimizer, "starts", {}).items() if first == NEVER}
    trained = {variable.path for variable in model.trainable_variables}
    found = {}
    for variable in weights.variables(model):
        path = variable.path
        if path not in trained or path in never or not rate[path]:
            found[path] = ("frozen", "0")
            continue
        how = f"adapter, rank {recipe.lora}" if weights.is_adapter(path) else "trains"
        late = f" from epoch {starting[path] + 1}" if path in starting else ""
        found[path] = (how + late, f"{rate[path]:.3g}")
    return found


def give_rates(recipe: typing.Any, model: keras.Model, optimizer: typing.Any, steps_per_epoch: int | None) -> None:
    """Tells the optimizer the rates and starts of the fields; without `steps_per_epoch`, no start is ever reached.

    Raises: `InputError` for an optimizer that is not of `zoo.objective.layerwise`.
    """
    if recipe.layer_decay == 1 and not recipe.unfreeze_epochs:
        return
    if not isinstance(optimizer, Layerwise):
        raise InputError(
            f"layer_decay and unfreeze_epochs need an optimizer of zoo.objective.layerwise; {recipe.label} makes a "
            f"{type(optimizer).__name__} of its own."
        )
    trained = {variable.path for variable in model.trainable_variables}
    optimizer.rates = {path: rate for path, rate in rates(recipe, model).items() if rate != 1 and path in trained}
    optimizer.starts = {
        path: NEVER if steps_per_epoch is None else epochs * steps_per_epoch // recipe.accumulate
        for path, epochs in starts(recipe, model).items()
        if path in trained
    }


NEVER = 2**31 - 1
"""The update at which a variable starts that never does."""


def _flat(layer: keras.layers.Layer) -> list[typing.Any]:
    """A layer and all layers in it."""
    return list(layer._flatten_layers())


def _leaves(layer: keras.layers.Layer) -> list[typing.Any]:
    """The layers in a layer, and itself, that have weights of their own; one that is shared, once."""
    return list({id(one): one for one in _flat(layer) if _own(one)}.values())


def _own(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The weights of a layer that are of none within it."""
    within = {id(variable) for one in _flat(layer)[1:] for variable in one.weights}
    return [variable for variable in layer.weights if id(variable) not in within]
