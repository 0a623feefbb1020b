"""`Part`: a variable of ours and the tensors of a checkpoint that hold it; `layout` makes tables of them.

What `back` makes of a value, `make` makes that value of again, and what `make` makes of the tensors that a checkpoint
has, `back` makes those of.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo.errors import InputError

Shape = tuple[int, ...]

ABSENT = -1e4
"""The logit of an id that a checkpoint does not have: its probability is 0, in float16 too."""


Rows = Sequence[int] | None
"""The row of a checkpoint for each of our ids; None where they are the same, or where there is no vocabulary."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A variable that is made of tensors of a checkpoint.

    Attributes:
        names: of the tensors.
        make: function of (tensors, shape of the variable, rows) that returns the variable's value.
        back: function of (value, shares of the tensors, rows) that returns the tensors again; None where weights are
            only read.
        needed: whether a checkpoint without the tensors is refused; where not, `make` gets None for them, and `back`
            None for a variable that the network does not have.
        shares: fields of the recipe, whose values are the shares of the tensors in the variable's last axis; with `|`
            between them, the first that is not None counts. Equal shares, if empty.
        ids: whether the tensors have a row for each id of a vocabulary.
    """

    names: tuple[str, ...]
    make: Callable[[Sequence[Any], Shape, Rows], np.ndarray]
    back: Callable[[Any, Sequence[int], Rows], Sequence[np.ndarray]] | None = None
    needed: bool = True
    shares: tuple[str, ...] = ()
    ids: bool = False


def same(name: str) -> Part:
    """Returns the part that is the tensor `name` itself."""
    return Part((name,), lambda tensors, shape, rows: tensors[0], lambda value, shares, rows: [value])


def joined(*names: str, shares: tuple[str, ...] = ()) -> Part:
    """Returns the part of tensors side by side, along their last axis; `shares` as `Part` has it."""
    return Part(
        names,
        lambda tensors, shape, rows: np.concatenate(tensors, axis=-1),
        lambda value, shares, rows: _apart(value, shares),
        shares=shares,
    )


def linear(*names: str, shares: tuple[str, ...] = ()) -> Part:
    """Returns the kernel (in, out) of one or several of PyTorch's (out, in), side by side; `shares` as for `joined`."""
    return Part(
        names,
        lambda tensors, shape, rows: np.concatenate([one.T for one in tensors], axis=-1),
        lambda value, shares, rows: [one.T for one in _apart(value, shares)],
        shares=shares,
    )


def convolution(name: str) -> Part:
    """Returns the kernel (height, width, in, out) of PyTorch's (out, in, height, width)."""
    return Part(
        (name,),
        lambda tensors, shape, rows: tensors[0].transpose(2, 3, 1, 0),
        lambda value, shares, rows: [value.transpose(3, 2, 0, 1)],
    )


def first(name: str) -> Part:
    """Returns as many of the first rows of a table as the variable has."""
    return Part((name,), lambda tensors, shape, rows: tensors[0][: shape[0]], lambda value, shares, rows: [value])


def fitted(
    name: str,
    fit: Callable[[np.ndarray, Shape], np.ndarray],
    back: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Part:
    """Returns the part `fit(tensor, shape of the variable)`, of which `back(value)` is the tensor again."""
    return Part(
        (name,),
        lambda tensors, shape, rows: fit(tensors[0], shape),
        back and (lambda value, shares, rows: [back(value)]),
    )


def dense(ours: str, *theirs: str, turned: bool = True, shares: tuple[str, ...] = ()) -> dict[str, Part]:
    """Returns the rows of a table for a dense layer's kernel and bias.

    Args:
        theirs: the layer there, or several side by side, without `.weight` and `.bias`.
        turned: whether kernels there are PyTorch's (out, in), and not (in, out).
        shares: of several, as `Part` has it.
    """
    kernel = linear if turned else joined
    return {
        f"{ours}/kernel": kernel(*(f"{name}.weight" for name in theirs), shares=shares),
        f"{ours}/bias": joined(*(f"{name}.bias" for name in theirs), shares=shares),
    }


def norm(ours: str, theirs: str) -> dict[str, Part]:
    """Returns the rows of a table for a norm's gamma and beta, which old files call as TensorFlow does."""
    return {
        f"{ours}/gamma": same(f"{theirs}.weight|{theirs}.gamma"),
        f"{ours}/beta": same(f"{theirs}.bias|{theirs}.beta"),
    }


def by_rows(name: str) -> Part:
    """Returns a table (ids, width) in the order of our ids; an id that the checkpoint does not have is zeros."""
    return Part(
        (name,),
        lambda tensors, shape, rows: _taken(tensors[0], rows),
        lambda value, shares, rows: [_placed(value, rows)],
        ids=True,
    )


def by_columns(name: str) -> Part:
    """Returns the kernel (width, ids) of PyTorch's (ids, width), in the order of our ids."""
    return Part(
        (name,),
        lambda tensors, shape, rows: _taken(tensors[0], rows).T,
        lambda value, shares, rows: [_placed(value.T, rows)],
        ids=True,
    )


def logits_bias(name: str | None = None) -> Part:
    """Returns the bias (ids,) of the logits: the tensor `name` where there is one, else zeros.

    It is `ABSENT` for an id that the checkpoint does not have, and for the second of two ids that share a row (the
    start of a text where it is its end too).
    """

    def make(tensors: Sequence[Any], shape: Shape, rows: Rows) -> np.ndarray:
        found = [one for one in tensors if one is not None]
        bias = _taken(found[0], rows).astype("float32") if found else np.zeros(shape, "float32")
        if rows is not None:
            places = np.asarray(rows)
            bias[places < 0] = ABSENT
            for row in set(places[:4][places[:4] >= 0].tolist()):
                bias[np.flatnonzero(places == row)[:-1]] = ABSENT
        return bias

    def back(value: Any, shares: Sequence[int], rows: Rows) -> list[np.ndarray]:
        if value is None:
            value = np.zeros(0 if rows is None else len(rows), "float32")
        bias = _placed(value, rows)
        if name is None and (bias[bias > ABSENT / 2] != 0).any():
            raise InputError("the bias of its logits was trained, which the other library has no place for")
        return [] if name is None else [bias]

    return Part(() if name is None else (name,), make, back, needed=False, ids=True)


def _apart(value: np.ndarray, shares: Sequence[int]) -> list[np.ndarray]:
    """An array cut along its last axis into such shares of it."""
    size = value.shape[-1] // sum(shares)
    return np.split(value, np.cumsum(shares[:-1]) * size, axis=-1)


def _placed(ours: np.ndarray, rows: Rows) -> np.ndarray:
    """A table in the order of the checkpoint, of which `_taken` is `ours`; of ids that share a row, the last counts."""
    if rows is None:
        return ours
    table = np.zeros((max(rows) + 1, *ours.shape[1:]), ours.dtype)
    for place, row in enumerate(rows):
        if row >= 0:
            table[row] = ours[place]
    return table


def _taken(table: np.ndarray, rows: Rows) -> np.ndarray:
    if rows is None:
        return np.asarray(table)
    places = np.asarray(rows)
    taken = np.asarray(table)[np.maximum(places, 0)]
    taken[places < 0] = 0
    return taken
