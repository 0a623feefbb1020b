"""The handwritten digits that scikit-learn ships, as a TensorFlow Datasets builder."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from zoo.data.memory_source import stratified


class ZooDigits(tfds.core.GeneratorBasedBuilder):
    """1,797 handwritten digits, 8 x 8 grey pixels (UCI, by way of scikit-learn); strokes are bright."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Pixels 0-16 scaled to 0-255; 1,077 / 360 / 360 examples, stratified."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation="Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI.",
            license="CC BY 4.0",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return {
            split: self._generate_examples(digits.images[indices], digits.target[indices])
            for split, indices in stratified(digits.target).items()
        }

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        pixels = np.round(images * (255 / 16)).astype(np.uint8)[..., None]
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            yield index, {"image": image, "label": int(label)}
