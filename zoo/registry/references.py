"""Recipes written down, for a run, a study or another process, and made again; who may have code run by that."""

import contextlib
import functools
import importlib
import pathlib
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from zoo.errors import InputError
from zoo.fields import Declared, Origin, from_json
from zoo.registry import trust
from zoo.registry.finding import file_of, from_file, is_file, module_name
from zoo.registry.headers import GROUP, TASKS, source_of
from zoo.registry.sketching import sketch_of

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe

_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[\w.<>]+")
"""`module:Class`, as `reference` writes it."""


def saved(recipe: "Recipe") -> dict[str, Any]:
    """Returns what `restored` makes `recipe` of again, in another process and another year: a mapping for JSON."""
    return {
        "reference": reference(recipe),
        "name": recipe.name,
        "variant": recipe.variant,
        "given": sorted(recipe.origin.given),
        "values": recipe.values(),
    }


def restored(saved: Any, trusted: bool = False) -> "Recipe":
    """Returns the recipe that `saved` wrote down.

    Args:
        saved: a mapping, which may come from a stranger.
        trusted: whether its code may run, wherever it lies.
    Raises: `InputError` for a class or a field that is gone, for code that is not trusted, and for what `saved` never
        writes.
    """
    _refuse_damaged(saved)
    cls = resolve(saved["reference"], trusted)
    values = from_json(saved["values"])
    gone = sorted(set(values) - set(cls.fields()))
    if gone:
        raise InputError(f"The recipe class {saved['reference']} has no field {', '.join(gone)} any more.")
    origin = Origin(saved["name"], saved["variant"], frozenset(saved["given"]))
    return cls.restored(origin, cls.normal(values))  # the default of an inactive field may have changed since


def sketched(saved: Any, trusted: bool = False) -> "type[Declared] | None":
    """Returns the sketch of the class that `saved` wrote down, without importing it; None if none is told.

    Args:
        saved, trusted: as of `restored`. A declaration of fields is code, too.
    Raises: `InputError` for code that is not trusted, and for what `saved` never writes.
    """
    _refuse_damaged(saved)
    _refuse_unloadable(saved["reference"], trusted)
    return sketch_of(saved["reference"])


def _refuse_damaged(saved: Any) -> None:
    kinds = {"reference": str, "name": str, "variant": str | None, "given": list, "values": dict}
    for key, kind in kinds.items():
        if not isinstance(saved, dict) or key not in saved or not isinstance(saved[key], kind):
            raise InputError(f"The recipe that was saved is damaged: {key!r} is missing or of a wrong kind.")
    if not all(isinstance(name, str) for name in saved["given"]):
        raise InputError("The recipe that was saved is damaged: 'given' has entries that are no names.")


def _refuse_unloadable(text: str, trusted: bool) -> None:
    """Raises for a reference that `reference` never writes, and for one whose code may not run."""
    if not _is_file(text) and not _CLASS.fullmatch(text):
        raise InputError(f"{text!r} is no recipe class: expected module:Class, or a .py file.")
    if not trusted and not _may_load(text):
        raise _untrusted(text)


def _is_file(text: str) -> bool:
    return text.endswith(".py") and "\0" not in text


def reference(recipe: "Recipe") -> str:
    """Returns text from which `resolve` finds the class of `recipe` again, in another process."""
    cls = type(recipe)
    if cls.__module__.startswith("zoo_recipe_"):
        return str(pathlib.Path(sys.modules[cls.__module__].__file__).resolve())
    return f"{cls.__module__}:{cls.__qualname__}"


def resolve(text: str, trusted: bool = False) -> "type[Recipe]":
    """Returns the recipe class that `reference` wrote down; nothing is imported for it that `trust` does not allow."""
    _refuse_unloadable(text, trusted)
    if _is_file(text):
        return from_file(pathlib.Path(text))
    module, _, attribute = text.partition(":")
    if module == "__main__" and not hasattr(sys.modules["__main__"], attribute):
        raise InputError(f"The recipe {attribute} was defined in a script or notebook: move it into a .py file.")
    try:
        found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise InputError(f"The recipe class {text} cannot be imported: {error}.") from error
    from zoo.base.recipe import Recipe

    if not isinstance(found, type) or not issubclass(found, Recipe) or found.network is Recipe.network:
        raise InputError(f"{text} is no recipe class: a subclass of a class of {TASKS}.")
    return found


def remember(text: str) -> None:
    """Notes that this user trains the class of a reference, where it is neither of this package nor installed."""
    if not _is_installed(text) and not text.startswith("__main__:"):
        trust.remember(text)


def refuse_untrusted(name: str) -> None:
    """Raises where `name`, which a job file gives, is a recipe file that this user has not trained on this machine."""
    if is_file(name):
        file = file_of(name)[0].resolve()
        if not _may_load(str(file)):
            raise _untrusted(str(file))


def _untrusted(text: str) -> InputError:
    return InputError(
        f"The recipe is code of its own, {_place(text)}, which this user has not trained on this machine. "
        "Read it first; --trust (from Python, trust=True) then runs it."
    )


def _may_load(text: str) -> bool:
    """Whether the class of a reference may be loaded without asking."""
    if text.endswith(".py"):
        path = pathlib.Path(text).resolve()
        return module_name(path) in sys.modules or trust.remembered(str(path))
    return text.partition(":")[0] in sys.modules or _is_installed(text) or trust.remembered(text)


def _is_installed(text: str) -> bool:
    """Whether a reference is of this package, or of the entry point of an installed one."""
    module = text.partition(":")[0]
    installed = {point.value.partition(":")[0] for point in metadata.entry_points(group=GROUP)}
    return re.fullmatch(rf"{re.escape(GROUP)}\.\w+", module) is not None or module in installed


def _place(text: str) -> str:
    """The file of a reference, as far as it can be told without importing anything."""
    if text.endswith(".py"):
        return text
    with contextlib.suppress(OSError, ImportError, ValueError, AttributeError):
        return f"{text} in {source_of(text.partition(':')[0])}"
    return text
