"""What the page of a demo is made of: a `Form` of questions, and the parts of an answer.

A task says both (`Recipe.demo_form`, `Recipe.demo`); the page knows these kinds and no task.
"""

import base64
import dataclasses
import io
import typing
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Question:
    """An input of a form.

    Attributes:
        name: what its value is called.
        kind: "image", a file whose value is bytes; "text", of several lines; "line"; "choice", one of `choices`.
        label: what a person reads.
        help: a sentence below it.
        value: what stands in it at the beginning.
        choices: of a choice.
        draws: whether an image can be drawn on a pad, light on dark.
        insert: a text that a button inserts.
        examples: PNG files to choose from, of an image.
    """

    name: str
    kind: typing.Literal["image", "text", "line", "choice"]
    label: str
    help: str = ""
    value: str = ""
    choices: tuple[str, ...] = ()
    draws: bool = False
    insert: str = ""
    examples: tuple[bytes, ...] = ()


@dataclasses.dataclass(frozen=True)
class Form:
    """What a demo asks for.

    Attributes:
        action: the word on its button.
        questions: one or several.
    """

    action: str
    questions: tuple[Question, ...]


@dataclasses.dataclass(frozen=True)
class Bars:
    """Fractions of 1 with their names, the largest first."""

    title: str
    rows: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Text:
    """A text that was written, or a number."""

    title: str
    text: str


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image.

    Attributes:
        pixels: uint8 (height, width, 3).
        legend: (label, colour as "#rrggbb" or "" where nothing is tinted, fraction of the pixels) of each class.
    """

    title: str
    pixels: np.ndarray
    legend: tuple[tuple[str, str, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Grid:
    """Numbers with names of their rows and columns, as shades and as text.

    Attributes:
        caption: what rows, columns and shades are.
        values: floats (rows, columns) from 0 to 1; what is below 0 has the shade of 0.
        numbers: whether each number is written into its cell.
    """

    title: str
    caption: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    numbers: bool = False


@dataclasses.dataclass(frozen=True)
class Token:
    """The next token of a text that is being written.

    Attributes:
        text: all that is written so far.
        token: the token, as a person reads it.
        probability: its probability under the network.
        others: (token, probability) of the likeliest.
    """

    text: str
    token: str
    probability: float
    others: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Note:
    """A sentence beside the answer, such as that a text was cut."""

    text: str


Shown: typing.TypeAlias = Bars | Text | Picture | Grid | Token | Note
"""A part of an answer."""


def as_json(part: Shown) -> dict[str, typing.Any]:
    """Returns a part as JSON has it: its attributes, and its class as `kind`; pixels as the URL of a PNG."""
    found: Mapping[str, typing.Any] = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    values = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}
    if isinstance(part, Picture):
        values["pixels"] = png_url(png(part.pixels))
    return {"kind": type(part).__name__.lower(), **values}


def png(pixels: np.ndarray) -> bytes:
    """Returns the PNG file of uint8 (height, width, 3)."""
    import PIL.Image

    data = io.BytesIO()
    PIL.Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def png_url(data: bytes) -> str:
    """Returns a URL that holds a PNG file."""
    return "data:image/png;base64," + base64.b64encode(data).decode()
