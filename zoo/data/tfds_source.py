"""Sets that TensorFlow Datasets reads: our own builders (`digits`), and `tfds:NAME[:VERSION]`."""

import contextlib
import importlib
import io
import logging
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zoo import files
from zoo.data._tensorflow import plain, tensorflow
from zoo.data.source import Feature, Image, Label, Mask, Source, Text
from zoo.errors import InputError, nearest

if TYPE_CHECKING:
    import tensorflow as tf

HOST = ("storage.googleapis.com", 443)
"""Asked once, for three seconds, before TensorFlow Datasets retries for minutes."""

MASKS = {"oxford_iiit_pet": ("segmentation_mask", ("pet", "background", "outline"), 1)}
"""Sets whose masks are images to TensorFlow Datasets: name -> (feature, names of the classes, id of the first)."""


def data_root(data_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Where prepared data lie: `data_dir`, else the environment's ZOO_DATA, else TensorFlow Datasets' own folder."""
    root = data_dir or os.environ.get("ZOO_DATA") or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(root).expanduser().absolute()


def reachable() -> bool:
    """Whether a download can be tried at all."""
    if files.offline():
        return False
    try:
        socket.create_connection(HOST, timeout=3).close()
    except OSError:
        return False
    return True


class TfdsSource(Source):
    """`tfds:NAME[/CONFIG][:VERSION]`, prepared or downloaded under a lock.

    A set without a validation split gives the last tenth of train for it; one whose test split is missing or has no
    labels uses validation for it, and `notes` says so.
    """

    features: Mapping[str, Feature]
    notes: tuple[str, ...]
    local: bool = False
    _turned: bool = False

    def __init__(self, spec: str, data_dir: str | os.PathLike[str] | None = None, name: str | None = None) -> None:
        self.name: str = name or spec
        self._spec = spec.partition(":")[2]
        with _hushed():
            self._builder = self._prepared(data_dir)
        info = self._builder.info
        self._keys, self.features = self._describe(info)
        if self._turned:
            self._keys = {"source": self._keys["target"], "target": self._keys["source"]}
        self._splits, self.notes = self._choose(info.splits)
        self.sizes: Mapping[str, int] = {
            split: info.splits[where].num_examples for split, where in self._splits.items()
        }
        checks = [f"{name}:{split.num_examples}:{split.num_bytes}" for name, split in sorted(info.splits.items())]
        self.fingerprint: str = " ".join([info.full_name, *checks])

    def examples(self, split: str) -> "tf.data.Dataset[Any]":
        tf = tensorflow()
        import tensorflow_datasets as tfds

        config = tfds.ReadConfig(try_autocache=False)  # the pipeline holds what it reads
        with self.reading():
            opened = self._builder.as_dataset
            data = (plain(opened) if self.local else opened)(  # how others decode may count on AutoGraph
                split=self._splits[split], shuffle_files=False, read_config=config
            )
        first = MASKS[self._builder.name][2] if self._builder.name in MASKS else 0

        def renamed(example):
            values = {name: example[key] for name, key in self._keys.items()}
            if "mask" in values:
                values["mask"] = values["mask"][..., 0] - tf.constant(first, tf.uint8)
            return values

        return data.map(plain(renamed), tf.data.AUTOTUNE)

    def verify(self) -> int:
        """Reads every example of every split; a damaged file raises with its folder."""
        total = 0
        for split, info in self._builder.info.splits.items():
            with self.reading():
                count = sum(1 for _ in self._builder.as_dataset(split=split))
            if count != info.num_examples:
                raise InputError(self._damaged(f"{split} has {count} of {info.num_examples} examples"))
            total += count
        return total

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        tf = tensorflow()
        errors = (tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.NotFoundError)
        try:
            yield
        except errors as error:
            first = (getattr(error, "message", None) or str(error)).splitlines()[0]
            raise InputError(self._damaged(first)) from error

    def _prepared(self, data_dir: str | os.PathLike[str] | None) -> Any:
        root = data_root(data_dir)
        builder = self._found(root)
        if builder.is_prepared():
            return builder
        with files.locked(root / ".locks" / f"{builder.name}.lock"):
            builder = self._found(root)
            if builder.is_prepared():
                return builder
            if not self.local and not reachable():
                why = "ZOO_OFFLINE forbids it" if files.offline() else "there is no network"
                raise InputError(
                    f"dataset={self.name} is not in {root} and cannot be downloaded: {why}. Prepare it on a machine "
                    f"with a network (zoo data prepare {self.name}) and copy it to {builder.data_dir}."
                )
            if self.local:  # of any other set, a process that knows no lock of ours may be writing one
                for leftover in pathlib.Path(builder.data_dir).parent.glob("incomplete.*"):
                    shutil.rmtree(leftover, ignore_errors=True)
            self._prepare(builder)
        return builder

    def _prepare(self, builder: Any) -> None:
        try:
            builder.download_and_prepare()
        except Exception as error:
            first = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(
                f"dataset={self.name} could not be prepared in {builder.data_dir}: {first} "
                "Some sources let nobody download without a browser: place the file in "
                f"{pathlib.Path(builder.data_dir).parents[1] / 'downloads' / 'manual'} then."
            ) from error

    def _found(self, root: pathlib.Path) -> Any:
        """The builder; what lies damaged in its folder is an `InputError` with the way out."""
        name, _, version = self._spec.partition(":")
        try:
            return self._open(str(root), name, version)
        except InputError:
            raise
        except Exception as error:  # a damaged dataset_info.json ends in one of many errors
            folder = root / name.partition("/")[0]
            raise InputError(
                f"dataset={self.name} in {folder} cannot be opened: {str(error).splitlines()[0].rstrip('.')}. If it is "
                f"damaged, delete that folder and run `zoo data prepare {self.name}`."
            ) from error

    def _open(self, root: str, name: str, version: str) -> Any:
        """The builder `name`, whose data lie below `root`."""
        import tensorflow_datasets as tfds

        built = tfds.list_builders(with_community_datasets=False)
        if name.partition("/")[0] not in built:
            raise InputError(f"TensorFlow Datasets has no set {name!r}.{nearest(name, built)}")
        name = self._either_way(name)
        return tfds.builder(f"{name}:{version}" if version else name, data_dir=root)

    def _either_way(self, name: str) -> str:
        """`wmt14_translate/de-en` of `wmt14_translate/en-de` too: TensorFlow Datasets has a pair of languages once."""
        import tensorflow_datasets as tfds

        base, _, config = name.partition("/")
        known = tfds.builder_cls(base).builder_configs if config else ()
        for between in ("-", "_to_"):
            turned = between.join(reversed(config.split(between)))
            if config not in known and turned in known:
                self._turned = True
                return f"{base}/{turned}"
        return name

    @staticmethod
    def _describe(info: Any) -> tuple[dict[str, str], dict[str, Feature]]:
        """({our name of a feature: its name there}, {our name: what it is}) of images or texts and what they mean."""
        import tensorflow_datasets as tfds

        texts = [key for key, feature in info.features.items() if isinstance(feature, tfds.features.Text)]
        pair = [key for key in (info.supervised_keys or ()) if key in texts]
        if len(pair) == 2:
            return dict(zip(("source", "target"), pair, strict=True)), {"source": Text(), "target": Text()}

        def first(kind, but=()):
            keys = [key for key, feature in info.features.items() if isinstance(feature, kind) and key not in but]
            preferred = [key for key in (info.supervised_keys or ()) if key in keys]
            return (preferred or keys or [None])[0]

        label = first(tfds.features.ClassLabel)
        mask, names, _ = MASKS.get(info.name, (first(tfds.features.LabeledImage), None, 0))
        image = first(tfds.features.Image, but=(mask,))
        if image is not None and (label is not None or mask is not None):
            keys, features = {"image": image}, {"image": Image(info.features[image].shape[-1] or 3)}
        elif len(texts) == 1:
            keys, features = {"text": texts[0]}, {"text": Text()}
        else:
            raise InputError(
                f"{info.full_name} has no image with a class label or a mask, no text and no pair of texts; it has "
                f"{', '.join(info.features)}."
            )
        if label is not None:
            known = info.features[label]
            keys["label"] = label
            features["label"] = Label(tuple(known.int2str(index) for index in range(known.num_classes)))
        if mask is not None:
            keys["mask"] = mask
            features["mask"] = Mask(tuple(names or info.features[mask].names))
        return keys, features

    def _choose(self, splits: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
        chosen, notes = {"train": "train", "validation": "validation", "test": "test"}, ()
        if "train" not in splits:
            raise InputError(f"dataset={self.name} has no train split; it has {', '.join(splits)}.")
        if "validation" not in splits:
            chosen["train"], chosen["validation"] = "train[:90%]", "train[90%:]"
            notes += ("validation is the last tenth of train",)
        if "test" not in splits or not self._labelled("test"):
            chosen["test"] = chosen["validation"]
            notes += ("there is no labelled test split: test is validation",)
        return chosen, notes

    def _labelled(self, split: str) -> bool:
        with self.reading():
            for example in self._builder.as_dataset(split=f"{split}[:1]"):
                return "label" not in self._keys or int(example[self._keys["label"]]) >= 0
        return False

    def _damaged(self, what: str) -> str:
        return (
            f"dataset={self.name} in {self._builder.data_dir} is damaged: {what}. "
            f"Delete that folder and run `zoo data prepare {self.name}`."
        )


class BuiltInSource(TfdsSource):
    """A builder of ours, which needs no network; registered as `zoo_<name>`, so that none replaces TFDS's own.

    Args:
        options: `seed=1,size=96`, for a set whose builder has `configure`; what is as by default is left out of `name`.
    """

    local: bool = True

    def __init__(
        self, name: str, module: str, data_dir: str | os.PathLike[str] | None = None, options: str = ""
    ) -> None:
        found = vars(importlib.import_module(module)).values()
        self._class: Any = next(one for one in found if getattr(one, "name", None) == f"zoo_{name}")
        self._config: Any = None
        if options:
            if not hasattr(self._class, "configure"):
                raise InputError(f"dataset={name} has no options. Received: {name}:{options}.")
            self._config = self._class.configure(self._pairs(name, options))
        super().__init__(f"tfds:zoo_{name}", data_dir, f"{name}:{self._config.name}" if self._config else name)

    def _open(self, root: str, name: str, version: str) -> Any:
        """The builder, by its class: to find it by its name, TensorFlow Datasets would import all sets of its own."""
        return self._class(data_dir=root, config=self._config)

    def _labelled(self, split: str) -> bool:
        return True

    @staticmethod
    def _pairs(name: str, options: str) -> dict[str, str]:
        """{option: text} of `seed=1,size=96`."""
        pairs = [pair.partition("=") for pair in options.split(",")]
        if not all(equals for _, equals, _ in pairs):
            raise InputError(f"Options of {name} are given as {name}:NAME=VALUE,... Received: {name}:{options}.")
        return {option: text for option, _, text in pairs}

    def _prepare(self, builder: Any) -> None:
        import tensorflow_datasets as tfds

        tfds.display_progress_bar(False)  # it is made in a second: nothing to watch
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                super()._prepare(builder)
        finally:
            tfds.display_progress_bar(True)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keeps absl's log quiet below errors: TensorFlow Datasets warns of every folder that it is about to make."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
