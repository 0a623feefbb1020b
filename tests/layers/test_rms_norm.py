import keras
import numpy as np
import pytest

from tests.layers.arrays import close, normal
from zoo.layers import RMSNorm
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


@pytest.mark.parametrize("arguments", [{}, {"epsilon": 0.1}])
def test_conforms(arguments):
    check_layer(
        RMSNorm,
        arguments,
        input_shape=(2, 5, 8),
        mask=np.arange(5) < np.array([3, 5])[:, None],
        dynamic_axes=(1,),
        thorough=not arguments,
        expected_output_shape=(2, 5, 8),
        expected_num_trainable_weights=1,
        supports_masking=True,
    )


def test_equals_the_formula():
    layer, x, scale = RMSNorm(epsilon=0.1), normal(2, 3, 8), normal(8)
    layer.build(x.shape)
    layer.set_weights([scale])
    close(layer(x), x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1) * scale)
    assert [weight.name for weight in layer.weights] == ["scale"]


def test_hands_a_mask_on_from_a_file_too(tmp_path):
    inputs = keras.Input((None,), dtype="int32")
    x = RMSNorm()(keras.layers.Embedding(5, 4, mask_zero=True)(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x))
    model.save(tmp_path / "model.keras")
    for one in (model, keras.saving.load_model(tmp_path / "model.keras")):
        close(one(np.array([[1, 2, 0]])), one(np.array([[1, 2]])))


def test_refuses_an_epsilon_by_name():
    with pytest.raises(ValueError, match=r"epsilon=-1"):
        RMSNorm(-1)
