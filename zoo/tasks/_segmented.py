"""What segmentation answers with, and what a report shows of it."""

import dataclasses
import functools
import io
import os
from collections.abc import Sequence

import numpy as np

from zoo import figures, files
from zoo.fields.texts import rounded
from zoo.figures.demo import Picture
from zoo.tasks import _classes


@dataclasses.dataclass(frozen=True)
class Segmented:
    """What a network says of one image.

    Attributes:
        name: the file's path, or the number of the array.
        mask: uint8 (height, width), the likeliest class of each pixel.
        shares: {label: fraction of the pixels}, the largest first.
    """

    name: str
    mask: np.ndarray
    shares: dict[str, float]

    def show(self, top: int) -> str:
        """The `top` largest classes as a person reads them."""
        return _classes.show_parts(self.shares, top)

    def row(self, top: int) -> dict[str, str]:
        """{column: text} of a table."""
        return _classes.row_of_parts(self.shares, top, "share")

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the mask as a PNG whose pixels are class ids, with a palette to look at it."""
        import PIL.Image

        colours = [(0, 0, 0), *(figures.CLASS_COLOURS.values())] * 64
        picture = PIL.Image.fromarray(self.mask).convert("L")
        picture.putpalette(np.array(colours[:256], np.uint8).tobytes())
        data = io.BytesIO()
        picture.save(data, "PNG")
        files.write(path, data.getvalue())


@dataclasses.dataclass(frozen=True)
class Judged:
    """An image with its mask and the network's, and the mean IoU of the two."""

    number: int
    picture: np.ndarray
    true: np.ndarray
    said: np.ndarray
    iou: float


def _overlap(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(IoU, Dice) of each class, of pixels by true and predicted class; NaN where there is none of either."""
    hits, either = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return hits / (either - hits), 2 * hits / either


def mean_iou(counts: np.ndarray) -> float:
    iou, _ = _overlap(counts)
    return 1.0 if np.isnan(iou).all() else float(np.nanmean(iou))


def scores(counts: np.ndarray, labels: Sequence[str], split: str) -> figures.Part:
    """The `Part` with IoU and Dice of each class, the worst first."""
    iou, dice = _overlap(counts)
    total = counts.sum()
    order = np.argsort(np.nan_to_num(iou, nan=np.inf), kind="stable")
    rows = [
        (labels[one], f"{counts[one].sum() / max(total, 1):.1%}", *(_cell(score[one]) for score in (iou, dice)))
        for one in order
    ]
    return figures.Part(
        name="classes",
        title="Classes",
        caption=f"Each class on the {split} split, all {total:,} labelled pixels together, the lowest IoU first; no "
        "number where a class neither occurs nor was predicted.",
        table=figures.Table(("class", "pixels", "IoU", "Dice"), rows),
    )


def _cell(score: float) -> float | None:
    return None if np.isnan(score) else float(score)


def confusion(counts: np.ndarray, labels: Sequence[str], split: str) -> figures.Part:
    """Returns the `Part` with the confusion matrix of pixels."""
    names = [figures.drawable(label, number) for number, label in enumerate(labels)]
    return figures.Part(
        name="confusion",
        title="Confusion matrix",
        caption=f"Pixels of the {split} split. Rows are true classes, columns are predicted classes. The colour is the "
        "fraction of the row.",
        draw=functools.partial(figures.matrix, counts, counts.sum(axis=1), names),
    )


def overlay(picture: np.ndarray, found: Segmented, labels: Sequence[str]) -> Picture:
    """What a demo shows: an image with its mask over it, and what each colour is.

    Args:
        picture: uint8 (height, width, channels).
        found: what the network says of it.
        labels: names of the classes.
    """
    colours = ["", *("#{:02x}{:02x}{:02x}".format(*colour) for colour in figures.CLASS_COLOURS.values())]
    legend = []
    for label, share in found.shares.items():
        number = labels.index(label)
        legend.append((label, colours[number and (number - 1) % (len(colours) - 1) + 1], share))
    return Picture("Mask over the image", figures.tinted(picture, found.mask), tuple(legend))


def gallery(name: str, title: str, caption: str, judged: Sequence[Judged], labels: Sequence[str]) -> figures.Part:
    """The `Part` with images in rows: as they are, with their masks, with the network's."""
    pictures, captions = [], []
    for one in judged:
        pictures += [one.picture, *(figures.tinted(one.picture, mask) for mask in (one.true, one.said))]
        captions += [[f"image {one.number + 1}", f"mean IoU {rounded(one.iou)}"], ["true"], ["predicted"]]
    colours = ", ".join(f"{label} {colour}" for label, colour in zip(labels[1:], figures.CLASS_COLOURS, strict=False))
    return figures.Part(
        name=name,
        title=title,
        caption=f"{caption} Colours: {labels[0]} as it is, {colours}.",
        draw=functools.partial(figures.gallery, pictures, captions, columns=3),
    )
