"""Checks that every layer and every recipe must pass, ours and those of other packages.

from zoo.testing import check_layer, check_recipe

def test_my_layer():
    check_layer(MyLayer, {"units": 3}, input_shape=(2, 5))

def test_my_recipe():
    check_recipe("my_recipe")
"""

import hashlib
import inspect
import json
import random
import warnings

import keras
import numpy as np

from zoo import building, registry, weights
from zoo.data import open_source, pipeline
from zoo.errors import InputError
from zoo.fields import sweep
from zoo.training import make_plan

# Layers -----------------------------------------------------------------------------------------------------------


def check_layer(cls, arguments, *, input_shape, **expected):
    """Raises AssertionError where a layer breaks a law that all layers keep.

    Keras's own `run_layer_test` (saving, weight counts, output shape, mixed precision), and: every argument of
    `__init__` is in the config with its value; the config is the same before and after `build`; inference repeats
    itself; each row of a batch is answered as it is alone; outputs are finite; every weight gets a finite gradient.

    Args:
        cls: the layer's class.
        arguments: of `__init__`; values other than the defaults tell the most.
        input_shape: (batch, ...), or a list of such shapes for a layer of several inputs.
        expected: `expected_...` arguments of `run_layer_test`.
    """
    _check_config(cls, arguments, input_shape)
    _check_calls(cls, arguments, input_shape)
    _run_layer_test(cls, arguments, input_shape, expected)


def _check_config(cls, arguments, input_shape):
    layer = cls(**arguments)
    before = layer.get_config()
    names = [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "args", "kwargs")]
    missing = [name for name in names if name not in before]
    assert not missing, f"{cls.__name__}.get_config lacks {missing}"
    for name, value in arguments.items():
        assert before[name] == value, f"{cls.__name__}.get_config says {name}={before[name]!r}, given was {value!r}"
    layer(_inputs(input_shape))
    assert layer.get_config() == before, f"{cls.__name__}.build changed its config"
    twin = cls.from_config(json.loads(json.dumps(before)))
    assert twin.get_config() == before, f"{cls.__name__} does not come back from its config"


def _check_calls(cls, arguments, input_shape):
    layer = cls(**arguments)
    inputs = _inputs(input_shape)
    first, second = (
        keras.ops.convert_to_numpy(layer(inputs, training=False))
        if _trains(layer)
        else keras.ops.convert_to_numpy(layer(inputs))
        for _ in range(2)
    )
    assert np.isfinite(first).all(), f"{cls.__name__} answers what is not finite"
    np.testing.assert_array_equal(first, second, f"{cls.__name__} answers the same input differently in inference")
    one = keras.tree.map_structure(lambda value: value[1:2], inputs)
    alone = keras.ops.convert_to_numpy(layer(one, training=False) if _trains(layer) else layer(one))
    np.testing.assert_allclose(alone[0], first[1], rtol=1e-5, atol=1e-6, err_msg=f"{cls.__name__} mixes its batch")
    _check_gradients(layer, inputs)


def _check_gradients(layer, inputs):
    """One step of SGD on a random projection moves every trainable weight, and to a finite value."""
    model_inputs = keras.tree.map_structure(lambda value: keras.Input(value.shape[1:], dtype=value.dtype), inputs)
    model = keras.Model(model_inputs, layer(model_inputs))
    if not model.trainable_weights:
        return
    outputs = keras.ops.convert_to_numpy(model(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    before = [weights.array(weight) for weight in model.trainable_weights]
    model.train_on_batch(inputs, outputs + np.random.default_rng(0).normal(size=outputs.shape))
    for weight, old in zip(model.trainable_weights, before, strict=True):
        new = weights.array(weight)
        assert np.isfinite(new).all(), f"{layer.name}: the gradient of {weight.path} is not finite"
        assert (new != old).any(), f"{layer.name}: {weight.path} gets no gradient"


def _run_layer_test(cls, arguments, input_shape, expected):
    from keras.src import testing  # Keras's own conformance test is private; this is the one place that uses it

    class Case(testing.TestCase):
        def runTest(self):
            """Lets the class be made without a test method's name."""

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`shuffle=True` was passed", category=UserWarning)  # by the test
        Case().run_layer_test(cls, init_kwargs=arguments, input_shape=input_shape, **expected)


def _trains(layer):
    return "training" in inspect.signature(layer.call).parameters


def _inputs(shape):
    rng = np.random.default_rng(0)
    if isinstance(shape, list):
        return [rng.normal(size=one).astype("float32") for one in shape]
    return rng.normal(size=shape).astype("float32")


# Recipes ----------------------------------------------------------------------------------------------------------


def check_recipe(name, *, samples=None, data_dir=None):
    """Raises AssertionError where a recipe breaks a law that all recipes keep; needs keras-tuner.

    Every default is legal and within its search range; sampling nothing is the default; the network is the same
    twice, and building it leaves global state alone; it has a layer `features`, and only `head...` behind it; and
    every field that counts changes something.

    Args:
        name: the recipe's name, with or without a variant.
        samples: {field: value} for fields of text, whose other values cannot be guessed.
        data_dir: where its data lie.
    """
    recipe = registry.recipe(name)
    _check_defaults(type(recipe))
    _check_sampling(recipe)
    _check_network(recipe)
    _check_fields(recipe, samples or {}, data_dir)


def _check_defaults(cls):
    for name, field in cls.fields().items():
        field.check(name, field.default)
        for value in field.search or ():
            field.check(name, value)
        low_high = getattr(field, "legal", None)
        if field.search is not None and low_high is None:
            assert field.default in field.search, f"{cls.__name__}.{name}: the default is not searched"
        elif field.search is not None and field.default not in (None, 0):
            low, high = field.search
            assert low <= field.default <= high, f"{cls.__name__}.{name}: the default is outside the search range"


def _check_sampling(recipe):
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    assert recipe.sample(hp) == recipe, f"{recipe.label}: sampling nothing is not the default"
    assert hp.space, f"{recipe.label} has nothing to search"


def _check_network(recipe):
    states = random.getstate(), np.random.get_state()[1].tolist(), keras.config.dtype_policy()
    first, second = recipe.build(), recipe.build()
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), keras.config.dtype_policy()), "global state"
    ours, theirs = weights.of(first), weights.of(second)
    assert list(ours) == list(theirs), f"{recipe.label}: names of weights differ from one build to the next"
    for path, array in ours.items():
        np.testing.assert_array_equal(array, theirs[path], f"{recipe.label}: {path} is not reproducible")
    names = [layer.name for layer in first.layers]
    assert "features" in names, f"{recipe.label} has no layer named features"
    after = names[names.index("features") + 1 :]
    assert after, f"{recipe.label} ends at its features"
    assert all(name.startswith("head") for name in after), f"{recipe.label}: {after} behind features"
    assert recipe.features().output.shape == first.get_layer("features").output.shape


def _check_fields(recipe, samples, data_dir):
    """Every override of a field that counts changes network, weights, objective, batches, schedule or plan."""
    source = open_source(recipe.dataset, data_dir=data_dir)
    known = {}
    changed, tried = set(), set()
    for name, active, other in sweep(type(recipe), recipe.values(), samples):
        try:
            first, second = (type(recipe).restored(recipe.origin, type(recipe).normal(v)) for v in (active, other))
        except InputError:
            continue  # two fields make each other impossible
        if name in changed or name == "dataset":
            continue
        tried.add(name)
        if first not in known:
            known[first] = _effect(first, source)
        if known[first] != _effect(second, source) or _step(first, source) != _step(second, source):
            changed.add(name)
    assert tried == changed, f"{recipe.label}: {sorted(tried - changed)} change nothing"


def _effect(recipe, source):
    """Hashes of everything that a recipe decides, but for the outcome of training."""
    model = building.build(recipe, steps_per_epoch=10)
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    training = pipeline.training(source, preparation, batch_size=recipe.batch_size, seed=recipe.seed)
    batches = [next(iter(training)) for _ in range(2)]
    optimizer = model.optimizer
    return {
        "network": model.to_json(),
        "weights": {path: _hash(array) for path, array in weights.of(model).items()},
        "trainable": [variable.path for variable in model.trainable_variables],
        "optimizer": json.dumps(keras.saving.serialize_keras_object(optimizer), sort_keys=True, default=str),
        "loss": json.dumps(keras.saving.serialize_keras_object(recipe.make_loss()), sort_keys=True, default=str),
        "batches": [[_hash(part) for part in batch] for batch in batches],
        "plan": make_plan(recipe, len(training), True),
        "jit": model.jit_compile,
    }


def _step(recipe, source):
    """The weights after one step, for what shows nowhere else, such as which variables decay."""
    model = building.build(recipe, steps_per_epoch=10)
    preparation = recipe.make_preparation(recipe.make_reader(source), source)
    batch = next(iter(pipeline.training(source, preparation, batch_size=8, seed=recipe.seed)))
    for variable in model.trainable_variables:
        variable.assign(weights.array(variable) + 0.01)  # biases start at 0, where nothing decays
    model.train_on_batch(*map(np.asarray, batch))
    return {path: _hash(array) for path, array in weights.of(model).items()}


def _hash(array):
    array = np.ascontiguousarray(array)
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
