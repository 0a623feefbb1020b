"""The parts of a report that are about tables: residuals, and what a network says of every point of a plane."""

import dataclasses
import functools
import typing
from collections.abc import Sequence

import numpy as np

from zoo import figures

if typing.TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 2000
"""Rows drawn at most."""

GRID = 300
"""Points of a plane's grid along each side."""


@dataclasses.dataclass(frozen=True)
class Plane:
    """Rows of two columns of numbers, and what is asked about the plane around them.

    Attributes:
        reader: a `zoo.readers.tables.TableReader` of two columns.
        inputs: (n, 2), as the network takes them.
        true: the rows' classes, integers (n,).
        split: where the rows are from.
    """

    reader: typing.Any
    inputs: np.ndarray
    true: np.ndarray
    split: str

    def regions(self, model: "keras.Model") -> figures.Part:
        """The `Part` that shows which class `model` says where."""
        chances = _softmax(self._ask(model))
        labels = [figures.drawable(label, number) for number, label in enumerate(self.reader.labels)]
        wrong = model.predict(self.inputs, verbose=0).argmax(-1) != self.true
        return figures.Part(
            name="regions",
            title="Decision regions",
            caption=f"The class that the network predicts at every point; a deeper colour is a higher probability, "
            f"lines are decision boundaries. Dots are the {len(self.true):,} rows of the {self.split} split in the "
            f"colour of their class, with a ring around the {wrong.sum():,} misclassified.",
            draw=functools.partial(self._draw, chances, labels, wrong),
        )

    def experts(self, gates: "keras.Model") -> figures.Part:
        """The `Part` that shows which expert answers where, `gates` being a model of their weights."""
        weights = self._ask(gates)
        best = gates.predict(self.inputs, verbose=0).argmax(-1)
        shares = np.bincount(best, minlength=weights.shape[-1]) / len(best)
        rows = [(f"expert {number + 1}", float(share)) for number, share in enumerate(shares)]
        return figures.Part(
            name="experts",
            title="Experts",
            caption="Which expert weighs most at every point: the deeper the colour, the more of the answer is its "
            f"own. Dots are the rows of the {self.split} split; the table has the part of them that each expert leads.",
            draw=functools.partial(self._draw, weights, [name for name, _ in rows], None),
            table=figures.Table(("expert", f"part of the {self.split} split"), rows),
        )

    def _axes(self) -> np.ndarray:
        """The two grids' coordinates, as the network takes them, with a margin around the rows."""
        low, high = self.inputs.min(0), self.inputs.max(0)
        margin = 0.08 * (high - low) + 1e-6
        return np.linspace(low - margin, high + margin, GRID).T

    def _ask(self, model: "keras.Model") -> np.ndarray:
        """(GRID, GRID, outputs) of `model`; the first axis is the second column, upwards."""
        across, up = np.meshgrid(*self._axes())
        points = np.stack([across.ravel(), up.ravel()], axis=1).astype("float32")
        return model.predict(points, batch_size=4096, verbose=0).reshape(GRID, GRID, -1)

    def _draw(
        self, weights: np.ndarray, names: Sequence[str], wrong: np.ndarray | None, theme: figures.Theme
    ) -> "Figure":
        from matplotlib.colors import to_rgb

        figure = figures.new(theme, 3.6 if theme.narrow else 4.8, layout="constrained")
        axes = figures.dress(figure.subplots(), theme)
        paper = np.array(to_rgb(theme.paper))
        colours = [theme.palette[number % len(theme.palette)] for number in range(len(names))]
        best = weights.argmax(-1)  # (GRID, GRID)
        lead = (weights.max(-1) - 1 / len(names)) / (1 - 1 / len(names))  # 0 where all are alike, 1 where one is alone
        depth = (0.12 + 0.43 * lead)[..., None]
        pixels = paper * (1 - depth) + np.array([to_rgb(colour) for colour in colours])[best] * depth
        scaled = [(column["mean"], column["deviation"]) for column in self.reader.columns]
        low, high = self._axes()[:, 0], self._axes()[:, -1]
        (left, right), (bottom, top) = ((a * d + m, b * d + m) for a, b, (m, d) in zip(low, high, scaled, strict=True))
        axes.imshow(pixels, origin="lower", extent=(left, right, bottom, top), aspect="auto", interpolation="bilinear")
        places = np.linspace(left, right, GRID), np.linspace(bottom, top, GRID)
        for number in np.unique(best)[1:]:  # the first has no border that is not another's too
            ahead = weights[..., number] - np.delete(weights, number, axis=-1).max(-1)
            axes.contour(*places, ahead, levels=[0], colors=[theme.muted], linewidths=0.8)
        self._dots(axes, colours, scaled, wrong, theme)
        across, up = (figures.drawable(column["name"], side) for side, column in enumerate(self.reader.columns))
        figures.label(axes, theme, xlabel=across, ylabel=up)
        _name(figure, names, colours, theme)
        return figure

    def _dots(
        self,
        axes: "Axes",
        colours: Sequence[str],
        scaled: Sequence[tuple[float, float]],
        wrong: np.ndarray | None,
        theme: figures.Theme,
    ) -> None:
        """The rows: in the colours of their classes, with rings around the `wrong` ones; in ink where that is None."""
        shown = slice(0, POINTS)
        x, y = (self.inputs[shown, side] * deviation + mean for side, (mean, deviation) in enumerate(scaled))
        if wrong is None:
            axes.scatter(x, y, s=7, color=theme.ink, alpha=0.55, linewidths=0)
            return
        fill = [colours[number] for number in self.true[shown]]
        axes.scatter(x, y, s=14, color=fill, edgecolors=theme.paper, linewidths=0.5)
        wrong = wrong[shown]
        axes.scatter(x[wrong], y[wrong], s=60, facecolors="none", edgecolors=theme.ink, linewidths=1.2)


def residuals(true: np.ndarray, predicted: np.ndarray, target: str, split: str) -> figures.Part:
    """The `Part` of a regression: predictions beside the truth, and how far they are off.

    Args:
        true, predicted: numbers (n,), in the units of the target.
        target: its name.
        split: where the rows are from.
    """
    off = predicted - true
    spread = np.abs(true - true.mean())
    rows = [
        ("mean absolute error", float(np.abs(off).mean())),
        ("root mean squared error", float(np.sqrt((off**2).mean()))),
        ("median absolute error", float(np.median(np.abs(off)))),
        ("largest error", float(np.abs(off).max())),
        ("mean absolute error of always saying the mean", float(spread.mean())),
    ]
    return figures.Part(
        name="residuals",
        title="Residuals",
        caption=f"Above, what the network predicts of the {len(true):,} rows of the {split} split beside what is true: "
        "on the line it is right. Below, how far it is off; a bend or a funnel tells what it has not learned.",
        draw=functools.partial(_draw_residuals, true, predicted, target),
        table=figures.Table(("error", f"in the units of {target}"), rows),
    )


def _draw_residuals(true: np.ndarray, predicted: np.ndarray, target: str, theme: figures.Theme) -> "Figure":
    figure = figures.new(theme, 5.0 if theme.narrow else 6.0, layout="constrained")
    above, below = figure.subplots(2, height_ratios=(3, 2))
    name = figures.drawable(target, 0)
    shown = slice(0, POINTS)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    for axes, values, line, title in (
        (above, predicted, ends, f"predicted {name}"),
        (below, predicted - true, [0, 0], "predicted - true"),
    ):
        figures.panel(axes, theme)
        axes.plot(ends, line, color=theme.second, linewidth=1.4)
        axes.scatter(true[shown], values[shown], s=12, color=theme.first, alpha=0.6, linewidths=0)
        figures.label(axes, theme, ylabel=title)
    figures.label(below, theme, xlabel=f"true {name}")
    return figure


def _name(figure: "Figure", names: Sequence[str], colours: Sequence[str], theme: figures.Theme) -> None:
    """A legend above the axes."""
    from matplotlib.patches import Patch

    figure.legend(
        [Patch(color=colour) for colour in colours[: len(theme.palette)]],
        [figures.cut(name, 16) for name in names[: len(theme.palette)]],
        loc="outside upper left",
        ncols=2 if theme.narrow else 4,
        frameon=False,
        labelcolor=theme.ink,
        prop={"family": figures.FONT, "size": 10},
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)
