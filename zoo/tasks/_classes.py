"""What tasks that choose one of several classes have in common."""

import dataclasses

import numpy as np


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


def make_predictions(names, labels, logits):
    """A `Prediction` for each name, of logits (n, classes)."""
    logits = np.asarray(logits, "float64")
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    predictions = []
    for name, row in zip(names, odds / odds.sum(axis=-1, keepdims=True), strict=True):
        ranked = {labels[index]: float(row[index]) for index in np.argsort(-row, kind="stable")}
        label = next(iter(ranked))
        predictions.append(Prediction(name, label, ranked[label], ranked))
    return predictions
