"""Sizes, fonts and colours of figures, for a light and a dark screen."""

import dataclasses

DPI = 144


WIDTH = 6.4
"""Inches of a figure on a page: as wide as a line of text."""


NARROW = 3.75
"""Inches of the figure that a phone shows in its place."""


FONT = "DejaVu Sans"
"""Comes with matplotlib, so that a figure is the same everywhere."""


SMALL = 7.5
"""Points of the smallest letters: 10 pixels on a page."""


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


@dataclasses.dataclass(frozen=True)
class Theme:
    """The colours of figures and of the page around them.

    Attributes:
        paper, ink, muted, grid: background, text, secondary text, lines.
        first, second: two series; by Okabe and Ito, who chose them for colour-blind readers.
        ramp: from nothing to all, in one hue.
        palette: of lines, classes and experts, for those who see fewer colours too; beyond them it begins again.
        width: inches of a figure.
    """

    paper: str
    ink: str
    muted: str
    grid: str
    first: str
    second: str
    ramp: tuple[str, ...]
    palette: tuple[str, ...]
    width: float = WIDTH

    @property
    def narrow(self) -> bool:
        """Whether figures are for the screen of a phone."""
        return self.width < WIDTH

    @property
    def phone(self) -> "Theme":
        """The same colours for the screen of a phone."""
        return dataclasses.replace(self, width=NARROW)

    def most(self, letters: int) -> int:
        """Returns how many letters stand where there is room for `letters` in a wide figure."""
        return int(letters * self.width / WIDTH)


LIGHT = Theme(
    paper="#ffffff",
    ink="#1f2328",
    muted="#59636e",
    grid="#d8dee4",
    first="#0072b2",
    second="#d55e00",
    ramp=("#ffffff", "#b3d3ea", "#3d85be", "#08306b"),
    palette=("#0072b2", "#b87d00", "#009e73", "#c8508c", "#d55e00", "#2b8fd0", "#7a7a1f", "#882255"),
)


DARK = Theme(
    paper="#15181c",
    ink="#e6e9ec",
    muted="#9da7b1",
    grid="#3a424b",
    first="#56b4e9",
    second="#e69f00",
    ramp=("#15181c", "#1c4667", "#3f93cd", "#d9eefc"),
    palette=("#5aa9f0", "#e69f00", "#1fb58a", "#d98ab8", "#ff7a45", "#9bdcff", "#c3c34d", "#b58adf"),
)
