"""`folder:PATH` with `images` and `masks`: images, and a PNG of class ids for each."""

import collections
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import pictures as picture_files
from zoo.data._tensorflow import Tensor, plain, tensorflow
from zoo.data.folder_source import decode_picture, folder_of, image_fetcher, inspect, left_out, told_of, visible_files
from zoo.data.memory_source import part_of
from zoo.data.source import SPLITS, VOID, Feature, Image, Mask, Source, beside
from zoo.errors import InputError, counted

if TYPE_CHECKING:
    import tensorflow as tf


def has_masks(path: str | os.PathLike[str]) -> bool:
    """Whether a folder, or its train folder, has `images` and `masks`."""
    root = pathlib.Path(path).expanduser()
    return any(_folder(place, "images") and _folder(place, "masks") for place in (root, _folder(root, "train")))


def _folder(place: pathlib.Path | None, name: str) -> pathlib.Path | None:
    """The folder `name` in `place`, in capital or small letters; None where there is none."""
    if place is None or not place.is_dir():
        return None
    return next((path for path in sorted(place.iterdir()) if path.name.lower() == name and path.is_dir()), None)


class MaskFolderSource(Source):
    """Images in `PATH/images/` and masks of their names in `PATH/masks/`, or both in `PATH/{train,...}/`.

    A mask is a grey or palette PNG of its image's size whose values are class ids from 0; 255 is outside the loss. An
    image is turned upright by its EXIF orientation, and its mask is of the upright image: it is never turned.
    Where masks know 0 and 255 alone, these are the two classes. `PATH/labels.txt` may name the classes, one a line;
    else there are as many as there are ids. Everything is decoded once before anything else happens, so that a bad
    file is named at once.
    """

    def __init__(self, spec: str, data_dir: str | os.PathLike[str] | None = None, skip_bad: bool = False) -> None:
        self.name: str = spec
        root, own = folder_of(spec)
        others: list[pathlib.Path] = []
        places = own or {None: root}
        pairs = [(split, *pair) for split, place in places.items() for pair in _pairs(spec, place, others)]
        if not pairs:
            raise InputError(f"dataset={spec}: no image ({picture_files.KINDS}) in the folder images of {root}.")
        masks = {mask for _, _, mask in pairs}
        paths = [path for pair in pairs for path in pair[1:] if path is not None]
        facts = inspect(
            root, paths, data_dir, lambda path: (_decode_mask if path in masks else decode_picture)(path), "-masks"
        )
        labels = _labels(root)
        faults = [_fault(image, mask, facts, labels) for _, image, mask in pairs]
        bad = [fault for fault in faults if fault]
        if bad and not skip_bad:
            more = f" ({len(bad) - 1} more are bad.)" if len(bad) > 1 else ""
            raise InputError(f"dataset={spec}: {bad[0][1]}{more} Correct it, or leave such images out with --skip-bad.")
        kinds = collections.Counter(kind for kind, _ in bad)
        self.notes: tuple[str, ...] = tuple(f"left out, {kind}: {count:,}" for kind, count in kinds.items())
        self.notes += left_out(root, others)
        if own:
            self.notes += beside(root, [*own.values(), root / "labels.txt"], "the splits")
        for place in places.values():
            used = [_folder(place, "images"), _folder(place, "masks"), place / "labels.txt"]
            self.notes += beside(place, filter(None, used), "images and masks")
        pairs = [pair for pair, fault in zip(pairs, faults, strict=True) if not fault]
        ids = {mask: set(facts[mask]["ids"]) for _, _, mask in pairs}
        self._white = labels is None and set().union(*ids.values()) == {0, VOID}
        void = sum(VOID in found for found in ids.values())
        if void and not self._white:
            self.notes += (f"{counted(void, 'mask')} with pixels of id {VOID}, which are outside the loss",)
        if self._white:
            self.notes += ("masks are of 0 and 255: two classes",)
        colour = any(facts[image]["channels"] >= 3 for _, image, _ in pairs)
        self._splits = {split: ([], []) for split in SPLITS}
        self._files: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for split, image, mask in pairs:
            part = split or part_of(image.relative_to(root).as_posix())
            self._splits[part][0].append(str(image.absolute()))
            self._splits[part][1].append(str(mask.absolute()))
            self._files[part].append(facts[image])
        bits, more = told_of(self._files)
        self.notes += more
        self.features: Mapping[str, Feature] = {
            "image": Image(3 if colour else 1, bits),
            "mask": Mask(("0", "1")) if self._white else self._mask(ids, labels),
        }
        if own and "validation" not in own:
            self.notes += ("no validation split: training goes without",)
        self.sizes: Mapping[str, int] = {split: len(images) for split, (images, *_) in self._splits.items() if images}
        if "train" not in self.sizes:
            raise InputError(f"dataset={spec}: no image of {root} falls into the training split; add more.")
        listing = [[path.relative_to(root).as_posix(), fact["sha256"]] for path, fact in facts.items()]
        self.fingerprint: str = hashlib.sha256(json.dumps([listing, labels]).encode()).hexdigest()

    def _mask(self, ids: dict[pathlib.Path, set[int]], labels: tuple[str, ...] | None) -> Mask:
        """The `Mask` of class ids by file, and of the names that there are for them, if any."""
        if labels is not None:
            return Mask(labels)
        every = set().union(*ids.values()) - {VOID}
        highest = max(every, default=0)
        path = next((path for path, found in ids.items() if highest in found), None)
        gaps = sorted(set(range(highest)) - every)
        if gaps:
            raise InputError(
                f"dataset={self.name}: {path} has the id {highest}, and no mask has the id {gaps[0]}. Classes are "
                "numbered from 0 without gaps, or named in labels.txt, one a line."
            )
        if not highest:
            raise InputError(f"dataset={self.name}: only one class in its masks, the id 0; at least two are needed.")
        return Mask(tuple(str(number) for number in range(highest + 1)), f"{path} has the id {highest}")

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        data = tensorflow().data
        return data.Dataset.range(self.sizes[split]).map(plain(self.fetcher(split)), data.AUTOTUNE, deterministic=True)

    def fetcher(self, split: str) -> Callable[[Tensor], dict[str, Tensor]]:
        tf = tensorflow()
        images, masks = map(tf.constant, self._splits[split])
        image_at = image_fetcher(images, self._files[split])

        def fetch(index):
            mask = tf.numpy_function(self._read, [masks[index]], tf.uint8)
            return {**image_at(index), "mask": tf.ensure_shape(mask, (None, None))}

        return fetch

    def image_sizes(self, split: str) -> np.ndarray:
        return np.array([fact["pixels"] for fact in self._files[split]])

    def _read(self, path: bytes) -> np.ndarray:
        ids = read_mask(pathlib.Path(path.decode()).read_bytes())
        return ids // VOID if self._white else ids


def read_mask(data: bytes) -> np.ndarray:
    """uint8 (height, width): the class ids in a PNG, of a palette its indices. `ValueError` says what is wrong."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            ids = np.asarray(picture)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"it is not a whole PNG ({error})") from None
    if ids.ndim != 2:
        raise ValueError("it has colours, and class ids are wanted: save it as a grey or palette PNG")
    if ids.max() > VOID:
        raise ValueError(f"it has the id {ids.max()}, and {VOID - 1} is the largest there can be")
    return ids.astype(np.uint8)


def _decode_mask(path: pathlib.Path) -> dict[str, Any]:
    """{"ids" (none: unreadable), "pixels" (height, width), "error", "sha256"} of a mask."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return {"ids": [], "error": f"{error.strerror}.", "sha256": ""}
    fact = {"ids": [], "error": "", "sha256": hashlib.sha256(data).hexdigest()}
    try:
        ids = read_mask(data)
    except ValueError as error:
        return {**fact, "error": f"{error}."}
    return {**fact, "ids": np.unique(ids).tolist(), "pixels": list(ids.shape)}


def _pairs(
    spec: str, place: pathlib.Path, others: list[pathlib.Path]
) -> list[tuple[pathlib.Path | None, pathlib.Path | None]]:
    """[(image or None, mask or None)] of one name each, sorted; `others` gets the files that are neither."""
    found = {}
    for kind, endings in (("images", picture_files.ENDINGS), ("masks", (".png",))):
        folder = _folder(place, kind)
        for path in visible_files(folder) if folder else ():
            if path.suffix.lower() not in endings:
                others.append(path)
            else:
                name = path.relative_to(folder).with_suffix("")
                pair = found.setdefault(name, {})
                if kind in pair:
                    raise InputError(f"dataset={spec}: {pair[kind]} and {path} have one name: rename one and its mask.")
                pair[kind] = path
    return [(found[name].get("images"), found[name].get("masks")) for name in sorted(found)]


def _fault(
    image: pathlib.Path | None,
    mask: pathlib.Path | None,
    facts: dict[pathlib.Path, dict[str, Any]],
    labels: tuple[str, ...] | None,
) -> tuple[str, str] | None:
    """(the kind of what is wrong with an image and its mask, a sentence about it); None where nothing is."""
    if mask is None:
        return "images without a mask", f"{image} has no mask: a PNG of its name in masks."
    if image is None:
        return "masks without an image", f"{mask} has no image in images."
    if facts[image]["channels"] is None:
        why = facts[image]["error"]
        return "unreadable images", f"{image} is not a readable image ({picture_files.KINDS}): {why}"
    if not facts[mask]["ids"]:
        return "unreadable masks", f"{mask} is not a mask: {facts[mask]['error']}"
    (height, width), (high, wide) = facts[mask]["pixels"], facts[image]["pixels"]
    if (height, width) != (high, wide):
        upright = ", turned upright by its EXIF orientation," if facts[image]["turned"] else ""
        sizes = f"{mask} is {height} x {width} and its image{upright} {high} x {wide}"
        return "masks of another size than their image", f"{sizes}: a mask has its image's size."
    if labels is not None:
        wrong = [number for number in facts[mask]["ids"] if number >= len(labels) and number != VOID]
        if wrong:
            return (
                "masks with an id that is no class",
                f"{mask} has the id {wrong[0]}, and labels.txt names the {len(labels)} classes from 0 to "
                f"{len(labels) - 1} (255 is outside the loss).",
            )
    return None


def _labels(root: pathlib.Path) -> tuple[str, ...] | None:
    """The names in `labels.txt`; None where there is no such file."""
    path = root / "labels.txt"
    if not path.is_file():
        return None
    names = tuple(line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip())
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"{path} must name two classes or more, each once, one a line. It has: {', '.join(names)}.")
    return names
