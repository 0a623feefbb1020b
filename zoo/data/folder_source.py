"""`folder:PATH`: a subfolder a class."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from zoo import files
from zoo.data import pictures as picture_files
from zoo.data import progress
from zoo.data._tensorflow import Tensor, plain, tensorflow
from zoo.data.memory_source import part_of
from zoo.data.source import SPLITS, Feature, Image, Label, Source, beside, own_splits
from zoo.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf


class FolderSource(Source):
    """Images in `PATH/CLASS/`, or in `PATH/{train,validation,test}/CLASS/` where the folder has its own splits.

    Every image is decoded once before anything else happens, so that a bad one is named at once; what was found is
    kept in the data folder by size and time of change, and not read again. Channels are 1 where all images are grey.
    What is hidden (its name starts with a dot) is passed over; files that are no images are counted in the notes, and
    so are those that are turned upright.
    """

    def __init__(self, spec: str, data_dir: str | os.PathLike[str] | None = None, skip_bad: bool = False) -> None:
        self.name: str = spec
        root, own = folder_of(spec)
        places = {split: own[split] for split in own} if own else {None: root}
        found, others = {}, []
        for split, place in places.items():
            found[split], more = _pictures(place)
            others += more
        labels = sorted({label for pictures in found.values() for label, _ in pictures})
        if not labels:
            raise InputError(
                f"dataset={spec}: no image ({picture_files.KINDS}) in the subfolders of {root}; each class is a "
                "subfolder."
            )
        _refuse_empty(spec, places.get("train", root), {label for label, _ in found.get("train", found.get(None, []))})
        if len(labels) == 1:
            raise InputError(f"dataset={spec}: only one class, {labels[0]!r}, in {root}; at least two are needed.")
        facts = inspect(root, [path for pictures in found.values() for _, path in pictures], data_dir, decode_picture)
        bad = [path for path, fact in facts.items() if fact["channels"] is None]
        if bad and not skip_bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise InputError(
                f"dataset={spec}: {bad[0]}{more} is not a readable image ({picture_files.KINDS}): "
                f"{facts[bad[0]]['error']} "
                "Repair or delete it, or leave such images out with --skip-bad."
            )
        self.notes: tuple[str, ...] = (
            (f"{len(bad)} unreadable image{'s' if len(bad) > 1 else ''} left out",) if bad else ()
        )
        self.notes += left_out(root, others)
        if own:
            self.notes += beside(root, own.values(), "the splits")
        for place in places.values():
            self.notes += beside(place, _folders(place), "the class folders")
        self._splits = {split: ([], []) for split in SPLITS}
        self._files: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for split, pictures in found.items():
            for label, path in pictures:
                if facts[path]["channels"] is not None:
                    part = split or part_of(path.relative_to(root).as_posix())
                    self._splits[part][0].append(str(path.absolute()))
                    self._splits[part][1].append(labels.index(label))
                    self._files[part].append(facts[path])
        bits, more = told_of(self._files)
        self.notes += more
        if own and "validation" not in own:
            self.notes += ("no validation split: training goes without",)
        self.sizes: Mapping[str, int] = {split: len(paths) for split, (paths, *_) in self._splits.items() if paths}
        if "train" not in self.sizes:
            raise InputError(f"dataset={spec}: no image of {root} falls into the training split; add more.")
        colour = any(fact["channels"] and fact["channels"] >= 3 for fact in facts.values())
        self.features: Mapping[str, Feature] = {"image": Image(3 if colour else 1, bits), "label": Label(tuple(labels))}
        listing = json.dumps([[path.relative_to(root).as_posix(), fact["sha256"]] for path, fact in facts.items()])
        self.fingerprint: str = hashlib.sha256(listing.encode()).hexdigest()

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        fetch = self.fetcher(split)
        data = tensorflow().data
        return data.Dataset.range(self.sizes[split]).map(plain(fetch), data.AUTOTUNE, deterministic=True)

    def fetcher(self, split: str) -> Callable[[Tensor], dict[str, Tensor]]:
        tf = tensorflow()
        paths, classes = map(tf.constant, self._splits[split])
        image_at = image_fetcher(paths, self._files[split])

        def fetch(index):
            return {**image_at(index), "label": tf.cast(classes[index], tf.int64)}

        return fetch


def told_of(files: Mapping[str, list[dict[str, Any]]]) -> tuple[int | None, tuple[str, ...]]:
    """(`bits` of the `Image`, notes) of what `decode_picture` said of the files of each split."""
    largest = {split: [fact["largest"] for fact in facts] for split, facts in files.items()}
    train = largest.pop("train")
    bits = picture_files.bits_of(train)
    notes = picture_files.note_of_bits(bits, train, [value for values in largest.values() for value in values])
    turned = sum(fact["turned"] for facts in files.values() for fact in facts)
    return bits, notes + picture_files.note_of_turned(turned)


def image_fetcher(paths: Tensor, facts: list[dict[str, Any]]) -> Callable[[Tensor], dict[str, Tensor]]:
    """A function from an index to {"image": pixels, "deep": whether the file has 16 bits, where one of them has}."""
    tf = tensorflow()
    pillow = tf.constant([fact["pillow"] for fact in facts])
    depths = [fact["largest"] is not None for fact in facts]
    if not any(depths):
        return lambda index: {"image": picture_files.fetch(paths[index], pillow[index])}
    deep = tf.constant(depths)
    return lambda index: {
        "image": picture_files.fetch(paths[index], pillow[index], deep[index]),
        "deep": deep[index],
    }


def folder_of(spec: str) -> tuple[pathlib.Path, dict[str, pathlib.Path]]:
    """(the folder of `folder:PATH`, {split: folder} of the splits that it has of its own)."""
    root = pathlib.Path(spec.partition(":")[2]).expanduser()
    if not root.is_dir():
        raise InputError(f"dataset={spec}: {root} is {'not a folder' if root.exists() else 'not there'}.")
    return root, own_splits(spec, root)


def visible_files(root: pathlib.Path) -> list[pathlib.Path]:
    """The files below `root`, sorted, without hidden ones and those in hidden folders."""
    return [
        path
        for path in sorted(root.rglob("*"))
        if not any(part.startswith(".") for part in path.relative_to(root).parts) and not path.is_dir()
    ]


def left_out(root: pathlib.Path, others: list[pathlib.Path]) -> tuple[str, ...]:
    """The note about files that are no images, with the first three names; none where there are no such files."""
    if not others:
        return ()
    names = ", ".join(path.relative_to(root).as_posix() for path in others[:3]) + (", ..." if len(others) > 3 else "")
    what = "1 file that is no image" if len(others) == 1 else f"{len(others)} files that are no images"
    return (f"left out {what}: {names}",)


def _classes(root: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in _folders(root) if not path.name.startswith(".")]


def _folders(root: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in sorted(root.iterdir()) if path.is_dir()]


def _pictures(root: pathlib.Path) -> tuple[list[tuple[str, pathlib.Path]], list[pathlib.Path]]:
    """([(class, path)] of the images in the subfolders of `root`, the other files there), both sorted."""
    found = [(label.name, path) for label in _classes(root) for path in visible_files(label)]
    pictures = [(label, path) for label, path in found if path.suffix.lower() in picture_files.ENDINGS]
    return pictures, [path for _, path in found if path.suffix.lower() not in picture_files.ENDINGS]


def _refuse_empty(spec: str, root: pathlib.Path, labels: set[str]) -> None:
    """Raises for a class folder that has no image to train on."""
    for folder in _classes(root):
        if folder.name not in labels:
            raise InputError(
                f"dataset={spec}: no image ({picture_files.KINDS}) in the class folder {folder}. Add some, or remove "
                "it."
            )


def inspect(
    root: pathlib.Path,
    paths: Iterable[pathlib.Path],
    data_dir: str | os.PathLike[str] | None,
    decode: Callable[[pathlib.Path], dict[str, Any]],
    kind: str = "",
) -> dict[pathlib.Path, dict[str, Any]]:
    """{path: what `decode` says of it, and "size" and "time"}, decoding what is new or changed.

    Args:
        kind: tells apart what different decoders said of one folder.
    """
    from zoo.data.tfds_source import data_root

    key = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    index = data_root(data_dir) / "folders" / f"{key}{kind}-3.json"  # 3: the form of the facts
    try:
        known = dict(json.loads(index.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):  # a damaged index is made anew
        known = {}
    stats = {path: path.lstat() if path.is_symlink() else path.stat() for path in paths}
    facts = {path: known.get(str(path), {}) for path in paths}
    new = [
        path
        for path, stat in stats.items()
        if path.is_symlink() or (facts[path].get("size"), facts[path].get("time")) != (stat.st_size, stat.st_mtime_ns)
    ]
    reading = progress.shown("Reading images", len(new))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool, reading as advance:
        for path, fact in zip(new, pool.map(decode, new), strict=True):
            advance(1)
            facts[path] = {**fact, "size": stats[path].st_size, "time": stats[path].st_mtime_ns}
    if new:
        index.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(index, {str(path): fact for path, fact in facts.items()})
    return facts


def decode_picture(path: pathlib.Path) -> dict[str, Any]:
    """{"channels" (None: unreadable), "pixels" (height, width), "pillow", "turned", "largest" (of 16 bits; None of 8),
    "error", "sha256"} of an image."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return {"channels": None, "error": f"{error.strerror}.", "sha256": ""}
    fact = {"channels": None, "error": "", "sha256": hashlib.sha256(data).hexdigest()}
    try:
        found = picture_files.read(data)
    except ValueError as error:
        return {**fact, "error": f"{str(error).rstrip('.')}."}
    height, width, fact["channels"] = found.pixels.shape
    largest = picture_files.largest_of(found.pixels.numpy())
    return {**fact, "pixels": [height, width], "pillow": found.pillow, "turned": found.turned, "largest": largest}
