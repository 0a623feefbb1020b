"""Curves over the epochs of a run, and what its layers tell about themselves."""

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.fields.texts import spoken
from zoo.figures.axes import cut, legend, logarithmic, new, number_epochs, panel, title
from zoo.figures.parts import Part, Table
from zoo.figures.theme import LEGEND, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning(
    history: Sequence[Mapping[str, Any]], best: int, monitor: str | None, caption: str, omit: Collection[str] = ()
) -> Part:
    """Returns the `Part` with the learning curves; of a single epoch, which has no curve, a table of its values.

    Args:
        caption: what is said of the values.
        history, best, monitor, omit: as of `curves`.
    """
    if len(history) > 1:
        draw = functools.partial(curves, history, best, monitor, omit=omit)
        return Part("curves", "Learning curves", caption, draw=draw)
    (row,) = history
    names = [*_metrics(history, omit), "learning_rate"]
    rows = [(spoken(name), row.get(name), row.get(f"val_{name}")) for name in names]
    caption = f"One epoch was trained, so there is no curve yet: these are its values. {caption}"
    return Part("curves", "Learning curves", caption, table=Table(("metric", "training", "validation"), rows))


def _metrics(history: Sequence[Mapping[str, Any]], omit: Collection[str]) -> list[str]:
    """The loss and the metrics of a history, the loss first."""
    keys = [key for row in history for key in row if key not in ("epoch", "learning_rate", *omit)]
    return sorted(dict.fromkeys(key.removeprefix("val_") for key in keys), key=lambda name: name != "loss")


def curves(
    history: Sequence[Mapping[str, Any]], best: int, monitor: str | None, theme: Theme, omit: Collection[str] = ()
) -> "Figure":
    """Learning curves: a panel for the loss, for every other metric, and for the learning rate.

    Args:
        history: `Run.history`.
        best: the epoch of the best weights.
        monitor: the key of `history` that they are best by, or None.
        theme: a `Theme`.
        omit: keys of `history` that are left out.
    """
    metrics = _metrics(history, omit)
    names = [*metrics, "learning_rate"]
    heights = [2.0] * len(metrics) + [1.3]
    figure = new(theme, sum(heights) + (0.9 if theme.narrow else 0.7), layout="constrained")
    panels = figure.subplots(len(names), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        _curve(axes, history, name, theme)
        _mark(axes, history, name, best, monitor, theme)
    number_epochs(panels[-1], theme)
    legend(figure, panels[0], theme, loc="outside upper left", ncols=2 if theme.narrow else 3)
    return figure


def compared(
    runs: Mapping[str, tuple[Sequence[Mapping[str, Any]], int]], metrics: Sequence[str], theme: Theme
) -> "Figure":
    """Learning curves of several runs over each other: a panel for each metric, a colour for each run.

    Validation is drawn where a run has it, with training as a dotted line; else training alone. A ring is the epoch of
    the best weights.

    Args:
        runs: {name: (history, epoch of the best weights)}.
        metrics: the keys of the histories, without `val_`.
        theme: a `Theme`.
    """
    heights = [2.4] * len(metrics)
    figure = new(theme, sum(heights) + 0.5 + 0.25 * len(runs), layout="constrained")
    panels = figure.subplots(len(metrics), sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, metrics, strict=True):
        panel(axes, theme)
        drawn = []
        for place, (label, (history, best)) in enumerate(runs.items()):
            colour = theme.palette[place % len(theme.palette)]
            marker = "os"[place // len(theme.palette) % 2]
            key = f"val_{name}" if any(f"val_{name}" in row for row in history) else name
            values = [row.get(key, math.nan) for row in history]
            epochs = [row["epoch"] for row in history]
            label = cut(label, theme.most(68))
            axes.plot(epochs, values, color=colour, label=label, linewidth=1.6, marker=marker, markersize=3)
            if key != name:
                training = [row.get(name, math.nan) for row in history]
                axes.plot(epochs, training, ":", color=colour, linewidth=1.1)
            rings = [(row["epoch"], row[key]) for row in history if row["epoch"] == best and key in row]
            style = {"markersize": 9, "fillstyle": "none", "markeredgewidth": 1.6}
            for epoch, value in rings:
                axes.plot(epoch, value, marker, color=colour, **style)
            drawn += [value for value in values if math.isfinite(value)]
        title(axes, spoken(name) + _scaled(axes, drawn), theme)
    number_epochs(panels[-1], theme)
    legend(figure, panels[0], theme, loc="outside upper left", ncols=1)
    return figure


def _scaled(axes: "Axes", drawn: Sequence[float]) -> str:
    """Makes the axis logarithmic where the values span much; what the title then adds, or nothing."""
    if not drawn or min(drawn) <= 0 or max(drawn) <= 30 * min(drawn):
        return ""
    logarithmic(axes)
    return " (logarithmic)"


def readings(history: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[str]], theme: Theme) -> "Figure":
    """What layers told in training: a panel for each reading.

    Args:
        history: `Run.history`.
        groups: {reading: its keys of `history`}.
        theme: a `Theme`.
    """
    figure = new(theme, 2.1 * len(groups) + 0.4, layout="constrained")
    panels = figure.subplots(len(groups), sharex=True, squeeze=False)[:, 0]
    epochs = [row["epoch"] for row in history]
    for axes, (reading, keys) in zip(panels, groups.items(), strict=True):
        panel(axes, theme)
        for number, key in enumerate(keys):
            values = [row.get(key, math.nan) for row in history]
            colour = theme.palette[number % len(theme.palette)]
            marker = "o" if len(history) <= 30 else None
            axes.plot(epochs, values, color=colour, label=key, linewidth=1.6, marker=marker, markersize=3)
        title(axes, spoken(reading), theme)
        if 1 < len(keys) <= LEGEND:
            where = {"loc": "best"} if theme.narrow else {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
            legend(axes, axes, theme, **where)
    number_epochs(panels[-1], theme)
    return figure


def _curve(axes: "Axes", history: Sequence[Mapping[str, Any]], name: str, theme: Theme) -> None:
    panel(axes, theme)
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(history) <= 30 else None
    drawn = []
    for key, label, colour, style in (
        (name, "training", theme.first, "-"),
        (f"val_{name}", "validation", theme.second, "--"),
    ):
        values = [row.get(key, math.nan) for row in history]
        if any(key in row for row in history):
            axes.plot(epochs, values, style, color=colour, label=label, linewidth=1.8, marker=marker, markersize=3)
            drawn += [value for value in values if math.isfinite(value)]
    title(axes, spoken(name) + _scaled(axes, drawn), theme)


def _mark(
    axes: "Axes", history: Sequence[Mapping[str, Any]], name: str, best: int, monitor: str | None, theme: Theme
) -> None:
    """A line at the epoch of the best weights, and a ring around the value that made them the best."""
    title = f"{'best' if monitor else 'last'} epoch: {best}"
    axes.axvline(best, color=theme.muted, linewidth=1.4, linestyle=":", label=title, zorder=1.5)
    if monitor in (name, f"val_{name}"):
        colour = theme.first if monitor == name else theme.second
        value = next(row[monitor] for row in history if row["epoch"] == best)
        axes.plot(best, value, "o", color=colour, markersize=9, fillstyle="none", markeredgewidth=1.8)
