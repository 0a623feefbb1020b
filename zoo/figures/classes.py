"""Figures of classes: the confusion matrix, and precision and recall by class."""

import collections
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.figures.axes import cut, drawable, dress, label, new, scale
from zoo.figures.parts import Part, Table
from zoo.figures.pictures import DRAWN
from zoo.figures.theme import FONT, SMALL, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 20
"""Classes up to which a confusion matrix has numbers in its cells."""


LISTED = 100
"""Rows of the table of classes, and classes of a confusion matrix that cannot show all, at most."""


def confusion(true: np.ndarray, predicted: np.ndarray, labels: Sequence[str], split: str) -> Part:
    """Returns the `Part` with the confusion matrix.

    Args:
        true, predicted: integers (n,).
        labels: the names of the classes.
        split: where the examples are from.
    """
    from sklearn.metrics import confusion_matrix

    chosen = np.arange(len(labels))
    which = ""
    if len(labels) > DRAWN:
        wrong = collections.Counter(np.concatenate([true[true != predicted], predicted[true != predicted]]).tolist())
        chosen = np.sort([number for number, _ in wrong.most_common(LISTED)] or chosen[:LISTED])
        which = f" Only the {len(chosen)} of {len(labels):,} classes with the most mistakes are shown."
    counts = confusion_matrix(true, predicted, labels=chosen)
    totals = np.bincount(true, minlength=len(labels))[chosen]
    cells = "Numbers, where there is room, count examples; the" if len(chosen) <= NUMBERED else "The"
    return Part(
        name="confusion",
        title="Confusion matrix",
        caption=f"{len(true):,} examples of the {split} split. Rows are true classes, columns are predicted classes. "
        f"{cells} colour is the fraction of the row.{which}",
        draw=functools.partial(matrix, counts, totals, [drawable(labels[number], number) for number in chosen]),
    )


def scores(true: np.ndarray, predicted: np.ndarray, labels: Sequence[str], split: str) -> Part:
    """Returns the `Part` with precision, recall and F1 of each class, the worst first; arguments as of `confusion`."""
    from sklearn.metrics import precision_recall_fscore_support

    classes = range(len(labels))
    measured = precision_recall_fscore_support(true, predicted, labels=classes, zero_division=np.nan)
    precision, recall, f1, examples = measured
    order = np.argsort(np.nan_to_num(f1, nan=np.inf), kind="stable")[:LISTED]
    wrong = true != predicted
    taken = collections.Counter(zip(true[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    most = {}
    for (one, other), count in taken.most_common():
        most.setdefault(one, f"{labels[other]} ({count})")
    rows = [
        (
            _named(labels[one], one),
            int(examples[one]),
            *(None if math.isnan(score[one]) else float(score[one]) for score in (precision, recall, f1)),
            most.get(int(one)),
        )
        for one in order
    ]
    which = f" The worst {LISTED} of {len(labels):,} classes." if len(labels) > LISTED else ""
    return Part(
        name="classes",
        title="Classes",
        caption=f"Scores of each class on the {split} split, the lowest F1 first, and the class that it is most often "
        f"confused with. A score is empty where no example defines it.{which}",
        table=Table(("class", "examples", "precision", "recall", "F1", "confused with"), rows),
    )


def matrix(counts: np.ndarray, totals: np.ndarray, labels: Sequence[str], theme: Theme) -> "Figure":
    """A confusion matrix: counts where there is room, and colour for the fraction of the true class.

    Args:
        counts: (classes, classes), a row a true class.
        totals: (classes,), the examples of each true class, those outside of `counts` included.
        labels: the names of the classes.
        theme: a `Theme`.
    """
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    fractions = counts / np.maximum(totals, 1)[:, None]
    figure = new(theme, 3.6 if theme.narrow else 5.4, layout="constrained")
    axes = dress(figure.subplots(), theme)
    # The square root shows one mistake in a hundred as a tenth of the ramp.
    norm = PowerNorm(0.5, 0, 1)
    ramp = LinearSegmentedColormap.from_list("ramp", theme.ramp)
    shown = axes.imshow(fractions, cmap=ramp, norm=norm, interpolation="nearest")
    if len(counts) <= NUMBERED:
        axes.hlines(np.arange(1, len(counts)) - 0.5, -0.5, len(counts) - 0.5, color=theme.grid, linewidth=0.5)
        axes.vlines(np.arange(1, len(counts)) - 0.5, -0.5, len(counts) - 0.5, color=theme.grid, linewidth=0.5)
        _write_counts(axes, counts, norm(fractions), theme)
    every = math.ceil(len(labels) / theme.most(30))
    ticks = range(0, len(labels), every)
    names = [cut(labels[tick], 12 if theme.narrow else 16) for tick in ticks]
    upright = {"rotation": 90} if len(names) * max(map(len, names)) > theme.most(50) else {}
    size = 10 if len(ticks) <= theme.most(12) else 8
    style = {"fontsize": size, "fontfamily": FONT, "color": theme.ink, "parse_math": False}
    axes.set_xticks(ticks, names, **style, **upright)
    axes.set_yticks(ticks, names, **style)
    label(axes, theme, xlabel="predicted", ylabel="true")
    scale(figure, axes, shown, theme, "fraction of the true class", [0, 0.05, 0.2, 0.5, 1])
    return figure


def _write_counts(axes: "Axes", counts: np.ndarray, depth: np.ndarray, theme: Theme) -> None:
    room = 0.69 * 72 * theme.width / len(counts) / len(f"{counts.max():,}")  # points a digit
    size = min(10 if len(counts) <= 12 else 8, room / 0.64)  # a digit is as wide as 0.64 of its size
    if size < SMALL:
        return
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = theme.paper if depth[row, column] > 0.6 else theme.ink
            axes.text(column, row, f"{count:,}", color=colour, fontsize=size, fontfamily=FONT, ha="center", va="center")


def _named(label: str, number: int) -> str:
    """A label for a table; with its number where the figures know it by that alone."""
    return label if drawable(label, number) != f"#{number}" else f"#{number} {label}"
