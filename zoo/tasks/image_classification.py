import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo import fields, figures
from zoo.base.recipe import Recipe
from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.augment import Augmentation
from zoo.data.mixing import Mixing
from zoo.data.source import Image, Label, Source
from zoo.errors import InputError
from zoo.fields.texts import rounded
from zoo.figures.demo import Picture
from zoo.objective.losses import SmoothedCrossentropy
from zoo.objective.metrics import Accuracy
from zoo.readers.images import ImageReader, raw_images
from zoo.tasks import _classes, _demo

if TYPE_CHECKING:
    from zoo.data.pipeline import AnyPreparation
    from zoo.figures.demo import Form, Shown
    from zoo.reporting import Outcome


class ImageClassification(Recipe):
    """Images into one of several classes.

    Images of any size are resized to `input_shape`, as `resize` says; the network takes float32 pixels from 0 to 255
    and returns logits (batch, classes).
    """

    input_shape: tuple[int, int, int] = fields.integers(
        default=(32, 32, 3), legal=(1, 65_536), help="height, width and channels of the network's input"
    )
    classes: int = fields.integer(default=10, legal=(2, 10_000_000), help="number of classes, taken from the data")
    resize: str = fields.choice(
        "stretch",
        "crop",
        default="stretch",
        help="how images become input_shape: stretch, or crop the centre in proportion",
    )
    crop_fraction: float = fields.real(
        default=0.875,
        legal=(0.05, 1),
        when={"resize": "crop"},
        help="edge of the centre crop as a fraction of the resized image's",
    )
    interpolation: str = fields.choice(
        "bilinear", "bicubic", default="bilinear", help="interpolation of resizing, antialiased"
    )
    label_smoothing: float = fields.real(
        default=0.0, legal=(0, 0.9), search=(0.0, 0.2), help="probability mass spread over all classes"
    )
    class_weight: str = _classes.class_weight()
    crop: int = fields.integer(
        default=0, legal=(0, 1024), search=(0, 4), help="random crop after padding by so many pixels"
    )
    flip: str = fields.choice(
        "none", "horizontal", "both", default="none", search=("none", "horizontal"), help="random flip"
    )
    rotation: float = fields.real(
        default=0.0, legal=(0, 180), search=(0.0, 20.0), help="random rotation, degrees at most"
    )
    shear: float = fields.real(default=0.0, legal=(0, 80), search=(0.0, 15.0), help="random shear, degrees at most")
    zoom: float = fields.real(default=0.0, legal=(0, 10), search=(0.0, 0.2), help="random zoom; 0.1: by 1/1.1 to 1.1")
    shift: float = fields.real(
        default=0.0, legal=(0, 1), search=(0.0, 0.15), help="random shift, as a fraction of the size"
    )
    brightness: float = fields.real(
        default=0.0, legal=(0, 1), search=(0.0, 0.4), help="random brightness, as a fraction of white"
    )
    contrast: float = fields.real(
        default=0.0, legal=(0, 1), search=(0.0, 0.4), help="random contrast; 0.2: by 0.8 to 1.2"
    )
    saturation: float = fields.real(
        default=0.0,
        legal=(0, 1),
        search=(0.0, 0.4),
        when={"input_shape": fields.channels(3)},
        help="random saturation; 0.2: by 0.8 to 1.2",
    )
    blur: float = fields.real(
        default=0.0, legal=(0, 16), search=(0.0, 1.0), help="random Gaussian blur, sigma in pixels at most"
    )
    mixup: float = fields.real(
        default=0.0,
        legal=(0, 10),
        search=(0.0, 0.4),
        help="mixup: alpha of the Beta(alpha, alpha) of the mixing share; 0: off",
    )
    cutmix: float = fields.real(
        default=0.0,
        legal=(0, 10),
        search=(0.0, 1.0),
        help="CutMix: alpha of the Beta(alpha, alpha) of the box's area; 0: off",
    )

    def make_loss(self) -> Any:
        if self.label_smoothing or self.mixup or self.cutmix:
            return SmoothedCrossentropy(self.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def constant_loss(self, reader: ImageReader, source: Source) -> float:
        """That of answering all classes alike."""
        return math.log(self.classes)

    def make_metrics(self) -> list[Any]:
        return [Accuracy(name="accuracy")]

    def make_augmentation(self) -> Augmentation:
        names = ("crop", "flip", "rotation", "shear", "zoom", "shift", "brightness", "contrast", "saturation", "blur")
        return Augmentation(**{name: getattr(self, name) for name in names})

    # Data -------------------------------------------------------------------------------------------------------

    def adapt(self, source: Source) -> dict[str, tuple[Any, str]]:
        """{field: (value, why)}: what the data decide, channels and classes."""
        image, label = self._wanted(source)
        height, width, _ = self.input_shape
        has = f"dataset={source.name} has"
        return {
            "input_shape": ((height, width, image.channels), f"{has} images of {image.channels} channels"),
            "classes": (len(label.names), f"{has} {len(label.names)} classes"),
        }

    def make_reader(self, source: Source) -> ImageReader:
        """What reading learns from the data: the names of the classes, and how many of 16 bits count."""
        if source.ready:
            return self.default_reader()
        image, label = self._wanted(source)
        return self._reader(label.names, image.bits)

    def default_reader(self, labels: Sequence[str] | None = None) -> ImageReader:
        """A reader for a model that was not trained on a data set of ours."""
        return self._reader(_classes.named(labels, self.classes))

    def _reader(self, labels: Sequence[str], bits: int | None = None) -> ImageReader:
        names = ("resize", "crop_fraction", "interpolation")
        return ImageReader(self.input_shape, labels, **{name: getattr(self, name) for name in names}, bits=bits)

    def make_preparation(self, reader: ImageReader, source: Source) -> "AnyPreparation":
        """How examples of `source` become batches; classes other than the reader's are an `InputError`."""
        if not source.ready:
            _classes.refuse_others(source, self._wanted(source)[1].names, reader.labels)
        weights = _classes.balanced_weights(self, source, lambda: _classes.count_labels(source, self.classes))
        mixing = Mixing(mixup=self.mixup, cutmix=self.cutmix, classes=self.classes)
        return _Preparation(reader, self.make_augmentation(), mixing, weights)

    # Answers ----------------------------------------------------------------------------------------------------

    def make_predictions(
        self, reader: ImageReader, names: Sequence[str], logits: np.ndarray
    ) -> list[_classes.Prediction]:
        """A `Prediction` for each name, of logits (n, classes)."""
        return _classes.make_predictions(names, reader.labels, logits)

    def make_probe(self, reader: ImageReader, examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """{signature/input: array} of raw examples: as they are, and as the network takes them."""
        pictures = raw_images(examples)
        tensors = np.stack([np.asarray(reader.fit_images(picture)) for picture in pictures]).astype("float32")
        return {"serve_tensors/images": tensors, **reader.raw_probe(pictures)}

    def make_noise(self, count: int) -> list[dict[str, Any]]:
        """Raw examples of noise, for the probe of a model that was not trained on a data set of ours."""
        pixels = np.random.default_rng(0).integers(0, 256, (count, *self.input_shape), "uint8")
        return [{"image": picture} for picture in pixels]

    # Demo -------------------------------------------------------------------------------------------------------

    def demo_form(self, reader: ImageReader, probe: Mapping[str, np.ndarray]) -> "Form":
        """An image; of one channel it can be drawn."""
        return _demo.image_form("Classify", self.input_shape[-1], probe, draws=True)

    def demo(self, model: keras.Model, given: Mapping[str, Any]) -> "Iterator[Shown]":
        """The probabilities of the likeliest classes, and the image as the network sees it."""
        names, tensors = model.reader.read_raw([given["image"]])
        (found,) = self.make_predictions(model.reader, names, self.ask(model, tensors))
        yield _demo.bars(found)
        yield Picture("What the network sees", np.broadcast_to(tensors[0], (*self.input_shape[:2], 3)))

    # Report -----------------------------------------------------------------------------------------------------

    def report_parts(self, outcome: "Outcome") -> list[figures.Part]:
        """What a person wants to see of a trained network: which classes it confuses, and its worst mistakes.

        Args:
            outcome: a `zoo.reporting.Outcome`.
        Returns: a list of `zoo.figures.Part`.
        """
        true, predicted, worst = _judge(outcome)
        of = (true, predicted, outcome.reader.labels, outcome.split)
        return [figures.confusion(*of), figures.scores(*of), _mistakes(worst, *of)]

    @staticmethod
    def _wanted(source: Source) -> tuple[Image, Label]:
        """The image and the label among the features of `source`."""
        found = [[f for f in source.features.values() if isinstance(f, kind)] for kind in (Image, Label)]
        if not all(found):
            raise InputError(
                f"dataset={source.name} must have an image and a class label. It has: {', '.join(source.features)}."
            )
        return found[0][0], found[1][0]


@dataclasses.dataclass(frozen=True)
class _Mistake:
    """A misclassified image. Classes are numbers; `probability` is that of `predicted`."""

    loss: float
    picture: np.ndarray
    true: int
    predicted: int
    probability: float


def _judge(outcome: "Outcome", most: int = 20) -> tuple[np.ndarray, np.ndarray, list[_Mistake]]:
    """(true classes, predicted classes, the `most` mistakes of the highest cross-entropy), reading batch by batch."""
    true, predicted, worst = [], [], []
    for images, labels, logits in outcome.batches():
        labels, guesses = labels.reshape(-1).astype(int), logits.argmax(axis=-1)
        odds = keras.ops.convert_to_numpy(keras.ops.log_softmax(logits.astype("float32")))
        for row in np.flatnonzero(guesses != labels):
            picture = np.clip(images[row], 0, 255).round().astype("uint8")
            label, guess = int(labels[row]), int(guesses[row])
            loss, probability = -float(odds[row, label]), float(np.exp(odds[row, guess]))
            worst.append(_Mistake(loss, picture, label, guess, probability))
        worst = sorted(worst, key=lambda mistake: -mistake.loss)[:most]
        true.append(labels)
        predicted.append(guesses)
    return np.concatenate(true), np.concatenate(predicted), worst


def _mistakes(
    worst: list[_Mistake], true: np.ndarray, predicted: np.ndarray, labels: Sequence[str], split: str
) -> figures.Part:
    """The `Part` with the images of the `worst` mistakes, as the network sees them."""
    count = int((true != predicted).sum())
    caption = f"{count:,} of the {len(true):,} examples of the {split} split were misclassified. "
    if not worst:
        return figures.Part("mistakes", "Worst mistakes", f"{caption}There is nothing to show.")
    which = f"The {len(worst)} with the highest loss" if len(worst) < count else "Here they are"
    caption += f"{which}, as the network sees them, the highest loss first:"
    captions = [
        [
            f"true {figures.drawable(labels[one.true], one.true)}",
            f"predicted {figures.drawable(labels[one.predicted], one.predicted)}",
            f"probability {one.probability:.1%}",
            f"loss {rounded(one.loss)}",
        ]
        for one in worst
    ]
    return figures.Part(
        name="mistakes",
        title="Worst mistakes",
        caption=caption,
        draw=functools.partial(figures.gallery, [one.picture for one in worst], captions),
    )


class _Preparation:
    """`zoo.data.pipeline.Preparation` of images and labels: uint8 until the last step."""

    def __init__(
        self, reader: ImageReader, augmentation: Augmentation, mixing: Mixing, weights: _classes.BalancedWeights | None
    ) -> None:
        self._reader = reader
        self._augmentation = augmentation
        self._mixing = mixing
        self._weights = weights

    def read(self, example: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return self._reader.read_example(example), example["label"]

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[Any, ...]:
        tf = tensorflow()

        images, labels = batch
        return tf.cast(images, tf.float32), labels

    def finish_training(self, batch: tuple[Tensor, ...], seed: Tensor) -> tuple[Any, ...]:
        images, labels = batch
        weights = () if self._weights is None else (self._weights.of(labels),)
        images, *others = self._mixing(self._augmentation(images, seed), labels, *weights, seed=seed)
        return (images, *others)
