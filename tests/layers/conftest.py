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
    owner = next(cls for cls in keras.Model.__mro__ if "compile" in vars(cls))
    compile_ = owner.compile

    def compiled(self, *arguments, **options):
        compile_(self, *arguments, **options)
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    # where Keras defines it: in a subclass, a saved model would take it for a `compile` of one's own
    monkeypatch.setattr(owner, "compile", compiled)
