"""What stands on the command line as text: a recipe's name and `field=value` pairs, and folders of runs."""

import os
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from zoo.cli.screen import load_backend
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe
    from zoo.fields import Declared
    from zoo.runs import Run, Trained


def named(name: str, pairs: Iterable[str], space: Mapping[str, str] | None = None) -> "tuple[Recipe, dict[str, Any]]":
    """The recipe `name`, and {field: value} of `field=text` arguments: the one place where the shell's names resolve.

    A name that does not exist, and a field or a value that the recipe refuses, costs no seconds: all are read from the
    source before Keras is loaded.

    Args:
        space: {field: range as text} of a study, which are checked too.
    """
    from zoo import registry
    from zoo.tuning.ranges import VARIANT, parse

    registry.check_name(name)
    sketch = registry.sketch(name)
    if sketch is not None:
        parsed(sketch, pairs)
        for field, text in (space or {}).items():
            if field != VARIANT:
                parse(field, sketch.field(field), text)
    load_backend()
    recipe = registry.configured(name, {})
    return recipe, parsed(type(recipe), pairs)


def resumed(path: str | os.PathLike[str], pairs: Iterable[str], trust: bool = False) -> dict[str, Any]:
    """{field: value} of `field=text` arguments for the run in a folder.

    As in `named`, what the run's recipe refuses costs no seconds.
    """
    from zoo.runs import Run

    run = Run.open(path, trust)
    sketch = run.sketch
    if sketch is not None:
        parsed(sketch, pairs)
    load_backend()
    return parsed(type(run.recipe), pairs)


def parsed(cls: "type[Declared]", pairs: Iterable[str]) -> dict[str, Any]:
    """{field: value} of `field=text` arguments, read by the fields of the class of a recipe."""
    given = pairs_of(pairs, "Fields are given as name=value.", "{}")
    return {name: cls.field(name).parse(name, text) for name, text in given.items()}


def pairs_of(given: Iterable[str], rule: str, called: str) -> dict[str, str]:
    """{name: text} of `name=text` arguments.

    Args:
        rule: the sentence for an argument without `=`.
        called: how an error calls a name, such as "The space of {}".
    """
    found = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"{rule} Received: {pair!r}.")
        if name in found:
            raise InputError(f"{called.format(name)} is given twice.")
        found[name] = text
    return found


def without(part: Mapping[str, Any] | None, names: Collection[str]) -> dict[str, Any]:
    """A part of a job but for what the command line says otherwise; what is no mapping is refused where it is read."""
    part = part or {}
    return {name: value for name, value in part.items() if name not in names}


def open_run(path: str | os.PathLike[str], trust: bool = False) -> "Run":
    """The run in a folder; a wrong one is refused before Keras is loaded."""
    from zoo.runs import Run

    run = Run.open(path, trust)
    load_backend()
    return run


def open_source(name: str | os.PathLike[str], trust: bool = False) -> "Trained":
    """The run, or the pretrained source, of a name; a run that is wrong is refused before Keras is loaded."""
    from zoo.runs import open_trained
    from zoo.weights import hub

    if not hub.is_source(name):
        return open_run(name, trust)
    load_backend()
    return open_trained(name)
