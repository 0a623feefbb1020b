"""`Declared`: turns a class whose body declares fields into a frozen dataclass."""

import dataclasses
import inspect
import typing
from collections.abc import Collection, Mapping

from zoo.errors import InputError, nearest, unknown
from zoo.fields.declaring import choice, flag, integer, integers, real, reals, text
from zoo.fields.kinds import KEY, Field
from zoo.fields.texts import show


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a recipe came from: its name in the registry, its variant, and the names its caller gave."""

    name: str
    variant: str | None = None
    given: frozenset[str] = frozenset()


@typing.dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(integer, real, choice, flag, text, integers, reals)
)
class Declared:
    """Root of classes whose body declares fields: each subclass becomes a frozen, keyword-only dataclass.

    A class keyword changes the default of an inherited field and nothing else:
    `class LeNet(ImageClassification, epochs=40)`.
    """

    def __init_subclass__(cls, **defaults: typing.Any) -> None:
        super().__init_subclass__()
        annotations = inspect.get_annotations(cls)
        inherited: dict[str, Field] = {}
        for base in reversed(cls.__mro__[1:]):
            inherited |= base.fields() if "__dataclass_fields__" in vars(base) else {}
        for name, value in list(vars(cls).items()):
            if isinstance(value, dataclasses.Field):
                if any(callable(getattr(base, name, None)) for base in cls.__mro__[1:]):
                    raise TypeError(f"{cls.__name__}.{name} is a field, and a method of a base class has its name.")
                if name not in annotations:
                    raise TypeError(f"{cls.__name__}.{name} is a field without an annotation.")
            elif name in inherited:
                raise TypeError(f"{cls.__name__}.{name} would hide the inherited field {name!r}; use a class keyword.")
        for name in annotations:
            if name not in vars(cls) and "ClassVar" not in str(annotations[name]):
                raise TypeError(f"{cls.__name__}.{name} is not declared by a function of zoo.fields.")
        for name, default in defaults.items():
            if name not in inherited:
                raise TypeError(f"{cls.__name__}: no inherited field {name!r}.{nearest(name, inherited)}")
            field = inherited[name]
            default = field.check(name, default)
            annotations = {**annotations, name: type(default)}
            setattr(cls, name, dataclasses.field(default=default, metadata={KEY: _with_default(field, default)}))
        cls.__annotations__ = annotations
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        fields = self.fields()
        for name, field in fields.items():
            object.__setattr__(self, name, field.check(name, getattr(self, name)))
        for name in fields:
            failing = self.inactive(name, self.values())
            if failing and getattr(self, name) != fields[name].default:
                raise InputError(f"{name}={show(getattr(self, name))} has no effect: it counts only with {failing}.")

    @classmethod
    def fields(cls) -> dict[str, Field]:
        """Returns {name: `Field`}, in the order of declaration, base classes first."""
        declared = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]  # every subclass is a dataclass
        return {field.name: field.metadata[KEY] for field in declared}

    @classmethod
    def field(cls, name: str) -> Field:
        """Returns the `Field` called `name`; an unknown name raises with the nearest."""
        try:
            return cls.fields()[name]
        except KeyError:
            raise unknown(f"field of {cls.__name__}", name, cls.fields()) from None

    @classmethod
    def inactive(cls, name: str, values: Mapping[str, typing.Any]) -> str:
        """Returns why the field `name` is inactive under `values`: `schedule=step (now ...)`; '' where it is active."""
        failing = []
        for other, condition in cls.field(name).conditions():
            if cls.inactive(other, values) or not condition.holds(values[other]):
                failing.append(f"{other}{condition.text} (now {other}={show(values[other])})")
        return " and ".join(failing)

    @classmethod
    def normal(cls, values: Mapping[str, typing.Any], given: Collection[str] = ()) -> dict[str, typing.Any]:
        """Returns `values` (complete or not) checked and completed, inactive fields at their defaults.

        A name in `given` that does not count raises: it was asked for and would do nothing.
        """
        fields = cls.fields()
        full = {name: field.default for name, field in fields.items()}
        for name, value in values.items():
            full[name] = cls.field(name).check(name, value)
        for name in fields:
            failing = cls.inactive(name, full)
            if failing and name in given:
                raise InputError(f"{name}={show(full[name])} has no effect: it counts only with {failing}.")
            if failing:
                full[name] = fields[name].default
        return full

    def values(self) -> dict[str, typing.Any]:
        """Returns {name: value} of every field."""
        return {name: getattr(self, name) for name in self.fields()}


def _with_default(field: Field, default: object) -> Field:
    return dataclasses.replace(field, default=default)
