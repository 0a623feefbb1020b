import functools

import keras
import pytest

from tests.layers import arrays


@pytest.fixture(autouse=True)
def _reseeded():
    """A test's arrays are its own, whatever ran before it."""
    arrays.reseed()


@pytest.fixture(autouse=True)
def _traced_once(monkeypatch):
    """`compile` makes the optimizer's variables: a training step that makes them is traced twice on TensorFlow."""
    compile_ = keras.Model.compile

    @functools.wraps(compile_)  # Keras marks its own `compile`, and tells by the mark what a saved model is to call
    def compiled(self, *arguments, **options):
        compile_(self, *arguments, **options)
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    monkeypatch.setattr(keras.Model, "compile", compiled)
