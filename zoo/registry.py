"""Recipes by name: the files of `recipes/`, the entry-point group `zoo.recipes`, and files of one's own.

Listing reads headers and docstrings with `ast` and loads no Keras; a recipe is imported when it is asked for.
"""

import ast
import contextlib
import dataclasses
import fnmatch
import functools
import hashlib
import importlib
import importlib.util
import pathlib
import re
import sys
import warnings
from importlib import metadata

from zoo import _checkout, trust
from zoo.errors import InputError, unknown
from zoo.fields import Origin, from_json

GROUP = "zoo.recipes"
TASKS = "zoo.tasks"
_FILE = re.compile(r"\.py(/[^/]+)?$")
_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[\w.<>]+")
"""`module:Class`, as `reference` writes it."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One recipe as listing sees it. `task` is None where the source could not be followed to a task."""

    name: str
    module: str
    attribute: str | None
    distribution: str
    task: str | None
    summary: str
    variants: tuple[str, ...]


def names(pattern="*", *, task=None):
    """Names of the recipes, sorted: those that match a shell-style `pattern`, and are of `task` where it is given.

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


def entries():
    """An `Entry` for every recipe, sorted by name; two of one name are both listed."""
    return sorted([*_built_in(), *_plugged_in()], key=lambda entry: entry.name)


def task_names():
    """The tasks, as `zoo list --task` takes them."""
    folder = _checkout._HERE / "tasks"
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def find(name):
    """(recipe class, name, variant) of `lenet`, `lenet/modern`, or `./my_recipe.py`."""
    base, slash, variant = name.partition("/")
    if is_file(name):
        file, variant = _file_of(name)
        return _from_file(file), name if variant is None else name.removesuffix(f"/{variant}"), variant
    matching = [entry for entry in entries() if entry.name == base]
    if not matching:
        raise unknown("recipe", base, names())
    if len(matching) > 1:
        sources = " and ".join(entry.distribution for entry in matching)
        raise InputError(f"The name {base!r} is taken by {sources}: uninstall one, or import its class.")
    return _load(matching[0]), base, variant if slash else None


def is_file(name):
    """Whether a name, such as `./my_recipe.py/large`, is that of a file."""
    return _FILE.search(name) is not None


def check_name(name):
    """Raises as `find` does for a name that is not there, without importing anything."""
    if not is_file(name) and name.partition("/")[0] not in names():
        raise unknown("recipe", name.partition("/")[0], names())


def recipe(name, /, **given):
    """The recipe `name`, such as `lenet/modern`, with the values that are `given`.

    Data are read only where `dataset=` is given; then channels and classes come from them.
    Raises: `InputError` for an unknown name, variant or field, and for a value that cannot be.
    """
    return open_recipe(name, given)[0] if "dataset" in given else configured(name, given)


def open_recipe(recipe, given, adapt=True, **options):
    """(the recipe fitted to its data, the opened `Source`).

    Args:
        recipe: a name, or a `Recipe`.
        given: {field: value}; `dataset` may be data in memory.
        adapt: whether the data decide fields; what is trained already reads other data as it learned to.
        options: those of `zoo.data.open_source`.
    """
    from zoo.data import open_source

    recipe = configured(recipe, {})
    data = given.get("dataset", recipe.dataset)
    if not data:
        raise InputError(f"{recipe.name} has no data of its own: give dataset=, such as folder:PATH.")
    for name, value in given.items():
        if name != "dataset" or isinstance(value, str):
            recipe.field(name).check(name, value)
    source = recipe.view(open_source(data, **options))
    if "dataset" in given:
        given = {**given, "dataset": source.name}
    if source.ready or not adapt:
        return recipe.replace(**given), source
    # what is given may decide how data are read, and may count on these data only
    hopeful = recipe.restored(recipe.origin, recipe.normal(recipe.values() | given))
    recipe = recipe.adapted(hopeful.adapt(source)).replace(**given)
    return recipe.adapted(recipe.adapt(source)), source


def configured(recipe, given):
    if not isinstance(recipe, str):
        return recipe.replace(**given) if given else recipe
    cls, base, variant = find(recipe)
    return cls.configured(base, variant, given)


def saved(recipe):
    """What `restored` makes `recipe` of again, in another process and another year: a mapping for JSON."""
    return {
        "reference": reference(recipe),
        "name": recipe.name,
        "variant": recipe.variant,
        "given": sorted(recipe.origin.given),
        "values": recipe.values(),
    }


def restored(saved, trusted=False):
    """The recipe that `saved` wrote down.

    Args:
        saved: a mapping, which may come from a stranger.
        trusted: whether its code may run, wherever it lies.
    Raises: `InputError` for a class or a field that is gone, for code that is not trusted, and for what `saved` never
        writes.
    """
    kinds = {"reference": str, "name": str, "variant": str | None, "given": list, "values": dict}
    for key, kind in kinds.items():
        if not isinstance(saved, dict) or key not in saved or not isinstance(saved[key], kind):
            raise InputError(f"The recipe that was saved is damaged: {key!r} is missing or of a wrong kind.")
    if not all(isinstance(name, str) for name in saved["given"]):
        raise InputError("The recipe that was saved is damaged: 'given' has entries that are no names.")
    cls = resolve(saved["reference"], trusted)
    values = from_json(saved["values"])
    gone = sorted(set(values) - set(cls.fields()))
    if gone:
        raise InputError(f"The recipe class {saved['reference']} has no field {', '.join(gone)} any more.")
    return cls.restored(Origin(saved["name"], saved["variant"], frozenset(saved["given"])), values)


def reference(recipe):
    """Text from which `resolve` finds the class of `recipe` again, in another process."""
    cls = type(recipe)
    if cls.__module__.startswith("zoo_recipe_"):
        return str(pathlib.Path(sys.modules[cls.__module__].__file__).resolve())
    return f"{cls.__module__}:{cls.__qualname__}"


def resolve(text, trusted=False):
    """The recipe class that `reference` wrote down; nothing is imported for it that `zoo.trust` does not allow."""
    is_file = text.endswith(".py") and "\0" not in text
    if not is_file and not _CLASS.fullmatch(text):
        raise InputError(f"{text!r} is no recipe class: expected module:Class, or a .py file.")
    if not trusted and not _may_load(text):
        raise _untrusted(text)
    if is_file:
        return _from_file(pathlib.Path(text))
    module, _, attribute = text.partition(":")
    if module == "__main__" and not hasattr(sys.modules["__main__"], attribute):
        raise InputError(f"The recipe {attribute} was defined in a script or notebook: move it into a .py file.")
    try:
        found = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise InputError(f"The recipe class {text} cannot be imported: {error}.") from error
    from zoo.base import Recipe

    if not isinstance(found, type) or not issubclass(found, Recipe) or found.network is Recipe.network:
        raise InputError(f"{text} is no recipe class: a subclass of a class of {TASKS}.")
    return found


def remember(text):
    """Notes that this user trains the class of a reference, where it is neither of this package nor installed."""
    if not _is_installed(text) and not text.startswith("__main__:"):
        trust.remember(text)


def refuse_untrusted(name):
    """Raises where `name`, which a job file gives, is a recipe file that this user has not trained on this machine."""
    if is_file(name):
        file = _file_of(name)[0].resolve()
        if not _may_load(str(file)):
            raise _untrusted(str(file))


def _untrusted(text):
    return InputError(
        f"The recipe is code of its own, {_place(text)}, which this user has not trained on this machine. "
        "Read it first; --trust (from Python, trust=True) then runs it."
    )


def _may_load(text):
    """Whether the class of a reference may be loaded without asking."""
    if text.endswith(".py"):
        path = pathlib.Path(text).resolve()
        return _module_name(path) in sys.modules or trust.remembered(str(path))
    return text.partition(":")[0] in sys.modules or _is_installed(text) or trust.remembered(text)


def _is_installed(text):
    """Whether a reference is of this package, or of the entry point of an installed one."""
    module = text.partition(":")[0]
    installed = {point.value.partition(":")[0] for point in metadata.entry_points(group=GROUP)}
    return re.fullmatch(rf"{re.escape(GROUP)}\.\w+", module) is not None or module in installed


def _place(text):
    """The file of a reference, as far as it can be told without importing anything."""
    if text.endswith(".py"):
        return text
    with contextlib.suppress(OSError, ImportError, ValueError, AttributeError):
        return f"{text} in {_source(text.partition(':')[0])}"
    return text


# Importing a recipe ---------------------------------------------------------------------------------------------


def _load(entry):
    try:
        module = importlib.import_module(entry.module)
        return getattr(module, entry.attribute) if entry.attribute else _recipe_in(module, entry.module)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise InputError(f"The recipe {entry.name!r} of {entry.distribution} cannot be imported: {error}.") from error


def _file_of(name):
    """(file, variant or None) of `./my_recipe.py` or `./my_recipe.py/large`."""
    stem, _, variant = name.removesuffix(".py").partition(".py/")
    return pathlib.Path(f"{stem}.py"), variant or None


def _from_file(path):
    if not path.is_file():
        raise InputError(f"There is no recipe file {path}.")
    path = path.resolve()
    name = _module_name(path)
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


def _module_name(path):
    """Under what name the recipe file at a resolved path is imported."""
    return f"zoo_recipe_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _recipe_in(module, where):
    from zoo.base import Recipe

    found = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Recipe) and thing.__module__ == module.__name__
    ]
    if not found:
        raise InputError(f"{where} defines no recipe: a subclass of a class of zoo.tasks.")
    return found[-1]


# Reading headers ------------------------------------------------------------------------------------------------


def _built_in():
    for path in sorted(_checkout.folder("recipes").glob("*.py")):
        if not path.stem.startswith("_"):
            yield _entry(path.stem, f"{GROUP}.{path.stem}", None, "keras-zoo")


def _plugged_in():
    for point in metadata.entry_points(group=GROUP):
        module, _, attribute = point.value.partition(":")
        yield _entry(point.name, module, attribute or None, point.dist.name if point.dist else "?")


def _entry(name, module, attribute, distribution):
    task, summary, variants = None, "", ()
    try:
        tree = _tree(module)
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        candidates = [attribute] if attribute else reversed(classes)
        for candidate in candidates:
            task = _task_of(module, candidate)
            if task is not None:
                summary = (ast.get_docstring(classes[candidate]) or "").partition("\n")[0]
                variants = _variants(classes[candidate])
                break
    except (OSError, SyntaxError, KeyError, ValueError, AttributeError) as error:
        warnings.warn(f"The recipe {name!r} of {distribution} cannot be read: {error!r}", stacklevel=2)
        return Entry(name, module, attribute, distribution, None, "", ())
    if task is None:
        warnings.warn(f"The recipe {name!r} of {distribution} leads to no class of {TASKS}.", stacklevel=2)
    return Entry(name, module, attribute, distribution, task, summary, variants)


def _variants(node):
    for statement in node.body:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        if any(getattr(target, "id", None) == "variants" for target in targets):
            keys = getattr(statement.value, "keys", [])
            return tuple(key.value for key in keys if isinstance(key, ast.Constant))
    return ()


def _task_of(module, name, seen=frozenset()):
    """The task (`image_classification`) that the class `name` of `module` leads to; None where nothing is found."""
    if (module, name) in seen:
        return None
    seen |= {(module, name)}
    if module == TASKS or module.startswith(TASKS + "."):
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    tree = _tree(module)
    imported = _imports(tree, module)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in node.bases:
                dotted = ast.unparse(base)
                head, _, rest = dotted.partition(".")
                if not rest and head in imported and imported[head][1] is not None:
                    found = _task_of(*imported[head], seen)
                elif rest and head in imported:
                    source, attribute = imported[head]
                    path = ".".join([source, *([attribute] if attribute else []), *rest.split(".")[:-1]])
                    found = _task_of(path, rest.split(".")[-1], seen)
                else:
                    found = _task_of(module, dotted, seen)
                if found is not None:
                    return found
            return None
    if name in imported and imported[name][1] is not None:
        return _task_of(*imported[name], seen)
    return None


def _imports(tree, module):
    """{local name: (module, attribute or None)} of the import statements at the top of a module."""
    found = {}
    package = module if _source(module).name == "__init__.py" else module.rpartition(".")[0]
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0],
                    None,
                )
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                found[alias.asname or alias.name] = (base, alias.name)
    return found


@functools.cache
def _tree(module):
    return ast.parse(_source(module).read_text(encoding="utf-8"))


def _source(module):
    """The file of `module`, without importing it or its package."""
    top, *rest = module.split(".")
    if top == "zoo" and rest and rest[0] in ("layers", "recipes"):
        folder, rest = _checkout.folder(rest[0]), rest[1:]
    else:
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"no module {top}")
        if not spec.submodule_search_locations:
            return pathlib.Path(spec.origin)
        folder = pathlib.Path(spec.submodule_search_locations[0])
    path = folder.joinpath(*rest)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
