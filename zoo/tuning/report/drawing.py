"""The figures of the page about a study."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import figures
from zoo.fields.texts import rounded, spoken
from zoo.tuning.report.importance import Importance
from zoo.tuning.report.scales import Scale
from zoo.tuning.report.snapshot import Snapshot
from zoo.tuning.trial import COMPLETED, PRUNED, curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
"""How many slices stand side by side."""

NAMED = 5
"""How many curves are named: those of the best trials."""

PASSING = 1.09
"""Where a line of parallel coordinates passes an inactive field; a row ends at 1."""

_SMALL = {"fontsize": 8, "fontfamily": figures.FONT, "parse_math": False}


class Window:
    """The part of an objective's axis where most scores lie; scores beyond it are drawn at its edge.

    Args:
        values: scores, at least one, all finite.
        direction: "min" or "max".

    Attributes:
        low, high: the ends of the axis.
        beyond: how many values lie beyond them.
        log: whether the axis is logarithmic.
        direction: "min" or "max".
    """

    def __init__(self, values: Iterable[float], direction: str):
        values = np.sort(np.asarray(list(values), float))
        first, third = np.quantile(values, [0.25, 0.75])
        reach = 3 * (third - first)
        self.low, self.high = float(values[0]), float(values[-1])
        if reach and direction == "min":
            self.high = float(values[values <= third + reach][-1])
        elif reach:
            self.low = float(values[values >= first - reach][0])
        self.beyond = int(((values < self.low) | (values > self.high)).sum())
        self.log = self.low > 0 and self.high > 30 * self.low
        self.direction = direction

    def inside(self, values: Any) -> Any:
        """Returns values, moved to the edge where they lie beyond it."""
        return np.clip(values, self.low, self.high)

    def title(self, objective: str) -> str:
        """Returns the name of the axis."""
        return _named(spoken(objective)) + (" (logarithmic)" if self.log else "")

    def frame(self, axes: "Axes") -> None:
        """Makes this the vertical axis, with a margin."""
        if self.log:
            figures.logarithmic(axes)
            margin = (self.high / self.low) ** 0.05
            axes.set_ylim(self.low / margin, self.high * margin)
        else:
            margin = 0.06 * (self.high - self.low) or 0.06 * abs(self.high) or 1.0
            axes.set_ylim(self.low - margin, self.high + margin)

    def mark(self, axes: "Axes", places: Sequence[float], values: Sequence[float], **style: Any) -> None:
        """Draws dots, and arrow heads at the edge for values beyond it."""
        places, values = np.asarray(places, float), np.asarray(values, float)
        within = (values >= self.low) & (values <= self.high)
        axes.scatter(places[within], values[within], **style)
        style = {**style, "marker": "^" if self.direction == "min" else "v", "label": None}
        axes.scatter(places[~within], self.inside(values[~within]), **style)


def progress(study: Snapshot, clock: tuple[Mapping[int, float], str], theme: "figures.Theme") -> "Figure":
    """Draws the score of every trial, and the best so far, by the time when the trial ended.

    Args:
        clock: ({number of a ranked trial: when it ended}, the unit, such as "minutes").
    """
    places, unit = clock
    ranked = study.ranked
    window = Window([trial.score for trial in ranked], study.direction)
    figure = figures.new(theme, 3.4, layout="constrained")
    axes = figures.panel(figure.subplots(), theme)
    _dots(axes, ranked, [places[trial.number] for trial in ranked], window, theme, size=16)
    ordered = sorted(ranked, key=lambda trial: (places[trial.number], trial.number))
    better = np.minimum if study.direction == "min" else np.maximum
    best = better.accumulate([trial.score for trial in ordered])
    where = [places[trial.number] for trial in ordered]
    axes.step(where, window.inside(best), where="post", color=theme.second, linewidth=1.8, label="best so far")
    for trial in ranked:
        if trial.origin == "default":
            score = window.inside(trial.score)
            axes.axhline(score, color=theme.muted, linewidth=1.2, linestyle=":", label="the default", zorder=1.5)
    _ring(axes, places[ranked[0].number], ranked[0].score, theme)
    window.frame(axes)
    axes.set_xlim(0, 1.03 * max(where) or 1)
    figures.label(axes, theme, xlabel=unit, ylabel=window.title(study.objective))
    figures.legend(figure, axes, theme, loc="outside upper left", ncols=2 if theme.narrow else 4)
    return figure


def _dots(axes, ranked, places, window, theme, size):
    """Completed trials as dots, pruned ones as circles."""
    for status, face in ((COMPLETED, theme.first), (PRUNED, "none")):
        chosen = [number for number, trial in enumerate(ranked) if trial.status == status]
        if chosen:
            window.mark(
                axes,
                [places[number] for number in chosen],
                [ranked[number].score for number in chosen],
                s=size,
                facecolors=face,
                edgecolors=theme.first,
                linewidths=0.9,
                label=status,
                zorder=2.5,
            )


def _ring(axes, place, score, theme):
    axes.plot(place, score, "o", color=theme.second, markersize=9, fillstyle="none", markeredgewidth=1.8, zorder=3)


def parallel(study: Snapshot, scales: Mapping[str, Scale], theme: "figures.Theme") -> "Figure":
    """Draws parallel coordinates: a row for each field and one for the score, a line down them for each trial.

    The best trials are drawn last and deepest. Where a field is inactive, a line passes on the right.
    """
    from matplotlib.colors import LinearSegmentedColormap

    ranked = study.ranked
    window = Window([trial.score for trial in ranked], study.direction)
    score = Scale.of_numbers(spoken(study.objective), [window.low, window.high], window.log)
    rows = [*scales.values(), score]
    lines = np.array([_across(trial, scales, score, window) for trial in ranked])  # (trials, rows)
    absent = np.isnan(lines)
    named = np.array([bool(scale.names) for scale in rows])
    spread = np.linspace(-0.012, 0.012, len(ranked))[:, None]  # lines through one place, told apart
    lines = np.where(absent, PASSING, lines) + (named | absent) * spread

    figure = figures.new(theme, (0.7 if theme.narrow else 0.5) * len(rows) + 0.15)
    margin = 0.1 if theme.narrow else 0.08 * max(len(_named(scale.field)) for scale in rows) + 0.15
    left = margin / theme.width
    axes = figure.add_axes((left, 0, 0.97 - left, 1))
    heights = -np.arange(len(rows), dtype=float)
    ramp = LinearSegmentedColormap.from_list("ramp", theme.ramp)
    width = 1.0 if len(ranked) <= 100 else 0.4
    for place in range(len(ranked) - 1, 0, -1):
        depth = 0.25 + 0.75 * (1 - place / len(ranked))
        axes.plot(lines[place], heights, color=ramp(depth), linewidth=width, zorder=2)
    axes.plot(lines[0], heights, color=theme.second, linewidth=2.2, zorder=3)
    for number, scale in enumerate(rows):
        _row(axes, scale, -number, absent[:, number].any(), 0.9 * (0.97 - left) * theme.width, theme)
    top = 0.4 if theme.narrow else 0.25
    axes.set(xlim=(-0.03, PASSING + 0.07 if absent.any() else 1.03), ylim=(-len(rows) + 0.6, top))
    axes.set_axis_off()
    return figure


def _across(trial, scales, score, window):
    """Where a trial's line meets each row, from 0 to 1; NaN where a field does not count."""
    values = trial.values
    parts = [scale.part(values[name]) if name in values else math.nan for name, scale in scales.items()]
    return [*parts, score.part(float(window.inside(trial.score)))]


def _named(text, most=24):
    """A name as figures can show it."""
    return figures.cut(figures.drawable(text, 0), most)


def _row(axes, scale, height, absent, width, theme):
    """One axis of parallel coordinates, `width` inches, with its name and its marks below."""
    back = {"facecolor": theme.paper, "edgecolor": "none", "pad": 0.8}  # no line crosses a name or a mark
    axes.plot([0, 1], [height, height], color=theme.muted, linewidth=1.2, zorder=2.5)
    bold = {**_SMALL, "fontsize": 9, "fontweight": "bold"}
    where = {"x": 0, "y": height + 0.23} if theme.narrow else {"x": -0.05, "y": height, "ha": "right"}
    style = {"va": "center", "bbox": back, "zorder": 4}
    axes.text(s=_named(scale.field), color=theme.ink, **where, **style, **bold)
    style |= _SMALL
    for place, text in _apart(scale, scale.ticks(6), width):
        part = scale.part_of(place)
        axes.plot([part, part], [height - 0.06, height + 0.06], color=theme.muted, linewidth=1.2, zorder=2.5)
        align = "left" if part < 0.03 else "right" if part > 0.97 else "center"
        axes.text(part, height - 0.22, text, color=theme.ink, ha=align, **style)
    if absent:
        axes.text(PASSING, height - 0.22, "inactive", color=theme.muted, ha="center", **style)


def _apart(scale, marks, width):
    """Returns the (place, text) of `marks` whose texts do not touch on an axis of `width` inches."""
    kept, end = [], -math.inf
    for place, text in marks:
        middle, half = scale.part_of(place) * width, 0.04 * (len(text) + 1)  # inches
        if middle - half >= end:
            kept.append((place, text))
            end = middle + half
    return kept


def bars(found: Importance, most: int, theme: "figures.Theme") -> "Figure":
    """Draws the importance of each field as a bar; of `most` fields."""
    names = list(found.shares)[:most]
    figure = figures.new(theme, 0.3 * len(names) + 0.75, layout="constrained")
    axes = figures.panel(figure.subplots(), theme)
    drawn = axes.barh(range(len(names)), [found.shares[name] for name in names], color=theme.first, height=0.6)
    axes.bar_label(drawn, fmt="%.2f", padding=4, color=theme.ink, **{**_SMALL, "fontsize": 9})
    labels = [_named(name, 18 if theme.narrow else 24) for name in names]
    axes.set_yticks(range(len(names)), labels, **{**_SMALL, "fontsize": 9}, color=theme.ink)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 1.1 * max(found.shares.values()) or 1))
    axes.grid(visible=False, axis="y")
    figures.label(axes, theme, xlabel="share of all importance")
    return figure


def slices(study: Snapshot, scales: Mapping[str, Scale], theme: "figures.Theme") -> "Figure":
    """Draws a panel for each field: the scores by its values."""
    ranked = study.ranked
    window = Window([trial.score for trial in ranked], study.direction)
    columns = COLUMNS - theme.narrow
    high = math.ceil(len(scales) / columns)
    figure = figures.new(theme, 1.95 * high + 0.35, layout="constrained")
    panels = figure.subplots(high, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(scales) :]:
        axes.set_axis_off()
    for axes, scale in zip(panels.flat, scales.values(), strict=False):
        figures.panel(axes, theme)
        shown = [trial for trial in ranked if scale.field in trial.values]
        places = [scale.at(trial.values[scale.field]) + bool(scale.names) * _aside(trial) for trial in shown]
        _dots(axes, shown, places, window, theme, size=11)
        if shown and shown[0] is ranked[0]:
            _ring(axes, places[0], ranked[0].score, theme)
        marks = [(place, figures.cut(text, 10)) for place, text in scale.ticks(4)]
        upright = {"rotation": 90} if sum(len(text) for _, text in marks) > 20 - 6 * theme.narrow else {}
        marks, texts = zip(*(marks if upright else _apart(scale, marks, 0.75 * theme.width / columns)), strict=True)
        axes.set_xticks(marks, texts, **_SMALL, **upright, color=theme.ink)
        margin = 0.35 if scale.names else 0.06 * (scale.high - scale.low)
        axes.set_xlim(scale.low - margin, scale.high + margin)
        figures.title(axes, _named(scale.field, 20 - 6 * theme.narrow), theme)
        window.frame(axes)
    for axes in panels[:, 0]:
        figures.label(axes, theme, ylabel=window.title(study.objective))
    return figure


def _aside(trial):
    """How far a trial's dot stands beside its name, so that dots do not hide one another: within 0.2."""
    return 0.4 * (trial.number * 0.618034 % 1) - 0.2


def histories(study: Snapshot) -> dict[int, list[tuple[int, float]]]:
    """Reads {number: [(epoch, value of the objective)]} from each trial's run; trials without a value are left out."""
    found = {}
    for trial in study.trials:
        told = {} if trial.path is None else curve(trial.path, study.objective)
        if rows := [(epoch, value) for epoch, value in told.items() if math.isfinite(value)]:
            found[trial.number] = rows
    return found


def curves(study: Snapshot, histories: Mapping[int, list[tuple[int, float]]], theme: "figures.Theme") -> "Figure":
    """Draws the objective of every trial by epoch; the best few are named."""
    values = [value for rows in histories.values() for _, value in rows]
    window = Window(values, study.direction)
    figure = figures.new(theme, 3.8, layout="constrained")
    axes = figures.panel(figure.subplots(), theme)
    named = [trial for trial in study.ranked if trial.number in histories][:NAMED]
    faint = len(histories) > 60
    for number in sorted(histories.keys() - {trial.number for trial in named}):
        dot = "." if len(histories[number]) == 1 else None
        alpha = 0.3 if faint else 0.6
        _curve(axes, histories[number], window, color=theme.muted, linewidth=0.8, marker=dot, alpha=alpha)
    for place, trial in enumerate(named):
        marker = "o" if len(histories[trial.number]) <= 30 else None
        style = {"color": theme.palette[place], "linewidth": 1.8, "marker": marker, "zorder": 3 - place / NAMED}
        _curve(axes, histories[trial.number], window, label=f"trial {trial.number}: {rounded(trial.score)}", **style)
    window.frame(axes)
    figures.label(axes, theme, ylabel=window.title(study.objective))
    figures.number_epochs(axes, theme)
    if named:
        figures.legend(figure, axes, theme, loc="outside upper left", ncols=2 if theme.narrow else 3)
    return figure


def _curve(axes, rows, window, **style):
    epochs, values = zip(*rows, strict=True)
    axes.plot(epochs, window.inside(values), markersize=3, **style)
