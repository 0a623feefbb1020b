"""`Source`: what the rest of `zoo` knows of a data set."""

import abc
import contextlib
import dataclasses
import pathlib
import typing
from collections.abc import Callable, Iterable

import numpy as np

from zoo.data._tensorflow import Tensor, plain, tensorflow
from zoo.errors import InputError

if typing.TYPE_CHECKING:
    import tensorflow as tf

SPLITS = ("train", "validation", "test")

_MISNAMED = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}


@dataclasses.dataclass(frozen=True)
class Image:
    """A feature: images of `channels` channels.

    An example has uint8 or uint16 pixels. Beside uint16 pixels there may be `deep`, a boolean: False where the values
    are of 8 bits all the same.

    Attributes:
        bits: how many bits the 16-bit images of the training split use, from 8 to 16: 2^bits - 1 is read as white. None
            where there are none.
    """

    channels: int
    bits: int | None = None


@dataclasses.dataclass(frozen=True)
class Label:
    """A feature: one class of `names`, an integer in an example."""

    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Mask:
    """A feature: class ids of an image's pixels, uint8 (height, width); `VOID` marks pixels outside the loss.

    Attributes:
        names: of the classes, in the order of their ids.
        why: what the number of classes was read from, where data that name none have a file to show.
    """

    names: tuple[str, ...]
    why: str = ""


VOID = 255
"""The id of pixels in a mask that nobody labelled."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A feature: a text, UTF-8."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A feature: a column of a table."""


Feature: typing.TypeAlias = Image | Label | Mask | Text | Column
"""What a feature of a data set can be."""


class Source(abc.ABC):
    """A data set that is there and can be read.

    Attributes:
        name: what it was opened by, such as `digits`; a recipe's field `dataset` holds it.
        features: {name of the feature: `Image`, `Label`, `Mask`, `Text` or `Column`}.
        sizes: {split: number of examples}.
        fingerprint: text that changes when the data change.
        notes: what a report should say about it, such as a test split that is missing.
        ready: true where batches were handed over as they are: neither read, shuffled nor augmented.
    """

    name: str
    features: typing.Mapping[str, Feature]
    sizes: typing.Mapping[str, int]
    fingerprint: str
    notes: tuple[str, ...] = ()
    ready: bool = False

    @abc.abstractmethod
    def examples(self, split: str) -> "tf.data.Dataset[typing.Any]":
        """A `tf.data.Dataset` of {feature: value}, one example an element, in a fixed order."""

    def samples(self, split: str, count: int) -> typing.Any:
        """The first `count` raw examples of a split, an iterable of {feature: value}."""
        return self.examples(split).take(count)

    def image_sizes(self, split: str) -> np.ndarray:
        """(n, 2), heights and widths of the images of a split in their order; here by a pass over them."""
        tf = tensorflow()
        sizes = self.examples(split).map(plain(lambda example: tf.shape(example["image"])[:2]), tf.data.AUTOTUNE)
        return np.array(list(sizes.as_numpy_iterator()))

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """A context in which what breaks while examples are read is said with the folder and the way out."""
        return contextlib.nullcontext()

    def fetcher(self, split: str) -> Callable[[Tensor], dict[str, Tensor]] | None:
        """A function from an index tensor to one example, where random access is possible; else None."""
        return


def beside(root: pathlib.Path, used: Iterable[pathlib.Path], what: str) -> tuple[str, ...]:
    """The note about what lies in the folder `root`, is not hidden and is not `used`; none where there is nothing.

    Args:
        what: what is used of the folder, in words.
    """
    used = set(used)
    names = [path.name for path in sorted(root.iterdir()) if path not in used and not path.name.startswith(".")]
    if not names:
        return ()
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return (f"left out beside {what} {len(names):,} other{'s' if len(names) > 1 else ''}: {some}",)


def own_splits(spec: str, root: pathlib.Path, ending: str = "") -> dict[str, pathlib.Path]:
    """{split: path} of the splits that a folder has of its own: `train` and others, with `ending` behind their names.

    A file has none. Capital and small letters are the same.

    Raises: `InputError` where there are splits without one to train on, one twice, or one under another name.
    """
    there: dict[str, list[pathlib.Path]] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        there.setdefault(path.name.lower(), []).append(path)
    own = {}
    for split in SPLITS:
        found = there.get(f"{split}{ending}", [])
        if len(found) > 1:
            raise InputError(f"dataset={spec}: {found[0]} and {found[1]} are both the {split} split: keep one.")
        if found:
            own[split] = found[0]
    misnamed = {name: there[f"{name}{ending}"][0] for name in _MISNAMED if f"{name}{ending}" in there}
    if misnamed and (own or len(misnamed) > 1):
        name, path = next(iter(misnamed.items()))
        raise InputError(
            f"dataset={spec}: splits are called train, validation and test: rename {path} to {_MISNAMED[name]}{ending}."
        )
    if own and "train" not in own:
        raise InputError(f"dataset={spec}: {root} has {', '.join(own)} but no train{ending}.")
    return own
