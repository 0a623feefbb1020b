"""Pages that a person reads: one file with its pictures in it, without scripts, for light and dark screens.

A page is a template of this package that extends `page.html.j2`, filled with facts and `zoo.figures.Part`s.
"""

import base64
import contextlib
import importlib.resources
import math
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from zoo import figures, files
from zoo.errors import InputError, RunError
from zoo.fields.texts import rounded
from zoo.figures.encoding import png

MARK = "keras-zoo report"
"""What the page calls its generator: by it a folder is known to be a report, which another may replace."""

_PICTURES = re.compile(r'<meta name="pictures" content="([^"]*)">')
"""Where the page names the pictures beside it: no other file is removed with an older report."""


def written(template: str, facts: Mapping[str, Any], parts: Iterable[figures.Part]) -> dict[str, str | bytes]:
    """{file name: content} of a page and its pictures.

    Args:
        template: its name in this package.
        facts: {name: value} that the template is filled with.
        parts: the `zoo.figures.Part`s, in the order of the page; it finds them as `sections`.
    """
    import jinja2

    pictures = {}
    sections = []
    for part in parts:
        section: dict[str, Any] = {"part": part}
        if part.draw is not None:
            light, dark = (png(part.draw(theme)) for theme in (figures.LIGHT, figures.DARK))
            narrow = [png(part.draw(theme.phone)) for theme in (figures.LIGHT, figures.DARK)]
            pictures[f"{part.name}.png"] = light
            section["pictures"] = [_data_uri(picture) for picture in (light, dark, *narrow)]
        sections.append(section)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (importlib.resources.files("zoo") / name).read_text("utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["rounded"] = rounded
    environment.globals |= {"mark": MARK, "light": figures.LIGHT, "dark": figures.DARK, "columns": columns}
    environment.globals |= {"width": round(figures.WIDTH * 96), "narrow": round(figures.NARROW * 96)}
    page = environment.get_template(template).render(sections=sections, pictures=" ".join(pictures), **facts)
    return {"index.html": page, **pictures}


def columns(count: int, most: int = 4) -> int:
    """Returns how many of `count` cards stand in a row, at most `most`: the fewest rows that leave no card alone."""
    return min(range(2, most + 1), key=lambda side: (count % side == 1, math.ceil(count / side), side))


def _data_uri(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()


# Its folder ---------------------------------------------------------------------------------------------------------


def refuse_foreign(target: pathlib.Path) -> None:
    """Raises where `target` is there and is not a report: what is replaced is deleted."""
    if not target.exists():
        return
    entries = list(target.iterdir()) if target.is_dir() else [target]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if not entries:
            return
        page = (target / "index.html").read_text("utf-8")
        named = _PICTURES.search(page)  # a report of the first release names none
        ours = {"index.html", *(named[1].split() if named else (e.name for e in entries if e.suffix == ".png"))}
        if MARK in page and {entry.name for entry in entries} <= ours:
            return
    raise InputError(f"{target} exists and holds something other than a report. Name another folder.")


def put_in_place(target: pathlib.Path, contents: Mapping[str, str | bytes]) -> None:
    """Makes the folder `target` of {file name: content}, in place of an older one; an error leaves the older one."""
    target = target.resolve()
    new, old = (target.with_name(f".{target.name}.{os.getpid()}.{age}") for age in ("new", "old"))
    try:
        new.mkdir(parents=True)
        for name, content in contents.items():
            files.write(new / name, content)
        if target.exists():
            os.rename(target, old)
        os.rename(new, target)
        files.sync(target.parent)
    except OSError as error:
        raise RunError(f"The report could not be written to {target}: {error.strerror}.") from error
    finally:
        if old.exists() and not target.exists():
            os.rename(old, target)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
