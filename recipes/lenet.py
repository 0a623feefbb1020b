from typing import Any, ClassVar

import keras

import zoo.layers
from zoo.errors import InputError
from zoo.fields import choice, integers, real
from zoo.tasks import ImageClassification


class LeNet(
    ImageClassification,
    dataset="digits",
    epochs=40,
    batch_size=32,
    learning_rate=2e-3,
    schedule="cosine",
    input_shape=(32, 32, 1),
    rotation=12.0,
    zoom=0.15,
    shift=0.08,
    shear=8.0,
):
    """LeNet-5, the convolutional network that read cheques.

    `lenet/5` (also plain `lenet`) is LeCun, Bottou, Bengio & Haffner 1998, "Gradient-Based Learning Applied to
    Document Recognition", section II.B: tanh, trainable pooling, 61,750 parameters at 32 x 32 x 1 and 10 classes.
    Three things are as everybody has built it since: C3 sees all maps of S2, tanh is not scaled, and a softmax
    stands for the radial basis functions. `pool=average` gives the 61,706 that is usually quoted.
    `lenet/modern` has ReLU and max pooling.

    `zoo train lenet` and `zoo train lenet/modern` reach 98.98 % and 99.07 % of the digits' test split (means of three
    seeds; an SVC 98.89 %) in 10 and 6 seconds of training on 2 CPU cores: `python benchmarks/digits.py`.
    """

    tuned: ClassVar[tuple[str, ...]] = ("dropout", "filters")

    variants: ClassVar[dict[str, dict[str, Any]]] = {"5": {}, "modern": {"activation": "relu", "pool": "max"}}

    filters: tuple[int, int] = integers(
        default=(6, 16),
        legal=(1, 512),
        search=((6, 16), (12, 32), (20, 50)),
        help="channels of the convolutions C1 and C3",
    )
    hidden: tuple[int, int] = integers(
        default=(120, 84), legal=(1, 8192), search=((120, 84), (240, 84)), help="units of the dense layers C5 and F6"
    )
    activation: str = choice(
        "tanh",
        "relu",
        "gelu",
        default="tanh",
        search=("tanh", "relu", "gelu"),
        help="activation of convolutions and hidden dense layers",
    )
    pool: str = choice(
        "trainable",
        "average",
        "max",
        default="trainable",
        search=("trainable", "average", "max"),
        help="pooling of S2 and S4",
    )
    padding: str = choice(
        "valid", "same", default="valid", help="padding of C1; same: 28 x 28 images are treated as 32 x 32"
    )
    dropout: float = real(default=0.0, legal=(0, 0.95), search=(0.0, 0.5), help="dropout before the classifier")

    def check(self) -> None:
        smallest = 12 if self.padding == "same" else 16
        if min(self.input_shape[:2]) < smallest:
            raise InputError(
                f"LeNet with padding={self.padding} needs images of at least {smallest} x {smallest}. "
                f"Received: input_shape={self.input_shape}. Images are resized to input_shape: give a larger one."
            )

    def network(self) -> keras.Model:
        # Layers
        scale = keras.layers.Rescaling(1.275 / 255, offset=-0.1, name="scale")  # the paper's -0.1 to 1.175
        c1 = keras.layers.Conv2D(self.filters[0], 5, padding=self.padding, activation=self.activation, name="c1")
        s2 = self._make_pool("s2")
        c3 = keras.layers.Conv2D(self.filters[1], 5, activation=self.activation, name="c3")
        s4 = self._make_pool("s4")
        c5 = keras.layers.Dense(self.hidden[0], activation=self.activation, name="c5")
        f6 = keras.layers.Dense(self.hidden[1], activation=self.activation, name="features")
        head = keras.layers.Dense(self.classes, dtype="float32", name="head")

        # Network
        images = keras.Input(self.input_shape, name="images")
        x = s2(c1(scale(images)))  # (batch, 14, 14, 6) from 32 x 32
        x = s4(c3(x))  # (batch, 5, 5, 16)
        x = keras.layers.Flatten(name="flatten")(x)  # (batch, 400)
        x = f6(c5(x))  # (batch, 84)
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name="head_dropout")(x)
        return keras.Model(images, head(x), name="lenet")

    def _make_pool(self, name: str) -> Any:
        match self.pool:
            case "trainable":
                return zoo.layers.Subsampling2D(2, name=name)
            case "average":
                return keras.layers.AveragePooling2D(2, name=name)
            case "max":
                return keras.layers.MaxPooling2D(2, name=name)
