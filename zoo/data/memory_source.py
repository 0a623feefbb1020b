"""Data handed over in memory: arrays, and `tf.data.Dataset`s of ready batches."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data._tensorflow import tensorflow
from zoo.data.pictures import as_pixels, bits_of, largest_of, note_of_bits, white_of
from zoo.data.source import SPLITS, VOID, Feature, Image, Label, Mask, Source
from zoo.errors import InputError, unknown

if TYPE_CHECKING:
    import tensorflow as tf


def check_splits(splits: Iterable[str]) -> None:
    """Raises where `splits` has no train, or a name that is no split."""
    for split in splits:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
    if "train" not in splits:
        raise InputError(f"dataset needs a 'train' split. Received: {', '.join(splits)}.")


class ArraySource(Source):
    """{split: (images, labels)}: (n, height, width, channels) or (n, height, width), and integers or strings (n,).

    Images are uint8; uint16, of which so many bits count as the training split uses; or floats: from 0 to 1 where none
    of any split is above 1, else from 0 to 255. Strings are names of classes. Integers (n, height, width) are masks of
    class ids; 255 is outside the loss.

    Where `train` is all there is, validation and test take 15 % of it each, by a hash of the row's number.
    """

    def __init__(self, splits: Mapping[str, tuple[Any, Any]]) -> None:
        check_splits(splits)
        splits, named = _numbered(splits)
        white = white_of(np.asarray(images) for images, _ in splits.values())
        arrays = {split: self._checked(split, *pair, white) for split, pair in splits.items()}
        digest = hashlib.sha256("\0".join(named).encode())
        for split in sorted(arrays):
            for array in arrays[split]:
                digest.update(f"{split}{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
        self.fingerprint: str = digest.hexdigest()
        self.name: str = f"arrays:{self.fingerprint[:12]}"
        if len(arrays) == 1:
            images, labels = arrays["train"]
            parts = np.array([part_of(str(row)) for row in range(len(labels))])
            arrays = {split: (images[parts == split], labels[parts == split]) for split in SPLITS}
        arrays = {split: pair for split, pair in arrays.items() if len(pair[1])}
        if "train" not in arrays:
            raise InputError("dataset has no training example: give more.")
        self._arrays = arrays
        self.sizes: Mapping[str, int] = {split: len(labels) for split, (_, labels) in arrays.items()}
        kinds = {labels.ndim for _, labels in arrays.values()}
        if len(kinds) > 1:
            raise InputError("dataset has labels in one split and masks in another.")
        masks = kinds == {3}
        largest = max(int(labels[labels != VOID].max(initial=0)) if masks else int(labels.max(initial=0))
                      for _, labels in arrays.values())  # fmt: skip
        names = named or tuple(str(index) for index in range(largest + 1))
        self._name = "mask" if masks else "label"
        largest = {split: largest_of(images) for split, (images, _) in arrays.items()}
        bits = bits_of([largest["train"]])
        if bits is not None and bits < 16:
            others = [
                largest_of(image) for split, (images, _) in arrays.items() if split != "train" for image in images
            ]
            self.notes: tuple[str, ...] = note_of_bits(bits, [largest["train"]], others)
        self.features: Mapping[str, Feature] = {
            "image": Image(arrays["train"][0].shape[-1], bits),
            self._name: (Mask if masks else Label)(names),
        }

    @staticmethod
    def _checked(split: str, images: Any, labels: Any, white: float) -> tuple[np.ndarray, np.ndarray]:
        images, labels = np.asarray(images), np.asarray(labels)
        if images.ndim == 3:
            images = images[..., None]
        try:
            if images.ndim != 4 or images.shape[-1] not in (1, 3):
                raise ValueError("their shape is (n, height, width, 1 or 3)")
            images = as_pixels(images, white)
        except ValueError as error:
            raise InputError(
                f"Images of {split} must be uint8, uint16 or floats (n, height, width, 1 or 3): {error}. "
                f"Received: {images.dtype} {images.shape}."
            ) from None
        masks = labels.shape == images.shape[:3]
        fits = (masks or labels.shape == images.shape[:1]) and np.issubdtype(labels.dtype, np.integer)
        if not fits or labels.min(initial=0) < 0 or (masks and labels.max(initial=0) > VOID):
            raise InputError(
                f"Labels of {split} must be {len(images)} integers from 0 or strings, or masks of the images' size "
                f"from 0 to {VOID}. Received: {labels.dtype} {labels.shape}."
            )
        return images, labels.astype(np.uint8 if masks else np.int64)

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        images, labels = self._arrays[split]
        return tensorflow().data.Dataset.from_tensor_slices({"image": images, self._name: labels})


def _numbered(
    splits: Mapping[str, tuple[Any, Any]],
) -> tuple[Mapping[str, tuple[Any, Any]], tuple[str, ...]]:
    """(the splits with numbers for labels that are strings, the classes in their order; none where they are not)."""
    labels = {split: np.asarray(pair[1]) for split, pair in splits.items()}
    texts = all(isinstance(value, str) for one in labels.values() for value in one.flat)
    if not texts or not any(one.size for one in labels.values()):
        return splits, ()
    labels = {split: one.astype(str) for split, one in labels.items()}
    names = np.unique(np.concatenate([one.ravel() for one in labels.values()]))
    numbers = {split: np.searchsorted(names, one) for split, one in labels.items()}
    return {split: (images, numbers[split]) for split, (images, _) in splits.items()}, tuple(map(str, names))


class BatchSource(Source):
    """{split: tf.data.Dataset of batches as the network takes them}: used as they are."""

    ready: bool = True

    def __init__(self, splits: "Mapping[str, tf.data.Dataset[Any]]") -> None:
        check_splits(splits)
        self._splits = splits
        self.sizes: Mapping[str, int] = {split: int(data.cardinality()) for split, data in splits.items()}
        if any(size < 0 for size in self.sizes.values()):
            raise InputError("A tf.data.Dataset must know its length: use .take(n) or assert_cardinality.")
        spec = str({split: (data.element_spec, self.sizes[split]) for split, data in splits.items()})
        self.fingerprint: str = hashlib.sha256(spec.encode()).hexdigest()
        self.name: str = f"batches:{self.fingerprint[:12]}"
        self.features: Mapping[str, Feature] = {}

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        return self._splits[split]


def part_of(key: str) -> str:
    """The split of an item without one: 70, 15, 15 % by a hash of `key`, the same for ever."""
    part = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100
    return "train" if part < 70 else "validation" if part < 85 else "test"


def stratified(labels: np.ndarray) -> dict[str, np.ndarray]:
    """{split: indices}: rows sorted by label (order kept within one), every fifth to test, the next to validation.

    So each split has each class in proportion, and no random generator decides it.
    """
    place = np.empty(len(labels), int)
    place[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % 5
    return {
        "train": np.flatnonzero(place >= 2),
        "validation": np.flatnonzero(place == 1),
        "test": np.flatnonzero(place == 0),
    }
