"""What layers check of their arguments. Every message gives the rule, the value received, and what to do."""

import math
import numbers
from collections.abc import Callable, Collection
from typing import Any

from zoo.layers._typing import Shape


def whole(name: str, value: Any, low: int = 1) -> int:
    """`value`, a whole number of at least `low`; else `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{name} must be a whole number of at least {low}. Received: {name}={value!r}")
    return int(value)


def real(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False, below: bool = False
) -> float:
    """`value`, a finite number from `low` to `high` (`above`, `below`: without the bound itself); else `ValueError`."""
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    fits = fits and (low < value if above else low <= value) and (value < high if below else value <= high)
    if not fits:
        bounds = []
        if low > -math.inf:
            bounds.append(f"above {low:g}" if above else f"of at least {low:g}")
        if high < math.inf:
            bounds.append(f"below {high:g}" if below else f"of at most {high:g}")
        raise ValueError(f"{name} must be a finite number {' and '.join(bounds)}. Received: {name}={value!r}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """`value`, True or False; else `ValueError`."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False. Received: {name}={value!r}")
    return value


def optional(check: Callable[..., Any], name: str, value: Any, *bounds: Any, **options: Any) -> Any:
    """`check(name, value, ...)`, or None where `value` is None."""
    return None if value is None else check(name, value, *bounds, **options)


def choice(name: str, value: Any, choices: Collection[str | None]) -> Any:
    """`value`, one of `choices`; else `ValueError` that lists them."""
    if not isinstance(value, (str, type(None))) or value not in choices:
        listed = ", ".join(repr(one) for one in choices)
        raise ValueError(f"{name} must be one of {listed}. Received: {name}={value!r}")
    return value


def rank(layer: str, shape: Shape, expected: str, name: str = "input_shape") -> Shape:
    """`shape` as a tuple, of as many axes as the words of `expected`, such as "batch, height, width, channels"."""
    if len(shape) != len(expected.split(", ")):
        raise ValueError(f"{layer} takes a tensor of ({expected}). Received: {name}={tuple(shape)}")
    return tuple(shape)


def known(layer: str, shape: Shape, axis: int, name: str = "input_shape") -> int:
    """The size of `axis` of `shape`; `ValueError` naming the axis where it is unknown, because weights depend on it."""
    shape = tuple(shape)
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{layer} needs an axis {axis}. Received: {name}={shape}")
    size = shape[axis]
    if size is None:
        raise ValueError(
            f"{layer} needs to know the size of axis {axis}: its weights depend on it. "
            f"Received: {name}={shape}. Give that size in keras.Input(shape=...)."
        )
    return size


def several(layer: str, shapes: Any, counts: Collection[int], names: str) -> list[Shape]:
    """`shapes` as a list of tuples, one of `counts` many; `names` tells what they are, such as "[x, z]"."""
    listed = isinstance(shapes, (list, tuple)) and all(isinstance(shape, (list, tuple)) for shape in shapes)
    if not listed or len(shapes) not in counts:
        raise ValueError(f"{layer} takes a list {names}. Received: input_shape={shapes}")
    return [tuple(shape) for shape in shapes]


def agree(first: Shape, second: Shape) -> bool:
    """Whether two shapes are alike where both are known."""
    return len(first) == len(second) and all(a == b or None in (a, b) for a, b in zip(first, second, strict=True))
