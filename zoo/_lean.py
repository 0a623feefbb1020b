"""Imports Keras and TensorFlow without what they would import for notebooks: half of their seconds.

Keras imports scikit-learn (for wrappers) and matplotlib (for galleries), and TensorFlow imports JAX (for a converter),
where they are installed, and all three do without. A process of ours has no use for these, and imports matplotlib or
JAX itself where it has.
"""

import contextlib
import gc
import json
import os
import pathlib
import sys
from collections.abc import Iterator


def _backend() -> str:
    """The backend that Keras will choose, as it chooses."""
    named = os.environ.get("KERAS_BACKEND")
    if named:
        return named
    home = os.environ.get("KERAS_HOME") or pathlib.Path("~/.keras").expanduser()
    try:
        return json.loads(pathlib.Path(home, "keras.json").read_text(encoding="utf-8")).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


@contextlib.contextmanager
def lean_imports() -> Iterator[None]:
    """Hides scikit-learn, matplotlib and (where it is not the backend) JAX from imports, which collect no garbage."""
    hidden = ["sklearn", "matplotlib", *([] if _backend() == "jax" else ["jax"])]
    hidden = [name for name in hidden if name not in sys.modules]
    collecting = gc.isenabled()
    gc.disable()  # hundreds of thousands of objects are made, and stay
    sys.modules.update(dict.fromkeys(hidden))  # None: Python's sign that a module cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
        if collecting:
            gc.enable()
