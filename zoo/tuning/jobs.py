"""A tuning job in a YAML file: the arguments of `zoo.tune` by name.

recipe: lenet
fixed: {epochs: 10}
space:
  learning_rate: 1e-4..1e-1:log
  activation: [tanh, relu]
oracle: bayesian
max_trials: 30
max_time: 2h
"""

import ast
import contextlib
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from zoo import registry
from zoo.errors import InputError, nearest
from zoo.registry import headers
from zoo.tuning import ranges

_TEXTS = ("oracle", "objective", "pruner", "engine", "address", "directory", "data_dir")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str | float) -> float:
    """Returns the seconds of `90`, `90s`, `15m`, `2h` or `1d`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(text).strip())
    if found is None:
        raise InputError(f"A time is a number with s, m, h or d behind it, such as 90s or 2h. Received: {text}.")
    return float(found[1]) * _UNITS[found[2]]


def read(path: str | pathlib.Path, trust: bool = False, load: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Reads {argument of `zoo.tune`: value} from a YAML file; Keras is not imported where the recipe's source will do.

    Args:
        trust: whether its recipe may be a file that this user has not trained on this machine.
        load: what imports Keras, called before the recipe is imported. Defaults to a function that does nothing.
    Raises: `InputError`, with the line, for what is wrong in it.
    """
    import yaml

    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"There is no job file {path}.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text.") from None
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        job = yaml.safe_load(text)
    except RecursionError:
        raise InputError(f"{path}: its brackets are nested too deeply.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        raise InputError(f"{path}{line}: this is not YAML: {getattr(error, 'problem', error)}.") from None
    if not isinstance(job, dict):
        raise InputError(f"{path}: a job is a mapping, such as `recipe: NAME`, `max_trials: 30`.")
    known = _arguments()
    for key, line in _lines(path, tree):
        if key not in known:
            hint = nearest(key, known) or f" There are: {', '.join(known)}."
            raise InputError(f"{path}:{line}: unknown key {key!r}.{hint}")
    if not isinstance(job.get("recipe"), str):
        raise InputError(f"{path}: a job names its recipe, such as `recipe: NAME`.")
    lines = dict(_lines(path, tree))
    with at(path, lines["recipe"]):
        registry.check_name(job["recipe"])
        if not trust:
            registry.refuse_untrusted(job["recipe"])
        cls = registry.sketch(job["recipe"])
    for name in _TEXTS:
        if not isinstance(job.get(name), str | None):
            raise InputError(f"{path}:{lines[name]}: {name} is a text. Received: {job[name]!r}.")
    for name in ("quiet", "skip_bad"):
        if not isinstance(job.get(name, False), bool):
            raise InputError(f"{path}:{lines[name]}: {name} is true or false. Received: {job[name]!r}.")
    for name in ("max_time", "max_trial_time"):
        if job.get(name) is not None:
            with at(path, lines[name]):
                job[name] = duration(job[name])
    parts = [name for name in ("space", "fixed") if job.get(name) is not None]
    parts = [name for name in parts if (name, job[name]) != ("space", ranges.ALL)]
    if parts and cls is None:
        load()
        cls = type(registry.configured(job["recipe"], {}))
    for name in parts:
        _check_fields(path, tree, job, name, cls)
    return job


def _arguments():
    """The names of the arguments of `zoo.tune`, read from its source: importing it takes seconds."""
    body = ast.parse(headers.source_of("zoo.tuning.tune").read_text(encoding="utf-8")).body
    (tune,) = (node for node in body if isinstance(node, ast.FunctionDef) and node.name == "tune")
    return [argument.arg for argument in (*tune.args.args, *tune.args.kwonlyargs)]


def _lines(path, node):
    """[(key, its line)] of a mapping's node; a key that comes twice is an `InputError`."""
    found = [(key.value, key.start_mark.line + 1) for key, _ in node.value]
    seen = set()
    for key, line in found:
        if key in seen:
            raise InputError(f"{path}:{line}: {key} is given twice.")
        seen.add(key)
    return found


def _check_fields(path, tree, job, part, cls):
    """Raises, with its line, for an entry of `space` or `fixed` that the recipe's class, or its sketch, refuses."""
    node, line = next((value, key.start_mark.line + 1) for key, value in tree.value if key.value == part)
    if not isinstance(job[part], dict):
        raise InputError(f"{path}:{line}: {part} is a mapping from fields.")
    base, variant = registry.parts_of(job["recipe"])
    for name, line in _lines(path, node):
        if name not in job[part]:
            raise InputError(f"{path}:{line}: YAML does not read {name!r} as a name: put it in quotes.")
        with at(path, line):
            entry = {name: job[part][name]}
            searched, fixed = (entry, {}) if part == "space" else ({}, entry)
            ranges.read_of(cls, base, variant, searched, fixed)


@contextlib.contextmanager
def at(path: pathlib.Path, line: int) -> Iterator[None]:
    """Puts a file and a line before the message of an `InputError` that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}:{line}: {error}") from None
