"""A small piece of HTML about one thing, for notebooks: self-contained, escaped, in the colours around it."""

import html
from collections.abc import Iterable, Sequence

from zoo.fields.texts import rounded, short

_STYLE = "border-collapse:collapse;margin:.4em 0;font-size:.9em;color:inherit;background:none"
_LINE = "border:0;border-bottom:1px solid rgba(128,128,128,.35);padding:.15em .8em .15em 0;background:none"
_QUIET = "opacity:.7"


def card(title: str, facts: Iterable[tuple[str, object]], *parts: str) -> str:
    """Returns HTML of a title, facts and further parts, which are HTML: `table` and `folded` make them.

    It has no colours of its own but grey lines, so that it can be read on light and on dark pages.

    Args:
        title: text.
        facts: (what, text or number) of each; None leaves one out.
        parts: HTML.
    """
    shown = [(what, value) for what, value in facts if value is not None]
    lines = "".join(
        f'<div><span style="{_QUIET}">{_text(what)}</span> {_text(_shown(value))}</div>' for what, value in shown
    )
    return f'<div style="overflow-x:auto"><div><strong>{_text(title)}</strong></div>{lines}{"".join(parts)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns HTML of a table; None is an empty cell."""
    head = "".join(f'<th scope="col" style="{_LINE};text-align:left">{_text(name)}</th>' for name in header)
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f'<table style="{_STYLE}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def folded(title: str, part: str) -> str:
    """Returns HTML of a part that opens on a click on its title."""
    return f'<details><summary style="cursor:pointer">{_text(title)}</summary>{part}</details>'


def _cell(value: object) -> str:
    aligned = "right" if isinstance(value, (int, float)) and not isinstance(value, bool) else "left"
    return f'<td style="{_LINE};text-align:{aligned}">{_text(_shown(value))}</td>'


def _shown(value: object) -> str:
    """A value as text: numbers as in a table of a page, what is no number as a person types it."""
    return rounded(value) if value is None or isinstance(value, float) else short(value)


def _text(value: object) -> str:
    return html.escape(str(value))
