import functools
import math
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from zoo import fields
from zoo.base.recipe import Recipe
from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.augment import Augmentation
from zoo.data.borders import border_weights
from zoo.data.crops import Crops
from zoo.data.source import VOID, Image, Mask, Source
from zoo.errors import InputError
from zoo.objective.losses import MaskLoss
from zoo.objective.metrics import MeanDice, MeanIoU
from zoo.readers.images import raw_images
from zoo.readers.masks import MaskReader
from zoo.tasks import _classes, _demo
from zoo.tasks._segmented import Judged, Segmented, confusion, gallery, mean_iou, overlay, scores
from zoo.tiling import tiles

if typing.TYPE_CHECKING:
    from zoo.data.pipeline import AnyPreparation
    from zoo.figures.demo import Form, Shown
    from zoo.figures.parts import Part
    from zoo.reporting import Outcome

PROBE_SIZE = (61, 53)
"""Height and width of probe images, at most: odd, so that an export is verified on what does not halve."""


class Segmentation(Recipe, monitor="val_mean_iou"):
    """A class for each pixel of an image.

    Images are never resized. A network trains on pieces of `input_shape`, cut at random; smaller images are
    mirrored, and what is mirrored is outside the loss. It is judged on whole images, in batches of one size. It takes
    float32 pixels from 0 to 255 of any height and width and returns logits (batch, height, width, classes).
    """

    tiles: typing.ClassVar[bool] = True

    batch_size: int = fields.integer(
        default=8,
        legal=(1, 1_000_000),
        search=(2, 32),
        log=True,
        help="crops per training step, images per evaluation step",
    )
    input_shape: tuple[int, int, int] = fields.integers(
        default=(128, 128, 3), legal=(1, 65_536), help="height, width and channels of a training crop"
    )
    classes: int = fields.integer(default=2, legal=(2, VOID), help="number of classes, taken from the data")
    loss: str = fields.choice(
        "cross_entropy",
        "dice",
        "both",
        default="cross_entropy",
        search=("cross_entropy", "dice", "both"),
        help="cross-entropy of pixels, Dice loss, or their sum",
    )
    class_weight: str = _classes.class_weight(when={"loss": ("cross_entropy", "both")})
    w0: float = fields.real(
        default=0.0,
        legal=(0, 1000),
        search=(0.0, 10.0),
        when={"loss": ("cross_entropy", "both")},
        help="border weight: of background between two touching regions of class 1",
    )
    sigma: float = fields.real(
        default=5.0, legal=(0.1, 100), when={"w0": fields.above(0)}, help="width of the border weight, in pixels"
    )
    flip: str = fields.choice(
        "none", "horizontal", "both", default="none", search=("none", "horizontal", "both"), help="random flip"
    )
    rotation: float = fields.real(
        default=0.0, legal=(0, 180), search=(0.0, 180.0), help="random rotation, degrees at most"
    )
    zoom: float = fields.real(default=0.0, legal=(0, 10), search=(0.0, 0.3), help="random zoom; 0.1: by 1/1.1 to 1.1")
    shift: float = fields.real(
        default=0.0, legal=(0, 1), search=(0.0, 0.2), help="random shift, as a fraction of the size"
    )
    elastic: float = fields.real(
        default=0.0,
        legal=(0, 100),
        search=(0.0, 10.0),
        help="elastic deformation: standard deviation of the shifts on a 3 x 3 grid, in pixels",
    )
    brightness: float = fields.real(
        default=0.0, legal=(0, 1), search=(0.0, 0.4), help="random brightness, as a fraction of white"
    )
    contrast: float = fields.real(
        default=0.0, legal=(0, 1), search=(0.0, 0.4), help="random contrast; 0.2: by 0.8 to 1.2"
    )

    @property
    def margin(self) -> int:
        """Pixels that the answer is smaller than the input on each side."""
        return 0

    @property
    def step(self) -> int:
        """The grid of the network: an image moved by so many pixels has the same answer, moved."""
        return 1

    @property
    def reach(self) -> int:
        """Pixels on each side beyond which nothing has a part in an answer, but through norms over positions."""
        return self.margin

    def make_loss(self) -> typing.Any:
        return MaskLoss(self.loss)

    def constant_loss(self, reader: MaskReader, source: Source) -> float | None:
        """That of answering all classes alike, of a cross-entropy; validation has no weights."""
        return math.log(self.classes) if self.loss == "cross_entropy" else None

    def make_metrics(self) -> list[typing.Any]:
        return [MeanIoU(self.classes, name="mean_iou"), MeanDice(self.classes, name="dice")]

    def make_crops(self) -> Crops:
        height, width, _ = self.input_shape
        names = ("flip", "rotation", "zoom", "shift", "elastic")
        return Crops(height=height, width=width, **{name: getattr(self, name) for name in names})

    def make_augmentation(self) -> Augmentation:
        return Augmentation(brightness=self.brightness, contrast=self.contrast)

    # Data -------------------------------------------------------------------------------------------------------

    def adapt(self, source: Source) -> dict[str, tuple[typing.Any, str]]:
        """{field: (value, why)}: what the data decide, channels and classes."""
        image, mask = self._wanted(source)
        height, width, _ = self.input_shape
        has = f"dataset={source.name} has"
        because = f" ({mask.why})" if mask.why else ""
        return {
            "input_shape": ((height, width, image.channels), f"{has} images of {image.channels} channels"),
            "classes": (len(mask.names), f"{has} {len(mask.names)} classes{because}"),
        }

    def make_reader(self, source: Source) -> MaskReader:
        """What reading learns from the data: the names of the classes, and how many of 16 bits count."""
        if source.ready:
            return self.default_reader()
        image, mask = self._wanted(source)
        return MaskReader(self.input_shape, mask.names, self.margin, image.bits)

    def default_reader(self, labels: Sequence[str] | None = None) -> MaskReader:
        """A reader for a model that was not trained on a data set of ours."""
        return MaskReader(self.input_shape, _classes.named(labels, self.classes), self.margin)

    def make_preparation(self, reader: MaskReader, source: Source) -> "AnyPreparation":
        """How examples of `source` become batches; classes other than the reader's are an `InputError`."""
        if not source.ready:
            _classes.refuse_others(source, self._wanted(source)[1].names, reader.labels)
        weights = _classes.balanced_weights(self, source, lambda: self._counts(source))
        return _Preparation(self, reader, weights)

    # Answers ----------------------------------------------------------------------------------------------------

    def ask(
        self, model: typing.Any, pictures: Iterable[np.ndarray], tile: int | None = None, overlap: int | None = None
    ) -> Iterator[np.ndarray]:
        """The mask, uint8 (height, width), of each image, one after the other.

        Args:
            images: uint8 (height, width, channels) of any sizes.
            tile, overlap: as of `zoo.tiling.tiles`; without a tile, an image is asked whole, and without an overlap,
                tiles share what the network sees on both sides of them.
        """
        overlap = 2 * self.reach if overlap is None else overlap
        for picture in pictures:
            if tile is None:
                framed = model.reader.frame(picture[None]).numpy()
                yield model.predict_on_batch(framed)[0].argmax(axis=-1).astype(np.uint8)
                continue
            mask = np.empty(picture.shape[:2], np.uint8)
            size = {"tile": tile, "overlap": overlap, "margin": self.margin, "step": self.step}
            for rows, columns, logits in tiles(model.predict_on_batch, picture, **size):
                mask[rows, columns] = logits.argmax(axis=-1)
            yield mask

    def make_predictions(
        self, reader: MaskReader, names: Sequence[str], masks: Iterable[np.ndarray]
    ) -> list[Segmented]:
        """A `Segmented` for each name, of masks (height, width)."""
        predictions = []
        for name, mask in zip(names, masks, strict=True):
            shares = np.bincount(mask.ravel(), minlength=self.classes) / mask.size
            ranked = {reader.labels[index]: float(shares[index]) for index in np.argsort(-shares, kind="stable")}
            predictions.append(Segmented(name, mask, ranked))
        return predictions

    def make_probe(self, reader: MaskReader, examples: Sequence[Mapping[str, typing.Any]]) -> dict[str, np.ndarray]:
        """{signature/input: array} of raw examples, their corners cut to one size: as they are, and framed."""
        pictures = raw_images(examples)
        height, width = (min([PROBE_SIZE[axis], *(picture.shape[axis] for picture in pictures)]) for axis in (0, 1))
        pictures = [picture[:height, :width] for picture in pictures]
        tensors = np.concatenate([reader.frame(reader.fit_images(picture[None])).numpy() for picture in pictures])
        return {"serve_tensors/images": tensors, **reader.raw_probe(pictures)}

    def make_noise(self, count: int) -> list[dict[str, typing.Any]]:
        """Raw examples of noise, for the probe of a model that was not trained on a data set of ours."""
        pixels = np.random.default_rng(0).integers(0, 256, (count, *PROBE_SIZE, self.input_shape[-1]), "uint8")
        return [{"image": picture} for picture in pixels]

    # Demo -------------------------------------------------------------------------------------------------------

    def demo_form(self, reader: MaskReader, probe: Mapping[str, np.ndarray]) -> "Form":
        """An image."""
        return _demo.image_form("Segment", self.input_shape[-1], probe, draws=False)

    def demo(self, model: typing.Any, given: Mapping[str, typing.Any]) -> "Iterator[Shown]":
        """The image with its mask over it."""
        names, pictures = model.reader.read_raw([given["image"]])
        (found,) = self.make_predictions(model.reader, names, self.ask(model, pictures))
        yield overlay(pictures[0], found, model.reader.labels)

    # Report -----------------------------------------------------------------------------------------------------

    def report_parts(self, outcome: "Outcome") -> "list[Part]":
        """What a person wants to see of a trained network: how well it finds each class, and where it fails.

        Args:
            outcome: a `zoo.reporting.Outcome`.
        Returns: a list of `zoo.figures.Part`.
        """
        counts, first, worst = self._judge(outcome)
        labels, split = outcome.reader.labels, outcome.split
        return [
            scores(counts, labels, split),
            confusion(counts, labels, split),
            gallery("examples", "Examples", f"The first images of the {split} split.", first, labels),
            gallery(
                "worst", "Worst images", f"Those of the {split} split with the lowest mean IoU, the worst first.",
                worst, labels,
            ),
        ]  # fmt: skip

    def _judge(self, outcome: "Outcome", most: int = 4) -> tuple[np.ndarray, list[Judged], list[Judged]]:
        """(pixels by true and predicted class, the `most` first images, the `most` of the lowest mean IoU)."""
        counts, first, worst, number = np.zeros((self.classes, self.classes), int), [], [], 0
        for images, masks, logits in outcome.batches():
            height, width = masks.shape[1:]
            shown = images[:, self.margin : self.margin + height, self.margin : self.margin + width]
            for picture, true, said in zip(shown, masks, logits.argmax(axis=-1), strict=True):
                valid = (true >= 0) & (true < self.classes)
                cells = true[valid] * self.classes + said[valid]
                found = np.bincount(cells, minlength=self.classes**2).reshape(self.classes, self.classes)
                counts += found
                pixels = np.clip(picture, 0, 255).round().astype(np.uint8)
                judged = Judged(number, pixels, true, said, mean_iou(found))
                first = [*first, judged][:most]
                worst = sorted([*worst, judged], key=lambda one: one.iou)[:most]
                number += 1
        return counts, first, worst

    @staticmethod
    def _wanted(source: Source) -> tuple[Image, Mask]:
        """The image and the mask among the features of `source`."""
        found = [[f for f in source.features.values() if isinstance(f, kind)] for kind in (Image, Mask)]
        if not all(found):
            raise InputError(
                f"dataset={source.name} must have an image and a mask. It has: {', '.join(source.features)}."
            )
        return found[0][0], found[1][0]

    def _counts(self, source: Source) -> np.ndarray:
        """How many pixels of the training split each class has."""
        counts = np.zeros(256)
        for one in source.examples("train").as_numpy_iterator():
            counts += np.bincount(one["mask"].ravel(), minlength=256)
        return counts[: self.classes]


class _Preparation:
    """`zoo.data.pipeline.Preparation` of images and masks."""

    def __init__(
        self, recipe: Segmentation, reader: MaskReader, class_weights: _classes.BalancedWeights | None
    ) -> None:
        self._reader = reader
        self._crops = recipe.make_crops()
        self._augmentation = recipe.make_augmentation()
        self._margin = recipe.margin
        self._borders = functools.partial(border_weights, w0=recipe.w0, sigma=recipe.sigma) if recipe.w0 else None
        self._class_weights = class_weights

    def read(self, example: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """(image, mask), and the weights of borders where they count."""
        tf = tensorflow()

        picture, mask = self._reader.read_example(example), example["mask"]
        if self._borders is None:
            return picture, mask
        weights = tf.numpy_function(self._borders, [mask], tf.float32)
        return picture, mask, tf.ensure_shape(weights, mask.shape)

    def cut(self, values: tuple[Tensor, ...], seed: Tensor) -> tuple[Tensor, ...]:
        """A piece of `read`'s, its mask with -1 outside the loss."""
        tf = tensorflow()

        picture, (mask, *weights), inside = self._crops(values[0], values[1:], seed)
        target = tf.where(inside, _target(mask), -1)
        return picture, *(self._middle(part) for part in (target, *weights))

    def finish(self, batch: tuple[Tensor, ...]) -> tuple[typing.Any, ...]:
        images, masks, *_ = batch
        return self._reader.frame(images), _target(masks)

    def finish_training(self, batch: tuple[Tensor, ...], seed: Tensor) -> tuple[typing.Any, ...]:
        tf = tensorflow()

        images, targets, *borders = batch
        images = self._augmentation(images, seed)
        if self._class_weights is None and not borders:
            return images, targets
        weights = 1.0 if self._class_weights is None else self._class_weights.of(tf.maximum(targets, 0))
        return images, targets, weights + (borders[0] if borders else 0.0)

    def _middle(self, part: Tensor) -> Tensor:
        """What a network answers of a piece (height, width)."""
        height, width = part.shape
        return part[self._margin : height - self._margin, self._margin : width - self._margin]


def _target(mask: Tensor) -> Tensor:
    """int32 of a mask's ids, -1 where it is void."""
    tf = tensorflow()

    ids = tf.cast(mask, tf.int32)
    return tf.where(ids == VOID, -1, ids)
