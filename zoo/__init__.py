"""A model zoo on Keras 3: `zoo.build`, `zoo.train`, `zoo.tune`, `zoo.evaluate`, `zoo.predict`, and more.

Importing it is light: names resolve on first use, and Keras is imported by the verbs that need it.
"""

import importlib
from typing import TYPE_CHECKING

from zoo import _checkout, _hook
from zoo._version import __version__

if TYPE_CHECKING:
    from zoo.building import build as build
    from zoo.callbacks import LayerReadings as LayerReadings
    from zoo.errors import InputError as InputError
    from zoo.errors import Interrupted as Interrupted
    from zoo.errors import RunError as RunError
    from zoo.errors import ZooError as ZooError
    from zoo.exporting import export as export
    from zoo.prediction import evaluate as evaluate
    from zoo.prediction import predict as predict
    from zoo.registry import names as names
    from zoo.registry import recipe as recipe
    from zoo.reporting import report as report
    from zoo.runs import Run as Run
    from zoo.runs import load as load
    from zoo.training import dataset as dataset
    from zoo.training import train as train
    from zoo.tuning.hypermodel import hypermodel as hypermodel
    from zoo.tuning.study import Study as Study
    from zoo.tuning.tune import tune as tune

_PUBLIC = {
    "build": "building",
    "LayerReadings": "callbacks",
    "InputError": "errors",
    "Interrupted": "errors",
    "RunError": "errors",
    "ZooError": "errors",
    "export": "exporting",
    "evaluate": "prediction",
    "predict": "prediction",
    "names": "registry",
    "recipe": "registry",
    "report": "reporting",
    "Run": "runs",
    "load": "runs",
    "dataset": "training",
    "train": "training",
    "hypermodel": "tuning.hypermodel",
    "Study": "tuning.study",
    "tune": "tuning.tune",
}

__all__ = ["__version__", *_PUBLIC]

_checkout.install()
_hook.install()


def __getattr__(name):
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"zoo.{_PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    if name in ("layers", "recipes"):
        return importlib.import_module(f"zoo.{name}")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC])
