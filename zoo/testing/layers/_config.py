"""Laws of the config and of `build`."""

import inspect
import json

import keras
import numpy as np

from zoo.testing.layers._case import TENSORS, number, serialised

KINDS = (
    keras.activations,
    keras.initializers,
    keras.regularizers,
    keras.constraints,
    keras.dtype_policies,
)


def check_config(case):
    cls, name = case.cls, case.name
    registered = keras.saving.get_registered_name(cls)
    found = keras.saving.get_registered_object(registered) if ">" in registered else None
    assert found is cls, (
        f"{name} is not registered with Keras, so that no file of it can be loaded: decorate the class with "
        '@keras.saving.register_keras_serializable("the_name_of_your_package")'
    )
    given = case.fresh_arguments()
    with case.doing("to be made"):
        layer = cls(**given)
    with case.doing("in get_config"):
        config = layer.get_config()
    parameters = inspect.signature(cls.__init__).parameters.values()
    names = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)][1:]
    missing = [one for one in names if one not in config]
    assert not missing, f"{name}.get_config lacks {', '.join(missing)}: every parameter of __init__ belongs into it"
    for where, value in _leaves(config):
        assert not isinstance(value, np.generic), (
            f"{name}.get_config holds {where}={value!r}, a {type(value).__name__} of NumPy, which JSON does not know: "
            "make it a plain number in __init__"
        )
    for key, value in given.items():
        assert key in config, f"{name}.get_config lacks {key}"
        assert _same(value, config[key]), f"{name}.get_config says {key}={config[key]!r}, given was {value!r}"
    with case.doing("when its config is serialised"):
        before = serialised(config)
    with case.doing("when it is called", TENSORS):
        case.call(layer)
    after = serialised(layer.get_config())
    changed = [key for key in before if after.get(key) != before[key]]
    assert after == before, (
        f"{name}.build changed its config: {', '.join(changed) or 'new keys'}; keep what you derive under another name"
    )
    with case.doing("to come back from its config"):
        twin = cls.from_config(json.loads(json.dumps(before)))
        again = json.loads(json.dumps(serialised(twin.get_config())))
    changed = [key for key, value in json.loads(json.dumps(before)).items() if again.get(key) != value]
    assert not changed, f"{name} comes back from its config with another {', '.join(changed)}"


def check_build(case):
    """A called layer whose weights are off their initial values, for the checks that follow."""
    layer = case.layer()
    case.call(layer)
    config = json.loads(json.dumps(layer.get_build_config()))  # loading has lists where a call has tuples
    twin = case.layer()
    with case.doing("when Keras builds it from a file, with lists for shapes"):
        twin.build_from_config(config)
    called, built = ([(one.name, tuple(one.shape)) for one in each.weights] for each in (layer, twin))
    assert called == built, (
        f"{case.name}.build makes {_counted(built)}, a call {_counted(called)}: "
        "build every sublayer in build, or its weights are lost on loading"
    )
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        if keras.backend.is_float_dtype(weight.dtype):  # zeros and ones hide what a weight does
            weight.assign(number(weight) + 0.1 * rng.normal(size=weight.shape))
    return layer


def _counted(weights):
    return f"{len(weights)} weights ({', '.join(f'{name} {shape}' for name, shape in weights) or 'none'})"


def _leaves(config, where=""):
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _leaves(value, f"{where}.{key}" if where else str(key))
    elif isinstance(config, (list, tuple)):
        for index, value in enumerate(config):
            yield from _leaves(value, f"{where}[{index}]")
    else:
        yield where, config


def _same(given, held):
    """Whether a config holds what was given, as it is or in Keras's serialised form."""
    if given is held:
        return True
    if isinstance(given, (list, tuple)) and isinstance(held, (list, tuple)):
        return len(given) == len(held) and all(map(_same, given, held))
    if isinstance(given, dict) and isinstance(held, dict) and set(given) == set(held):
        return all(_same(value, held[key]) for key, value in given.items())
    if isinstance(given, np.ndarray) or isinstance(held, np.ndarray):
        return np.array_equal(given, held)
    if serialised(given) == serialised(held):
        return True
    return any(None is not _identified(kind, given) == _identified(kind, held) for kind in KINDS)


def _identified(kind, value):
    try:
        return serialised(kind.serialize(kind.get(value)))
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
