"""`Definition`: what never changes in a study, as its `study.json` says it."""

import dataclasses
import hashlib
import json
import pathlib
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.fields import from_json, show
from zoo.runs.folder import Kind
from zoo.tuning.pruning import PRUNERS
from zoo.tuning.ranges import Range
from zoo.tuning.space import Space
from zoo.tuning.trial import ORACLES

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe

_PARTS = ("recipe", "fixed", "space", "data")
"""The attributes of a definition that are compared key by key."""

_KINDS = {
    **dict.fromkeys(_PARTS, dict), "objective": str, "seed": int, "max_parameters": int | None, "initial_points": int,
}  # fmt: skip
"""{attribute: its kind}; the others are words."""


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

    @classmethod
    def read(cls, path: str | pathlib.Path) -> "Definition":
        """Reads the definition of the study in the folder `path`.

        Raises: `InputError` for a study that is missing, damaged or of a newer schema.
        """
        facts = KIND.read(KIND.path(path))
        found = cls(**{field.name: facts[field.name] for field in dataclasses.fields(cls)})
        try:
            found._check()
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            raise KIND.damaged(pathlib.Path(path), f"{type(error).__name__}: {error}") from None
        return found

    def _check(self) -> None:
        """Raises where an attribute is not of its kind: `study.json` may say anything."""
        for name, kind in _KINDS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} is of a wrong kind")
        for name, known in (("direction", ("min", "max")), ("oracle", ORACLES), ("pruner", (None, *PRUNERS))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is none of {', '.join(map(str, known))}")
        _ = {name: range.text for name, range in self.ranges.items()}

    def write(self, path: pathlib.Path) -> None:
        """Writes `study.json` into the folder `path`."""
        KIND.write(path, {"schema": KIND.schema, **dataclasses.asdict(self)})

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
        return KIND.default(self.recipe["name"], self.recipe["variant"], self.digest())

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


STATE = "study.sqlite"
"""The file of what changes in a study."""

KIND = Kind(
    noun="study",
    verb="tune",
    home="studies",
    schema=1,
    needs=(
        *(field.name for field in dataclasses.fields(Definition)),
        *(f"recipe.{key}" for key in ("reference", "name", "variant", "given", "values")),
    ),
    written=(STATE, f"{STATE}-journal"),
    filled=("data",),
)


def _flat(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Returns {key: value} of a part of a definition, as `differences` tells it."""
    if name == "space":
        return {field: Range.restored(one).text for field, one in facts.items()}
    if name == "recipe":
        return {**{key: facts[key] for key in ("reference", "variant", "given")}, **facts["values"]}
    return facts if isinstance(facts, dict) else {"is": facts}
