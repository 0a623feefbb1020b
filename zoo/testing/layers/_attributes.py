"""What a layer and its sublayers hold, and what a call changes in it."""

import contextlib

import keras
import numpy as np


@contextlib.contextmanager
def noted(layer):
    """A list that afterwards names the Python attributes that were set or changed within."""
    before, changed = _attributes(layer), []
    yield changed
    after = _attributes(layer)
    changed.extend(sorted(name for name in {*before, *after} if not _equal(before.get(name), after.get(name))))


def _attributes(layer):
    """{name: value} of what a layer, its sublayers and their classes hold, Keras's own attributes left out."""
    plain = keras.layers.Identity()
    plain(np.zeros((1, 1), "float32"))
    keras_own = set(vars(plain))
    found = {}
    for one in [layer, *all_sublayers(layer, set())]:
        for name, value in vars(one).items():
            if name not in keras_own:
                found[f"{one.name}.{name}"] = _held(value)
        for cls in type(one).__mro__:
            if cls.__module__.partition(".")[0] not in ("keras", "builtins", "torch", "tensorflow"):
                found |= {
                    f"{cls.__name__}.{name}": _held(value)
                    for name, value in vars(cls).items()
                    if not name.startswith("__")
                }
    return found


def all_sublayers(holder, known):
    for value in vars(holder).values():
        for one in (
            value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        ):
            if isinstance(one, keras.layers.Layer) and id(one) not in known:
                known.add(id(one))
                yield one
                yield from all_sublayers(one, known)


def _held(value):
    """A copy of what can be compared by value, as deep as containers go."""
    if isinstance(value, dict):
        return {key: _held(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_held(one) for one in value]
    return value.copy() if isinstance(value, np.ndarray) else value


def _equal(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (bool, int, float, str, bytes)) and type(one) is type(other):
        return one == other
    return one is other
