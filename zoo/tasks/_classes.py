"""What tasks that choose one of several classes have in common."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import fields
from zoo.data._tensorflow import Tensor, tensorflow
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.data.source import Source


def named(labels: Sequence[str] | None, count: int) -> list[str]:
    """The names of `count` classes: `labels`, or "0" to "count - 1" where there are none."""
    labels = [str(number) for number in range(count)] if labels is None else list(labels)
    if len(labels) != count:
        raise InputError(f"labels must name {count} classes. Received: {len(labels)} labels.")
    return labels


def refuse_others(source: "Source", names: Sequence[str], labels: Sequence[str]) -> None:
    """Raises where data have classes other than the `labels` that a network was trained on."""
    if tuple(names) != tuple(labels):
        theirs, ours = (", ".join(found[:10]) for found in (names, labels))
        raise InputError(f"dataset={source.name} has the classes {theirs}; the network was trained on {ours}.")


def class_weight(when: Mapping[str, object] | None = None) -> Any:
    """Declares the field `class_weight`."""
    return fields.choice(
        "none", "balanced", default="none", when=when, help="balanced: every class weighs the same in training"
    )


def count_labels(source: "Source", classes: int) -> np.ndarray:
    """How many training examples each class has, integers (classes,); examples have a `label`."""
    labels = np.fromiter((int(one["label"]) for one in source.examples("train")), int)
    return np.bincount(labels, minlength=classes)


def entropy(counts: np.ndarray, smoothing: float = 0.0) -> float:
    """The cross-entropy of answering with the frequencies of classes, of which there are `counts` (classes,).

    Args:
        smoothing: the mass of each label that is spread over all classes.
    """
    odds = (1 - smoothing) * counts / counts.sum() + smoothing / len(counts)
    return float(-(odds * np.log(np.where(odds > 0, odds, 1))).sum())


def scarce(labels: Sequence[str], counts: np.ndarray) -> list[str]:
    """Lines about the classes that have no training example, or one; `counts` are those of each class."""
    lines = []
    for count, how in ((0, "no training example"), (1, "one training example only")):
        few = [label for label, number in zip(labels, counts, strict=True) if number == count]
        if few:
            more = f" and {len(few) - 5:,} more" if len(few) > 5 else ""
            what = f"The class {few[0]!r} has" if len(few) == 1 else f"The classes {', '.join(few[:5])}{more} have"
            lines.append(f"{what} {how}.")
    return lines


class BalancedWeights:
    """n / (classes n_c) for every class c of the training split, which is read when its first batch is made.

    Args:
        count: a function without arguments to n_c of every class.
    """

    def __init__(self, count: Callable[[], np.ndarray]) -> None:
        self._count = count

    @functools.cached_property
    def values(self) -> np.ndarray:
        with tensorflow().init_scope():  # not of the graph that asks
            counts = self._count()
        return (counts.sum() / (len(counts) * np.maximum(counts, 1))).astype("float32")

    def of(self, labels: Tensor) -> Tensor:
        """float32 of integers of any shape."""
        return tensorflow().gather(self.values, labels)


def balanced_weights(recipe: Any, source: "Source", count: Callable[[], np.ndarray]) -> BalancedWeights | None:
    """The `BalancedWeights` of a recipe with `class_weight=balanced`; None of others, and where batches are ready."""
    return BalancedWeights(count) if recipe.class_weight == "balanced" and not source.ready else None


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a network says of one input.

    Attributes:
        name: the file's path (of a table: and the line), or the number of the array.
        label: the likeliest class.
        probability: its softmax probability.
        probabilities: {label: probability}, the likeliest first.
    """

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]

    def show(self, top: int) -> str:
        """The `top` likeliest classes as a person reads them."""
        return show_parts(self.probabilities, top)

    def row(self, top: int) -> dict[str, str]:
        """{column: text} of a table."""
        return row_of_parts(self.probabilities, top, "probability")


def show_parts(parts: Mapping[str, float], top: int) -> str:
    """Text of the first `top` of {label: fraction}."""
    return "   ".join(f"{label} {part:.1%}" for label, part in list(parts.items())[:top])


def row_of_parts(parts: Mapping[str, float], top: int, what: str) -> dict[str, str]:
    """{column: text} of the first `top` of {label: fraction}; `what` names a fraction."""
    row = {}
    for rank, (label, part) in enumerate(list(parts.items())[:top], 1):
        row |= {f"label_{rank}": label, f"{what}_{rank}": f"{part:.6f}"}
    return row


def make_predictions(names: Sequence[str], labels: Sequence[str], logits: np.ndarray) -> list[Prediction]:
    """A `Prediction` for each name, of logits (n, classes)."""
    logits = np.asarray(logits, "float64")
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    predictions = []
    for name, row in zip(names, odds / odds.sum(axis=-1, keepdims=True), strict=True):
        ranked = {labels[index]: float(row[index]) for index in np.argsort(-row, kind="stable")}
        label = next(iter(ranked))
        predictions.append(Prediction(name, label, ranked[label], ranked))
    return predictions
