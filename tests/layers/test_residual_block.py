import keras
import numpy as np
import pytest

from tests.layers.arrays import close, normal, numbers
from zoo.layers import ResidualBlock, ZeroPadShortcut
from zoo.testing import check_layer

pytestmark = pytest.mark.backend


def basic(filters, strides, **arguments):
    """The basic block of a ResNet with option B, or A."""
    return [
        keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
        keras.layers.BatchNormalization(**arguments),
    ]


@pytest.mark.parametrize(
    ("arguments", "shape", "options"),
    [
        ({"body": keras.layers.Dense(4, activation="tanh"), "drop_path": 0.5, "seed": 1}, (4, 4), {}),
        (
            {
                "body": [keras.layers.Conv2D(6, 3, 2, padding="same"), keras.layers.Activation("tanh")],
                "shortcut": ZeroPadShortcut(6, strides=2),
                "activation": "relu",
            },
            (2, 5, 4, 3),
            {"dynamic_axes": (1, 2), "thorough": False},
        ),
        (
            {"body": [keras.layers.Dense(6), keras.layers.Dense(5)], "shortcut": keras.layers.Dense(5)},
            (2, 7, 3),
            {"mask": np.arange(7) < np.array([[3], [7]]), "dynamic_axes": (1,), "thorough": False},
        ),
    ],
)
def test_conforms(arguments, shape, options):
    check_layer(ResidualBlock, arguments, input_shape=shape, tolerance=1e-4, **options)


@pytest.mark.parametrize(
    ("arguments", "shape"), [({"filters": 5, "strides": 2}, (2, 5, 4, 3)), ({"filters": 3}, (2, 4, 4, 3))]
)
def test_shortcut_conforms(arguments, shape):
    check_layer(ZeroPadShortcut, arguments, input_shape=shape, dynamic_axes=(1, 2), thorough=arguments["filters"] == 5)


def test_is_the_input_and_the_body():
    x = normal(3, 4)
    body = keras.layers.Dense(4, activation="tanh")
    close(ResidualBlock(body)(x), x + numbers(body(x)))  # one step of Euler's of dx/dt = body(x), of size 1
    close(ResidualBlock([body], activation="relu")(x), np.maximum(x + numbers(body(x)), 0))
    shortcut, wide = keras.layers.Dense(6), keras.layers.Dense(6)
    close(ResidualBlock([body, wide], shortcut)(x), numbers(shortcut(x)) + numbers(wide(body(x))))


@pytest.mark.parametrize("option", ["A", "B"])
def test_equals_the_blocks_of_a_resnet(option):
    x = normal(2, 8, 8, 4)
    body = basic(6, 2)
    projection = keras.Sequential([keras.layers.Conv2D(6, 1, 2, use_bias=False), keras.layers.BatchNormalization()])
    shortcut = ZeroPadShortcut(6, strides=2) if option == "A" else projection
    block = ResidualBlock(body, shortcut, activation="relu")
    found = numbers(block(x))
    expected = keras.ops.convert_to_tensor(x)
    for layer in body:
        expected = layer(expected)
    aside = np.pad(x[:, ::2, ::2], [(0, 0)] * 3 + [(0, 2)]) if option == "A" else numbers(projection(x))
    close(found, np.maximum(numbers(expected) + aside, 0))
    trained = sum(int(np.prod(weight.shape)) for weight in block.trainable_weights)
    assert trained == 9 * 4 * 6 + 9 * 6 * 6 + 4 * 6 + (0 if option == "A" else 4 * 6 + 2 * 6)


def test_a_body_whose_last_scale_is_zero_is_the_identity():
    x = normal(2, 8, 8, 4)
    close(ResidualBlock(basic(4, 1, gamma_initializer="zeros"))(x), x, atol=0)


def test_drop_path_drops_whole_examples_and_keeps_the_mean():
    x = normal(400, 3, 2)
    body = keras.layers.Dense(2)
    block = ResidualBlock(body, drop_path=0.25, seed=0)
    close(block(x), x + numbers(body(x)))
    added = numbers(block(x, training=True)) - x
    whole = numbers(body(x))
    dropped = (added == 0).all(axis=(1, 2))
    assert 0.15 < dropped.mean() < 0.35  # five standard deviations
    np.testing.assert_allclose(added[~dropped], whole[~dropped] / 0.75, rtol=0, atol=1e-5)
    again = numbers(block(x, training=True)) - x
    assert ((again == 0).all(axis=(1, 2)) != dropped).any()


def test_layers_that_blocks_share_come_back_shared(tmp_path):
    body = keras.layers.Dense(4)
    inputs = keras.Input((4,))
    first, second = ResidualBlock(body, name="first"), ResidualBlock([body], name="second")
    model = keras.Model(inputs, second(first(inputs)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = normal(3, 4)
    close(again(x), model(x), atol=0)
    assert again.get_layer("first").body is again.get_layer("second").body[0]
    assert ResidualBlock.from_config(first.get_config()).body is not body
    assert len(keras.models.clone_model(model).weights) == 2 * len(model.weights)


def test_reloads_after_quantisation(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ResidualBlock([keras.layers.Dense(4)])(inputs))
    with pytest.warns(UserWarning, match="does not have a `quantize` method"):
        model.quantize("int8")
    x = normal(3, 4)
    expected = numbers(model(x))
    model.save(tmp_path / "model.keras")
    close(keras.saving.load_model(tmp_path / "model.keras")(x), expected, atol=0)


def test_takes_a_body_that_does_not_say_its_shape():
    class Half(keras.layers.Layer):
        def call(self, inputs):
            return inputs / 2

    x = normal(3, 4)
    close(ResidualBlock(Half())(x), 1.5 * x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"body": []}, r"body=\[\]"),
        ({"body": "dense"}, "body='dense'"),
        ({"body": [abs]}, r"body=\[<built-in"),
        ({"body": keras.layers.Dense(4), "shortcut": "A"}, "shortcut='A'"),
        ({"body": keras.layers.Dense(4), "drop_path": 1.0}, "drop_path=1.0"),
    ],
)
def test_refuses_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResidualBlock(**arguments)


def test_refuses_shapes_that_cannot_be_added():
    with pytest.raises(ValueError, match=r"Received: \(None, 4\) and \(None, 6\)\. Give a shortcut"):
        ResidualBlock(keras.layers.Dense(6)).build((None, 4))
    with pytest.raises(ValueError, match="filters=2 for an input of 3 channels"):
        ZeroPadShortcut(2).build((None, 4, 4, 3))
    with pytest.raises(ValueError, match="batch, height, width, channels"):
        ZeroPadShortcut(2).build((None, 4))
    with pytest.raises(ValueError, match="strides=0"):
        ZeroPadShortcut(2, strides=0)
