"""An extension of griffe: the sections that only our docstrings have, as Markdown."""

import re
from typing import Any

import griffe

_CALL = re.compile(r"^Call arguments:\n((?: +.*\n?|\n(?= ))+)", re.MULTILINE)
_ITEM = re.compile(r"^ {4}(\**\w+): ", re.MULTILINE)
_SHARED = re.compile(r"^( {4})(\w+(?:, \w+)+): (.*\n?(?:^ {8}.*\n?)*)", re.MULTILINE)
_INLINE = re.compile(r"^(Input shape|Output shape|Reference|References|Raises|Returns): (?=\S)", re.MULTILINE)
_FORMULA = re.compile(r"(?<=\n\n)(\w[\w()', ]* = [^\n]*[^.:\n](?:\n\S[^\n]* = [^\n]*[^.:\n])*)(?=\n\n)")
_DOCTEST = re.compile(r"^>>> .*\n(?:^\S.*\n?)*", re.MULTILINE)


def as_markdown(docstring: str) -> str:
    """Returns a docstring whose formulas are code, call arguments a list, and short sections bold titles.

    >>> print(as_markdown("Call arguments:\\n    inputs: Tensor.\\n    mask: Boolean tensor."))
    **Call arguments**
    <BLANKLINE>
    - `inputs`: Tensor.
    - `mask`: Boolean tensor.
    """
    text = _FORMULA.sub(r"```text\n\1\n```", docstring)
    text = _DOCTEST.sub(lambda match: f"```pycon\n{match[0].rstrip()}\n```\n", text)
    text = _SHARED.sub(_each, text)
    text = _CALL.sub(lambda match: "**Call arguments**\n\n" + _ITEM.sub(r"- `\1`: ", match[1]), text)
    return _INLINE.sub(r"\n**\1**: ", text)


def _each(match: re.Match[str]) -> str:
    """Several arguments that share one description, as one line each."""
    told = match[3] if match[3].endswith("\n") else match[3] + "\n"
    return "".join(f"{match[1]}{name}: {told}" for name in match[2].split(", "))


class Docstrings(griffe.Extension):
    """Rewrites each docstring before the pages take it."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
