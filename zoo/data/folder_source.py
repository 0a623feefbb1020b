"""`folder:PATH`: a subfolder a class, PNG and JPEG."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from zoo import files
from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.memory_source import part_of
from zoo.data.source import SPLITS, Feature, Image, Label, Source, own_splits
from zoo.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

ENDINGS = (".png", ".jpg", ".jpeg")


class FolderSource(Source):
    """Pictures in `PATH/CLASS/`, or in `PATH/{train,validation,test}/CLASS/` where the folder has its own splits.

    Every picture is decoded once before anything else happens, so that a bad one is named at once; what was found is
    kept in the data folder by size and time of change, and not read again. Channels are 1 where all pictures are grey.
    """

    def __init__(self, spec: str, data_dir: str | os.PathLike[str] | None = None, skip_bad: bool = False) -> None:
        self.name: str = spec
        root, own = folder_of(spec)
        found = {split: _pictures(root / split) for split in own} if own else {None: _pictures(root)}
        labels = sorted({label for pictures in found.values() for label, _ in pictures})
        if not labels:
            raise InputError(f"dataset={spec}: no PNG or JPEG in the subfolders of {root}; each class is a subfolder.")
        if len(labels) == 1:
            raise InputError(f"dataset={spec}: only one class, {labels[0]!r}, in {root}; two are the least.")
        facts = inspect(root, [path for pictures in found.values() for _, path in pictures], data_dir, decode_picture)
        bad = [path for path, fact in facts.items() if fact["channels"] is None]
        if bad and not skip_bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            raise InputError(
                f"dataset={spec}: {bad[0]}{more} is not a readable PNG or JPEG: {facts[bad[0]]['error']} "
                "Mend or delete it, or leave such pictures out with --skip-bad."
            )
        self.notes: tuple[str, ...] = (
            (f"{len(bad)} unreadable picture{'s' if len(bad) > 1 else ''} left out",) if bad else ()
        )
        self._splits = {split: ([], []) for split in SPLITS}
        for split, pictures in found.items():
            for label, path in pictures:
                if facts[path]["channels"] is not None:
                    paths, classes = self._splits[split or part_of(path.relative_to(root).as_posix())]
                    paths.append(str(path))
                    classes.append(labels.index(label))
        if own and "validation" not in own:
            self.notes += ("no validation split: training goes without",)
        self.sizes: Mapping[str, int] = {split: len(paths) for split, (paths, _) in self._splits.items() if paths}
        if "train" not in self.sizes:
            raise InputError(f"dataset={spec}: no picture of {root} falls into the training split; add more.")
        colour = any(fact["channels"] and fact["channels"] >= 3 for fact in facts.values())
        self.features: Mapping[str, Feature] = {"image": Image(3 if colour else 1), "label": Label(tuple(labels))}
        listing = json.dumps([[path.relative_to(root).as_posix(), fact["sha256"]] for path, fact in facts.items()])
        self.fingerprint: str = hashlib.sha256(listing.encode()).hexdigest()

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        fetch = self.fetcher(split)
        data = tensorflow().data
        return data.Dataset.range(self.sizes[split]).map(fetch, data.AUTOTUNE, deterministic=True)

    def fetcher(self, split: str) -> Callable[[Tensor], dict[str, Tensor]]:
        tf = tensorflow()
        paths, classes = map(tf.constant, self._splits[split])

        def fetch(index):
            image = tf.io.decode_image(tf.io.read_file(paths[index]), expand_animations=False)
            return {"image": tf.ensure_shape(image, (None, None, None)), "label": tf.cast(classes[index], tf.int64)}

        return fetch


def folder_of(spec: str) -> tuple[pathlib.Path, list[str]]:
    """(the folder of `folder:PATH`, the splits that it has of its own)."""
    root = pathlib.Path(spec.partition(":")[2]).expanduser()
    if not root.is_dir():
        raise InputError(f"dataset={spec}: {root} is {'not a folder' if root.exists() else 'not there'}.")
    return root, list(own_splits(spec, root))


def _pictures(root: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
    """[(class, path)], sorted, of the pictures in the subfolders of `root`."""
    return [
        (label.name, path)
        for label in sorted(root.iterdir())
        if label.is_dir() and not label.name.startswith(".")
        for path in sorted(label.rglob("*"))
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    ]


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
    index = data_root(data_dir) / "folders" / f"{key}{kind}.json"
    try:
        known = json.loads(index.read_text())
    except (OSError, ValueError):
        known = {}
    stats = {path: path.lstat() if path.is_symlink() else path.stat() for path in paths}
    facts = {path: known.get(str(path), {}) for path in paths}
    new = [
        path
        for path, stat in stats.items()
        if path.is_symlink() or (facts[path].get("size"), facts[path].get("time")) != (stat.st_size, stat.st_mtime_ns)
    ]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, fact in zip(new, pool.map(decode, new), strict=True):
            facts[path] = {**fact, "size": stats[path].st_size, "time": stats[path].st_mtime_ns}
    if new:
        index.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(index, {str(path): fact for path, fact in facts.items()})
    return facts


def decode_picture(path: pathlib.Path) -> dict[str, Any]:
    """{"channels" (None: unreadable), "pixels" (height, width), "error", "sha256"} of a picture."""
    tf = tensorflow()
    try:
        data = path.read_bytes()
    except OSError as error:
        return {"channels": None, "error": f"{error.strerror}.", "sha256": ""}
    fact = {"channels": None, "error": "", "sha256": hashlib.sha256(data).hexdigest()}
    try:
        height, width, fact["channels"] = tf.io.decode_image(data, expand_animations=False).shape
        fact["pixels"] = [height, width]
    except tf.errors.InvalidArgumentError as error:
        message = "the file is empty." if not data else str(error.message).splitlines()[0]
        fact["error"] = message.split("}}")[-1].split(" [Op:")[0].strip().rstrip(".") + "."
    return fact
