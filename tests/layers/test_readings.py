import keras
import numpy as np
import pytest

import zoo
from zoo.layers._readings import Readings

pytestmark = pytest.mark.backend


@keras.saving.register_keras_serializable("test_readings")
class Telling(keras.layers.Layer):
    """Tells the mean of its input, and that of its first two features."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.readings = Readings({"mean": 1, "each": 2})

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1],))

    def call(self, inputs, training=None):
        if self.readings.wanted(inputs, training):
            self.readings.record(training, mean=keras.ops.mean(inputs), each=keras.ops.mean(inputs, axis=0)[:2])
        return inputs * self.kernel


def model(*layers):
    made = keras.Sequential([keras.Input((2,)), *layers])
    made.compile("sgd", "mse")
    return made


X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], "float32")


@pytest.mark.parametrize("jit", [False, True])
def test_history_has_the_means_of_each_epoch(jit):
    if jit and keras.backend.backend() == "torch":
        pytest.skip("torch.compile is not what this is about")
    made = model(Telling(name="a"))
    made.compile("sgd", "mse", jit_compile=jit)
    history = made.fit(X, X, epochs=2, batch_size=2, shuffle=False, verbose=0, callbacks=[zoo.LayerReadings()]).history
    assert history["mean"] == [4.5, 4.5]
    assert history["each_0"] == [4.0, 4.0]
    assert history["each_1"] == [5.0, 5.0]


def test_several_layers_tell_under_their_names():
    made = model(Telling(name="a"), Telling(name="b"))
    history = made.fit(X, X, verbose=0, callbacks=[zoo.LayerReadings()]).history
    assert set(history) == {"loss", *(f"{layer}/{name}" for layer in "ab" for name in ("mean", "each_0", "each_1"))}


def test_evaluation_leaves_the_epoch_alone():
    made = model(Telling(name="a"))
    callbacks = [zoo.LayerReadings()]
    history = made.fit(X, X, validation_data=(100 * X, X), verbose=0, callbacks=callbacks).history
    assert history["mean"] == [4.5]


def test_the_last_reading_is_at_hand_after_an_eager_call():
    layer = Telling()
    layer(X)
    assert float(layer.readings.last("mean")) == 4.5
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.readings.last("each")), [4.0, 5.0])


def test_a_reading_is_no_parameter_and_is_not_saved(tmp_path):
    made = model(Telling(name="a"))
    made.fit(X, X, verbose=0)
    assert made.count_params() == 2
    assert len(made.weights) == 1
    made.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.layers[0].readings.means() == {}
    np.testing.assert_array_equal(again.predict(X, verbose=0), made.predict(X, verbose=0))


def test_records_exactly_what_was_declared():
    with pytest.raises(ValueError, match=r"readings: \['nfe'\]. Received: \['nef'\]"):
        Readings({"nfe": 1}).record(False, nef=1.0)
