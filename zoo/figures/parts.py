"""What a page is made of: a `Part` has a title, a caption, and a figure or a `Table`."""

import dataclasses
import typing

from zoo.figures.theme import Theme


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under a header. Cells are text or numbers; None is what there is not."""

    header: tuple[str, ...]
    rows: list[tuple[typing.Any, ...]]


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
