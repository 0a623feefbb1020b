"""What a recipe does to a `keras.Model`: hangs itself on it, cuts it at its features, finds its layers."""

import contextlib
import fnmatch
import functools
from collections.abc import Iterator
from typing import Any

import keras

from zoo.errors import InputError


@contextlib.contextmanager
def undrawn() -> Iterator[None]:
    """Has layers that are built inside start as zeros: where all weights are set afterwards, drawing them would take
    longer than reading them."""
    add_weight = keras.layers.Layer.add_weight

    @functools.wraps(add_weight)
    def added(self, shape=None, initializer=None, *arguments, **options):
        return add_weight(self, shape, "zeros", *arguments, **options)

    keras.layers.Layer.add_weight = added
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


def attach(model: keras.Model, **things: object) -> None:
    """Sets attributes that Keras does not track: neither the weights nor a saved file know of them.

    `labels`, the names of the classes, are the exception: a `.keras` file has them (`zoo.weights.labels`), in the
    build config of the model. Keras reads that of no functional model, so the file opens where there is no zoo.
    `copy.deepcopy` of the model keeps what is attached.
    """
    names = (*getattr(model, "attached", ()), *things)
    methods = {"__deepcopy__": functools.partial(_copied, model)}
    if things.get("labels"):
        methods["get_build_config"] = functools.partial(_build_config, model)
    for name, thing in {**things, **methods, "attached": names}.items():
        object.__setattr__(model, name, thing)


def _build_config(model: Any) -> dict[str, Any]:
    """Returns the build config of a model, with the labels that are attached to it."""
    return {**(type(model).get_build_config(model) or {}), "labels": list(model.labels)}


def _copied(model: keras.Model, memo: dict[int, Any]) -> keras.Model:
    """Returns what Keras makes of a model that is pickled, with what is attached to it."""
    restore, arguments = model.__reduce__()
    twin = restore(*arguments)
    attach(twin, **{name: getattr(model, name) for name in model.attached})
    return twin


def cut(model: keras.Model) -> keras.Model:
    """Returns `model` from its inputs to its layer named `features`."""
    return keras.Model(model.inputs, model.get_layer("features").output, name=f"{model.name}_features")


def matching(model: keras.Model, pattern: str) -> list[str]:
    """Returns the names of the layers with weights that match the shell-style `pattern` of `freeze`.

    Raises: `InputError` where none matches, and where every one does.
    """
    names = [layer.name for layer in model.layers if layer.weights]
    found = [name for name in names if fnmatch.fnmatch(name, pattern)]
    if not found:
        raise InputError(f"freeze={pattern} matches no layer with weights. There are: {', '.join(names)}.")
    if len(found) == len(names):
        raise InputError(f"freeze={pattern} matches every layer with weights, so nothing would train.")
    return found
