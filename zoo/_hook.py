"""Registers our classes with Keras when Keras arrives.

`keras.saving.load_model` imports nobody's modules, and `import zoo` imports no Keras. So that
`import zoo, keras` and `import keras, zoo` both know the layers of a saved model, a finder waits for the
import of Keras and registers once it has been executed.

Processes of ours import Keras in `lean_imports`, in half of the time.
"""

import contextlib
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import sys
import types
import warnings
from collections.abc import Iterator, Sequence


def _register() -> None:
    """A failure here must not break somebody's `import keras`: it warns."""
    try:
        import zoo.layers
        import zoo.objective.layerwise
        import zoo.objective.losses
        import zoo.objective.metrics
        import zoo.objective.optimizers
        import zoo.readers  # noqa: F401
    except Exception as error:
        warnings.warn(f"zoo could not register its layers with Keras: {error!r}", stacklevel=2)


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Lets the other finders find Keras, and registers when it is executed: looking it up alone changes nothing."""

    def __init__(self) -> None:
        self._asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "keras" or self._asking:
            return None
        self._asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking = False
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            execute(module)
            _register()

        spec.loader.exec_module = exec_module
        return spec


def install() -> None:
    """Registers now where Keras is imported already, else when it is."""
    keras = sys.modules.get("keras")
    if keras is None:
        sys.meta_path.insert(0, _AfterKeras())
    elif hasattr(keras, "saving"):
        _register()


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
    """Hides scikit-learn, matplotlib and JAX (where it is not the backend) from imports, and collects no garbage.

    Keras imports scikit-learn for wrappers and matplotlib for galleries, and TensorFlow imports JAX for a converter,
    where they are installed. They take half of the time, and a process of ours does without: it imports matplotlib or
    JAX itself, later, where it needs them.
    """
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
