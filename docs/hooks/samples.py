"""What the built-in data look like: an image, or a few lines of Markdown."""

import datetime
import functools
import html
import io
from collections.abc import Callable

import numpy as np


def sample(dataset: str) -> tuple[str, dict[str, bytes]]:
    """Returns (Markdown, {uri: content of an image that it shows}) of a data set of the package."""
    made = _SAMPLES[dataset]()
    if isinstance(made, str):
        return made, {}
    uri = f"assets/samples/{dataset}.png"
    return f"![Examples of `{dataset}`]({uri})", {uri: _png(made)}


@functools.cache
def digits() -> np.ndarray:
    """Six handwritten digits, side by side."""
    from sklearn.datasets import load_digits

    images = load_digits().images[[0, 11, 42, 53, 64, 75]].astype("uint8") * 15
    return np.kron(np.concatenate([np.pad(image, 1) for image in images], axis=1), np.ones((8, 8), "uint8"))


@functools.cache
def cells() -> np.ndarray:
    """A drawn micrograph beside its mask."""
    from zoo.data.cells import Cells, draw

    image, mask = draw(Cells(size=128), np.random.default_rng(3))
    return np.kron(np.concatenate([image, mask * 127], axis=1), np.ones((2, 2), "uint8"))


@functools.cache
def moons() -> np.ndarray:
    """The points of two classes, in two greys."""
    from sklearn.datasets import make_moons

    points, labels = make_moons(600, noise=0.1, random_state=0)
    canvas = np.full((200, 480), 32, "uint8")
    low, high = points.min(axis=0), points.max(axis=0)
    places = ((points - low) / (high - low) * [460, 180] + [8, 8]).astype(int)
    for (x, y), label in zip(places, labels, strict=True):
        canvas[200 - y - 4 : 200 - y, x : x + 4] = 150 if label else 250
    return canvas


def dates() -> str:
    """Dates in words, and in ISO 8601."""
    from zoo.data.dates import written

    given = [(datetime.date(2011, 3, 3), "en", "long"), (datetime.date(1987, 10, 21), "fr", "full")]
    lines = (f"{written(day, locale, width)} → **{day.isoformat()}**" for day, locale, width in given)
    return "<br>\n".join(lines)


def english() -> str:
    """The beginning of a text."""
    from zoo.data.english import topics

    paragraphs = (part for text in topics().values() for part in text.split("\n\n"))
    prose = next(part for part in paragraphs if len(part) > 200 and part.replace("\n", " ")[:100].isascii())
    words = prose.split()[:14]
    return f"“{html.escape(' '.join(words))} …”".replace("*", r"\*").replace("_", r"\_")


_SAMPLES: dict[str, Callable[[], np.ndarray | str]] = {
    "digits": digits,
    "cells": cells,
    "moons": moons,
    "dates": dates,
    "english": english,
    "sections": english,
}


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return stream.getvalue()
