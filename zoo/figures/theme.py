"""Sizes, fonts and colours of figures, for a light and a dark screen."""

import dataclasses

DPI = 144


WIDTH = 6.4
"""Inches. At half of it, the width of a phone, letters can still be read."""


FONT = "DejaVu Sans"
"""Comes with matplotlib, so that a figure is the same everywhere."""


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
