import keras
import numpy as np
import pytest

from zoo.layers import SinusoidalPositions
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def positions(length, dim, start=0, **arguments):
    layer = SinusoidalPositions(**arguments)
    return keras.ops.convert_to_numpy(layer(np.zeros((1, length, dim), "float32"), start=start))


@pytest.mark.parametrize("arguments", [{}, {"max_wavelength": 100.0}])
def test_conforms(arguments):
    check_layer(
        SinusoidalPositions,
        arguments,
        input_shape=(2, 5, 8),
        mask=np.arange(5) < np.array([3, 5])[:, None],
        dynamic_axes=(1,),
        thorough=not arguments,
        expected_output_shape=(2, 5, 8),
        expected_num_trainable_weights=0,
        supports_masking=True,
    )


def test_published_values():
    found = positions(11, 512)[0]
    np.testing.assert_array_equal(found[0], np.arange(512) % 2)
    expected = [0.84147098, 0.54030231, 0.82185619, 0.56969501, 0.80196180, 0.59737533]
    np.testing.assert_allclose(found[1, :6], expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[1, 510:], [1.0366e-4, 0.99999999], rtol=0, atol=1e-7)
    np.testing.assert_allclose(found[10, :4], [-0.54402111, -0.83907153, -0.22002319, -0.97549464], rtol=0, atol=1e-6)
    small = positions(4, 4)[0]
    np.testing.assert_allclose(small[1], [0.84147098, 0.54030231, 0.00999983, 0.99995], rtol=0, atol=1e-7)
    np.testing.assert_allclose(small[3], [0.14112001, -0.98999250, 0.02999550, 0.99955003], rtol=0, atol=1e-7)


def test_has_one_norm_and_products_that_depend_on_the_distance():
    found = positions(200, 512)[0].astype("float64")
    np.testing.assert_allclose((found**2).sum(-1), 256, rtol=1e-6)
    np.testing.assert_allclose((found[:-5] * found[5:]).sum(-1), 189.59666768, rtol=1e-5)


def test_is_added_to_the_input():
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    found = keras.ops.convert_to_numpy(SinusoidalPositions()(x))
    np.testing.assert_allclose(found, x + positions(5, 8), rtol=0, atol=1e-6)


def test_starts_where_decoding_stands():
    whole = positions(9, 8)
    layer = SinusoidalPositions()
    rows = keras.ops.convert_to_numpy(layer(np.zeros((2, 3, 8), "float32"), start=np.array([0, 6])))
    for found, expected in (
        (positions(4, 8, start=5), whole[:, 5:]),
        (positions(4, 8, start=keras.ops.convert_to_tensor(5)), whole[:, 5:]),
        (rows, np.concatenate([whole[:, :3], whole[:, 6:]])),
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_counts_beyond_half_precision():
    found = keras.ops.convert_to_numpy(
        SinusoidalPositions(dtype="mixed_float16")(np.zeros((1, 4, 8), "float32"), start=5000)
    )
    np.testing.assert_allclose(found, positions(4, 8, start=5000), rtol=0, atol=1e-3)


@pytest.mark.parametrize("value", [0, -1.0, "long", float("nan")])
def test_refuses_a_wavelength_by_name(value):
    with pytest.raises(ValueError, match=f"max_wavelength={value!r}"):
        SinusoidalPositions(value)


def test_refuses_shapes_by_name():
    with pytest.raises(ValueError, match="dim=7"):
        SinusoidalPositions().build((None, None, 7))
    with pytest.raises(ValueError, match="batch, time, dim"):
        SinusoidalPositions().build((None, 8))
    with pytest.raises(ValueError, match="size of axis -1"):
        SinusoidalPositions().build((None, 3, None))
