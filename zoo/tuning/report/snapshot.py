"""`Snapshot`: a study as it was at one moment."""

import dataclasses
import pathlib
from typing import Protocol

from zoo.tuning.trial import Trial


class Source(Protocol):
    """What is read of a study: a `zoo.Study`."""

    @property
    def path(self) -> pathlib.Path: ...
    @property
    def name(self) -> str: ...
    @property
    def objective(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def space(self) -> dict[str, str]: ...
    @property
    def trials(self) -> list[Trial]: ...
    def ranked(self) -> list[Trial]: ...


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What tables and pages tell of a study. It is read once, so that all of it agrees while trials run and end.

    Attributes:
        path: the study's folder.
        name: the recipe's name.
        objective: the column of a run's history by which trials are judged.
        direction: "min" or "max".
        space: {field: text of its range}.
        trials: every `Trial`, by number.
        ranked: those with a score, the best first.
    """

    path: pathlib.Path
    name: str
    objective: str
    direction: str
    space: dict[str, str]
    trials: list[Trial]
    ranked: list[Trial]

    @classmethod
    def of(cls, study: Source) -> "Snapshot":
        """Reads a study."""
        trials = {trial.number: trial for trial in study.trials}
        ranked = [trials[trial.number] for trial in study.ranked() if trial.number in trials]
        return cls(
            path=study.path,
            name=study.name,
            objective=study.objective,
            direction=study.direction,
            space=study.space,
            trials=sorted(trials.values(), key=lambda trial: trial.number),
            ranked=[trial for trial in ranked if trial.score is not None],
        )

    @property
    def default(self) -> Trial | None:
        """The trial of the recipe's default; None where there is none."""
        return next((trial for trial in self.trials if trial.origin == "default"), None)
