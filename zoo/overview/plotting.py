"""Curves in a terminal, drawn with Braille dots: two across and four down a letter."""

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

COLOURS = ("blue", "yellow", "green", "magenta", "cyan", "red")
"""Of curves, over and over."""

_BLANK = 0x2800
"""The Braille letter without a dot; others add the bits of their dots."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a Braille letter, by row and column."""


def chart(title: str, curves: Mapping[str, Mapping[int, float]], width: int, height: int, last: int) -> "Text":
    """Returns curves over epochs as text, `height` lines of `width` letters and a line above and below.

    Args:
        title: what is drawn; the names of the curves stand behind it in their colours.
        curves: {name: {epoch: value}}; values that are not finite are left out, and so is a curve without another.
        width: letters of a line, labels included.
        height: lines of the picture.
        last: the epoch at the right edge.
    """
    from rich.text import Text

    finite = {
        name: {epoch: value for epoch, value in curve.items() if math.isfinite(value)} for name, curve in curves.items()
    }
    shown = {name: curve for name, curve in finite.items() if curve}
    text = Text(title, style="bold")
    for place, name in enumerate(shown):
        text.append(f"  {name}", style=f"not bold {COLOURS[place % len(COLOURS)]}")
    if not shown:
        return text.append("  nothing to draw yet", style="not bold")
    values = [value for curve in shown.values() for value in curve.values()]
    low, high = min(values), max(values)
    labels = {0: f"{high:.4g}", height - 1: f"{low:.4g}"}
    margin = max(map(len, labels.values())) + 1
    columns = max(width - margin, 8)
    cells, colours = _drawn(shown, columns, height, last, low, high)
    for row in range(height):
        text.append(f"\n{labels.get(row, ''):>{margin - 1}} ", style="not bold dim")
        line = [(colours.get((row, column), "default"), cells.get((row, column), 0)) for column in range(columns)]
        for colour, letters in itertools.groupby(line, key=lambda one: one[0]):
            drawn = "".join(chr(_BLANK + bits) if bits else " " for _, bits in letters)
            text.append(drawn, style=f"not bold {colour}")
    text.append(f"\n{'':>{margin}}1{f'epoch {last}':>{columns - 1}}", style="not bold dim")
    return text


def _drawn(
    curves: Mapping[str, Mapping[int, float]], columns: int, rows: int, last: int, low: float, high: float
) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], str]]:
    """({(row, column): dots}, {(row, column): colour}); a curve that is drawn later covers the colour of another."""
    cells: dict[tuple[int, int], int] = {}
    colours: dict[tuple[int, int], str] = {}
    across, down = 2 * columns - 1, 4 * rows - 1

    def place(epoch: int, value: float) -> tuple[float, float]:
        right = (epoch - 1) / max(last - 1, 1)
        up = (value - low) / (high - low) if high > low else 0.5
        return min(right, 1.0) * across, (1 - up) * down

    for number, curve in enumerate(curves.values()):
        points = [place(epoch, curve[epoch]) for epoch in sorted(curve)]
        for (x, y), (to_x, to_y) in zip(points, [*points[1:], points[-1]], strict=True):
            steps = max(1, math.ceil(max(abs(to_x - x), abs(to_y - y))))
            for step in range(steps + 1):
                dot_x, dot_y = round(x + (to_x - x) * step / steps), round(y + (to_y - y) * step / steps)
                cell = dot_y // 4, dot_x // 2
                cells[cell] = cells.get(cell, 0) | _DOTS[dot_y % 4][dot_x % 2]
                colours[cell] = COLOURS[number % len(COLOURS)]
    return cells, colours
