"""One configuration of a layer: what it is made of and called with, and what its checks share."""

import contextlib
import inspect
import warnings

import keras
import numpy as np

TENSORS = "\nA tensor must stay a tensor: use keras.ops, not NumPy."
KERAS_OPS = "\nA compiled call has no values at hand: use keras.ops, not NumPy, Python's `if` or a backend's functions."

BUILT = ("build_config", "build_input_shape", "compile_config")


class Case:
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
            config = serialised(value)["config"]
            return type(value).from_config(under(dtype, config) if dtype else config)

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
        return numbers(self.call(layer, arrays, training=training))

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


def serialised(value):
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


def under(dtype, config):
    """A layer's serialised config as if `dtype` had been the global policy where the layer was made."""
    if isinstance(config, list):
        return [under(dtype, value) for value in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and config["config"]["name"] == keras.config.dtype_policy().name:
        return {**config, "config": {**config["config"], "name": dtype}}
    return {key: under(dtype, value) for key, value in config.items()}


def functional_model(case, layer, sizes):
    inputs = [keras.Input(size, dtype=array.dtype) for size, array in zip(sizes, case.arrays, strict=True)]
    return keras.Model(one_or_list(inputs), flat(case.call(layer, inputs)))


def model_answers(model, arrays):
    return numbers(model(one_or_list(arrays), training=False))


def noise(shape):
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


def flat(outputs):
    return [output for output in keras.tree.flatten(outputs) if output is not None]


def number(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


def numbers(outputs):
    return [number(output) for output in flat(outputs)]


def one_or_list(arrays):
    return arrays if len(arrays) > 1 else arrays[0]
