import numpy as np
import pytest

from tests.layers.arrays import normal, numbers
from zoo.layers import Bias
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def test_conforms():
    check_layer(
        Bias,
        {"initializer": "ones"},
        input_shape=(2, 5, 8),
        mask=np.arange(5) < np.array([3, 5])[:, None],
        dynamic_axes=(1,),
        expected_output_shape=(2, 5, 8),
        expected_num_trainable_weights=1,
        supports_masking=True,
    )


def test_adds_a_number_to_each_feature():
    layer, x, bias = Bias(), normal(2, 3, 4), normal(4)
    np.testing.assert_array_equal(numbers(layer(x)), x)
    layer.set_weights([bias])
    np.testing.assert_allclose(numbers(layer(x)), x + bias, rtol=1e-6)
    assert [weight.path for weight in layer.weights] == [f"{layer.name}/bias"]


def test_refuses_an_unknown_width():
    with pytest.raises(ValueError, match="size of axis -1"):
        Bias().build((None, None))
