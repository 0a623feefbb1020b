"""`png`: figures as PNG files, small enough that a page holds four of each."""

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import PIL.Image
    from matplotlib.figure import Figure

SHADES = 4096
"""Colours at most of an image that is written with a palette. A chart has some hundreds, nearly all of them where edges
are smoothed; a photograph has more, and keeps its own."""


def png(figure: "Figure") -> bytes:
    """Returns a figure as a PNG file, with a palette where it has few colours."""
    import PIL.Image
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    with_palette(image).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def with_palette(image: "PIL.Image.Image") -> "PIL.Image.Image":
    """Returns an RGB image with a palette: its 256 most frequent colours as they are, others as the nearest of them.

    One with more than `SHADES` colours is returned as it is.
    """
    import PIL.Image

    found = image.getcolors(SHADES)
    if found is None:
        return image
    counts, colours = (np.array(part) for part in zip(*found, strict=True))
    palette = colours[np.argsort(-counts, kind="stable")[:256]]
    far = ((colours[:, None] - palette[None]) ** 2).sum(-1)  # (colours, 256)
    packed, pixels = (rgb @ (1 << 16, 1 << 8, 1) for rgb in (colours, np.asarray(image, "int64")))
    order = np.argsort(packed)
    places = far.argmin(1)[order][np.searchsorted(packed[order], pixels)]
    drawn = PIL.Image.fromarray(places.astype("uint8"))
    drawn.putpalette(palette.astype("uint8").tobytes())
    return drawn
