"""Figures of images, side by side."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.figures.axes import cut, new
from zoo.figures.theme import CLASS_COLOURS, FONT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = 200
"""Classes up to which a confusion matrix shows all of them."""


def gallery(
    pictures: Sequence[np.ndarray], captions: Sequence[Sequence[str]], theme: Theme, columns: int = 4
) -> "Figure":
    """Pictures in a grid, each as it is, with lines of text below.

    Args:
        pictures: uint8 (height, width, channels) each.
        captions: for each picture a list of lines; the first is in bold.
        theme: a `Theme`.
        columns: how many stand side by side, where there is room: four are two on the screen of a phone.
    """
    columns = columns - 2 if theme.narrow and columns > 3 else columns
    margin, gap, line = 0.02, 0.16, 0.19
    side = (theme.width - 2 * margin - gap * (columns - 1)) / columns
    tall = side + line * max(map(len, captions)) + 0.03 + gap
    height = tall * math.ceil(len(pictures) / columns)
    room = side * 72 / 9  # the width of a picture in letters as high as wide
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
                cut(text, int(room / (0.61 if below else 0.69))),  # bold letters are wider
                color=theme.muted if below else theme.ink,
                fontsize=9,
                fontfamily=FONT,
                fontweight="normal" if below else "bold",
                va="center",
                parse_math=False,
            )
    axes.set(xlim=(0, theme.width), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    return figure


def _hang(axes: "Axes", picture: np.ndarray, left: float, top: float, side: float, theme: Theme) -> None:
    """Draws a picture in the middle of a square, its proportions kept."""
    from matplotlib.patches import Rectangle

    height, width, channels = picture.shape
    scale = side / max(height, width)
    wide, high = width * scale, height * scale
    left, top = left + (side - wide) / 2, top + (side - high) / 2
    pixels = picture[..., :3] if channels >= 3 else picture[..., 0]
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(left, left + wide, top + high, top))
    axes.add_patch(Rectangle((left, top), wide, high, fill=False, edgecolor=theme.grid, linewidth=0.8))


def tinted(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A picture, uint8 (height, width, channels), in colour, with the classes of its mask from 1 on tinted."""
    colours = np.array([*CLASS_COLOURS.values()], float)[(mask - 1) % len(CLASS_COLOURS)]  # (height, width, 3)
    pixels = np.broadcast_to(picture[..., :3], (*mask.shape, 3)).astype(float)
    return np.where(mask[..., None] > 0, (pixels + colours) / 2, pixels).round().astype(np.uint8)
