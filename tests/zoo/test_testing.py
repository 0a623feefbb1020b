"""`check_layer` finds planted faults, and passes what is sound.

Keras's `run_layer_test` alone misses half of the faults. Which check finds which is the message in FAULTS.
"""

import random
import signal

import keras
import numpy as np
import pytest

from zoo.testing import _fresh, check_layer

pytestmark = pytest.mark.backend

register = keras.saving.register_keras_serializable("zoo.tests")


# Sound layers ---------------------------------------------------------------------------------------------------------


@register
class Sound(keras.layers.Layer):
    """A dense layer with a dropout. Each fault is one change to it."""

    def __init__(self, units=2, rate=0.0, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = units
        self.rate = rate
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.dense = keras.layers.Dense(
            units, kernel_initializer=self.kernel_initializer, dtype=self.dtype_policy, name="dense"
        )
        self.dropout = keras.layers.Dropout(rate, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.scale = self.add_weight(name="scale", shape=(self.units,), initializer="ones")

    def call(self, inputs, training=False):
        return self.dropout(self.scaled(self.dense(inputs)), training=training)

    def scaled(self, hidden):
        return hidden * self.scale

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "rate": self.rate,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@register
class MaskedMean(keras.layers.Layer):
    """The mean over the valid positions."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return keras.ops.mean(inputs, axis=1)  # (batch, features)
        valid = keras.ops.cast(keras.ops.expand_dims(mask, -1), inputs.dtype)  # (batch, time, 1)
        return keras.ops.sum(inputs * valid, axis=1) / keras.ops.sum(valid, axis=1)  # (batch, features)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])

    def compute_mask(self, inputs, previous_mask):
        return None


@register
class Lookup(keras.layers.Layer):
    """Rows of a table by number, scaled by a second input; returns them and their sum."""

    def __init__(self, size, units, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.units = units

    def build(self, input_shape):
        self.table = self.add_weight(name="table", shape=(self.size, self.units))

    def call(self, inputs):
        numbers, scale = inputs
        rows = keras.ops.take(self.table, numbers, axis=0) * keras.ops.expand_dims(scale, -1)  # (batch, time, units)
        return rows, keras.ops.sum(rows, axis=1)

    def compute_output_shape(self, input_shape):
        rows = (*input_shape[0], self.units)
        return rows, (rows[0], *rows[2:])

    def get_config(self):
        return {**super().get_config(), "size": self.size, "units": self.units}


@register
class Attend(keras.layers.Layer):
    """Dot-product attention of two named inputs, with the mask of one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, query_shape, value_shape):
        width = value_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(query_shape[-1], width))

    def call(self, query, value, value_mask=None, return_weights=False):
        scores = keras.ops.matmul(keras.ops.matmul(query, self.kernel), keras.ops.swapaxes(value, 1, 2))  # (b, q, v)
        if value_mask is not None:
            scores = keras.ops.where(keras.ops.expand_dims(value_mask, 1), scores, -1e4)
        weights = keras.ops.softmax(scores)
        context = keras.ops.matmul(weights, value)  # (batch, query, width)
        return (context, weights) if return_weights else context

    def compute_mask(self, query, previous_mask):
        return None


@register
class Wrapped(keras.layers.Layer):
    """Another layer twice."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape):
        if not self.layer.built:  # a file builds the inner layer first
            self.layer.build(input_shape)

    def call(self, inputs):
        return self.layer(self.layer(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "layer": self.layer}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


MASK = np.array([[True, True, False, False], [True, True, True, False]])
COUNTS = {"expected_num_trainable_weights": 3, "expected_num_non_trainable_weights": 0}


@pytest.mark.parametrize(
    ("cls", "arguments", "given"),
    [
        (Sound, {"units": 3, "kernel_initializer": "he_normal"}, {"input_shape": (2, 5), **COUNTS}),
        (Sound, {"rate": 0.5}, {"input_shape": (2, 4, 5), "mask": MASK, "dynamic_axes": (1,), "thorough": False}),
        (MaskedMean, {}, {"input_shape": (2, 4, 3), "mask": MASK, "dynamic_axes": (1,)}),
        (
            Lookup,
            {"size": 7, "units": 3},
            {"inputs": [np.array([[0, 6, 2], [1, 1, 5]]), np.ones((2, 3))], "dynamic_axes": [(1,), (1,)]},
        ),
        (
            Attend,
            {},
            {
                "input_shape": {"query": (2, 4, 5), "value": (2, 4, 6)},
                "call_arguments": {"return_weights": True},
                "mask": {"value": MASK},
                "dynamic_axes": {"value": (1,)},
            },
        ),
        (Wrapped, {"layer": keras.layers.Dense(3)}, {"input_shape": (2, 3)}),
        (Wrapped, {"layer": keras.Sequential([Wrapped(keras.layers.Dense(3))])}, {"input_shape": (2, 3)}),
    ],
    ids=["plain", "dropout", "mask", "two-inputs", "named-inputs", "layer-argument", "layer-in-layer"],
)
def test_sound_layers_pass(cls, arguments, given):
    check_layer(cls, arguments, **given)


# Faults ---------------------------------------------------------------------------------------------------------------


class NotRegistered(Sound):
    pass


@register
class SublayerWithoutDtype(Sound):
    def __init__(self, units=2, rate=0.0, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(units, rate, kernel_initializer, **kwargs)
        self.dense = keras.layers.Dense(units, name="dense")


@register
class WithoutKwargs(Sound):
    def __init__(self, units=2, rate=0.0, kernel_initializer="glorot_uniform", name=None, dtype=None, trainable=True):
        super().__init__(units, rate, kernel_initializer, name=name, trainable=trainable)


@register
class WrongOutputShape(Sound):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units + 1)


@register
class SublayerNotBuilt(Sound):
    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(self.units,), initializer="ones")


@register
class OneWeightTooMany(Sound):
    def scaled(self, hidden):
        return super().scaled(hidden) + self.shift

    def build(self, input_shape):
        super().build(input_shape)
        self.shift = self.add_weight(name="shift", shape=(self.units,), initializer="zeros")


@register
class FrozenByMistake(Sound):
    def build(self, input_shape):
        self.dense.build(input_shape)
        self.scale = self.add_weight(name="scale", shape=(self.units,), initializer="ones", trainable=False)


@register
class NumpyInConfig(Sound):
    def get_config(self):
        return {**super().get_config(), "units": np.int64(self.units)}


@register
class StopsGradient(Sound):
    def scaled(self, hidden):
        return keras.ops.stop_gradient(hidden) * self.scale


@register
class CastsToFloat32(Sound):
    def scaled(self, hidden):
        return keras.ops.cast(hidden * self.scale, "float32")

    def call(self, inputs, training=False):
        return self.scaled(self.dense(inputs))


@register
class NumpyInCall(Sound):
    def call(self, inputs, training=False):
        return super().call(np.tanh(inputs), training=training)


@register
class DetachesThroughNumpy(Sound):
    def call(self, inputs, training=False):
        return super().call(keras.ops.convert_to_numpy(inputs) ** 2, training=training)


@register
class ConfigLacksAKey(Sound):
    def get_config(self):
        config = super().get_config()
        del config["rate"]
        return config


@register
class DropoutAlwaysOn(Sound):
    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


@register
class DropoutNeverOn(Sound):
    def call(self, inputs, training=False):
        return super().call(inputs, training=False)


@register
class AnswersNaN(Sound):
    def scaled(self, hidden):
        return keras.ops.log(keras.ops.minimum(hidden, -1.0)) * self.scale


@register
class MixesItsBatch(Sound):
    def scaled(self, hidden):
        return (hidden - keras.ops.mean(hidden, axis=0, keepdims=True)) * self.scale


@register
class DrawsFromNumpy(Sound):
    def scaled(self, hidden):
        return hidden * self.scale * np.random.uniform(0.5, 1.5)


@register
class DrawsFromPythonInTraining(Sound):
    def call(self, inputs, training=False):
        outputs = super().call(inputs, training=training)
        return outputs * random.uniform(0.5, 1.5) if training else outputs


@register
class CountsItsCalls(Sound):
    calls = 0

    def scaled(self, hidden):
        self.calls += 1
        return hidden * self.scale


@register
class GrowsByItsCalls(Sound):
    calls = []

    def scaled(self, hidden):
        self.calls.append(1)
        return hidden * self.scale * len(self.calls)


@register
class CountsItsTraining(Sound):
    calls = 0

    def call(self, inputs, training=False):
        self.calls += bool(training)
        return super().call(inputs, training=training)


@register
class BuildsItsLayerTwice(Wrapped):
    def build(self, input_shape):
        self.layer.build(input_shape)


@register
class DropsItsMask(Sound):
    def compute_mask(self, inputs, previous_mask):
        return None


@register
class IgnoresItsMask(MaskedMean):
    def call(self, inputs, mask=None):
        return keras.ops.mean(inputs, axis=1)


DROPOUT = {"rate": 0.5}
SEQUENCES = {"input_shape": (2, 4, 5)}

# The 18 that `run_layer_test` was tried with, some in two forms, and what is said of each
FAULTS = [
    (NotRegistered, {}, {}, "is not registered with Keras"),
    (SublayerWithoutDtype, {}, {}, "sublayers dense with the global dtype policy"),
    (WithoutKwargs, {}, {}, "has the dtype policy float32: pass"),
    (WrongOutputShape, {}, {}, "compute_output_shape says"),
    (SublayerNotBuilt, {}, {}, "build makes 1 weights .*a call 3.*build every sublayer"),
    (OneWeightTooMany, {}, COUNTS, "Unexpected number of trainable_weights"),
    (FrozenByMistake, {}, {"expected_num_non_trainable_weights": 0}, "Unexpected number of non_trainable_weights"),
    (NumpyInConfig, {}, {}, "get_config holds units=.*of NumPy"),
    (StopsGradient, {}, {}, "dense/kernel gets no gradient"),
    (CastsToFloat32, {}, {}, "returns float32 under mixed_bfloat16"),
    (NumpyInCall, {}, {}, "use keras.ops, not NumPy"),
    (DetachesThroughNumpy, {}, {}, "NumPy"),
    (ConfigLacksAKey, {}, {}, "get_config lacks rate"),
    (DropoutAlwaysOn, DROPOUT, {}, "differently in inference"),
    (DropoutNeverOn, DROPOUT, {}, "is its randomness never on"),
    (AnswersNaN, {}, {}, "answers NaN"),
    (MixesItsBatch, {}, {}, "mixes its batch"),
    (DrawsFromNumpy, {}, {}, "differently in inference"),
    (DrawsFromPythonInTraining, {}, {}, "in training, and holds no seed generator"),
    (DrawsFromPythonInTraining, DROPOUT, {}, "in training, from equal seeds"),
    (CountsItsCalls, {}, {}, r"call changes .*\.calls"),
    (CountsItsTraining, {}, {}, r"call changes .*\.calls"),
    (GrowsByItsCalls, {}, {}, r"differently in inference|call changes .*calls"),
    (DropsItsMask, {}, SEQUENCES, "drops its input's mask"),
    (IgnoresItsMask, {}, {**SEQUENCES, "mask": MASK}, "lets what its mask hides change its answers"),
]


@pytest.mark.parametrize(("cls", "arguments", "given", "message"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_faults_are_found(cls, arguments, given, message):
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        check_layer(cls, arguments, thorough=False, **{"input_shape": (2, 5), **given})


def test_what_only_a_fresh_process_shows_is_found():
    """A layer held as an argument comes out of a file built."""
    with pytest.raises(AssertionError, match=r"(?s)when it is loaded in a fresh process.*already built"):
        check_layer(BuildsItsLayerTwice, {"layer": keras.layers.Dense(3)}, input_shape=(2, 3))


def test_helper_processes_tell_what_failed_and_are_replaced_when_they_die(monkeypatch):
    first = _fresh.start("keras")
    assert _fresh.start("keras") is first
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*nowhere\.keras"):
        _fresh.answers("keras", "nowhere.keras", [])
    monkeypatch.setattr(_fresh, "SECONDS", 0.1)
    first.process.send_signal(signal.SIGSTOP)
    with pytest.raises(RuntimeError, match=r"no answer in 0\.1 seconds"):
        _fresh.answers("keras", "nowhere.keras", [])
    first.process.wait()
    assert _fresh.start("keras") is not first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "one of them"),
        ({"input_shape": (2, 3), "inputs": np.ones((2, 3))}, "one of them"),
        ({"input_shape": (2, 3), "expected_shape": (2, 3)}, "no argument expected_shape"),
    ],
)
def test_wrong_arguments_are_told(given, message):
    with pytest.raises(TypeError, match=message):
        check_layer(Sound, {}, **given)


@pytest.mark.parametrize("mask", [np.ones((2, 3), bool), [np.ones((3, 2), bool)], {"inputs": np.ones((2, 4), bool)}])
def test_a_mask_that_fits_no_input_is_refused(mask):
    with pytest.raises(ValueError, match="mask must have the first axes"):
        check_layer(Sound, {}, input_shape=(2, 4, 5), mask=mask)


def test_one_example_is_refused():
    with pytest.raises(ValueError, match=r"at least 2. Received: \(1, 3\)"):
        check_layer(Sound, {}, input_shape=(1, 3))
