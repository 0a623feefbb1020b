"""A recipe whose step is traced in no time, for tests of what all recipes share."""

import keras

from zoo.recipes.lenet import LeNet


class Small(LeNet, learning_rate=1e-2):
    """A LeNet of one convolution."""

    def network(self):
        # Layers
        scale = keras.layers.Rescaling(1.275 / 255, offset=-0.1, name="scale")
        c1 = keras.layers.Conv2D(4, 5, strides=3, activation="relu", name="c1")
        s2 = keras.layers.MaxPooling2D(2, name="s2")
        features = keras.layers.Dense(16, activation="relu", name="features")
        head = keras.layers.Dense(self.classes, dtype="float32", name="head")

        # Network
        images = keras.Input(self.input_shape, name="images")
        x = features(keras.layers.Flatten(name="flatten")(s2(c1(scale(images)))))
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name="head_dropout")(x)
        return keras.Model(images, head(x), name="small")
