"""`Family`: how a published family of checkpoints is laid out, as tables that stand in the recipes.

A table maps the path of a variable of ours to the tensor that holds it: a name, or a name in one of the functions here
where the tensor is laid out otherwise. `{n}` in a path is a whole number, and `{n}` or `{n-1}` in a name that number or
the one before it:

    {"decoder{n}/self_attention_norm/gamma": "h.{n-1}.ln_1.weight", "head/kernel": linear("classifier.weight")}

`dense` and `norm` return the rows of a layer's two weights.

Vocabularies are laid out by rows: row `rows[i]` of a checkpoint is our id `i`, and -1 stands for an id that the
checkpoint does not have.
"""

import dataclasses
import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.errors import InputError

Config = Mapping[str, Any]
"""What the `config.json` of a checkpoint says."""

Shape = tuple[int, ...]

ABSENT = -1e4
"""The logit of an id that a checkpoint does not have: its probability is 0, in float16 too."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A variable that is made of tensors of a checkpoint.

    Attributes:
        names: of the tensors.
        make: function of (tensors, shape of the variable, rows or None) that returns the variable's value.
        needed: whether a checkpoint without the tensors is refused; where not, `make` gets None for them.
    """

    names: tuple[str, ...]
    make: Callable[[Sequence[Any], Shape, Sequence[int] | None], np.ndarray]
    needed: bool = True


def same(name: str) -> Part:
    """Returns the part that is the tensor `name` itself."""
    return Part((name,), lambda tensors, shape, rows: tensors[0])


def joined(*names: str) -> Part:
    """Returns the part of tensors side by side, along their last axis."""
    return Part(names, lambda tensors, shape, rows: np.concatenate(tensors, axis=-1))


def linear(*names: str) -> Part:
    """Returns the kernel (in, out) of one or several of PyTorch's (out, in), side by side."""
    return Part(names, lambda tensors, shape, rows: np.concatenate([one.T for one in tensors], axis=-1))


def convolution(name: str) -> Part:
    """Returns the kernel (height, width, in, out) of PyTorch's (out, in, height, width)."""
    return Part((name,), lambda tensors, shape, rows: tensors[0].transpose(2, 3, 1, 0))


def first(name: str) -> Part:
    """Returns as many of the first rows of a table as the variable has."""
    return Part((name,), lambda tensors, shape, rows: tensors[0][: shape[0]])


def fitted(name: str, fit: Callable[[np.ndarray, Shape], np.ndarray]) -> Part:
    """Returns the part `fit(tensor, shape of the variable)`."""
    return Part((name,), lambda tensors, shape, rows: fit(tensors[0], shape))


def dense(ours: str, *theirs: str, turned: bool = True) -> dict[str, Part]:
    """Returns the rows of a table for a dense layer's kernel and bias.

    Args:
        theirs: the layer there, or several side by side, without `.weight` and `.bias`.
        turned: whether kernels there are PyTorch's (out, in), and not (in, out).
    """
    kernel = linear if turned else joined
    return {
        f"{ours}/kernel": kernel(*(f"{name}.weight" for name in theirs)),
        f"{ours}/bias": joined(*(f"{name}.bias" for name in theirs)),
    }


def norm(ours: str, theirs: str) -> dict[str, Part]:
    """Returns the rows of a table for a norm's gamma and beta, which old files call as TensorFlow does."""
    return {
        f"{ours}/gamma": same(f"{theirs}.weight|{theirs}.gamma"),
        f"{ours}/beta": same(f"{theirs}.bias|{theirs}.beta"),
    }


def by_rows(name: str) -> Part:
    """Returns a table (ids, width) in the order of our ids; an id that the checkpoint does not have is zeros."""
    return Part((name,), lambda tensors, shape, rows: _taken(tensors[0], rows))


def by_columns(name: str) -> Part:
    """Returns the kernel (width, ids) of PyTorch's (ids, width), in the order of our ids."""
    return Part((name,), lambda tensors, shape, rows: _taken(tensors[0], rows).T)


def logits_bias(name: str | None = None) -> Part:
    """Returns the bias (ids,) of the logits: the tensor `name` where there is one, else zeros.

    It is `ABSENT` for an id that the checkpoint does not have, and for the second of two ids that share a row (the
    start of a text where it is its end too).
    """

    def make(tensors: Sequence[Any], shape: Shape, rows: Sequence[int] | None) -> np.ndarray:
        found = [one for one in tensors if one is not None]
        bias = _taken(found[0], rows).astype("float32") if found else np.zeros(shape, "float32")
        if rows is not None:
            places = np.asarray(rows)
            bias[places < 0] = ABSENT
            for row in set(places[:4][places[:4] >= 0].tolist()):
                bias[np.flatnonzero(places == row)[:-1]] = ABSENT
        return bias

    return Part(() if name is None else (name,), make, needed=False)


def _taken(table: np.ndarray, rows: Sequence[int] | None) -> np.ndarray:
    if rows is None:
        return np.asarray(table)
    places = np.asarray(rows)
    taken = np.asarray(table)[np.maximum(places, 0)]
    taken[places < 0] = 0
    return taken


@dataclasses.dataclass(frozen=True)
class Family:
    """A published family of checkpoints that a recipe can be started from.

    Attributes:
        architectures: what `architectures` of config.json, or timm's `architecture`, says of those that `init_from`
            reads.
        values: function of the config that returns {field: value} of the recipe; it raises `InputError` for what the
            recipe cannot do.
        names: the table. Of names with `|` between them, the first that is there counts.
        prefixes: what may stand in front of a name; the first that fits counts.
        ignored: shell patterns of tensors that have no place in the network.
        loads: those of `architectures` of which `zoo.load` makes this recipe; all, if None.
    """

    architectures: tuple[str, ...]
    values: Callable[[Config], dict[str, Any]]
    names: Mapping[str, str | Part]
    prefixes: tuple[str, ...] = ("",)
    ignored: tuple[str, ...] = ()
    loads: tuple[str, ...] | None = None

    def part(self, path: str) -> Part | None:
        """Returns the part of the variable at `path`, with the numbers of the path in its names; None without one."""
        for pattern, part in self.names.items():
            found = re.fullmatch(_pattern(pattern), path)
            if found:
                part = same(part) if isinstance(part, str) else part
                numbers = {name: int(value) for name, value in found.groupdict().items()}
                return dataclasses.replace(part, names=tuple(_filled(name, numbers) for name in part.names))
        return None

    def located(self, name: str, tensors: Mapping[str, Any]) -> str | None:
        """Returns `name` with the prefix under which `tensors` has it; None where it is not there."""
        names = (prefix + one for one in name.split("|") for prefix in self.prefixes)
        return next((one for one in names if one in tensors), None)


class Checkpoint(Mapping[str, np.ndarray]):
    """{path of a variable: its value}, made of the tensors of a checkpoint one at a time, when it is asked for.

    Args:
        family: the layout of the checkpoint.
        tensors: {name: array}, which may read a file for each.
        shapes: {path: shape} of the variables that are wanted.
        rows: the row of the checkpoint for each of our ids; None where it has none, or the same.

    Attributes:
        surplus: names of tensors that have no place in the network, and are not known as such.
        missing: paths of variables that the checkpoint does not have.
    """

    def __init__(
        self,
        family: Family,
        tensors: Mapping[str, np.ndarray],
        shapes: Mapping[str, Shape],
        rows: Sequence[int] | None = None,
    ) -> None:
        self._tensors, self._rows, self._shapes = tensors, rows, dict(shapes)
        self._parts: dict[str, tuple[Part, list[str | None]]] = {}
        self.missing: list[str] = []
        used: set[str | None] = set()
        for path in shapes:
            part = family.part(path)
            names = [] if part is None else [family.located(name, tensors) for name in part.names]
            if part is None or (part.needed and None in names):
                self.missing.append(path)
            else:
                self._parts[path] = (part, names)
                used.update(names)
        known = [prefix + pattern for prefix in family.prefixes for pattern in family.ignored]
        self.surplus: list[str] = [
            name for name in tensors if name not in used and not any(fnmatch.fnmatch(name, one) for one in known)
        ]

    def __getitem__(self, path: str) -> np.ndarray:
        part, names = self._parts[path]
        tensors = [None if name is None else self._tensors[name] for name in names]
        shape = self._shapes[path]
        try:
            made = part.make(tensors, shape, self._rows)
        except (ValueError, IndexError) as error:
            raise InputError(f"The checkpoint's {', '.join(map(str, names))} does not fit {path}: {error}.") from None
        return np.asarray(made)

    def __contains__(self, path: object) -> bool:
        return path in self._parts  # Mapping's own would make the value

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def expect(config: Config, name: str, *allowed: object, default: object = None) -> None:
    """Raises `InputError` where `name` in a config is none of `allowed`; where it is missing, it is `default`."""
    value = config.get(name, default)
    if value not in allowed:
        listed = " or ".join(map(str, allowed))
        raise InputError(f"config.json has {name}={value}, and the recipe has {listed} only.")


def required(config: Config, name: str) -> Any:
    """Returns what a config says of `name`; one that says nothing is an `InputError`."""
    if name not in config:
        raise InputError(f"config.json does not say {name}.")
    return config[name]


def labels_of(config: Config) -> tuple[str, ...] | None:
    """Returns the names of the classes that a config gives; None where it gives none."""
    named = config.get("id2label")
    if isinstance(named, dict):
        try:
            return tuple(str(named[key]) for key in sorted(named, key=int))
        except ValueError:
            raise InputError("id2label of config.json has keys that are no numbers.") from None
    names = config.get("label_names")
    return tuple(map(str, names)) if isinstance(names, list) else None


def classes_of(config: Config) -> int | None:
    """Returns the number of classes that a config gives; None where it gives none."""
    labels = labels_of(config)
    if labels is not None:
        return len(labels)
    for name in ("num_classes", "num_labels"):
        if config.get(name):
            return int(config[name])
    classifies = any("Classification" in str(one) for one in config.get("architectures") or [])
    return 2 if classifies else None  # transformers writes neither for two


def _pattern(path: str) -> str:
    """The regular expression of a path with `{n}`."""
    pieces = re.split(r"\{(\w+)\}", path)
    return "".join(f"(?P<{one}>\\d+)" if place % 2 else re.escape(one) for place, one in enumerate(pieces))


def _filled(name: str, numbers: Mapping[str, int]) -> str:
    """A name with its `{n}` and `{n-1}` filled in."""
    return re.sub(r"\{(\w+?)(-1)?\}", lambda found: str(numbers[found[1]] - (1 if found[2] else 0)), name)
