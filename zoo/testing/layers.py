"""`check_layer`: the laws that every layer keeps."""

import contextlib
import inspect
import json
import pathlib
import random
import sys
import tempfile
import warnings

import keras
import numpy as np

from zoo.base import dtype_policy, reproducible
from zoo.testing import _fresh
from zoo.testing._gradients import gradients

_TENSORS = "\nA tensor must stay a tensor: use keras.ops, not NumPy."
_KERAS_OPS = (
    "\nA compiled call has no values at hand: use keras.ops, not NumPy, Python's `if` or a backend's functions."
)

_TRACE = "{}.call changes {}: a compiled call would do so only once, so keep state in weights"

HALVES = ("mixed_float16", "mixed_bfloat16")
STEPS = 50
DRAWS = 8
"""Calls in training, one of which must differ from the first: of a batch of 2, half the draws may be equal."""


def check_layer(
    cls,
    arguments,
    *,
    input_shape=None,
    inputs=None,
    call_arguments=None,
    mask=None,
    dynamic_axes=(),
    batch_independent=True,
    exportable=True,
    tolerance=1e-5,
    thorough=True,
    **expected,
):
    """Raises AssertionError, with a message that says what to mend, where a layer breaks a law that all layers keep.

    Config. The class is registered under a package; every parameter of `__init__` is in the config with its value;
    building changes nothing in it; the layer comes back from it as JSON; and what `build` makes, given lists instead
    of tuples, is all that a call makes.

    Calls. Outputs are finite and have the shape that `compute_output_shape` says. Inference repeats itself, whatever
    state NumPy and Python are in, and a call leaves no trace on the layer. Training repeats itself where no seed
    generator was drawn from, and does not where one is. Each example is answered as it is alone. A mask goes on with
    the output, and with `mask=` nothing that it hides, nor more of it, changes an answer. Every trainable weight gets
    a gradient, finite and not zero, and so do the inputs. Eager and compiled, plain and by XLA, the answers are equal,
    and with `dynamic_axes=` for two sizes. Under mixed precision outputs are what the policy says (a layer that means
    to return another dtype says so in `compute_output_spec`).

    Once a class (`thorough`). Saved and loaded in a process that never built the layer, it answers the same; so does
    its SavedModel, with one example and with three, in a process that has only TensorFlow (not on torch, which
    cannot write one). 50 steps of training in float16 and bfloat16 stay finite.

    Last comes Keras's own `run_layer_test`.

    Args:
        cls: the layer's class.
        arguments: of `__init__`; values other than the defaults tell the most. Layers among them are copied, unbuilt,
            for every layer that is made.
        input_shape: (batch, ...) with a batch of at least 2; a list of such shapes for a layer that takes a list;
            {argument: shape} for a layer whose `call` takes several tensors. The inputs are then normal noise.
        inputs: the inputs themselves instead, arrays in the same form: for whole numbers, booleans, times.
        call_arguments: further arguments of `call`, arrays or not, given by name.
        mask: an array of booleans, False where the inputs are padding; it goes on each input whose first axes have its
            shape, as Keras attaches masks. A list or {argument: mask} to give each input its own, or None.
        dynamic_axes: axes beside the batch whose size may be unknown, such as (1,); a list or {argument: axes} to give
            each input its own. The check doubles them.
        batch_independent: False for a layer that by design lets examples of a batch see each other.
        exportable: False for a layer that cannot become a SavedModel on this backend.
        tolerance: the largest difference allowed between ways to the same answer, as a part of the largest output.
        thorough: whether to check what needs seconds; for further configurations of a class, False.
        expected: `expected_...` and other arguments of `run_layer_test`.
    """
    if (input_shape is None) == (inputs is None):
        raise TypeError("check_layer takes input_shape= or inputs=, one of them.")
    with reproducible(0):
        case = _Case(cls, arguments, _noise(input_shape) if inputs is None else inputs, call_arguments or {}, tolerance)
        unknown = set(expected) - set(inspect.signature(_keras_case().run_layer_test).parameters)
        if unknown:
            raise TypeError(f"check_layer has no argument {', '.join(sorted(unknown))}.")
        exportable = exportable and keras.backend.backend() != "torch"
        if thorough:  # they import while we go on
            _fresh.start("keras")
            if exportable:
                _fresh.start("saved_model")
        masks, axes = case.masks(mask), case.axes(dynamic_axes)
        _check_config(case)
        layer = _check_build(case)
        _check_inference(case, layer)
        _check_training(case, layer)
        if batch_independent:
            _check_rows(case, layer)
        _check_masks(case, layer, masks, axes)
        model = _check_compiled(case, layer, axes)
        _check_gradients(case, layer)
        _check_dtypes(case)
        _check_steps(case, "float32", 1)
        if thorough:
            _check_fresh(case, model)
            if exportable:
                _check_export(case, layer, model, axes)
            for policy in HALVES:
                _check_steps(case, policy, STEPS)
        _run_layer_test(case, input_shape, expected)


class _Case:
    """One configuration of one class, and what it is called with."""

    def __init__(self, cls, arguments, inputs, call_arguments, tolerance):
        self.cls = cls
        self.name = cls.__name__
        self.arguments = arguments
        self.tolerance = tolerance
        self.inputs = keras.tree.map_structure(_array, inputs)
        self.structure = (self.inputs, call_arguments)
        leaves = keras.tree.flatten_with_path(self.structure)
        first = next(leaf for _, leaf in leaves if isinstance(leaf, np.ndarray))
        self.batch = first.shape[0]
        if self.batch < 2:
            raise ValueError(f"check_layer needs a batch of at least 2. Received: {first.shape}")
        self.leaves = [leaf for _, leaf in leaves]
        self.places = [
            place
            for place, (_, leaf) in enumerate(leaves)
            if isinstance(leaf, np.ndarray) and leaf.ndim and leaf.shape[0] == self.batch
        ]
        self.paths = [leaves[place][0] for place in self.places]
        self.arrays = [self.leaves[place] for place in self.places]
        self.first = 0
        if isinstance(inputs, dict):  # whose leaves are sorted by name
            name = next(one for one in inspect.signature(cls.call).parameters if one in inputs)
            self.first = self.paths.index((0, name))

    def fresh_arguments(self, dtype=None):
        """The arguments, each layer among them an unbuilt copy, made as if `dtype` had been the global policy."""

        def copied(value):
            if not isinstance(value, keras.layers.Layer):
                return value
            config = _serialised(value)["config"]
            return type(value).from_config(_under(dtype, config) if dtype else config)

        return keras.tree.map_structure(copied, dict(self.arguments))

    def layer(self, dtype=None):
        arguments = self.fresh_arguments(dtype)
        return self.cls(**(arguments | {"dtype": dtype} if dtype else arguments))

    def call(self, function, arrays=None, **more):
        """`function`, a layer or what stands for it, of the arrays (or of tensors in their place)."""
        leaves = list(self.leaves)
        for place, array in zip(self.places, self.arrays if arrays is None else arrays, strict=True):
            leaves[place] = array
        inputs, keywords = keras.tree.pack_sequence_as(self.structure, leaves)
        if isinstance(inputs, dict):
            return function(**inputs, **keywords, **more)
        return function(inputs, **keywords, **more)

    def answers(self, layer, arrays=None, *, training=False):
        """The outputs in one list, as arrays."""
        return _numbers(self.call(layer, arrays, training=training))

    def masks(self, value):
        """A mask or None for each of `arrays`."""
        found = [None if mask is None else np.asarray(mask, bool) for mask in self._each(value)]
        if not isinstance(value, (list, dict)):  # on the inputs that it fits, of those that are no keyword
            found = [
                mask if mask is not None and path[0] == 0 and array.shape[: mask.ndim] == mask.shape else None
                for mask, path, array in zip(found, self.paths, self.arrays, strict=True)
            ]
        wrong = [
            mask.shape
            for mask, array in zip(found, self.arrays, strict=True)
            if mask is not None and array.shape[: mask.ndim] != mask.shape
        ]
        if wrong or (value is not None and not any(mask is not None for mask in found)):
            shapes = [array.shape for array in self.arrays]
            raise ValueError(
                f"mask must have the first axes of an input. Inputs are {shapes}. Received: mask={value!r}"
            )
        return found

    def axes(self, value):
        """The axes that may be unknown, a tuple for each of `arrays`."""
        return [
            tuple(axis for axis in axes or () if axis < array.ndim)
            for axes, array in zip(self._each(value), self.arrays, strict=True)
        ]

    def _each(self, value):
        """`value` for each of `arrays`: by name, by place in the list, or the same for all."""
        keys = [path[1] if len(path) > 1 else None for path in self.paths]
        if isinstance(value, dict):
            return [value.get(key) for key in keys]
        if isinstance(value, list):
            return [value[key] if isinstance(key, int) and key < len(value) else None for key in keys]
        return [value] * len(keys)

    @contextlib.contextmanager
    def doing(self, what, hint=""):
        """Any error within is an AssertionError that says in what the layer failed."""
        try:
            yield
        except AssertionError:
            raise
        except Exception as error:
            told = str(error).partition("\n\nArguments received by")[0]  # Keras prints whole tensors behind
            raise AssertionError(f"{self.name} fails {what}: {type(error).__name__}: {told}{hint}") from error

    def agree(self, found, expected, what):
        """Both are lists of arrays, equal up to the tolerance."""
        shapes = [[array.shape for array in arrays] for arrays in (found, expected)]
        assert shapes[0] == shapes[1], f"{self.name} {what}: outputs of {shapes[0]}, not of {shapes[1]}"
        for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            if not theirs.size:
                continue
            ours, theirs = ours.astype("float64"), theirs.astype("float64")
            scale = max(np.abs(theirs).max(), 1e-6)
            worst = np.abs(ours - theirs).max() / scale
            assert worst <= self.tolerance, (
                f"{self.name} {what}: output {index} differs by {worst:.1e} of the largest number in it; "
                f"{self.tolerance:.0e} is allowed"
            )


# Config and build -------------------------------------------------------------------------------------------------


def _check_config(case):
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
        before = _serialised(config)
    with case.doing("when it is called", _TENSORS):
        case.call(layer)
    after = _serialised(layer.get_config())
    changed = [key for key in before if after.get(key) != before[key]]
    assert after == before, (
        f"{name}.build changed its config: {', '.join(changed) or 'new keys'}; keep what you derive under another name"
    )
    with case.doing("to come back from its config"):
        twin = cls.from_config(json.loads(json.dumps(before)))
        again = json.loads(json.dumps(_serialised(twin.get_config())))
    changed = [key for key, value in json.loads(json.dumps(before)).items() if again.get(key) != value]
    assert not changed, f"{name} comes back from its config with another {', '.join(changed)}"


def _check_build(case):
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
            weight.assign(_number(weight) + 0.1 * rng.normal(size=weight.shape))
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


BUILT = ("build_config", "build_input_shape", "compile_config")


def _serialised(value):
    """What a file would hold of it, without what a layer that is held as an argument owes to having been built."""

    def plain(value):
        if isinstance(value, dict):
            if value.get("class_name") == "Sequential":  # building it puts an InputLayer in front
                config = value["config"]
                inner = [layer for layer in config["layers"] if layer["class_name"] != "InputLayer"]
                value = {**value, "config": {**config, "layers": inner}}
            return {key: plain(one) for key, one in value.items() if key not in BUILT}
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        return value

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")
        return plain(keras.saving.serialize_keras_object(value))


def _under(dtype, config):
    """A layer's serialised config as if `dtype` had been the global policy where the layer was made."""
    if isinstance(config, list):
        return [_under(dtype, value) for value in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and config["config"]["name"] == keras.config.dtype_policy().name:
        return {**config, "config": {**config["config"], "name": dtype}}
    return {key: _under(dtype, value) for key, value in config.items()}


KINDS = (
    keras.activations,
    keras.initializers,
    keras.regularizers,
    keras.constraints,
    keras.dtype_policies,
)


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
    if _serialised(given) == _serialised(held):
        return True
    return any(None is not _identified(kind, given) == _identified(kind, held) for kind in KINDS)


def _identified(kind, value):
    try:
        return _serialised(kind.serialize(kind.get(value)))
    except (ValueError, TypeError, AttributeError, KeyError):
        return None


# Calls --------------------------------------------------------------------------------------------------------------


def _check_inference(case, layer):
    name = case.name
    with _noted(layer) as trace:
        first = _elsewhere(1, lambda: case.answers(layer))
        second = _elsewhere(2, lambda: case.answers(layer))
    for index, output in enumerate(first):
        assert np.isfinite(output.astype("float64")).all(), f"{name} answers NaN or infinity, in output {index}"
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other), (
            f"{name} answers the same input differently in inference: does something random act there, or NumPy's or "
            "Python's generator, or a state that a call changes?"
        )
    assert not trace, _TRACE.format(name, ", ".join(trace))
    with case.doing("in a symbolic call", _KERAS_OPS):
        specs = _flat(case.call(case.layer(), [keras.Input(batch_shape=a.shape, dtype=a.dtype) for a in case.arrays]))
    said, real = [tuple(one.shape) for one in specs], [one.shape for one in first]
    assert said == real, f"{name}.compute_output_shape says {said}, the outputs have {real}"


def _check_training(case, layer):
    """Randomness comes from seed generators: it is there where they are, and nowhere else."""
    name = case.name
    seeds = [variable for variable in layer.variables if variable.name == "seed_generator_state"]
    others = [variable for variable in layer.non_trainable_variables if not any(variable is seed for seed in seeds)]
    state = [(variable, _number(variable)) for variable in others]
    drawn = [(seed, _number(seed)) for seed in seeds]

    def train(elsewhere):
        for variable, value in state:
            variable.assign(value)
        return _elsewhere(elsewhere, lambda: case.answers(layer, training=True))

    def rewind():
        for seed, value in drawn:
            seed.assign(value)
        if "torch" in sys.modules:  # where Keras draws from torch's generator in spite of the seed
            sys.modules["torch"].manual_seed(0)

    rewind()
    first = train(1)
    rewind()
    with _noted(layer) as trace:
        again = train(2)
    assert all(map(np.array_equal, first, again)), (
        f"{name} answers the same input differently in training, "
        + ("from equal seeds" if seeds else "and holds no seed generator")
        + ": draw from keras.random with seed=self.seed_generator, not from NumPy or Python"
    )
    assert not trace, _TRACE.format(name, ", ".join(trace))
    if seeds:
        draws = (train(draw) for draw in range(DRAWS))
        assert any(not all(map(np.array_equal, first, draw)) for draw in draws), (
            f"{name} holds a seed generator and answers the same in {DRAWS} calls with training=True: "
            "is its randomness never on?"
        )


def _check_rows(case, layer):
    together = case.answers(layer)
    for row in range(min(case.batch, 3)):
        alone = case.answers(layer, [array[row : row + 1] for array in case.arrays])
        kept = [index for index, output in enumerate(together) if output.shape[:1] == (case.batch,)]
        case.agree(
            [alone[index] for index in kept],
            [together[index][row : row + 1] for index in kept],
            f"mixes its batch: example {row} is answered otherwise alone",
        )


def _check_gradients(case, layer):
    with case.doing("when its gradient is taken", _TENSORS):
        weights, inputs = gradients(
            layer, lambda function, arrays: case.call(function, arrays, training=True), case.arrays
        )
    for weight, gradient in zip(layer.trainable_weights, weights, strict=True):
        assert _reaches(gradient), (
            f"{case.name}: {weight.path} gets no gradient: is it used, and is there a stop_gradient, a cast to whole "
            "numbers or NumPy behind it?"
        )
        assert np.isfinite(gradient).all(), f"{case.name}: the gradient of {weight.path} is not finite"
    assert not inputs or any(map(_reaches, inputs)), (
        f"{case.name} passes no gradient on to its inputs: does call use NumPy or stop_gradient?"
    )
    assert all(one is None or np.isfinite(one).all() for one in inputs), f"{case.name}: a gradient of inputs is NaN"


def _reaches(gradient):
    return gradient is not None and bool(np.any(gradient))


# Masks --------------------------------------------------------------------------------------------------------------


class _Marked(keras.layers.Layer):
    """Attaches a mask to a tensor, as Masking and Embedding do."""

    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True

    def call(self, inputs):
        return inputs[0]

    def compute_mask(self, inputs, previous_mask):
        return inputs[1]


class _Seen(keras.layers.Layer):
    """Keeps the mask that comes with a tensor."""

    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        self.mask = mask
        return inputs


def _check_masks(case, layer, masks, axes):
    name = case.name
    given = any(mask is not None for mask in masks)
    if not layer.supports_masking:
        assert not given, f"{name} is given a mask and would drop it: set supports_masking in __init__, and honour it"
        return
    if not given:
        first = case.arrays[case.first]
        if first.ndim != 3:  # only of (batch, time, features) is it plain what a mask looks like
            return
        made = np.ones(first.shape[:2], bool)
        made[1:, -1:] = first.shape[1] == 1
        _masked_answers(
            case, layer, case.arrays, [made if place == case.first else None for place in range(len(masks))]
        )
        return
    answers, valid = _masked_answers(case, layer, case.arrays, masks)
    hidden = [_hide(array, mask) for array, mask in zip(case.arrays, masks, strict=True)]
    others, _ = _masked_answers(case, layer, hidden, masks)
    case.agree(_only(others, valid), _only(answers, valid), "lets what its mask hides change its answers")
    longer = [_longer(*each) for each in zip(case.arrays, masks, axes, strict=True)]
    if any(len(mask[0]) != len(grown[0]) for mask, (_, grown) in zip(masks, longer, strict=True) if mask is not None):
        padded, _ = _masked_answers(case, layer, [array for array, _ in longer], [mask for _, mask in longer])
        padded = [
            output[tuple(slice(size) for size in answer.shape)] for output, answer in zip(padded, answers, strict=True)
        ]
        case.agree(_only(padded, valid), _only(answers, valid), "lets the length of its padding change its answers")


def _masked_answers(case, layer, arrays, masks):
    """(outputs, where each is valid or None), of inputs with their masks; the mask must go on with the output."""
    marked = [
        keras.ops.convert_to_tensor(array) if mask is None else _Marked()([array, mask])
        for array, mask in zip(arrays, masks, strict=True)
    ]
    with case.doing("when its input carries a mask"):
        outputs = _flat(case.call(layer, marked, training=False))
    seen = []
    for output in outputs:
        look = _Seen()
        look(output)
        seen.append(None if look.mask is None else np.asarray(_number(look.mask)))
    shapes = [tuple(output.shape) for output in outputs]
    mask = masks[case.first]  # Keras passes on that of the first input; the others' are used up
    kept = [mask is not None and shape[: mask.ndim] == mask.shape for shape in shapes]
    if kept[0]:
        assert seen[0] is not None, (
            f"{case.name} has supports_masking and drops its input's mask, although its output has the masked axes: "
            "let compute_mask return it, or leave supports_masking False"
        )
    for shape, one in zip(shapes, seen, strict=True):
        assert one is None or shape[: one.ndim] == one.shape, (
            f"{case.name} puts a mask of {one.shape} on an output of {shape}: mend compute_mask"
        )
    valid = [mask if one is None and keeps else one for keeps, one in zip(kept, seen, strict=True)]
    answers = _numbers(outputs)
    for output, where in zip(answers, valid, strict=True):
        shown = output if where is None else output[where]
        assert np.isfinite(shown.astype("float64")).all(), f"{case.name} answers NaN or infinity under a mask"
    return answers, valid


def _only(answers, valid):
    return [output if where is None else output[where] for output, where in zip(answers, valid, strict=True)]


def _hide(array, mask):
    """Other content, of the kind that was there, where the mask is False."""
    if mask is None:
        return array
    other = np.flip(array, axis=tuple(range(mask.ndim)))
    if np.issubdtype(array.dtype, np.floating):
        other = 3 * other + 1
    elif array.dtype == bool:
        other = ~array
    return np.where(mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim)), array, other)


def _longer(array, mask, axes):
    """(array, mask), twice as long on the mask's last axis where that may be unknown; the new half is hidden."""
    if mask is None or mask.ndim - 1 not in axes:
        return array, mask
    axis = mask.ndim - 1
    grown = np.concatenate([mask, np.zeros_like(mask)], axis=axis)
    return _hide(np.concatenate([array, array], axis=axis), grown), grown


# Compiled, and in other dtypes --------------------------------------------------------------------------------------

_KERAS_OPS = (
    "\nA compiled call has no values at hand: use keras.ops, not NumPy, Python's `if` or a backend's functions."
)


def _check_compiled(case, layer, axes):
    """A functional model of the layer, which answers compiled as the layer does eagerly."""
    sizes = [
        [None if axis in own else size for axis, size in enumerate(array.shape)][1:]
        for array, own in zip(case.arrays, axes, strict=True)
    ]
    with case.doing(f"in a functional model of {[(None, *size) for size in sizes]}", _KERAS_OPS):
        model = _model(case, layer, sizes)
    lengths = [case.arrays]
    if any(axes):
        lengths.append([_doubled(array, own) for array, own in zip(case.arrays, axes, strict=True)])
    ways = {"tensorflow": {"in a graph": False, "by XLA": True}, "jax": {"by jax.jit": True}}
    for arrays in lengths:
        with case.doing(f"on inputs of {[array.shape for array in arrays]}"):
            expected = case.answers(layer, arrays)
        said, real = [tuple(one.shape) for one in model.outputs], [one.shape for one in expected]
        fits = [
            len(spec) == len(shape) and all(size in (None, own) for size, own in zip(spec, shape, strict=True))
            for spec, shape in zip(said, real, strict=True)
        ]
        assert all(fits), f"{case.name}.compute_output_shape says {said}, which {real} is not"
        for way, jit in ways.get(keras.backend.backend(), {"in a functional model": False}).items():
            if jit and arrays is not case.arrays and keras.backend.backend() == "tensorflow":
                continue  # XLA compiles each size anew
            with case.doing(f"when compiled {way}", _KERAS_OPS):
                model.compile(jit_compile=jit)
                found = _flat(model.predict_on_batch(_one_or_list(arrays)))
            case.agree(found, expected, f"answers otherwise when compiled {way}")
    return model


def _model(case, layer, sizes):
    inputs = [keras.Input(size, dtype=array.dtype) for size, array in zip(sizes, case.arrays, strict=True)]
    return keras.Model(_one_or_list(inputs), _flat(case.call(layer, inputs)))


def _doubled(array, axes):
    for axis in axes:
        array = np.concatenate([array, array], axis=axis)
    return array


def _check_dtypes(case):
    """The layer's dtype is its own, not the global one, and its sublayers'; and what it returns has it."""
    name, policy = case.name, "mixed_bfloat16"
    with case.doing(f"to be made with dtype={policy!r}"):
        layer = case.layer(dtype=policy)
    assert layer.dtype_policy.name == policy, (
        f"{name}(dtype={policy!r}) has the dtype policy {layer.dtype_policy.name}: pass **kwargs to super().__init__"
    )
    with dtype_policy(policy), case.doing(f"to be made with dtype='float32' under {policy}"):
        other = case.cls(**case.fresh_arguments() | {"dtype": "float32"})
        case.call(other)
    containers = (keras.Model, keras.layers.InputLayer)  # which compute nothing, and keep no dtype in their config
    sublayers = [one for one in _sublayers(other, set()) if not isinstance(one, containers)]
    astray = [one.name for one in sublayers if one.dtype_policy.name == policy]
    assert not astray, (
        f"{name} makes its sublayers {', '.join(astray)} with the global dtype policy: "
        "make them with dtype=self.dtype_policy"
    )
    with case.doing(f"under {policy}"):
        outputs = _flat(case.call(layer, training=False))
        specs = _flat(case.call(layer, [keras.Input(a.shape[1:], dtype=a.dtype) for a in case.arrays]))
    free = case.cls.compute_output_spec is not keras.layers.Layer.compute_output_spec
    for output, spec in zip(outputs, specs, strict=True):
        found, said = keras.backend.standardize_dtype(output.dtype), keras.backend.standardize_dtype(spec.dtype)
        if not keras.backend.is_float_dtype(found):
            continue
        allowed = said if free else layer.compute_dtype
        assert found == allowed, (
            f"{name} returns {found} under {policy}, not {allowed}: is there a cast in call, or a sublayer that was "
            "not made with dtype=self.dtype_policy?"
        )
        finite = np.isfinite(_number(keras.ops.cast(output, "float32"))).all()
        assert finite, f"{name} answers NaN or infinity under {policy}"


def _check_steps(case, policy, steps):
    """Compiled training, as `fit` does it, stays finite."""
    rng = np.random.default_rng(3)
    with dtype_policy(policy), case.doing(f"in training under {policy}", _KERAS_OPS):
        model = _model(case, case.layer(dtype=policy), [array.shape[1:] for array in case.arrays])
        trained = [output for output in model.outputs if keras.backend.is_float_dtype(output.dtype)]
        if not model.trainable_weights or not trained:
            return
        model = keras.Model(_one_or_list(model.inputs), trained)
        inputs = _one_or_list(case.arrays)
        targets = [rng.normal(size=one.shape).astype("float32") for one in _answers(model, case.arrays)]
        model.compile("adam", loss=["mse"] * len(targets))
        model.optimizer.build(model.trainable_variables)  # a step that made variables would be traced twice
        for step in range(steps):
            loss = model.train_on_batch(inputs, targets)
            assert np.isfinite(loss).all(), f"{case.name} under {policy}: the loss is not finite at step {step + 1}"
        for weight in model.weights:
            finite = np.isfinite(_number(weight).astype("float64")).all()
            assert finite, f"{case.name} under {policy}: {weight.path} is not finite after {steps} steps"


# Other processes ----------------------------------------------------------------------------------------------------


def _check_fresh(case, model):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.keras")
        with case.doing("when it is saved"):
            model.save(path)
        with case.doing("when it is loaded in a fresh process"):
            found = _fresh.answers("keras", path, [case.arrays], _modules(case, json.loads(model.to_json())))
    case.agree(found[0], _answers(model, case.arrays), "answers otherwise when loaded in a fresh process")


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


def _check_export(case, layer, model, axes):
    if keras.backend.backend() == "jax" and sum(map(bool, axes)) > 1:
        # JAX takes the unknown sizes of two inputs for two sizes: they then cannot be added
        model = _model(case, layer, [array.shape[1:] for array in case.arrays])
    batches = [[np.take(array, np.arange(size) % case.batch, axis=0) for array in case.arrays] for size in (1, 3)]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "exported")
        with case.doing("when it is exported as a SavedModel", _KERAS_OPS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The `native_serialization` parameter")  # by Keras, of JAX
            model.export(path, format="tf_saved_model", verbose=False)
        with case.doing("when its SavedModel is loaded by TensorFlow alone"):
            found = _fresh.answers("saved_model", path, batches)
    for batch, answers in zip(batches, found, strict=True):
        case.agree(answers, _answers(model, batch), f"answers otherwise as a SavedModel, {len(batch[0])} at a time")


# Keras's own --------------------------------------------------------------------------------------------------------


def _keras_case():
    from keras.src import testing  # Keras's own conformance test is private; this is the one place that uses it

    class Case(testing.TestCase):
        def runTest(self):
            """Lets the class be made without a test method's name."""

        def run_class_serialization_test(self, instance, custom_objects=None):
            """Keras's writes the config as plain JSON, which a layer held as an argument is not; ours serialised it."""
            if not any(isinstance(value, keras.layers.Layer) for value in keras.tree.flatten(instance.get_config())):
                super().run_class_serialization_test(instance, custom_objects)

    return Case()


def _run_layer_test(case, shape, expected):
    made = {"layer_cls": case.cls, "init_kwargs": dict(case.arguments)}
    if any(isinstance(value, keras.layers.Layer) for value in keras.tree.flatten(dict(case.arguments))):
        made = {"layer_cls": case.layer, "init_kwargs": {}}  # a function that copies them
    if isinstance(case.inputs, dict):
        data = {
            "input_shape": {f"{name}_shape": array.shape for name, array in case.inputs.items()},
            "input_dtype": {f"{name}_shape": array.dtype.name for name, array in case.inputs.items()},
        }
    elif shape is not None:
        data = {"input_shape": shape}
    else:
        data = {"input_data": keras.tree.map_structure(keras.ops.convert_to_tensor, case.inputs)}
    _, keywords = case.structure
    # it cannot train on lists, nor hand call_kwargs on under mixed precision; we did
    expected = {"run_training_check": False, "run_mixed_precision_check": not keywords, **expected}
    with case.doing("in Keras's run_layer_test"):
        _keras_case().run_layer_test(**made, **data, call_kwargs=keywords, **expected)


# Small things -------------------------------------------------------------------------------------------------------


def _noise(shape):
    rng = np.random.default_rng(0)
    if isinstance(shape, dict):
        return {name: rng.normal(size=one).astype("float32") for name, one in shape.items()}
    if isinstance(shape, list):
        return [rng.normal(size=one).astype("float32") for one in shape]
    return rng.normal(size=shape).astype("float32")


def _array(value):
    value = np.asarray(value)
    if np.issubdtype(value.dtype, np.floating):
        return value.astype("float32")
    return value.astype("int32") if np.issubdtype(value.dtype, np.integer) else value


def _flat(outputs):
    return [output for output in keras.tree.flatten(outputs) if output is not None]


def _number(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


def _numbers(outputs):
    return [_number(output) for output in _flat(outputs)]


def _answers(model, arrays):
    return _numbers(model(_one_or_list(arrays), training=False))


def _one_or_list(arrays):
    return arrays if len(arrays) > 1 else arrays[0]


def _elsewhere(seed, function):
    """`function()` with NumPy's and Python's generators somewhere else."""
    np.random.seed(seed)
    random.seed(seed)
    return function()


@contextlib.contextmanager
def _noted(layer):
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
    for one in [layer, *_sublayers(layer, set())]:
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


def _sublayers(holder, known):
    for value in vars(holder).values():
        for one in (
            value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        ):
            if isinstance(one, keras.layers.Layer) and id(one) not in known:
                known.add(id(one))
                yield one
                yield from _sublayers(one, known)


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
