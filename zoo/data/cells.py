"""Cells under a microscope, drawn: a TensorFlow Datasets builder that needs no network."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from zoo import fields
from zoo.data.options import OptionsBuilder
from zoo.data.source import SPLITS

RIM = 3
"""Pixels of a cell that are nearer than this to what is not the cell are its border."""


class Cells(fields.Declared):
    """What `cells:NAME=VALUE,...` may say."""

    size: int = fields.integer(default=128, legal=(32, 4096), help="height and width of an image")
    count: int = fields.integer(default=14, legal=(1, 10_000), help="cells per image, plus or minus a third")
    radius: float = fields.real(default=12.0, legal=(6, 200), help="radius of a cell in pixels, plus or minus a third")
    overlap: float = fields.real(default=0.25, legal=(0, 0.5), help="largest part of a cell that another may cover")
    noise: float = fields.real(
        default=0.04, legal=(0, 1), help="standard deviation of the noise, as a fraction of white"
    )
    train: int = fields.integer(default=200, legal=(1, 1_000_000), help="number of training images")
    validation: int = fields.integer(default=40, legal=(1, 1_000_000), help="number of validation images")
    test: int = fields.integer(default=60, legal=(1, 1_000_000), help="number of test images")
    seed: int = fields.integer(default=0, legal=(0, 2**31 - 1), help="seed of all images")


class ZooCells(OptionsBuilder):
    """Drawn micrographs: textured cells that touch and overlap, in uneven light and noise, with their masks."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}
    Options: ClassVar[type[fields.Declared]] = Cells

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (self.options.size, self.options.size, 1)
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=shape),
                    "mask": tfds.features.LabeledImage(labels=["background", "inside", "border"], shape=shape),
                }
            ),
            supervised_keys=("image", "mask"),
            license="Apache-2.0",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, np.ndarray]]]]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        cells = self.options
        for index in range(getattr(cells, split)):
            rng = np.random.default_rng([cells.seed, SPLITS.index(split), index])
            picture, mask = draw(cells, rng)
            yield index, {"image": picture[..., None], "mask": mask[..., None]}


def draw(cells: Cells, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(image, mask) of `Cells`, uint8 (size, size): classes 0 background, 1 inside, 2 border."""
    from scipy import ndimage

    number = _places(cells, rng)
    signal = 0.30 + 0.04 * _noise(rng, cells.size, 6.0) + 0.02 * _noise(rng, cells.size, 1.5)
    for cell in range(1, number.max() + 1):
        region = number == cell
        depth = ndimage.distance_transform_edt(region)
        body = rng.uniform(0.06, 0.22) + 0.05 * _noise(rng, cells.size, rng.uniform(1.0, 2.5))
        rim = rng.uniform(0.06, 0.18) * np.exp(-(((depth - 1) / 1.5) ** 2))
        nucleus = rng.choice([-1, 1]) * rng.uniform(0.0, 0.12) * (depth > rng.uniform(0.5, 0.8) * depth.max())
        signal = np.where(region, 0.30 + body + rim + nucleus, signal)
    signal = ndimage.gaussian_filter(signal, 0.8) * _light(cells.size, rng)
    signal += rng.normal(size=signal.shape) * cells.noise * np.sqrt(np.maximum(signal, 0) + 0.2)  # shot and reading
    return (signal.clip(0, 1) * 255).round().astype(np.uint8), mask_of(number)


def mask_of(number: np.ndarray) -> np.ndarray:
    """The mask, uint8, of which cell each pixel is of: 0 where it is of none, 1 inside, 2 near what is not the cell."""
    from scipy import ndimage

    disc = np.hypot(*np.mgrid[-RIM : RIM + 1, -RIM : RIM + 1]) < RIM
    highest = ndimage.maximum_filter(number, footprint=disc, mode="nearest")
    lowest = ndimage.minimum_filter(number, footprint=disc, mode="nearest")
    return np.where(number == 0, 0, np.where(highest != lowest, 2, 1)).astype(np.uint8)


def _places(cells: Cells, rng: np.random.Generator) -> np.ndarray:
    """int (size, size): which cell each pixel is seen of, 0 for none. Most cells lie against one that is there."""
    number = np.zeros((cells.size, cells.size), int)
    placed, areas = [], {}
    for _ in range(round(cells.count * rng.uniform(2 / 3, 4 / 3))):
        for _ in range(20):  # tries
            radius = cells.radius * rng.uniform(2 / 3, 4 / 3)
            centre = rng.uniform(0, cells.size, 2)
            if placed and rng.random() < 0.7:
                beside, other = placed[rng.integers(len(placed))]
                angle = rng.uniform(0, 2 * np.pi)
                centre = beside + (radius + other) * rng.uniform(0.75, 1.0) * np.array([np.sin(angle), np.cos(angle)])
            region = _shape(cells.size, centre, radius, rng)
            area = region.sum()
            hidden = np.bincount(number[region], minlength=len(areas) + 1)[1:]
            left = np.bincount(number.ravel(), minlength=len(areas) + 1)[1:] - hidden
            if area > 20 and all(left[cell - 1] >= (1 - cells.overlap) * whole for cell, whole in areas.items()):
                areas[len(areas) + 1] = area
                number[region] = len(areas)
                placed.append((centre, radius))
                break
    return number


def _shape(size: int, centre: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Booleans (size, size): an ellipse with a wavy outline."""
    y, x = np.mgrid[:size, :size] - centre[:, None, None]
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.75, 1.0)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    angle, outline = np.arctan2(v / squeeze, u), 1.0
    for wave in (2, 3, 4):
        outline = outline + rng.uniform(0, 0.10) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return np.hypot(u, v / squeeze) < radius * outline


def _noise(rng: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """Noise of deviation 1, smooth over `sigma` pixels."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(rng.normal(size=(size, size)), sigma, mode="wrap")
    return noise / noise.std()


def _light(size: int, rng: np.random.Generator) -> np.ndarray:
    """A lamp that stands askew: about 1, twice as bright on one side as on the other, and dim in the corners."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0.15, 0.40) * (x * np.cos(angle) + y * np.sin(angle))
    return 1.1 + slope - rng.uniform(0.05, 0.20) * (x**2 + y**2)
