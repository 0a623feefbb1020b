"""Laws of files: what other processes answer that load a layer."""

import json
import pathlib
import sys
import tempfile
import warnings

import keras
import numpy as np

from zoo.testing import _fresh
from zoo.testing.layers._case import KERAS_OPS, functional_model, model_answers


def check_fresh(case, model):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.keras")
        with case.doing("when it is saved"):
            model.save(path)
        with case.doing("when it is loaded in a fresh process"):
            found = _fresh.answers("keras", path, [case.arrays], _modules(case, json.loads(model.to_json())))
    case.agree(found[0], model_answers(model, case.arrays), "answers otherwise when loaded in a fresh process")


def _modules(case, config):
    """{name: file} of the modules that classes of the config and functions among the arguments come from."""
    names = {case.cls.__module__} | {getattr(one, "__module__", None) for one in keras.tree.flatten(case.arguments)}
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            names.add(value.get("module"))
        pending.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in names if isinstance(name, str)}
    return {name: file for name, file in files.items() if file and name.partition(".")[0] != "keras"}


def check_export(case, layer, model, axes):
    if keras.backend.backend() == "jax" and sum(map(bool, axes)) > 1:
        # JAX takes the unknown sizes of two inputs for two sizes: they then cannot be added
        model = functional_model(case, layer, [array.shape[1:] for array in case.arrays])
    batches = [[np.take(array, np.arange(size) % case.batch, axis=0) for array in case.arrays] for size in (1, 3)]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "exported")
        with case.doing("when it is exported as a SavedModel", KERAS_OPS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The `native_serialization` parameter")  # by Keras, of JAX
            model.export(path, format="tf_saved_model", verbose=False)
        with case.doing("when its SavedModel is loaded by TensorFlow alone"):
            found = _fresh.answers("saved_model", path, batches)
    for batch, answers in zip(batches, found, strict=True):
        case.agree(
            answers, model_answers(model, batch), f"answers otherwise as a SavedModel, {len(batch[0])} at a time"
        )
