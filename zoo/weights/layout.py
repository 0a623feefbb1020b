"""`Family`: how a published family of checkpoints is laid out, as tables that stand in the recipes.

A table maps the path of a variable of ours to the tensor that holds it: a name, or a name in one of the functions of
`zoo.weights.parts` where the tensor is laid out otherwise. `{n}` in a path is a whole number, and `{n}` or `{n-1}` in a
name that number or the one before it:

    {"decoder{n}/self_attention_norm/gamma": "h.{n-1}.ln_1.weight", "head/kernel": linear("classifier.weight")}

Vocabularies are laid out by rows: row `rows[i]` of a checkpoint is our id `i`, and -1 stands for an id that the
checkpoint does not have.
"""

import dataclasses
import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from zoo.errors import InputError
from zoo.weights import imagenet
from zoo.weights.parts import Part, Rows, Shape, same

Config = Mapping[str, Any]
"""What the `config.json` of a checkpoint says."""

FREE = ("dropout", "attention_dropout", "drop_path", "zero_init_residual", "head_bias", "mean", "std")
"""Fields of a network that may be otherwise where its weights are read again: they change no answer of it, or stand
elsewhere in the checkpoint."""


_VARIANCE = ".running_var"
"""What ends the name of a variance that PyTorch's batch norm keeps, with a counter beside it."""


@dataclasses.dataclass(frozen=True)
class Target:
    """How weights of a recipe are written as checkpoints of a family.

    Attributes:
        config: function of the recipe's values that returns what config.json says, but for the vocabulary and the names
            of the classes; under "preprocessor" and "generation", what preprocessor_config.json and
            generation_config.json say. What a config cannot say it leaves out: the recipe is then refused, because
            `Family.values` of the config is another.
        prefix: what stands in front of names.
        bare: shell patterns of names without it.
        twins: {name of a bias: the name that it has too, and alone where no weight stands beside it}.
        beside: function of the recipe's values that returns {name of a JSON file: what else the library reads}.
    """

    config: Callable[[Mapping[str, Any]], dict[str, Any]]
    prefix: str = ""
    bare: tuple[str, ...] = ()
    twins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    beside: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None


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
        target: how weights are written; None where they are only read.
        bare: function of the tensors of a file that has no config.json, and of one that returns the file's SHA-256: it
            returns the config of what it knows them to be, None of others.
    """

    architectures: tuple[str, ...]
    values: Callable[[Config], dict[str, Any]]
    names: Mapping[str, str | Part]
    prefixes: tuple[str, ...] = ("",)
    ignored: tuple[str, ...] = ()
    loads: tuple[str, ...] | None = None
    target: Target | None = None
    bare: Callable[[Mapping[str, Any], Callable[[], str]], Config | None] | None = None

    def part(self, path: str) -> Part | None:
        """Returns the part of the variable at `path`, with the numbers of the path in its names; None without one."""
        for pattern, part in self.names.items():
            found = re.fullmatch(_pattern(pattern), path)
            if found:
                part = same(part) if isinstance(part, str) else part
                numbers = {name: int(value) for name, value in found.groupdict().items()}
                return dataclasses.replace(part, names=tuple(_filled(name, numbers) for name in part.names))
        return None

    def tensors(
        self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any], rows: Rows = None
    ) -> dict[str, np.ndarray]:
        """Returns {name: tensor} of a checkpoint with these weights, of which `Checkpoint` makes them again.

        Args:
            arrays: {path: value} of the variables.
            values: of the recipe.
            rows: as `Checkpoint` takes them.
        Raises: `InputError` for a variable that has no place in the checkpoint.
        """
        parts = {path: self.part(path) for path in arrays}
        for path, part in self.names.items():
            if isinstance(part, Part) and not part.needed and path not in arrays:
                parts[path] = part
        written = {}
        for path, part in parts.items():
            if part is None or part.back is None:
                raise InputError(f"{path} has no place in the checkpoint")
            shares = [_first_of(values, one) for one in part.shares] or [1] * len(part.names)
            tensors = part.back(arrays.get(path), shares, rows)
            for name, tensor in zip(part.names, tensors, strict=True):
                written[self._written(name.partition("|")[0])] = np.ascontiguousarray(tensor)
        for name, other in (self.target.twins if self.target is not None else {}).items():
            if name in written:
                written[other] = written[name]
                if name.replace(".bias", ".weight") not in written:
                    del written[name]
        counters = [name.replace(_VARIANCE, ".num_batches_tracked") for name in written if name.endswith(_VARIANCE)]
        return {**written, **dict.fromkeys(counters, np.zeros((), "int64"))}

    def _written(self, name: str) -> str:
        """The name with the prefix that it is written with."""
        if self.target is None or any(fnmatch.fnmatch(name, one) for one in self.target.bare):
            return name
        return self.target.prefix + name

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
        vocabulary: how many rows its tables of ids have, by its config; None where that does not say.

    Attributes:
        surplus: names of tensors that have no place in the network, and are not known as such.
        missing: paths of variables that the checkpoint does not have.
    """

    def __init__(
        self,
        family: Family,
        tensors: Mapping[str, np.ndarray],
        shapes: Mapping[str, Shape],
        rows: Rows = None,
        vocabulary: int | None = None,
    ) -> None:
        self._tensors, self._rows, self._shapes, self._vocabulary = tensors, rows, dict(shapes), vocabulary
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
        for name, tensor in zip(names, tensors, strict=True):
            if tensor is None:
                continue
            if tensor.dtype.kind != "f":
                raise InputError(f"The checkpoint's {name} holds {tensor.dtype}, and weights are floats.")
            if part.ids and self._vocabulary is not None and tensor.shape[:1] != (self._vocabulary,):
                count = tensor.shape[0] if tensor.ndim else 0
                raise InputError(
                    f"The checkpoint's {name} has {count:,} rows, but config.json has vocab_size={self._vocabulary:,}."
                )
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
    """Returns the names of the classes that a config gives, ImageNet's where it is known to be of it; else None."""
    named = config.get("id2label")
    if isinstance(named, dict):
        try:
            keys = sorted(named, key=int)
        except ValueError:
            raise InputError("id2label of config.json has keys that are no numbers.") from None
        if [int(key) for key in keys] != list(range(len(keys))):
            raise InputError("id2label of config.json leaves out numbers of classes.")
        return tuple(str(named[key]) for key in keys)
    names = config.get("label_names")
    if isinstance(names, list):
        return tuple(map(str, names))
    return imagenet.names() if imagenet.is_of(config) else None


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


def _first_of(values: Mapping[str, Any], names: str) -> int:
    """The first value of several fields, with `|` between their names, that is not None."""
    return next(values[name] for name in names.split("|") if values[name] is not None)


def _pattern(path: str) -> str:
    """The regular expression of a path with `{n}`."""
    pieces = re.split(r"\{(\w+)\}", path)
    return "".join(f"(?P<{one}>\\d+)" if place % 2 else re.escape(one) for place, one in enumerate(pieces))


def _filled(name: str, numbers: Mapping[str, int]) -> str:
    """A name with its `{n}` and `{n-1}` filled in."""
    return re.sub(r"\{(\w+?)(-1)?\}", lambda found: str(numbers[found[1]] - (1 if found[2] else 0)), name)
