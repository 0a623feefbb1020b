"""`check_layer`: the laws that every layer keeps."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy.typing as npt

from zoo.base.randomness import reproducible
from zoo.testing import _fresh
from zoo.testing.layers._calls import check_gradients, check_inference, check_rows, check_training
from zoo.testing.layers._case import Case, noise
from zoo.testing.layers._compiled import check_compiled
from zoo.testing.layers._config import check_build, check_config
from zoo.testing.layers._dtypes import HALVES, STEPS, check_dtypes, check_steps
from zoo.testing.layers._keras import keras_case, run_layer_test
from zoo.testing.layers._masks import check_masks
from zoo.testing.layers._processes import check_export, check_fresh

Sizes = tuple[int, ...] | list[tuple[int, ...]] | Mapping[str, tuple[int, ...]]
"""Shapes or axes: of the one input, of each in a list, or of each by name."""

Arrays = npt.ArrayLike | list[npt.ArrayLike | None] | Mapping[str, npt.ArrayLike]
"""Likewise arrays."""


def check_layer(
    cls: type[keras.layers.Layer],
    arguments: Mapping[str, Any],
    *,
    input_shape: Sizes | None = None,
    inputs: Arrays | None = None,
    call_arguments: Mapping[str, Any] | None = None,
    mask: Arrays | None = None,
    dynamic_axes: Sizes = (),
    batch_independent: bool = True,
    exportable: bool = True,
    tolerance: float = 1e-5,
    thorough: bool = True,
    **expected: Any,
) -> None:
    """Raises AssertionError, with a message that says what to correct, where a layer breaks a law that all layers keep.

    Config. The class is registered under a package; every parameter of `__init__` is in the config with its value;
    building changes nothing in it; the layer comes back from it as JSON; and what `build` makes, given lists instead
    of tuples, is all that a call makes.

    Calls. Outputs are finite and have the shape that `compute_output_shape` says. Inference repeats itself, whatever
    state NumPy and Python are in, and a call leaves no trace on the layer. Training repeats itself where no seed
    generator was drawn from, and does not where one is. Each example is answered as it is alone. A mask goes on with
    the output, and with `mask=` nothing that it hides, nor more of it, changes an answer. Every trainable weight gets
    a gradient, finite and not zero, and so do the inputs. Eager and compiled, plain and by XLA, the answers are equal,
    and with `dynamic_axes=` for two sizes. Under mixed precision outputs are what the policy says (a layer that means
    to return another dtype says so in `compute_output_spec`).

    Once a class (`thorough`). Saved and loaded in a process that never built the layer, it answers the same; so does
    its SavedModel, with one example and with three, in a process that has only TensorFlow (not on torch, which
    cannot write one). 50 steps of training in float16 and bfloat16 stay finite.

    Last comes Keras's own `run_layer_test`.

    Args:
        cls: the layer's class.
        arguments: of `__init__`; values other than the defaults tell the most. Layers among them are copied, unbuilt,
            for every layer that is made.
        input_shape: (batch, ...) with a batch of at least 2; a list of such shapes for a layer that takes a list;
            {argument: shape} for a layer whose `call` takes several tensors. The inputs are then normal noise.
        inputs: the inputs themselves instead, arrays in the same form: for whole numbers, booleans, times.
        call_arguments: further arguments of `call`, arrays or not, given by name.
        mask: an array of booleans, False where the inputs are padding; it goes on each input whose first axes have its
            shape, as Keras attaches masks. A list or {argument: mask} to give each input its own, or None.
        dynamic_axes: axes beside the batch whose size may be unknown, such as (1,); a list or {argument: axes} to give
            each input its own. The check doubles them.
        batch_independent: False for a layer that by design lets examples of a batch see each other.
        exportable: False for a layer that cannot become a SavedModel on this backend.
        tolerance: the largest difference allowed between ways to the same answer, as a part of the largest output.
        thorough: whether to check what needs seconds; for further configurations of a class, False.
        expected: `expected_...` and other arguments of `run_layer_test`.
    """
    if (input_shape is None) == (inputs is None):
        raise TypeError("check_layer takes input_shape= or inputs=, one of them.")
    with reproducible(0):
        case = Case(cls, arguments, noise(input_shape) if inputs is None else inputs, call_arguments or {}, tolerance)
        unknown = set(expected) - set(inspect.signature(keras_case().run_layer_test).parameters)
        if unknown:
            raise TypeError(f"check_layer has no argument {', '.join(sorted(unknown))}.")
        exportable = exportable and keras.backend.backend() != "torch"
        if thorough:  # they import while we go on
            _fresh.start("keras")
            if exportable:
                _fresh.start("saved_model")
        masks, axes = case.masks(mask), case.axes(dynamic_axes)
        check_config(case)
        layer = check_build(case)
        check_inference(case, layer)
        check_training(case, layer)
        check_masks(case, layer, masks, axes)
        model = check_compiled(case, layer, axes)
        if batch_independent:
            check_rows(case, layer, model)
        check_gradients(case, layer)
        check_dtypes(case)
        check_steps(case, "float32", 1)
        if thorough:
            check_fresh(case, model)
            if exportable:
                check_export(case, layer, model, axes)
            for policy in HALVES:
                check_steps(case, policy, STEPS)
        run_layer_test(case, input_shape, expected)
