"""A study as it was at one moment."""

import dataclasses
import pathlib

from zoo.tuning.trial import Trial


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What tables and pages tell of a study: read once, so that all of it agrees while trials run and end.

    Attributes:
        path: the study's folder.
        name: of its recipe.
        objective: what is judged by, a column of a run's history.
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
    def of(cls, study):
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
