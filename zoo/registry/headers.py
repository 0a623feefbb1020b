"""Listing recipes without importing them: headers and docstrings are read with `ast`, and no Keras is loaded."""

import ast
import dataclasses
import functools
import importlib.util
import pathlib
import re
import warnings
from importlib import metadata

from zoo import _checkout

GROUP = "zoo.recipes"


TASKS = "zoo.tasks"


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


def entries() -> list[Entry]:
    """Returns an `Entry` for every recipe, sorted by name; two of one name are both listed."""
    return [_entry(*place) for place in places()]


def places() -> list[tuple[str, str, str | None, str]]:
    """Returns (name, module, attribute or None, distribution) of every recipe, sorted by name; no source is read."""
    built_in = [path.stem for path in _checkout.folder("recipes").glob("*.py") if not path.stem.startswith("_")]
    found: list[tuple[str, str, str | None, str]] = [(name, f"{GROUP}.{name}", None, "keras-zoo") for name in built_in]
    for point in metadata.entry_points(group=GROUP):
        module, _, attribute = point.value.partition(":")
        found.append((point.name, module, attribute or None, point.dist.name if point.dist else "?"))
    return sorted(found, key=lambda place: place[0])


def _entry(name: str, module: str, attribute: str | None, distribution: str) -> Entry:
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


def _variants(node: ast.ClassDef) -> tuple[str, ...]:
    for statement in node.body:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        if any(getattr(target, "id", None) == "variants" for target in targets):
            keys = getattr(statement.value, "keys", [])
            return tuple(key.value for key in keys if isinstance(key, ast.Constant))
    return ()


def _task_of(module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> str | None:
    """Returns the task (`image_classification`) that the class `name` of `module` leads to; None where none is."""
    if (module, name) in seen:
        return None
    seen |= {(module, name)}
    if module == TASKS or module.startswith(TASKS + "."):
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    tree = _tree(module)
    imported = imports_of(tree, module)
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


def imports_of(tree: ast.Module, module: str) -> dict[str, tuple[str, str | None]]:
    """Returns {local name: (module, attribute or None)} of the import statements at the top of a module.

    A file that is no module, "", has no relative ones.
    """
    found = {}
    package = module if module and source_of(module).name == "__init__.py" else module.rpartition(".")[0]
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
def _tree(module: str) -> ast.Module:
    return ast.parse(source_of(module).read_text(encoding="utf-8"))


def source_of(module: str) -> pathlib.Path:
    """Returns the file of `module`, without importing it or its package."""
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
