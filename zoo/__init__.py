"""A model zoo on Keras 3: `zoo.build`, `zoo.train`, `zoo.tune`, `zoo.evaluate`, `zoo.predict`, and more.

Importing it is light: names resolve on first use, and Keras is imported by the verbs that need it.
"""

import importlib
from typing import TYPE_CHECKING

from zoo import _checkout, _hook
from zoo._version import __version__ as __version__

if TYPE_CHECKING:
    from zoo import layers as layers
    from zoo import recipes as recipes
    from zoo.building import build as build
    from zoo.errors import InputError as InputError
    from zoo.errors import Interrupted as Interrupted
    from zoo.errors import RunError as RunError
    from zoo.errors import ZooError as ZooError
    from zoo.registry.finding import names as names
    from zoo.registry.opening import recipe as recipe
    from zoo.reporting import report as report
    from zoo.reproducing import reproduce as reproduce
    from zoo.runs.loading import load as load
    from zoo.runs.run import Run as Run
    from zoo.serving.exporting import export as export
    from zoo.serving.prediction import evaluate as evaluate
    from zoo.serving.prediction import predict as predict
    from zoo.training.batches import dataset as dataset
    from zoo.training.callbacks import LayerReadings as LayerReadings
    from zoo.training.fitting import train as train
    from zoo.tuning.hypermodel import hypermodel as hypermodel
    from zoo.tuning.study import Study as Study
    from zoo.tuning.tune import tune as tune

_PUBLIC = {
    "build": "building",
    "InputError": "errors",
    "Interrupted": "errors",
    "RunError": "errors",
    "ZooError": "errors",
    "names": "registry.finding",
    "recipe": "registry.opening",
    "report": "reporting",
    "reproduce": "reproducing",
    "Run": "runs.run",
    "load": "runs.loading",
    "export": "serving.exporting",
    "evaluate": "serving.prediction",
    "predict": "serving.prediction",
    "dataset": "training.batches",
    "LayerReadings": "training.callbacks",
    "train": "training.fitting",
    "hypermodel": "tuning.hypermodel",
    "Study": "tuning.study",
    "tune": "tuning.tune",
}

_checkout.install()
_hook.install()

if not TYPE_CHECKING:  # a type checker would take any name for one of ours
    __all__ = ["__version__", *_PUBLIC]

    def __getattr__(name):
        if name in _PUBLIC:
            value = getattr(importlib.import_module(f"zoo.{_PUBLIC[name]}"), name)
            globals()[name] = value
            return value
        if name in ("layers", "recipes"):
            return importlib.import_module(f"zoo.{name}")
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
