"""`Options`: what a person says to define a study, and how it is checked and becomes a `Definition`."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.data.opening import check_name, name_of
from zoo.errors import InputError, RunError, check_whole, unknown
from zoo.tuning.definition import Definition
from zoo.tuning.pruning import PRUNERS
from zoo.tuning.ranges import ALL, VARIANT, read
from zoo.tuning.space import Space, unstopped
from zoo.tuning.trial import HYPERBAND, MOST_SEED, ORACLES

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that define a study: arguments of `zoo.tune`, which documents them, and of `Study.make`.

    `max_trials` is a budget, but bayesian's first random trials depend on it.

    Raises: `InputError` for options that no recipe and no data can have.
    """

    recipe: "str | Recipe"
    space: Mapping[str, Any] | str | None
    fixed: Mapping[str, Any] | None
    oracle: str
    objective: str | None
    seed: int
    pruner: str | None
    max_parameters: int | None
    max_trials: int | None
    directory: str | pathlib.Path | None
    data_dir: str | pathlib.Path | None
    skip_bad: bool

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Options":
        """Returns the options among the arguments of a function, {name: value}."""
        return cls(**{field.name: given[field.name] for field in dataclasses.fields(cls)})

    def __post_init__(self):
        for name, value in (("space", self.space), ("fixed", self.fixed)):
            whole = name == "space" and isinstance(value, str) and value == ALL
            if value is not None and not isinstance(value, Mapping) and not whole:
                raise InputError(f"{name} is a mapping from fields. Received: {name}={value!r:.60}.")
        for name, value, known in (("oracle", self.oracle, ORACLES), ("pruner", self.pruner, (None, *PRUNERS))):
            if value not in known:
                raise unknown(name, value, [one for one in known if one is not None])
        object.__setattr__(self, "seed", check_whole("seed", self.seed, 0, MOST_SEED))
        if self.max_parameters is not None:
            object.__setattr__(self, "max_parameters", check_whole("max_parameters", self.max_parameters, 0))
        if self.max_trials is not None:
            object.__setattr__(self, "max_trials", check_whole("max_trials", self.max_trials, 1))
        if self.oracle == HYPERBAND and self.pruner is not None:
            raise InputError(f"hyperband prunes by itself: leave pruner={self.pruner} out.")

    @contextlib.contextmanager
    def checked(self) -> Iterator[tuple[pathlib.Path, Definition, pathlib.Path | None]]:
        """Checks the options against the recipe and its data, which another process reads.

        Yields: (the study's folder, its `Definition`, a folder of data handed over in memory or None). The latter is
            temporary.
        Raises: `InputError` for what cannot be tuned; `RunError` where the data cannot be read.
        """
        from zoo.tuning.workers.handed import write_data
        from zoo.tuning.workers.trial import refuse_unimportable

        base = registry.configured(self.recipe, {})
        refuse_unimportable(base)
        with tempfile.TemporaryDirectory() as temporary:
            folder, fixed, data = pathlib.Path(temporary), dict(self.fixed or {}), None
            handed = fixed.get("dataset")
            if isinstance(handed, os.PathLike):
                fixed["dataset"] = handed = name_of(handed)
            if handed is not None and not isinstance(handed, str):
                data = folder / "data"
                fixed["dataset"] = write_data(data, handed).name
            ranges, fixed = read(base, self.space, fixed)
            for one in ranges["dataset"].values if "dataset" in ranges else ():
                check_name(one or "")
            if self.oracle == HYPERBAND and VARIANT in ranges and "epochs" not in fixed:
                raise InputError("hyperband's rungs are of one number of epochs: beside variants, give epochs=N.")
            objective = self.objective or fixed.get("monitor", base.monitor) or "val_loss"
            fixed.pop("monitor", None)
            for name in ("monitor", *(("epochs",) if self.oracle == HYPERBAND else ())):
                if name in ranges:
                    why = "it is the objective" if name == "monitor" else "hyperband decides them"
                    raise InputError(f"{name} cannot be searched: {why}.")
            searched = Space(base, ranges, {**fixed, "monitor": objective}, named=isinstance(self.space, Mapping))
            facts = self._described(searched.recipe(searched.default()), data, folder / "log")
            definition = Definition(
                recipe=registry.saved(unstopped(base)),
                fixed=fixed,
                space={name: range.facts() for name, range in searched.ranges.items()},
                data={name: facts[name] for name in ("data", "fingerprint")},
                objective=objective,
                direction=facts["direction"],
                oracle=self.oracle,
                seed=self.seed,
                pruner=self.pruner,
                max_parameters=self.max_parameters,
                initial_points=_initial_points(len(searched.ranges), self.max_trials),
            )
            yield pathlib.Path(self.directory or definition.default_directory()), definition, data

    def _described(self, recipe, data, log):
        """Returns what `workers.trial.describe` says. It runs in another process, so this one keeps its memory."""
        from zoo.tuning.workers import process, trial

        job = trial.Job(
            registry.saved(recipe),
            data=None if data is None else str(data),
            data_dir=self.data_dir,
            skip_bad=self.skip_bad,
        )
        one = process.Process(trial.describe, job, log)
        try:
            kind, answer = one.hear()
        except EOFError:
            kind, answer = "failed", f"the process that read the data ended ({one.end()})"
        except BaseException:
            one.kill()
            raise
        else:
            one.end()
        if kind == "refused":
            raise InputError(answer)
        if kind == "failed":
            raise RunError(answer)
        return answer


def _initial_points(fields, max_trials):
    """Returns how many trials bayesian draws at random: three for each field, but at most a third of all."""
    points = 3 * fields
    return max(points if max_trials is None else min(points, max_trials // 3), 1)
