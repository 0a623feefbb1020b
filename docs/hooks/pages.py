"""The pages of the reference, made from the code: every public name, every layer, every field of every recipe."""

import ast
import pathlib
import sys
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from zoo import _PUBLIC, fields, registry  # noqa: E402
from zoo.registry.sketching import sketch  # noqa: E402

PYTHON = {
    "Recipes": ("names", "recipe", "build"),
    "Training and data": ("train", "dataset", "LayerReadings", "Run"),
    "What is trained": ("load", "evaluate", "predict", "export", "report", "reproduce"),
    "Tuning": ("tune", "Study", "hypermodel"),
}
"""{heading: names of `zoo`} of the page about them; the errors have a page of their own."""

MODULES = {
    "fields": (
        "Declaring fields",
        "zoo.fields",
        "How a recipe declares its hyperparameters; [Contributing](../contributing.md#a-new-recipe) shows one.",
    ),
    "tasks": (
        "Tasks",
        "zoo.tasks",
        "What recipes of one kind share. A recipe subclasses one of these classes and adds `network`.",
    ),
    "decoding": ("Decoding", "zoo.decoding", "Texts from a network. The guide is [Decoding](../decoding.md)."),
    "testing": ("Testing", "zoo.testing", "The laws that every layer and every recipe keeps, for your own as well."),
}
"""{page: (title, module, what stands above)}: all public names of a module."""

MORE = {
    "tasks": ("zoo.base.recipe.Recipe",),
    "readers": ("zoo.readers.images.ImageReader", "zoo.readers.masks.MaskReader", "zoo.readers.tables.TableReader",
                "zoo.readers.texts.TextReader", "zoo.readers.published", "zoo.readers.chat", "zoo.data.cells.Cells"),
    "weights": ("zoo.weights.layout", "zoo.weights.parts"),
}  # fmt: skip
"""{page: what else the guides name}."""

COLUMNS = ("field", "default", "legal", "search", "what it is")


def generated() -> dict[str, str]:
    """Returns {uri: Markdown} of every page that is made from code or from files outside docs/."""
    pages = {
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
        "reference/python.md": _python(),
        "reference/errors.md": _names("Errors", "What `zoo` raises on purpose.", _errors()),
        "reference/cli.md": _command_line(),
        "reference/layers/index.md": _layers_index(),
        "reference/recipes/index.md": _recipes_index(),
    }
    for page, (title, module, above) in MODULES.items():
        names = sorted(public(module), key=_is_class)
        pages[f"reference/{page}.md"] = _names(title, above, [*MORE.get(page, ()), *names])
    for page, title in (("readers", "Readers and data"), ("weights", "Weights of other libraries")):
        pages[f"reference/{page}.md"] = _names(title, "", MORE[page])
    for name, uri in layers().items():
        pages[uri] = _directive(f"zoo.layers.{name}", name, level=1)
    return pages | {uri: recipe_page(name) for name, uri in recipes().items()}


def layers() -> dict[str, str]:
    """Returns {name of a layer: uri of its page}."""
    return {path.rpartition(".")[2]: f"reference/layers/{path.rpartition('.')[2]}.md" for path in public("zoo.layers")}


def recipes() -> dict[str, str]:
    """Returns {name of a recipe: uri of its page}, of the recipes of this repository."""
    ours = (entry.name for entry in registry.entries() if entry.distribution == "keras-zoo")
    return {name: f"reference/recipes/{name}.md" for name in ours}


def public(module: str) -> list[str]:
    """Returns the dotted names that a module offers: what `__init__.py` imports, or what a file defines."""
    path = ROOT.joinpath(*module.split("."))
    package = path / "__init__.py"
    if package.is_file():
        tree = ast.parse(package.read_text())
        parts = [part for node in tree.body if isinstance(node, ast.ImportFrom) for part in node.names]
        return [f"{module}.{part.asname or part.name}" for part in parts]
    tree = ast.parse(path.with_suffix(".py").read_text())
    defined = (node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return [f"{module}.{name}" for name in defined if not name.startswith("_")]


def docstring(path: pathlib.Path, name: str | None = None) -> str:
    """Returns the docstring of a file, or of a class in it; '' where there is none."""
    tree = ast.parse(path.read_text())
    node = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name) if name else tree
    return ast.get_docstring(node) or ""


# Recipes --------------------------------------------------------------------------------------------------------------


def recipe_page(name: str) -> str:
    """Returns the page of a recipe: its docstring, its command, its variants and its fields."""
    cls = sketch(name)
    assert cls is not None, name
    summary, _, rest = docstring(ROOT / "recipes" / f"{name}.py", cls.__name__).partition("\n")
    parts = [f"# {name}", summary, f"```sh\nzoo train {name}\n```", rest.strip()]
    if cls.variants:
        parts += ["## Variants", "What a variant changes; every other field keeps the recipe's default."]
        rows = ((f"`{name}/{variant}`", _values(values)) for variant, values in cls.variants.items())
        parts += [table(("variant", "fields"), rows)]
    parts += [
        "## Fields",
        "`zoo show " + name + "` prints this table, too. A search range is what `zoo tune` draws from.",
    ]
    for title, names in groups(cls):
        parts += [f"### {title}", table(COLUMNS, (field_row(one, cls.field(one)) for one in names))]
    return "\n\n".join(parts) + "\n"


def groups(cls: type[fields.Declared]) -> Iterator[tuple[str, list[str]]]:
    """Yields (heading, names of fields): those of the recipe first, those of all recipes last."""
    for base in cls.__mro__:
        if not issubclass(base, fields.Declared) or base is fields.Declared:
            continue
        inherited = {
            name for parent in base.__mro__[1:] if issubclass(parent, fields.Declared) for name in _own(parent)
        }
        names = [name for name in _own(base) if name not in inherited]
        if names:
            yield ("Of this recipe" if base is cls else f"Of `{base.__name__}`"), names


def _own(cls: type) -> list[str]:
    return [name for name in vars(cls).get("__annotations__", {}) if name in getattr(cls, "__dataclass_fields__", {})]


def field_row(name: str, field: fields.Field) -> tuple[str, ...]:
    """Returns the cells of a field's row."""
    only = " and ".join(f"`{other}{condition.text}`" for other, condition in field.conditions())
    help = field.help + (f"; only with {only}" if only else "")
    return f"`{name}`", f"`{fields.show(field.default)}`", field.range, field.search_text, help


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [list(head), ["---"] * len(list(head)), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _values(values: dict[str, object]) -> str:
    return ", ".join(f"`{name}={fields.show(value)}`" for name, value in values.items()) or "the defaults"


# The pages of names ---------------------------------------------------------------------------------------------------


def _directive(path: str, heading: str, level: int = 2) -> str:
    return f"::: {path}\n    options:\n      heading: '{heading}'\n      heading_level: {level}\n"


def _names(title: str, above: str, paths: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", above, *(_directive(path, path.rpartition(".")[2]) for path in paths)])


def _is_class(path: str) -> bool:
    return path.rpartition(".")[2][0].isupper()


def _python() -> str:
    parts = ["# Python", "`import zoo` is light: a name is imported when you use it first."]
    for title, names in PYTHON.items():
        parts += [f"## {title}", *(_directive(f"zoo.{_PUBLIC[name]}.{name}", f"zoo.{name}", level=3) for name in names)]
    return "\n\n".join(parts)


def _errors() -> list[str]:
    return [f"zoo.errors.{name}" for name, module in _PUBLIC.items() if module == "errors"]


def _layers_index() -> str:
    rows = ((f"[`{name}`]({name}.md)", _first_sentence(name)) for name in layers())
    above = "`zoo.layers`: Keras layers on three backends. [Layers](../../layers.md) says what to choose."
    return f"# Layers\n\n{above}\n\n" + table(("layer", "what it is"), rows) + "\n"


def _first_sentence(name: str) -> str:
    tree = ast.parse((ROOT / "layers" / "__init__.py").read_text())
    module = next(node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.names[0].name == name)
    assert module is not None
    return docstring(ROOT / "layers" / f"{module.rpartition('.')[2]}.py", name).partition("\n")[0]


def _recipes_index() -> str:
    entries = {entry.name: entry for entry in registry.entries()}
    rows = (
        (f"[`{name}`]({name}.md)", (entries[name].task or "").replace("_", " "), entries[name].summary)
        for name in recipes()
    )
    above = "Every field of every recipe, from its declaration. The [gallery](../../recipes.md) shows what each is for."
    return f"# Fields of recipes\n\n{above}\n\n" + table(("recipe", "task", "what it is"), rows) + "\n"


def _command_line() -> str:
    import click

    from zoo.cli.group import CONTEXT, zoo

    parts = ["# Command line", "A key and a value, such as `epochs=5`, is a field of the recipe; a dash is an option."]

    def add(command: click.Command, name: str, level: int) -> None:
        with click.Context(command, info_name=name, **{**CONTEXT, "terminal_width": 84}) as context:
            text = command.get_help(context)
        parts.extend([f"{'#' * level} {name}", f"```text\n{text}\n```"])
        for child, inner in command.commands.items() if isinstance(command, click.Group) else ():
            add(inner, f"{name} {child}", level + 1 if level > 1 else 2)

    add(zoo, "zoo", 2)
    return "\n\n".join(parts) + "\n"
