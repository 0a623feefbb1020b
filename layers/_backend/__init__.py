"""The few primitives that must differ per backend: one file a backend, with the same names.

Everything above is written once over `keras.ops` and these. `_backend.name` is that name in the file of the backend
that Keras runs on, which is imported on first use.
"""

import importlib

import keras

BACKENDS = ("tensorflow", "jax", "torch")


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise ImportError(f"zoo.layers needs one of the backends {', '.join(BACKENDS)}. Received: {backend}")
    return getattr(importlib.import_module(f"{__name__}.{backend}"), name)
