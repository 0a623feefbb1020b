import keras
import numpy as np
import pytest

from tests.layers.arrays import close, normal, numbers
from zoo.layers import RotaryPositions
from zoo.layers.rotary_positions import rotary_rates
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


@pytest.mark.parametrize("arguments", [{}, {"base": 100.0, "scaling": (8, 1, 4, 64)}])
def test_conforms(arguments):
    check_layer(
        RotaryPositions,
        arguments,
        input_shape=(2, 3, 5, 8),
        dynamic_axes=(2,),
        thorough=not arguments,
        expected_output_shape=(2, 3, 5, 8),
        expected_num_trainable_weights=0,
    )


@pytest.mark.parametrize("base", [10000, 100.0])
def test_equals_the_rotation_of_complex_numbers(base):
    x = normal(2, 3, 7, 8)
    pairs = x[..., :4] + 1j * x[..., 4:]
    turned = pairs * np.exp(1j * np.arange(7)[:, None] * float(base) ** (-np.arange(4) / 4))
    close(RotaryPositions(base)(x), np.concatenate([turned.real, turned.imag], axis=-1))


def _published(dim, base, factor, low, high, length):
    """Llama 3.1's rates, written as transformers has them: by wavelengths, pair by pair."""
    found = []
    for pair in range(dim // 2):
        rate = 1 / base ** (2 * pair / dim)
        wavelength = 2 * np.pi / rate
        if wavelength > length / low:
            rate = rate / factor
        elif wavelength >= length / high:
            smooth = (length / wavelength - low) / (high - low)
            rate = (1 - smooth) * rate / factor + smooth * rate
        found.append(rate)
    return found


@pytest.mark.parametrize("scaling", [(8.0, 1.0, 4.0, 8192.0), (32.0, 1.0, 4.0, 8192.0), (2.0, 1.5, 3.0, 100.0)])
def test_rates_are_slowed_as_published(scaling):
    found = rotary_rates(64, 5e5, scaling)
    np.testing.assert_allclose(found, _published(64, 5e5, *scaling), rtol=1e-12)
    plain = rotary_rates(64, 5e5)
    assert found[0] == plain[0]
    assert found[-1] == plain[-1] / scaling[0]
    assert (np.diff(found) < 0).all()
    np.testing.assert_allclose(rotary_rates(64, 5e5, (1.0, *scaling[1:])), plain, rtol=1e-15)


def test_slower_rotations_are_those_of_earlier_places():
    x = normal(1, 2, 9, 8)
    slowed = numbers(RotaryPositions(50.0, (4.0,))(x))
    np.testing.assert_allclose(slowed[:, :, ::4], numbers(RotaryPositions(50.0)(x[:, :, ::4])), atol=1e-6)
    layer = RotaryPositions(50.0, (4.0, 0.2, 1.0, 9.0))
    rates = rotary_rates(8, 50.0, layer.scaling)
    pairs = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * np.arange(9)[:, None] * rates)
    close(layer(x), np.concatenate([pairs.real, pairs.imag], axis=-1))


@pytest.mark.parametrize("scaling", [(), (0,), (2, 1), (8, 4, 1, 64), (8, 1, 4, float("nan"))])
def test_other_scalings_are_refused(scaling):
    with pytest.raises(ValueError, match="scaling"):
        RotaryPositions(scaling=scaling)


def test_keeps_norms_and_the_first_position():
    x = normal(2, 3, 7, 8)
    found = numbers(RotaryPositions()(x, start=np.array([0, 400])))
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(found[0, :, 0], x[0, :, 0])
    assert np.abs(found[0, :, 1] - x[0, :, 1]).max() > 0.1


def test_products_depend_on_the_distance_alone():
    """Of one query and one key at all places: each diagonal of the matrix of products is a constant."""
    query, key = (np.repeat(normal(1, 1, 1, 8), 12, axis=2) for _ in range(2))
    layer = RotaryPositions(10.0)

    def products(start):
        queries, keys = (numbers(layer(one, start=start))[0, 0] for one in (query, key))
        return queries @ keys.T

    found = products(0)
    for distance in range(-11, 12):
        diagonal = np.diagonal(found, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=0, atol=1e-5)
    assert np.ptp(found) > 1
    np.testing.assert_allclose(products(90), found, rtol=0, atol=1e-4)


def test_starts_where_decoding_stands():
    x = normal(2, 3, 9, 8)
    layer = RotaryPositions()
    whole = numbers(layer(x))
    close(layer(x[:, :, 5:], start=5), whole[:, :, 5:])
    close(layer(x[:, :, 5:], start=keras.ops.convert_to_tensor(5)), whole[:, :, 5:])
    rows = np.stack([x[0, :, 1:4], x[1, :, 6:9]])
    close(layer(rows, start=np.array([1, 6])), np.stack([whole[0, :, 1:4], whole[1, :, 6:9]]))


def test_counts_beyond_half_precision():
    x = normal(1, 2, 4, 8)
    found = numbers(RotaryPositions(dtype="mixed_float16")(x, start=5000))
    assert found.dtype == "float16"
    np.testing.assert_allclose(found, numbers(RotaryPositions()(x, start=5000)), rtol=0, atol=4e-3)


@pytest.mark.parametrize("value", [0, -1.0, "long", float("nan")])
def test_refuses_a_base_by_name(value):
    with pytest.raises(ValueError, match=f"base={value!r}"):
        RotaryPositions(value)


def test_refuses_shapes_by_name():
    with pytest.raises(ValueError, match="dim=7"):
        RotaryPositions().build((None, 2, None, 7))
    with pytest.raises(ValueError, match="batch, heads, time, dim"):
        RotaryPositions().build((None, None, 8))
    with pytest.raises(ValueError, match="size of axis -1"):
        RotaryPositions().build((None, 2, 3, None))
