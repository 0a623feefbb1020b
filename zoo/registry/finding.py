"""Recipe classes by name: `lenet`, `lenet/modern`, `./my_recipe.py`. Finding one imports it."""

import fnmatch
import hashlib
import importlib
import importlib.util
import pathlib
import re
import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zoo import _checkout
from zoo.errors import InputError, unknown
from zoo.registry.headers import Entry, entries

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe

FILE = re.compile(r"\.py(/[^/]+)?$")


def names(pattern: str = "*", *, task: str | None = None) -> list[str]:
    """Returns the names of the recipes that match a shell-style `pattern`, and are of `task` if it is given; sorted.

    >>> names("le*", task="image_classification")
    ['lenet']
    """
    found = [entry for entry in entries() if fnmatch.fnmatch(entry.name, pattern)]
    if task is not None:
        tasks = task_names()
        if task not in tasks:
            raise unknown("task", task, tasks)
        found = [entry for entry in found if entry.task == task]
    return sorted({entry.name for entry in found})


def task_names() -> list[str]:
    """Returns the tasks, as `zoo list --task` takes them."""
    folder = _checkout._HERE / "tasks"
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def find(name: str) -> "tuple[type[Recipe], str, str | None]":
    """Returns (recipe class, name, variant) of `lenet`, `lenet/modern`, or `./my_recipe.py`."""
    if not isinstance(name, str):
        refuse_no_recipe(name)
    base, variant = parts_of(name)
    if is_file(name):
        return from_file(file_of(name)[0]), base, variant
    matching = [entry for entry in entries() if entry.name == base]
    if not matching:
        raise unknown("recipe", base, names())
    if len(matching) > 1:
        sources = " and ".join(entry.distribution for entry in matching)
        raise InputError(f"The name {base!r} is taken by {sources}: uninstall one, or import its class.")
    return _load(matching[0]), base, variant


def every() -> "Iterator[tuple[str, type[Recipe]]]":
    """Yields (name, class) of all recipes, sorted by name; they are looked up once, and imported one by one."""
    for entry in entries():
        yield entry.name, _load(entry)


def parts_of(name: str) -> tuple[str, str | None]:
    """Returns (name, variant or None) of `lenet/modern`, or of `./my_recipe.py/large`."""
    if is_file(name):
        variant = file_of(name)[1]
        return (name if variant is None else name.removesuffix(f"/{variant}")), variant
    base, slash, variant = name.partition("/")
    return base, variant if slash else None


def refuse_no_recipe(given: object) -> None:
    """Raises where what was given as a recipe is none: a `Recipe`, that is, and not its class."""
    from zoo.base.recipe import Recipe

    if not isinstance(given, Recipe):
        raise InputError(f"A recipe is a name, such as 'lenet/modern', or a Recipe. Received: {given!r:.60}.")


def is_file(name: str) -> bool:
    """Returns whether a name, such as `./my_recipe.py/large`, is that of a file."""
    return FILE.search(name) is not None


def check_name(name: str) -> None:
    """Raises as `find` does for a name that is not there, without importing anything."""
    if not is_file(name) and name.partition("/")[0] not in names():
        raise unknown("recipe", name.partition("/")[0], names())


def _load(entry: Entry) -> "type[Recipe]":
    try:
        module = importlib.import_module(entry.module)
        return getattr(module, entry.attribute) if entry.attribute else _recipe_in(module, entry.module)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise InputError(f"The recipe {entry.name!r} of {entry.distribution} cannot be imported: {error}.") from error


def file_of(name: str) -> tuple[pathlib.Path, str | None]:
    """Returns (file, variant or None) of `./my_recipe.py` or `./my_recipe.py/large`."""
    stem, _, variant = name.removesuffix(".py").partition(".py/")
    return pathlib.Path(f"{stem}.py"), variant or None


def from_file(path: pathlib.Path) -> "type[Recipe]":
    """Returns the recipe class of a file, which is imported once in a process."""
    if not path.is_file():
        raise InputError(f"There is no recipe file {path}.")
    path = path.resolve()
    name = module_name(path)
    if name in sys.modules:  # once a process: what it was trained with and what is asked for are one class
        return _recipe_in(sys.modules[name], str(path))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"The recipe file {path} cannot be imported: {type(error).__name__}: {error}.") from error
    return _recipe_in(module, str(path))


def module_name(path: pathlib.Path) -> str:
    """Returns the name under which the recipe file at a resolved path is imported."""
    return f"zoo_recipe_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _recipe_in(module: types.ModuleType, where: str) -> "type[Recipe]":
    from zoo.base.recipe import Recipe

    found = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Recipe) and thing.__module__ == module.__name__
    ]
    if not found:
        raise InputError(f"{where} defines no recipe: a subclass of a class of zoo.tasks.")
    return found[-1]
