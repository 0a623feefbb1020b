"""`Definition`: what never changes in a study, as its `study.json` says it."""

import dataclasses
import hashlib
import json
import pathlib
from typing import TYPE_CHECKING, Any

from zoo import files, registry
from zoo.errors import InputError
from zoo.fields import from_json, show
from zoo.tuning.ranges import Range
from zoo.tuning.space import Space

if TYPE_CHECKING:
    from zoo.base import Recipe

SCHEMA = 1
"""The version of `study.json`."""

NAME = "study.json"

_RECIPE = ("reference", "name", "variant", "given", "values")
"""What a saved recipe has."""

_PARTS = ("recipe", "fixed", "space", "data")
"""The attributes of a definition that are compared key by key."""


@dataclasses.dataclass(frozen=True)
class Definition:
    """What never changes in a study. Attributes hold JSON only, as `study.json` does.

    Attributes:
        recipe: the recipe that is tuned, as `registry.saved` writes it.
        fixed: {field: value} of the fields that were given and are not searched.
        space: {field: `Range.facts`}.
        data: the name of the data, and their fingerprint.
        objective: the column of a run's history that is to become best.
        direction: which scores are better, "min" or "max".
        oracle: the name of the oracle.
        seed: the oracle's seed.
        pruner: the name of the pruner, or None.
        max_parameters: networks with more parameters are skipped; None is no limit.
        initial_points: how many trials bayesian draws at random before its first model. It follows from the space and
            the budget, so a study that was defined with another budget is the same study.
    """

    recipe: dict[str, Any]
    fixed: dict[str, Any]
    space: dict[str, Any]
    data: dict[str, Any]
    objective: str
    direction: str
    oracle: str
    seed: int
    pruner: str | None
    max_parameters: int | None
    initial_points: int

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            object.__setattr__(self, name, json.loads(json.dumps(value)))

    # study.json -------------------------------------------------------------------------------------------------

    @staticmethod
    def exists(path: str | pathlib.Path) -> bool:
        """Whether the folder `path` is a study."""
        return (pathlib.Path(path) / NAME).exists()

    @classmethod
    def read(cls, path: str | pathlib.Path) -> "Definition":
        """Reads the definition of the study in the folder `path`.

        Raises: `InputError` for a study that is missing, damaged or of a newer schema.
        """
        path = pathlib.Path(path)
        if not cls.exists(path):
            why = f"it has no {NAME}" if path.is_dir() else "it is a file" if path.exists() else "no such folder"
            raise InputError(f"There is no study in {path}: {why}. Name the folder that zoo tune made.")
        try:
            facts = json.loads((path / NAME).read_text())
            schema = int(facts["schema"])
            if schema <= SCHEMA:
                found = cls(**{field.name: facts[field.name] for field in dataclasses.fields(cls)})
                _ = [found.recipe[name] for name in _RECIPE]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{path / NAME} cannot be read, it is damaged ({type(error).__name__}): "
                "tune again in another --directory."
            ) from None
        if schema > SCHEMA:
            raise InputError(f"{path} was written by a newer zoo (schema {schema}, this one reads {SCHEMA}): upgrade.")
        return found

    def write(self, path: pathlib.Path) -> None:
        """Writes `study.json` into the folder `path`."""
        files.write_json(path / NAME, {"schema": SCHEMA, **dataclasses.asdict(self)})

    # What it says -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The recipe's name, with its variant where there is one: `lenet/modern`."""
        name, variant = self.recipe["name"], self.recipe["variant"]
        return name if variant is None else f"{name}/{variant}"

    @property
    def ranges(self) -> dict[str, Range]:
        """{field: `Range`} of what is searched."""
        return {name: Range.restored(facts) for name, facts in self.space.items()}

    def searched(self, base: "Recipe") -> Space:
        """Returns the `Space` over the recipe that is tuned; its recipes monitor the objective."""
        return Space(base, self.ranges, {**from_json(self.fixed), "monitor": self.objective})

    def restored(self, trusted: bool) -> "Recipe":
        """Returns the recipe that is tuned; see `registry.restored`."""
        return registry.restored(self.recipe, trusted)

    # Which study it is ------------------------------------------------------------------------------------------

    def digest(self) -> str:
        """Returns eight hex digits by which the same command finds its study again."""
        facts = dataclasses.asdict(self)
        del facts["initial_points"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]

    def default_directory(self) -> pathlib.Path:
        """Returns `studies/<recipe>-<variant>-<digest>`."""
        parts = [pathlib.Path(self.recipe["name"]).stem, self.recipe["variant"], self.digest()]
        return pathlib.Path("studies", "-".join(part for part in parts if part))

    def differences(self, other: "Definition") -> list[str]:
        """Returns a phrase for each difference between this definition, which is in a study, and another."""
        changed = []
        for name in _PARTS:
            one, two = (_flat(name, getattr(definition, name)) for definition in (self, other))
            for key in {**one, **two}:
                if one.get(key) != two.get(key):
                    changed.append(f"{name}: {key}={two.get(key, 'left out')} (there {one.get(key, 'left out')})")
        for field in dataclasses.fields(self):
            if field.name in (*_PARTS, "initial_points"):
                continue
            one, two = (getattr(definition, field.name) for definition in (self, other))
            if one != two:
                changed.append(f"{field.name}={show(two)} (there {show(one)})")
        return changed


def _flat(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Returns {key: value} of a part of a definition, as `differences` tells it."""
    if name == "space":
        return {field: Range.restored(one).text for field, one in facts.items()}
    if name == "recipe":
        return {**{key: facts[key] for key in ("reference", "variant", "given")}, **facts["values"]}
    return facts if isinstance(facts, dict) else {"is": facts}
