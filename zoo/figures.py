"""What a report is made of: parts, tables, and figures for a light and a dark page.

Tasks compose their part of a report of these. matplotlib and scikit-learn are imported where they are used;
figures are made through matplotlib's object API, so that no state is shared with whoever else draws.
"""

import collections
import dataclasses
import functools
import math
import typing

import numpy as np

DPI = 144
WIDTH = 6.4
"""Inches. At half of it, the width of a phone, letters can still be read."""

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that a figure is the same everywhere."""

NUMBERED = 20
"""Classes up to which a confusion matrix has numbers in its cells."""

DRAWN = 200
"""Classes up to which a confusion matrix shows all of them."""

LISTED = 100
"""Rows of the table of classes, and classes of a confusion matrix that cannot show all, at most."""

LEGEND = 8
"""Lines of a panel that are named."""

CLASS_COLOURS = {
    "blue": (0, 114, 178),
    "orange": (230, 159, 0),
    "green": (0, 158, 115),
    "purple": (204, 121, 167),
    "sky blue": (86, 180, 233),
    "red": (213, 94, 0),
    "yellow": (240, 228, 66),
}
"""Of the classes of a mask from the second on, over and over; by Okabe and Ito."""

_DARK = ("blue", "orange", "green", "purple", "red", "sky blue")

PALETTE = (
    *("#{:02x}{:02x}{:02x}".format(*CLASS_COLOURS[name]) for name in _DARK),
    "#999933",
    "#882255",
)
"""Of lines, classes and experts, told apart by those who see fewer colours; beyond them it begins again."""


@dataclasses.dataclass(frozen=True)
class Theme:
    """The colours of figures and of the page around them.

    Attributes:
        paper, ink, muted, grid: background, text, secondary text, lines.
        first, second: two series; by Okabe and Ito, who chose them for colour-blind readers.
        ramp: from nothing to all, in one hue.
    """

    paper: str
    ink: str
    muted: str
    grid: str
    first: str
    second: str
    ramp: tuple[str, ...]


LIGHT = Theme(
    paper="#ffffff",
    ink="#1f2328",
    muted="#59636e",
    grid="#d8dee4",
    first="#0072b2",
    second="#d55e00",
    ramp=("#ffffff", "#b3d3ea", "#3d85be", "#08306b"),
)
DARK = Theme(
    paper="#15181c",
    ink="#e6e9ec",
    muted="#9da7b1",
    grid="#3a424b",
    first="#56b4e9",
    second="#e69f00",
    ramp=("#15181c", "#1c4667", "#3f93cd", "#d9eefc"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under a header. Cells are text or numbers; None is what there is not."""

    header: tuple[str, ...]
    rows: list[tuple]


@dataclasses.dataclass(frozen=True)
class Part:
    """A section of a report.

    Attributes:
        name: letters; the stem of the figure's file and the section's address on the page.
        title: its heading.
        caption: what is to be seen, in a sentence or two.
        draw: from a `Theme` to a matplotlib `Figure`; None where there is none.
        table: a `Table`, or None.
    """

    name: str
    title: str
    caption: str
    draw: typing.Callable[[Theme], typing.Any] | None = None
    table: Table | None = None


# Parts about classes, for every task that has them ------------------------------------------------------------------


def confusion(true, predicted, labels, split):
    """The `Part` that shows which classes are taken for which.

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
    cells = "Numbers are examples; the" if len(chosen) <= NUMBERED else "The"
    return Part(
        name="confusion",
        title="Confusion matrix",
        caption=f"{len(true):,} examples of the {split} split: a row is a true class, a column what it was taken for. "
        f"{cells} colour is the fraction of the row.{which}",
        draw=functools.partial(matrix, counts, totals, [drawable(labels[number], number) for number in chosen]),
    )


def scores(true, predicted, labels, split):
    """The `Part` with precision, recall and F1 of each class, the worst first; arguments as of `confusion`."""
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
        caption=f"Each class on the {split} split and what it was most often taken for, the lowest F1 first; no number "
        f"where there was nothing to count.{which}",
        table=Table(("class", "examples", "precision", "recall", "F1", "taken for"), rows),
    )


# Drawing ------------------------------------------------------------------------------------------------------------


def new(theme, height, **options):
    """An empty `matplotlib.figure.Figure` of the page's width and of `height` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=theme.paper, **options)


def dress(axes, theme):
    """Gives axes the theme's colours and a quiet frame."""
    axes.set_facecolor(theme.paper)
    axes.tick_params(which="both", colors=theme.muted, labelcolor=theme.ink, labelsize=9, labelfontfamily=FONT)
    axes.spines[:].set_color(theme.grid)
    return axes


def panel(axes, theme):
    """Dresses axes that have a grid and no box."""
    dress(axes, theme).grid(color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def title(axes, text, theme):
    """Writes a panel's heading above its left corner."""
    style = {"fontsize": 10, "fontfamily": FONT, "fontweight": "bold", "parse_math": False}
    axes.set_title(text, loc="left", color=theme.ink, **style)


def label(axes, theme, **texts):
    """Names the axes: `xlabel=`, `ylabel=`."""
    axes.set(**texts)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set(color=theme.ink, fontsize=10, fontfamily=FONT, parse_math=False)


def number_epochs(axes, theme):
    """Makes epochs the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    label(axes, theme, xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def legend(owner, axes, theme, **options):
    """Names the lines of `axes` in a legend of `owner`, which is a figure or axes."""
    style = {"frameon": False, "labelcolor": theme.ink, "prop": {"family": FONT, "size": 10}}
    owner.legend(*axes.get_legend_handles_labels(), **style, **options)


def curves(history, best, monitor, theme, omit=()):
    """Learning curves: a panel for the loss, for every other metric, and for the learning rate.

    Args:
        history: `Run.history`.
        best: the epoch of the best weights.
        monitor: the key of `history` that they are best by, or None.
        theme: a `Theme`.
        omit: keys of `history` that are left out.
    """
    keys = [key for row in history for key in row if key not in ("epoch", "learning_rate", *omit)]
    metrics = sorted(dict.fromkeys(key.removeprefix("val_") for key in keys), key=lambda name: name != "loss")
    names = [*metrics, "learning_rate"]
    heights = [2.0] * len(metrics) + [1.3]
    figure = new(theme, sum(heights) + 0.7, layout="constrained")
    panels = figure.subplots(len(names), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        _curve(axes, history, name, theme)
        _mark(axes, history, name, best, monitor, theme)
    number_epochs(panels[-1], theme)
    legend(figure, panels[0], theme, loc="outside upper left", ncols=3)
    return figure


def readings(history, groups, theme):
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
            colour = PALETTE[number % len(PALETTE)]
            marker = "o" if len(history) <= 30 else None
            axes.plot(epochs, values, color=colour, label=key, linewidth=1.6, marker=marker, markersize=3)
        title(axes, reading, theme)
        if 1 < len(keys) <= LEGEND:
            legend(axes, axes, theme, loc="center left", bbox_to_anchor=(1.0, 0.5))
    number_epochs(panels[-1], theme)
    return figure


def _curve(axes, history, name, theme):
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
    steep = bool(drawn) and min(drawn) > 0 and max(drawn) > 30 * min(drawn)
    if steep:
        axes.set_yscale("log")
    title(axes, name.replace("_", " ") + (" (logarithmic)" if steep else ""), theme)


def _mark(axes, history, name, best, monitor, theme):
    """A line at the epoch of the best weights, and a ring around the value that made them the best."""
    title = f"{'best' if monitor else 'last'} epoch: {best}"
    axes.axvline(best, color=theme.muted, linewidth=1.4, linestyle=":", label=title, zorder=1.5)
    if monitor in (name, f"val_{name}"):
        colour = theme.first if monitor == name else theme.second
        value = next(row[monitor] for row in history if row["epoch"] == best)
        axes.plot(best, value, "o", color=colour, markersize=9, fillstyle="none", markeredgewidth=1.8)


def matrix(counts, totals, labels, theme):
    """A confusion matrix: counts where there is room, and colour for the fraction of the true class.

    Args:
        counts: (classes, classes), a row a true class.
        totals: (classes,), the examples of each true class, those outside of `counts` included.
        labels: the names of the classes.
        theme: a `Theme`.
    """
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    fractions = counts / np.maximum(totals, 1)[:, None]
    figure = new(theme, 5.4, layout="constrained")
    axes = dress(figure.subplots(), theme)
    # The square root shows one mistake in a hundred as a tenth of the ramp.
    norm = PowerNorm(0.5, 0, 1)
    ramp = LinearSegmentedColormap.from_list("ramp", theme.ramp)
    shown = axes.imshow(fractions, cmap=ramp, norm=norm, interpolation="nearest")
    if len(counts) <= NUMBERED:
        axes.hlines(np.arange(1, len(counts)) - 0.5, -0.5, len(counts) - 0.5, color=theme.grid, linewidth=0.5)
        axes.vlines(np.arange(1, len(counts)) - 0.5, -0.5, len(counts) - 0.5, color=theme.grid, linewidth=0.5)
        _write_counts(axes, counts, norm(fractions), theme)
    every = math.ceil(len(labels) / 30)
    ticks = range(0, len(labels), every)
    names = [cut(labels[tick], 16) for tick in ticks]
    upright = {"rotation": 90} if len(names) * max(map(len, names)) > 50 else {}
    size = 10 if len(ticks) <= 12 else 8 if len(ticks) <= NUMBERED else 7
    style = {"fontsize": size, "fontfamily": FONT, "color": theme.ink, "parse_math": False}
    axes.set_xticks(ticks, names, **style, **upright)
    axes.set_yticks(ticks, names, **style)
    label(axes, theme, xlabel="predicted", ylabel="true")
    bar = figure.colorbar(shown, ax=axes, shrink=0.7, ticks=[0, 0.05, 0.2, 0.5, 1], format="{x:.0%}")
    dress(bar.ax, theme)
    bar.outline.set_edgecolor(theme.grid)
    return figure


def _write_counts(axes, counts, depth, theme):
    size = 10 if len(counts) <= 12 else 8
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = theme.paper if depth[row, column] > 0.6 else theme.ink
            axes.text(column, row, f"{count}", color=colour, fontsize=size, fontfamily=FONT, ha="center", va="center")


def gallery(pictures, captions, theme, columns=4):
    """Pictures in a grid, each as it is, with lines of text below.

    Args:
        pictures: uint8 (height, width, channels) each.
        captions: for each picture a list of lines; the first is in bold.
        theme: a `Theme`.
        columns: how many stand side by side.
    """
    margin, gap, line = 0.02, 0.16, 0.19
    side = (WIDTH - 2 * margin - gap * (columns - 1)) / columns
    tall = side + line * max(map(len, captions)) + 0.03 + gap
    height = tall * math.ceil(len(pictures) / columns)
    figure = new(theme, height)
    axes = figure.add_axes((0, 0, 1, 1))  # one inch is one unit
    for number, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(number, columns)
        left, top = margin + column * (side + gap), margin + row * tall
        _hang(axes, picture, left, top, side, theme)
        for below, text in enumerate(lines):
            axes.text(
                left,
                top + side + 0.12 + line * below,
                cut(text, 19 if below else 17),  # bold letters are wider
                color=theme.muted if below else theme.ink,
                fontsize=9,
                fontfamily=FONT,
                fontweight="normal" if below else "bold",
                va="center",
                parse_math=False,
            )
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    return figure


def _hang(axes, picture, left, top, side, theme):
    """Draws a picture in the middle of a square, its proportions kept."""
    from matplotlib.patches import Rectangle

    height, width, channels = picture.shape
    scale = side / max(height, width)
    wide, high = width * scale, height * scale
    left, top = left + (side - wide) / 2, top + (side - high) / 2
    pixels = picture[..., :3] if channels >= 3 else picture[..., 0]
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(left, left + wide, top + high, top))
    axes.add_patch(Rectangle((left, top), wide, high, fill=False, edgecolor=theme.grid, linewidth=0.8))


def tinted(picture, mask):
    """A picture, uint8 (height, width, channels), in colour, with the classes of its mask from 1 on tinted."""
    colours = np.array([*CLASS_COLOURS.values()], float)[(mask - 1) % len(CLASS_COLOURS)]  # (height, width, 3)
    pixels = np.broadcast_to(picture[..., :3], (*mask.shape, 3)).astype(float)
    return np.where(mask[..., None] > 0, (pixels + colours) / 2, pixels).round().astype(np.uint8)


def drawable(label, number):
    """`label` on one line, or `#number` where the figures' font lacks one of its letters."""
    label = " ".join(label.split())
    known = _letters()
    return label if label and all(ord(letter) in known for letter in label) else f"#{number}"


@functools.cache
def _letters():
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(FONT)).get_charmap())


def _named(label, number):
    """A label for a table; with its number where the figures know it by that alone."""
    return label if drawable(label, number) != f"#{number}" else f"#{number} {label}"


def cut(text, most):
    return text if len(text) <= most else f"{text[: most - 1]}…"
