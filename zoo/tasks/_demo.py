"""What the demos of tasks have in common."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import InputError
from zoo.figures import demo

if TYPE_CHECKING:
    from zoo.readers.tokenizer import Tokenizer
    from zoo.tasks._classes import Prediction

EXAMPLES, MOST = 8, 10
"""Example images on a page, and classes in an answer at most."""


def image_form(action: str, channels: int, probe: Mapping[str, np.ndarray], draws: bool) -> demo.Form:
    """The form of a task that takes one image.

    Args:
        channels: of the network's input.
        probe: raw examples of a run; empty where there are none.
        draws: whether drawing makes sense of an image of one channel.
    """
    examples = tuple(bytes(one) for one in probe.get("serving_default/image_bytes", ())[:EXAMPLES])
    image = demo.Question(
        "image",
        "image",
        "Image",
        help="PNG, JPEG, GIF, BMP, WebP or TIFF. Drop a file here, paste one, or choose one.",
        draws=draws and channels == 1,
        examples=examples,
    )
    return demo.Form(action, (image,))


def text_form(
    action: str, label: str, probe: Mapping[str, np.ndarray], *more: demo.Question, **options: Any
) -> demo.Form:
    """The form of a task that takes a text, which begins as the first of the run's raw examples; then `more`."""
    texts = probe.get("serving_default/text", ())
    first = bytes(texts[0]).decode(errors="replace") if len(texts) else ""
    return demo.Form(action, (demo.Question("text", "text", label, **{"value": first, **options}), *more))


def row_form(columns: Sequence[Mapping[str, Any]], first: Mapping[str, Any], action: str) -> demo.Form:
    """The form of a row of a table.

    Args:
        columns: those of a `TableReader`.
        first: {column: value} that it begins with; a number that is not there is the mean.
        action: the word on its button.
    """
    questions = []
    for column in columns:
        name, value = column["name"], first.get(column["name"])
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if "values" in column:
            choices = tuple(column["values"])
            value = value if value in choices else choices[0]
            questions.append(demo.Question(name, "choice", name, value=value, choices=choices))
        elif "cycles" in column or "notation" in column:
            said = "A date, as in the table." if "cycles" in column else "A number, as in the table."
            questions.append(demo.Question(name, "line", name, said, "" if value is None else str(value)))
        else:
            number = column["mean"] if value is None or not np.isfinite(value) else value
            questions.append(demo.Question(name, "line", name, value=f"{float(number):.6g}"))
    return demo.Form(action, tuple(questions))


def text_of(given: Mapping[str, Any], name: str = "text") -> str:
    """The text that was given; an empty one is an `InputError`."""
    text = given.get(name, "")
    if not isinstance(text, str) or not text.strip():
        raise InputError("There is no text yet: write one.")
    return text


def bars(prediction: "Prediction", title: str = "Classes") -> demo.Bars:
    """The likeliest classes of a `Prediction`."""
    return demo.Bars(title, tuple(prediction.probabilities.items())[:MOST])


def likeliest(tokenizer: "Tokenizer", odds: np.ndarray, most: int = 5) -> tuple[tuple[str, float], ...]:
    """(token, probability) of the likeliest of log-probabilities (vocabulary,)."""
    ids = [int(one) for one in np.argsort(-odds, kind="stable")[:most] if np.isfinite(odds[one])]
    return tuple((spelled(tokenizer, one), float(np.exp(odds[one]))) for one in ids)


def spelled(tokenizer: "Tokenizer", token: int) -> str:
    """A token as a person reads it."""
    return (tokenizer.spelled([token]) or ["<padding>"])[0]
