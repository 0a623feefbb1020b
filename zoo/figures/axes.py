"""Axes of a figure in the theme of a page: titles, labels, legends."""

import functools
from typing import TYPE_CHECKING, Any

from zoo.figures.theme import DPI, FONT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new(theme: Theme, height: float, **options: Any) -> "Figure":
    """An empty `matplotlib.figure.Figure` as wide as the theme says, and of `height` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(theme.width, height), dpi=DPI, facecolor=theme.paper, **options)


def dress(axes: "Axes", theme: Theme) -> "Axes":
    """Gives axes the theme's colours and a quiet frame."""
    axes.set_facecolor(theme.paper)
    axes.tick_params(which="both", colors=theme.muted, labelcolor=theme.ink, labelsize=9, labelfontfamily=FONT)
    axes.spines[:].set_color(theme.grid)
    return axes


def panel(axes: "Axes", theme: Theme) -> "Axes":
    """Dresses axes that have a grid and no box."""
    dress(axes, theme).grid(color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def title(axes: "Axes", text: str, theme: Theme) -> None:
    """Writes a panel's heading above its left corner."""
    style = {"fontsize": 10, "fontfamily": FONT, "fontweight": "bold", "parse_math": False}
    axes.set_title(text, loc="left", color=theme.ink, **style)


def label(axes: "Axes", theme: Theme, **texts: str) -> None:
    """Names the axes: `xlabel=`, `ylabel=`."""
    axes.set(**texts)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set(color=theme.ink, fontsize=10, fontfamily=FONT, parse_math=False)


def number_epochs(axes: "Axes", theme: Theme) -> None:
    """Makes epochs the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    label(axes, theme, xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def logarithmic(axes: "Axes") -> None:
    """Makes the vertical axis logarithmic, with plain numbers as marks: raised exponents are too small to read."""
    from matplotlib.ticker import LogFormatterSciNotation

    class Plain(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(Plain())
    axes.yaxis.set_minor_formatter(Plain())


def legend(owner: "Figure | Axes", axes: "Axes", theme: Theme, **options: Any) -> None:
    """Names the lines of `axes` in a legend of `owner`, which is a figure or axes."""
    style = {"frameon": False, "labelcolor": theme.ink, "prop": {"family": FONT, "size": 10}}
    owner.legend(*axes.get_legend_handles_labels(), **style, **options)


def scale(figure: "Figure", axes: Any, image: Any, theme: Theme, name: str, ticks: list[float] | None = None) -> None:
    """Says what the colours of an `image`, parts of 1, mean: by a bar beside `axes`, or below them for a phone."""
    place: dict[str, Any] = {"shrink": 0.7}
    if theme.narrow:
        place = {"location": "bottom", "shrink": 0.8, "aspect": 30, "pad": 0.02}
    bar = figure.colorbar(image, ax=axes, ticks=ticks, format="{x:.0%}", **place)
    dress(bar.ax, theme)
    bar.outline.set_edgecolor(theme.grid)
    bar.set_label(name, color=theme.ink, fontsize=10, fontfamily=FONT)


def drawable(label: str, number: int) -> str:
    """`label` on one line, or `#number` where the figures' font lacks one of its letters."""
    label = " ".join(label.split())
    known = _letters()
    return label if label and all(ord(letter) in known for letter in label) else f"#{number}"


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


@functools.cache
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(FONT)).get_charmap())
