"""The calls of a user, as an editor sees them: pyright must find no error here. Nothing runs this file."""

import pathlib
from typing import assert_type

import keras
import numpy as np

import zoo
from zoo.fields import above, choice, flag, integer, integers, real, text
from zoo.layers import Subsampling2D
from zoo.recipes.lenet import LeNet
from zoo.tasks import ImageClassification

# Build and fit --------------------------------------------------------------------------------------------------------

assert_type(zoo.names("le*", task="image_classification"), list[str])
assert_type(zoo.recipe("lenet/modern").replace(epochs=3).learning_rate, float)
model = zoo.build("lenet/modern", steps_per_epoch=10, learning_rate=0.01)
assert_type(model, keras.Model)
model.fit(zoo.dataset(model, "train"), epochs=3, shuffle=False)
for inputs, targets in zoo.dataset("lenet", "test", data_dir=pathlib.Path("data")).take(1):
    print(inputs.shape, targets.shape)

# Train and ask --------------------------------------------------------------------------------------------------------

run = zoo.train("lenet", epochs=5, directory=pathlib.Path("runs") / "digits", callbacks=[zoo.LayerReadings()])
assert_type(run, zoo.Run)
run = zoo.train(resume=run, until=7, quiet=True)
run = zoo.Run.open("runs/digits")
assert_type(run.path / "history.csv", pathlib.Path)
assert_type(run.status, str)
assert_type(run.best_epoch(), int)
print(run.recipe.label, run.recipe.epochs, [row["loss"] for row in run.history])
assert_type(zoo.load(run, features=True), keras.Model)
assert_type(zoo.evaluate(run, "validation"), dict[str, float])
for prediction in zoo.predict("runs/digits", ["three.png", np.zeros((8, 8, 1), "uint8")]):
    print(prediction.label, prediction.probability)
assert_type(zoo.export(run, "exports/digits", format="onnx", version=1), pathlib.Path)
zoo.export(model, pathlib.Path("exports/mine"), labels=["cat", "dog"])
zoo.report(run, "report")
try:
    zoo.train("lenet", momentum=2)
except zoo.InputError as error:
    assert_type(error.exit_status, int)

# Tune -----------------------------------------------------------------------------------------------------------------

study: zoo.Study = zoo.tune("lenet", fixed={"epochs": 10}, max_trials=30, directory="study")
study = zoo.Study.open("study")
best: keras.Model = study.best()
best.summary()
print(study.best_run(), study.objective, len(study.trials))

# A layer in a model of one's own --------------------------------------------------------------------------------------

images = keras.Input((32, 32, 1))
pooled = Subsampling2D(pool_size=2, name="s2")(zoo.layers.PadToGrid(4)(images))
keras.Model(images, keras.layers.Flatten()(pooled)).compile(optimizer="adam", loss="mse")

# A recipe of one's own ------------------------------------------------------------------------------------------------


class TinyNet(ImageClassification, dataset="digits", epochs=5, input_shape=(16, 16, 1)):
    """A convolution and a classifier."""

    variants = {"wide": {"width": 64}}

    width: int = integer(default=16, legal=(1, 1024), search=(8, 64), log=True, help="channels")
    rate: float = real(default=0.0, legal=(0, 1), help="of dropout", when={"width": above(8)})
    activation: str = choice("relu", "gelu", default="relu", search=("relu", "gelu"), help="after the convolution")
    norm: bool = flag(default=False, search=(False, True), help="whether to normalise")
    kernel: tuple[int, ...] = integers(default=(3, 3), legal=(1, None), help="height and width")
    note: str | None = text(default=None, optional=True, help="for the record")

    def network(self) -> keras.Model:
        images = keras.Input(self.input_shape, name="images")
        scale = keras.layers.Rescaling(1 / 255)
        convolve = keras.layers.Conv2D(self.width, self.kernel, activation=self.activation, name="convolve")
        pool = keras.layers.GlobalAveragePooling2D(name="features")
        head = keras.layers.Dense(self.classes, dtype="float32", name="head")
        return keras.Model(images, head(pool(convolve(scale(images)))), name="tiny_net")


tiny = TinyNet(width=32, epochs=1)
assert_type(tiny.width, int)
assert_type(tiny.replace(norm=True), TinyNet)
assert_type(tiny.build(), keras.Model)
zoo.train(tiny)
zoo.build(LeNet(learning_rate=0.1))
