"""`train_best`: retrains the best trial of a study over seeds, for a score that no search has picked."""

import pathlib
import statistics

from zoo.errors import check_whole
from zoo.serving.prediction import evaluate
from zoo.training import train
from zoo.tuning.study import Study
from zoo.tuning.workers.handed import read_data


def train_best(
    study: str | pathlib.Path | Study,
    *,
    seeds: int = 3,
    directory: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
    skip_bad: bool = False,
    quiet: bool = False,
) -> dict[str, tuple[float, float]]:
    """Trains the fields of a study's best trial over `seeds` seeds that the study did not use, and evaluates them.

    The same call goes on where it was stopped.

    Args:
        study: a `Study`, or its folder.
        seeds: how many seeds, at least 2.
        directory: where the runs go; None is `STUDY/best`.
        data_dir, skip_bad: as for `zoo.train`.
        quiet: print nothing.

    Returns: {metric: (mean, standard deviation over the seeds)} on the test split, or on the validation split if there
    is no test split.
    """
    seeds = check_whole("seeds", seeds, 2)
    study = Study.open(study)
    trial = study.best_trial()
    recipe = study.recipe(trial)
    folder = pathlib.Path(directory or study.path / "best")
    data = study.path / "data"
    given = {"dataset": read_data(data)} if data.is_dir() else {}
    found = []
    first = 1 + max(study.recipe(one).seed for one in study.trials)
    for seed in range(first, first + seeds):
        path = folder / f"{trial.number:04d}-seed-{seed}"
        run = train(
            recipe.replace(seed=seed), directory=path, data_dir=data_dir, skip_bad=skip_bad, quiet=True, **given
        )
        split = "test" if "test" in run.facts["data"]["sizes"] else "validation"
        found.append(evaluate(run, split, data_dir=data_dir, skip_bad=skip_bad, **given))
        if not quiet:
            print(f"seed {seed}  {split} {'  '.join(f'{k} {v:.6g}' for k, v in found[-1].items())}", flush=True)
    spread = {}
    for name in found[0]:
        values = [one[name] for one in found]
        spread[name] = statistics.mean(values), statistics.stdev(values)
    if not quiet:
        told = "  ".join(f"{name} {mean:.6g} ± {deviation:.2g}" for name, (mean, deviation) in spread.items())
        print(f"Trial {trial.number} over {seeds} seeds: {split} {told}")
        print(f"(its own {study.objective}, which the search picked, is {trial.score:.6g})")
    return spread
