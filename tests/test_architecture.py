"""Which module may import which, read from the source with `ast`: nothing is imported, so a broken module counts too.

    keras <- zoo.layers <- zoo.recipes -> zoo.tasks -> zoo.base, zoo.fields

No file and no folder imports another in a circle, imports inside of functions included.

The checkers are pure (source text in, violations out), and each is shown a planted violation before it judges the code.
"""

import ast
import collections
import dataclasses
import functools
import pathlib
import re
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = {"zoo": ROOT / "zoo", "zoo.layers": ROOT / "layers", "zoo.recipes": ROOT / "recipes"}

HEAVY = ("tensorflow", "keras_tuner", "tensorflow_datasets", "jax", "torch")

# Modules that import one of HEAVY at their top; whoever needs one imports it inside a function.
HEAVY_AT_THE_TOP = {
    "zoo.data.cells": "a TFDS builder is a class whose base is TFDS's",
    "zoo.data.dates": "a TFDS builder is a class whose base is TFDS's",
    "zoo.data.digits": "a TFDS builder is a class whose base is TFDS's",
    "zoo.data.english": "a TFDS builder is a class whose base is TFDS's",
    "zoo.data.options": "base classes of TFDS builders",
    "zoo.layers._backend.tensorflow": "imported on first use, where Keras runs on TensorFlow",
    "zoo.layers._backend.jax": "imported on first use, where Keras runs on JAX",
    "zoo.layers._backend.torch": "imported on first use, where Keras runs on torch",
    "zoo.tuning.hypermodel": "a HyperModel is a class whose base is keras-tuner's",
    "zoo.tuning.oracles": "the adapter: our oracles are keras-tuner's with another memory",
}

# All that the modules of a package may import beside the standard library; the longest name that fits counts.
ONLY = {
    "zoo.layers._backend": ("keras", "numpy", "tensorflow", "jax", "torch", "zoo.layers._backend"),
    "zoo.layers": ("keras", "numpy", "zoo.layers"),
    "zoo.recipes": (
        "keras",
        "numpy",
        "zoo.layers",
        "zoo.tasks",
        "zoo.fields",
        "zoo.errors",
        "zoo.weights.layout",
        "zoo.weights.parts",
        "zoo.recipes",
    ),
    "zoo.fields": ("zoo.errors", "zoo.fields"),
    "zoo.errors": (),
}

# What the modules of a package must not import.
VERBS = (
    "zoo.registry",
    "zoo.training",
    "zoo.runs",
    "zoo.serving.prediction",
    "zoo.serving.exporting",
    "zoo.reporting",
    "zoo.tuning",
    "zoo.cli",
)
NEVER = {
    "zoo": ("zoo.recipes", "zoo.tasks", "zoo.layers", "zoo.cli", "zoo.tuning"),
    "zoo.tasks": ("zoo.recipes", "zoo.layers", *VERBS),
    "zoo.base": ("zoo.data", "zoo.readers", "zoo.figures", *VERBS),
    "zoo.data": ("zoo.base", "zoo.readers", "zoo.figures", *VERBS),
    "zoo.readers": ("zoo.base", "zoo.figures", *VERBS),
    "zoo.figures": ("zoo.base", "zoo.data", "zoo.readers", *VERBS),
    "zoo.objective": ("zoo.base", "zoo.data", *VERBS),
}
# Each arrow of NEVER that stands all the same: (module, target) and its reason.
ALLOWED = {
    ("zoo.__main__", "zoo.cli"): "`python -m zoo` is the command line",
    ("zoo._hook", "zoo.layers"): "registers the layers with Keras; names none of them",
    ("zoo.tasks", "zoo.tasks"): "a task may be made of another",
    ("zoo.tuning", "zoo.tuning"): "a package of its own",
    ("zoo.cli", "zoo.tuning"): "the verbs of studies",
    ("zoo.overview", "zoo.tuning"): "studies stand beside runs",
    ("zoo.cli", "zoo.cli"): "a package of its own",
}

# The rooms of zoo/, as docs/architecture.md lists them: each imports only what stands below it.
FLOORS = (
    *(
        "__main__",
        "cli",
        "overview",
        "tuning",
        "testing",
        "reproducing",
        "serving",
        "reporting",
        "training",
        "building",
        "runs",
    ),
    *("registry", "recipes", "tasks", "decoding", "tiling", "_hook", "layers", "readers", "base", "objective", "data"),
    *("figures", "fields", "cost", "weights", "devices", "files", "errors", "_checkout", "_version"),
)

AT_THE_ROOT = 14
"""Modules that may stand beside the folders of zoo/."""

LINES = 400
"""Of a file; what is longer says here why."""
LONGER = {
    "zoo.layers._ode.solving": "the four solvers of one equation share their state, and are read against each other",
}

# What is private in a dependency and used all the same: (module, name) and why. Pyproject.toml has a ceiling for each
# dependency that is named here.
PRIVATE = {
    ("zoo.layers._backend.tensorflow", "_get_control_flow_context"): "TensorFlow: whether XLA compiles is not public",
    ("zoo.layers._backend.torch", "torch._functorch"): "torch: tracing a function with its gradient is not public",
    ("zoo.layers._backend.torch", "_schema"): "torch: which arguments of an operation are tensors is not public",
    ("zoo.layers._sublayers", "_flatten_layers"): "Keras: sublayers of a layer, whatever attributes hold them",
    ("zoo.layers.gated_dense", "_tracker"): "Keras: a layer that is built takes weights of adapters, as Keras's own do",
    ("zoo.layers.mixture_of_experts", "_flatten_layers"): "Keras: sublayers of a layer, whatever attributes hold them",
    ("zoo.layers.tied_weights", "_flatten_layers"): "Keras: sublayers of a layer, whatever attributes hold them",
    ("zoo.layers.tied_weights", "_trainable_variables"): "Keras: one variable takes the place of another",
    ("zoo.layers.tied_weights", "_untrack_variable"): "Keras: one variable takes the place of another",
    ("zoo.base.finetuning", "_flatten_layers"): "Keras: sublayers of a layer, whatever attributes hold them",
    ("zoo.objective.layerwise", "_get_variable_index"): "Keras: how its optimizers find what they keep of a variable",
    ("zoo.objective.layerwise", "_clip_gradients"): "Keras: the norm is of variables that train already",
    ("zoo.objective.layerwise", "_use_weight_decay"): "Keras: which variables decay is asked nowhere else",
    ("zoo.objective.optimizers", "_use_weight_decay"): "Keras: which variables decay is asked nowhere else",
    ("zoo.testing.layers._keras", "keras.src"): "Keras: its conformance test of a layer is nowhere public",
    ("zoo.training.callbacks", "_flatten_layers"): "Keras: layers with readings, however deep",
    ("zoo.tuning.oracles", "_brackets"): "keras-tuner: the state of hyperband",
    ("zoo.tuning.oracles", "_compute_values_hash"): "keras-tuner: how tried values are remembered",
    ("zoo.tuning.oracles", "_get_size"): "keras-tuner: the rungs of hyperband",
    ("zoo.tuning.oracles", "_ordered_ids"): "keras-tuner: the state of the grid",
    ("zoo.tuning.oracles", "_random_populate_space"): "keras-tuner: the first points of bayesian",
    ("zoo.tuning.oracles", "_random_state"): "keras-tuner: where random draws stand",
    ("zoo.tuning.oracles", "_random_trial"): "keras-tuner: a new configuration of hyperband",
    ("zoo.tuning.oracles", "_random_values"): "keras-tuner: a draw that was not tried yet",
    ("zoo.tuning.oracles", "_record_values"): "keras-tuner: grid learns of a trial that was enqueued",
    ("zoo.tuning.memory", "_tried_so_far"): "keras-tuner: values that were tried",
    ("zoo.tuning.oracles", "_tried_so_far"): "keras-tuner: values that were tried",
    ("zoo.tuning.workers.ray", "ray._private"): "Ray: without it, its own words about a dead node reach the screen",
    ("zoo.tuning.space", "keras_tuner.src"): "keras-tuner: conditions are named in no public module",
    ("zoo.weights.by_path", "_model_variables_moving_average"): "Keras: the averages that an optimizer keeps",
}

# What zoo.layers exports beside layers, which `check_layer` cannot check.
NO_LAYERS = {
    "Routing": "what a Router returns",
    "ScheduledSampling": "a model: tests/recipes/test_text_recipes.py",
}

# Distributions whose name is not the module's with dashes.
DISTRIBUTIONS = {
    "griffe": "griffelib",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "functorch": "torch",
}

# Declared, and imported by nothing of ours.
UNIMPORTED = {
    "importlib-resources": "tensorflow-datasets needs it and does not declare it",
    "httpx2": "starlette.testclient needs it and does not declare it",
    "dill": "tfds.testing.DatasetBuilderTestCase needs it",
    "ruff": "a command: lint and format",
    "mkdocs-material": "mkdocs.yml: the theme and the plug-ins of the site",
    "mkdocstrings": "mkdocs.yml: the reference of the site",
    "pytest-xdist": "pytest finds it: the option -n",
    "build": "a command: python -m build",
    "pyright": "a command: tests/test_types.py",
}


# Reading source -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported name: `target` as far as the statement tells (`zoo.fields` of `from zoo import fields`)."""

    target: str
    line: int
    inside: bool  # a function
    typing: bool  # under `if TYPE_CHECKING`
    relative: bool = False

    def of(self, *prefixes):
        return any(self.target == prefix or self.target.startswith(prefix + ".") for prefix in prefixes)


parsed = functools.cache(ast.parse)


def imports(source):
    """Every `Import` of a module, `importlib.import_module("...")` of a literal included."""
    return _imports_of(source)


@functools.cache
def _imports_of(source):
    return list(_imports(parsed(source), inside=False, typing=False))


def _imports(node, inside, typing):
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, inside, typing) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        for alias in node.names:
            target = f"{base}.{alias.name}" if base.strip(".") else base + alias.name
            yield Import(target, node.lineno, inside, typing, bool(node.level))
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield Import(first.value, node.lineno, inside, typing)
    inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                checking = isinstance(node, ast.If) and field == "body" and "TYPE_CHECKING" in ast.unparse(node.test)
                yield from _imports(child, inside, typing or checking)


def chains(source):
    """Every dotted name of a module, whole, with its line: `keras.src.backend`, `zoo.training.train`."""
    attributes = [node for node in ast.walk(parsed(source)) if isinstance(node, ast.Attribute)]
    inner = {id(node.value) for node in attributes}
    for node in attributes:
        if id(node) not in inner and re.fullmatch(r"[\w.]+", dotted := ast.unparse(node)):
            yield dotted, node.lineno


def under(module, prefix):
    return module == prefix or module.startswith(prefix + ".")


# Checkers: (module name, source) -> violations ------------------------------------------------------------------------


def wrong_arrows(module, source):
    """Imports, and uses by dotted name, that run against the design's direction."""
    used = [(one.target, one.line) for one in imports(source) if not one.typing]
    used += [(name, line) for name, line in chains(source) if name.startswith("zoo.")]
    return [f"{module}:{line} imports {target}" for target, line in used if _runs_wrong(module, target)]


def _runs_wrong(module, target):
    only = next((ONLY[package] for package in sorted(ONLY, key=len, reverse=True) if under(module, package)), None)
    if only is not None:
        return target.partition(".")[0] not in sys.stdlib_module_names and not any(under(target, to) for to in only)
    allowed = {to for start, to in ALLOWED if under(module, start)}
    forbidden = {to for package, never in NEVER.items() if under(module, package) for to in never}
    return any(under(target, prefix) for prefix in forbidden - allowed)


def early_heavy_imports(module, source):
    """Imports at a module's top of what takes seconds, or of a module that does so itself."""
    if module in HEAVY_AT_THE_TOP:
        return []
    return [
        f"{module}:{one.line} imports {one.target} at its top"
        for one in imports(source)
        if one.of(*HEAVY, *HEAVY_AT_THE_TOP) and not one.inside and not one.typing and not one.of(module)
    ]


def own_names(sources):
    """How often our code defines each name: functions, classes, variables, attributes that are assigned."""
    found = collections.Counter()
    for node in (node for source in sources for node in ast.walk(parsed(source))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] += 1
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.attr if isinstance(node, ast.Attribute) else node.id] += 1
    return found


def private_members(module, source, own):
    """[(module, name)] of what is private in a dependency: a module called `src` or `_...`, or a member `_...`.

    A member is somebody else's where no name of ours (`own`, from `own_names`) is the same. Asked of `super()`, it is
    where we define it once, to override it.
    """
    found = set()
    for one in imports(source):
        parts = one.target.split(".")
        private = next((place for place, part in enumerate(parts) if place and _is_private(part)), None)
        if private is not None and parts[0] not in (*sys.stdlib_module_names, "zoo"):
            found.add((module, ".".join(parts[: private + 1])))
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            whole = ast.unparse(node)
            if whole.partition(".")[0] in ("os", "sys", "zoo"):
                continue
            if node.attr in ("src", "_private"):  # of Keras and keras-tuner, of Ray
                found.add((module, re.sub(r"^self\._", "", whole)))
            elif own[node.attr] < (2 if whole.startswith("super().") else 1):
                found.add((module, node.attr))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr") and len(node.args) > 1:
            name = getattr(node.args[1], "value", None)
            if isinstance(name, str) and _is_private(name) and not own[name]:
                found.add((module, name))
    return sorted(found)


def _is_private(name):
    return name == "src" or (name.startswith("_") and not name.endswith("__"))


def circles(graph):
    """The circles of {node: nodes that it imports}, each as a sorted list: its strongly connected parts."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in list(graph):
        if node not in order:
            visit(node)
    return found


def graph_of(sources):
    """{module: modules of ours that it imports}, imports inside of functions included, those for types alone not."""
    found = {}
    for module, source in sources.items():
        targets = {one.target for one in imports(source) if not one.typing}
        known = {target if target in sources else target.rpartition(".")[0] for target in targets}
        found[module] = known & set(sources) - {module}
    return found


def room(module, sources):
    """The folder that a module of zoo/ stands in, `zoo.layers` and `zoo.recipes` among them; at the root, itself."""
    top = ".".join(module.split(".")[:2])
    return top if any(under(other, top) and other != top for other in sources) else module


def relative_imports(module, source):
    """Relative imports: under two names of one folder they would make two classes of one."""
    return [f"{module}:{one.line} imports {one.target}" for one in imports(source) if one.relative]


def model_names(module, source, recipes):
    """String literals outside docstrings that name a recipe, or `zoo.recipes.` something."""
    tree = parsed(source)
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    loose = {id(line.value) for body in bodies for line in body if isinstance(line, ast.Expr)}
    named = re.compile(rf"(zoo\.recipes\.\w.*|({'|'.join(map(re.escape, recipes))})(/\w+)?)")
    return [
        f"{module}:{node.lineno} names {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose
        if named.fullmatch(node.value)
    ]


def layer_files(sources, exported):
    """`sources` {file stem: source} of layers/: one public class a file, and `exported` is exactly those."""
    found, public = [], set()
    for stem, source in sources.items():
        classes = [node.name for node in parsed(source).body if isinstance(node, ast.ClassDef)]
        classes = [name for name in classes if not name.startswith("_")]
        public.update(classes)
        if len(classes) != 1:
            found.append(f"layers/{stem}.py has the public classes {classes}, not one")
        elif not re.sub(r"[^a-z0-9]", "", classes[0].lower()).startswith(stem.replace("_", "")):
            found.append(f"layers/{stem}.py is not named after {classes[0]}")
    return found + [f"{name} is only in one of layers/ and __all__" for name in sorted(public ^ set(exported))]


def unchecked(exported, sources):
    """Names of `exported` that are the class of no `check_layer` call in `sources`.

    A class that is a parameter of the test is any that its decorators name.
    """
    checked = set()
    for function in (node for source in sources for node in ast.walk(parsed(source))):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and re.search(r"\bcheck_layer$", ast.unparse(call.func)) and call.args:
                    parameter = ast.unparse(call.args[0]) in {one.arg for one in function.args.args}
                    for tree in function.decorator_list if parameter else call.args[:1]:
                        checked.update(re.findall(r"\w+", ast.unparse(tree)))
    return [f"no test of tests/layers/ calls check_layer({name}, ...)" for name in sorted(set(exported) - checked)]


def clashes(public, modules):
    """Public names that a module would overwrite when it is imported."""
    return sorted(set(public) & set(modules))


def undeclared(uses, required, extra):
    """`uses` [(where, Import)] of third parties that no dependency covers, or only an extra although not lazy."""
    found = []
    for where, one in uses:
        name = distribution(one.target)
        lazy = one.inside or one.typing or where in HEAVY_AT_THE_TOP or not where.startswith("zoo")
        if name in required or (name in extra and lazy):
            continue
        told = "only an extra declares" if name in extra else "nothing declares"
        found.append(f"{where}:{one.line} imports {one.target}: {told} {name}")
    return found


def unused(uses, declared, reasons):
    """What is declared and not imported without a reason, and reasons for what is imported or not declared."""
    imported = {distribution(one.target) for _, one in uses}
    found = [f"nothing imports {name}" for name in sorted(declared - imported - set(reasons))]
    return found + [f"{name} needs no reason" for name in sorted(set(reasons) & (imported | (set(reasons) - declared)))]


def distribution(target):
    top = target.partition(".")[0]
    return DISTRIBUTIONS.get(top, top.lower().replace("_", "-"))


# The project ----------------------------------------------------------------------------------------------------------


@functools.cache
def modules():
    """{module name: source} of everything that is shipped."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [part for part in path.relative_to(folder).with_suffix("").parts if part != "__init__"]
            found[".".join([package, *parts])] = path.read_text(encoding="utf-8")
    return found


def literal(module, name):
    """The value of the top-level assignment to `name`, a literal or a list that unpacks dictionaries' keys."""
    for node in parsed(modules()[module]).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return ast.literal_eval(node.value)
    raise LookupError(f"{module} assigns no {name}")


def third_parties():
    """[(where, Import)] of every import of another distribution, tests, benchmarks and hooks of the site included."""
    sources = dict(modules())
    for folder in ("tests", "benchmarks", "docs"):
        sources |= {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (ROOT / folder).rglob("*.py")}
    ours = {"zoo", "tests", "benchmarks", *(pathlib.Path(where).stem for where in sources if where.endswith(".py"))}
    every = [(where, one) for where, source in sources.items() for one in imports(source) if not one.relative]
    return [
        (where, one) for where, one in every if one.target.partition(".")[0] not in {*sys.stdlib_module_names, *ours}
    ]


def declared():
    """(required distributions, those of the extras) of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    names = [{re.match(r"[\w.-]+", line)[0].lower() for line in lines} for lines in (project["dependencies"], extras)]
    return [{name.replace("_", "-") for name in group} for group in names]


RECIPES = sorted(path.stem for path in PACKAGES["zoo.recipes"].glob("[!_]*.py"))


def test_imports_run_one_way():
    assert [bad for name, source in modules().items() for bad in wrong_arrows(name, source)] == []


def test_nothing_slow_is_imported_at_a_modules_top():
    assert [bad for name, source in modules().items() for bad in early_heavy_imports(name, source)] == []


def test_each_module_with_a_reason_needs_it():
    """An entry of HEAVY_AT_THE_TOP exists and does import something slow at its top."""
    for name in HEAVY_AT_THE_TOP:
        assert any(one.of(*HEAVY) and not one.inside for one in imports(modules()[name])), name


def test_what_is_private_in_a_dependency_and_used_is_listed():
    own = own_names(modules().values())
    for _, name in PRIVATE:
        own[name] = 0  # we assign to some of them: they are a dependency's all the same
    used = {one for name, source in modules().items() for one in private_members(name, source, own)}
    assert sorted(used - set(PRIVATE)) == []
    assert sorted(set(PRIVATE) - used) == []


def test_no_imports_go_in_a_circle():
    graph = graph_of({name: source for name, source in modules().items() if name != "zoo"})
    assert circles(graph) == []
    rooms = {}
    for module, targets in graph.items():
        rooms.setdefault(room(module, graph), set()).update(room(target, graph) for target in targets)
    assert circles({start: targets - {start} for start, targets in rooms.items()}) == []
    assert set(rooms) == {f"zoo.{name}" for name in FLOORS}
    floor = {f"zoo.{name}": number for number, name in enumerate(FLOORS)}
    climbing = [(start, to) for start, targets in rooms.items() for to in targets if floor[to] < floor[start]]
    assert climbing == []


def test_the_root_is_small_and_files_are_short():
    assert len(list(PACKAGES["zoo"].glob("*.py"))) <= AT_THE_ROOT
    long = {name for name, source in modules().items() if source.count("\n") > LINES}
    assert sorted(long - set(LONGER)) == []
    assert sorted(set(LONGER) - long) == []


def test_imports_are_absolute():
    assert [bad for name, source in modules().items() for bad in relative_imports(name, source)] == []


def test_the_zoo_knows_no_model_by_name():
    sources = {name: source for name, source in modules().items() if not under(name, "zoo.recipes")}
    assert [bad for name, source in sources.items() for bad in model_names(name, source, RECIPES)] == []


def test_a_layer_is_a_file():
    files = PACKAGES["zoo.layers"].glob("[!_]*.py")
    sources = {path.stem: path.read_text("utf-8") for path in files}
    assert layer_files(sources, literal("zoo.layers", "__all__")) == []


def test_every_layer_is_checked():
    exported = literal("zoo.layers", "__all__")
    assert set(NO_LAYERS) <= set(exported)
    sources = [path.read_text("utf-8") for path in (ROOT / "tests" / "layers").glob("test_*.py")]
    assert unchecked(set(exported) - set(NO_LAYERS), sources) == []


def test_no_public_name_is_a_module():
    assert clashes(literal("zoo", "_PUBLIC"), [name.split(".")[1] for name in modules() if "." in name]) == []


def test_public_names_are_typed_and_defined():
    """What type checkers see under TYPE_CHECKING is what `__getattr__` finds."""
    typed = {one.target for one in imports(modules()["zoo"]) if one.typing} - {"zoo.layers", "zoo.recipes"}
    assert typed == {f"zoo.{module}.{name}" for name, module in literal("zoo", "_PUBLIC").items()}
    for name, module in literal("zoo", "_PUBLIC").items():
        assert name in {getattr(node, "name", None) for node in ast.parse(modules()[f"zoo.{module}"]).body}


def test_all_that_is_imported_is_declared():
    assert undeclared(third_parties(), *declared()) == []


def test_all_that_is_declared_is_imported():
    required, extra = declared()
    assert unused(third_parties(), required | extra, UNIMPORTED) == []


def test_a_dependency_whose_private_members_are_used_has_a_ceiling():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for some in project["optional-dependencies"].values() for line in some)]
    touched = {reason.partition(":")[0].lower() for reason in PRIVATE.values()}
    for name in touched:
        mine = [line for line in lines if re.match(rf"{name}\b(?!-)", line)]
        assert mine, name
        assert all("<" in line for line in mine), mine


def test_heavy_packages_are_no_extras():
    assert {"tensorflow", "keras", "keras-tuner", "tensorflow-datasets"} <= declared()[0]


# The checkers can fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("zoo.layers.pool", "import zoo.fields"),
        ("zoo.layers.pool", "from zoo import errors"),
        ("zoo.layers.pool", "def f():\n    import tensorflow"),
        ("zoo.recipes.net", "from zoo.base.recipe import Recipe"),
        ("zoo.recipes.net", "import zoo"),
        ("zoo.recipes.net", "import zoo.layers\nzoo.training.train"),
        ("zoo.recipes.net", "import scipy"),
        ("zoo.tasks.text", "from zoo import layers"),
        ("zoo.tasks.text", "def f():\n    from zoo.registry import build"),
        ("zoo.base", "from zoo.tasks import Segmentation"),
        ("zoo.data.source", "import zoo.runs"),
        ("zoo.training", "from zoo.recipes.net import Net"),
        ("zoo.training", "import importlib\nimportlib.import_module('zoo.recipes.net')"),
        ("zoo.training", "import zoo.layers"),
        ("zoo.reporting", "def f():\n    from zoo.tuning.study import Study"),
        ("zoo.runs", "from zoo import cli"),
        ("zoo.fields", "import keras"),
        ("zoo.errors", "from zoo import fields"),
        ("zoo.layers._backend.jax", "import zoo.layers.pool"),
    ],
)
def test_wrong_arrows_are_found(module, source):
    assert len(wrong_arrows(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("zoo.layers.pool", "import math\nimport keras\nimport numpy as np\nfrom zoo.layers.scale import Scale"),
        ("zoo.layers._backend.torch", "import torch"),
        ("zoo.recipes.net", "import zoo.layers\nfrom zoo.recipes.lenet import LeNet\nzoo.layers.Scale(keras.ops)"),
        ("zoo.tasks.text", "from zoo.tasks.language import LanguageModel\nfrom zoo.base import Recipe"),
        ("zoo.training", "from zoo import registry\nimport scipy"),
        ("zoo._hook", "def f():\n    import zoo.layers"),
    ],
)
def test_right_arrows_pass(module, source):
    assert wrong_arrows(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import tensorflow as tf",
        "from jax import numpy",
        "try:\n    import torch\nexcept ImportError:\n    pass",
        "class A:\n    import keras_tuner",
        "import zoo.data.digits",
        "from zoo.data import digits",
        "import importlib\ntfds = importlib.import_module('tensorflow_datasets')",
    ],
)
def test_early_heavy_imports_are_found(source):
    assert len(early_heavy_imports("zoo.training", source)) == 1
    body = "\n".join("    " + line for line in source.splitlines())
    assert early_heavy_imports("zoo.training", f"def f():\n{body}") == []
    assert early_heavy_imports("zoo.training", f"if typing.TYPE_CHECKING:\n{body}") == []


def test_heavy_imports_with_a_reason_pass():
    assert early_heavy_imports("zoo.data.digits", "import tensorflow_datasets as tfds") == []
    assert early_heavy_imports("zoo.data.digits", "from zoo.data import cells") == []
    assert early_heavy_imports("zoo.jaxtyping", "import jaxtyping") == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from keras.src import backend", "keras.src"),
        ("import keras.src.testing", "keras.src"),
        ("from keras import src", "keras.src"),
        ("import keras\nf(keras.src)", "keras.src"),
        ("import ray\nray._private.worker", "ray._private"),
        ("model._flatten_layers()", "_flatten_layers"),
        ("getattr(metric, '_direction', 'up')", "_direction"),
        ("super()._mine()", "_mine"),
    ],
)
def test_private_members_are_found(source, name):
    assert private_members("zoo.weights", source, collections.Counter(["_mine"])) == [("zoo.weights", name)]
    assert (
        private_members("zoo.weights", "self._mine\nos._exit(0)\nself.__class__", collections.Counter(["_mine"])) == []
    )


def test_circles_are_found():
    sources = {
        "zoo.a": "def f():\n    from zoo import b",
        "zoo.b": "import zoo.c.d",
        "zoo.c.d": "from zoo.a import f",
        "zoo.c": "",
        "zoo.e": "from zoo.a import f\nif TYPE_CHECKING:\n    import zoo.f",
        "zoo.f": "import zoo.e",
    }
    assert circles(graph_of(sources)) == [["zoo.a", "zoo.b", "zoo.c.d"]]
    assert room("zoo.c.d", sources) == room("zoo.c", sources) == "zoo.c"
    assert room("zoo.a", sources) == "zoo.a"


def test_relative_imports_are_found():
    assert relative_imports("zoo.layers.pool", "from . import a") == ["zoo.layers.pool:1 imports .a"]
    assert relative_imports("zoo.layers.pool", "from .a import b") == ["zoo.layers.pool:1 imports .a.b"]


def test_model_names_are_found():
    assert len(model_names("zoo.runs", "if name == 'lenet': pass", ["lenet"])) == 1
    assert len(model_names("zoo.runs", "build('lenet/modern')", ["lenet"])) == 1
    assert len(model_names("zoo.runs", "load('zoo.recipes.resnet')", ["lenet"])) == 1
    assert model_names("zoo.runs", "'lenet'\ndef f():\n    'lenet'\n    return 'alenet'", ["lenet"]) == []


def test_layer_files_are_judged():
    good = {"subsampling": "class Subsampling2D: pass\nclass _Helper: pass"}
    assert layer_files(good, ["Subsampling2D"]) == []
    assert len(layer_files(good, ["Subsampling2D", "Scale"])) == 1
    assert len(layer_files(good, [])) == 1
    assert len(layer_files({"pools": "class A: pass\nclass B: pass"}, ["A", "B"])) == 1
    assert len(layer_files({"pool": "class Scale: pass"}, ["Scale"])) == 1


def test_unchecked_layers_are_found():
    test = "def test_conforms():\n    check_layer(zoo.layers.Pool, {'layer': Scale()}, input_shape=(2, 3))"
    assert unchecked(["Pool"], [test]) == []
    assert unchecked(["Pool", "Scale"], [test]) == ["no test of tests/layers/ calls check_layer(Scale, ...)"]
    test = "@pytest.mark.parametrize('cls', [Pool])\ndef test_conforms(cls):\n    testing.check_layer(cls, {})"
    assert unchecked(["Pool"], [test]) == []
    assert len(unchecked(["Pool"], [test.replace("check_layer", "build")])) == 1
    assert len(unchecked(["Pool"], [test.replace("(cls, {})", "(Scale, {})")])) == 1


def test_clashes_are_found():
    assert clashes({"report": "reporting", "train": "training"}, ["report", "training"]) == ["report"]


def test_dependencies_are_judged():
    def use(source, where="zoo.runs"):
        return [(where, one) for one in imports(source)]

    assert len(undeclared(use("import scipy.stats"), {"numpy"}, set())) == 1
    assert undeclared(use("from sklearn import svm"), {"scikit-learn"}, set()) == []
    assert len(undeclared(use("import ai_edge_litert"), set(), {"ai-edge-litert"})) == 1
    assert undeclared(use("def f():\n    import onnx"), set(), {"onnx"}) == []
    assert undeclared(use("import pytest", "tests/test_a.py"), set(), {"pytest"}) == []
    assert unused(use("import numpy"), {"numpy", "scipy"}, {}) == ["nothing imports scipy"]
    assert unused(use("import numpy"), {"numpy", "scipy"}, {"scipy": "why"}) == []
    assert unused(use("import numpy"), {"numpy"}, {"numpy": "why"}) == ["numpy needs no reason"]
    assert unused(use("import numpy"), {"numpy"}, {"scipy": "why"}) == ["scipy needs no reason"]
