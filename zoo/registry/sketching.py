"""The fields of a recipe class without importing it: no Keras is loaded before a misspelt field is refused.

The declarations in a class body are evaluated with what they name: constants, functions of `zoo.fields`, functions of
this package. What cannot be told in this way has no sketch, and is judged once the class itself is there.
"""

import ast
import builtins
import functools
import importlib
import pathlib
import types
import typing
from collections.abc import Callable

from zoo import fields
from zoo.errors import unknown
from zoo.registry.finding import file_of, is_file, parts_of
from zoo.registry.headers import imports_of, places, source_of

REAL = ("zoo.fields", "zoo.errors", "typing", "collections", "math")
"""Modules that are imported as they are, with all below them: none of them needs Keras."""


def sketch(name: str) -> "type[fields.Declared] | None":
    """Returns a class with the fields and variants of the recipe `name`, such as `lenet/modern`; None if none is told.

    Raises: `InputError` for a variant that is not there.
    """
    base, variant = parts_of(name)
    cls = _told(lambda: _last_recipe(_Scope("", file_of(name)[0])) if is_file(name) else _of_entry(base))
    if cls is not None and variant is not None and variant not in cls.variants:
        raise unknown(f"variant of {base}", variant, cls.variants)
    return cls


def sketch_of(reference: str) -> "type[fields.Declared] | None":
    """Returns what `sketch` does for a class that `zoo.registry.reference` wrote down. Its code must be trusted."""
    if reference.endswith(".py"):
        return _told(lambda: _last_recipe(_Scope("", pathlib.Path(reference))))
    module, _, name = reference.partition(":")
    return _told(lambda: _scope(module)[name])


def _told(read: Callable[[], typing.Any]) -> "type[fields.Declared] | None":
    """What `read` returns, a class; None where it raises, or a base class is of another package."""
    try:
        cls = read()
        return None if issubclass(cls, _Foreign) else cls
    except Exception:  # of code that is not ours: whatever is wrong in it is told when it is imported
        return None


def _of_entry(name: str) -> "type[fields.Declared] | None":
    ((_, module, attribute, _),) = (place for place in places() if place[0] == name)
    scope = _scope(module)
    return scope[attribute] if attribute else _last_recipe(scope)


def _last_recipe(scope: "_Scope") -> "type[fields.Declared] | None":
    """The class that is a file's recipe: the last of them."""
    root = _scope("zoo.base.recipe")["Recipe"]
    found = (scope[node.name] for node in reversed(scope.tree.body) if isinstance(node, ast.ClassDef))
    return next((cls for cls in found if issubclass(cls, root)), None)


class _Scope(dict[str, typing.Any]):
    """The names of a module, each evaluated when it is asked for: what declarations are evaluated in."""

    def __init__(self, module: str, path: pathlib.Path) -> None:
        super().__init__(__builtins__=builtins)
        self.tree: ast.Module = ast.parse(path.read_text(encoding="utf-8"))
        self._top = module.partition(".")[0]
        self._of_bases = False
        self._imported = imports_of(self.tree, module)

    def __missing__(self, name: str) -> typing.Any:
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return self._kept(name, self._class(node))
            if isinstance(node, ast.FunctionDef) and node.name == name and not node.decorator_list:
                return self._kept(name, self._function(node))
            if isinstance(node, ast.AnnAssign) and node.value is not None and _targets(node.target) == [name]:
                return self._kept(name, self._value(node.value))
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and name in _targets(node.targets[0]):
                value, target = self._value(node.value), node.targets[0]
                return self._kept(name, value[_targets(target).index(name)] if isinstance(target, ast.Tuple) else value)
        if name in self._imported:
            module, attribute = self._imported[name]
            if _is_real(module) or module.partition(".")[0] in ("zoo", self._top):
                return self._kept(name, _imported(module, attribute))
            if self._of_bases:
                return _Foreign
        if hasattr(builtins, name):
            return getattr(builtins, name)
        raise NameError(name)

    def _kept(self, name: str, value: typing.Any) -> typing.Any:
        self[name] = value
        return value

    def _value(self, node: ast.expr, of_bases: bool = False) -> typing.Any:
        before, self._of_bases = self._of_bases, of_bases
        try:
            return eval(compile(ast.Expression(node), "<sketch>", "eval"), self)
        finally:
            self._of_bases = before

    def _function(self, node: ast.FunctionDef) -> typing.Any:
        bare = ast.parse(ast.unparse(node))  # a copy
        for part in ast.walk(bare):
            if isinstance(part, ast.arg):
                part.annotation = None
            elif isinstance(part, ast.FunctionDef):
                part.returns = None
        found: dict[str, typing.Any] = {}
        exec(compile(bare, "<sketch>", "exec"), self, found)
        return found[node.name]

    def _class(self, node: ast.ClassDef) -> type:
        """A class of the fields, the variants and `texts` that are declared in the body, and nothing else."""
        body: dict[str, typing.Any] = {"__annotations__": {}, "__module__": __name__}
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and part.value is not None:
                (name,) = _targets(part.target)
                if name in ("variants", "texts"):
                    body[name] = self._value(part.value)
                elif "ClassVar" not in ast.unparse(part.annotation):
                    body[name] = self._value(part.value)
                    body["__annotations__"][name] = typing.Any
            elif isinstance(part, ast.Assign) and _targets(part.targets[0]) == ["variants"]:
                body["variants"] = self._value(part.value)
        bases = tuple(self._value(base, of_bases=True) for base in node.bases)
        keywords = {one.arg: self._value(one.value) for one in node.keywords if one.arg is not None}
        return types.new_class(node.name, bases, keywords, lambda namespace: namespace.update(body))


class _Anything(type):
    def __getattr__(cls, name: str) -> "_Anything":
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Foreign(metaclass=_Anything):
    """Stands for a base class of another package; what else comes from there is not told."""


class _Module:
    """A module that is not imported: its attributes are those of its `_Scope`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> typing.Any:
        return _imported(self._name, name)


@functools.cache
def _scope(module: str) -> _Scope:
    return _Scope(module, source_of(module))


def _imported(module: str, attribute: str | None) -> typing.Any:
    """What `import module` or `from module import attribute` gives."""
    dotted = module if attribute is None else f"{module}.{attribute}"
    if _is_real(module):
        found = importlib.import_module(module)
        return found if attribute is None else getattr(found, attribute)
    if _is_real(dotted):
        return importlib.import_module(dotted)
    if attribute is None or source_of(dotted).is_file():
        return _Module(dotted)
    return _scope(module)[attribute]


def _is_real(module: str) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in REAL)


def _targets(node: ast.expr) -> list[str]:
    return [part.id for part in (node.elts if isinstance(node, ast.Tuple) else [node]) if isinstance(part, ast.Name)]
