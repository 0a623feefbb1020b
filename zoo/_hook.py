"""Registers our classes with Keras when Keras arrives.

`keras.saving.load_model` imports nobody's modules, and `import zoo` imports no Keras. So that
`import zoo, keras` and `import keras, zoo` both know the layers of a saved model, a finder waits for the
import of Keras and registers once it has been executed.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Sequence


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
