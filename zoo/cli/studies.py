"""The verbs about studies: tune, leaderboard."""

from typing import Any

import click

from zoo.cli import completing
from zoo.cli.answers import answers, say, wanted
from zoo.cli.given import named, pairs_of, without
from zoo.cli.options import data_dir, fields, filled, quiet, skip_bad, trust
from zoo.cli.screen import load_backend, print_table
from zoo.data import progress
from zoo.errors import InputError
from zoo.tuning.ranges import ALL
from zoo.tuning.trial import MOST_DISK, MOST_SEED, MOST_WORKERS


@click.command()
@click.argument("recipe", metavar="RECIPE|JOB.yaml", shell_complete=completing.recipes)
@fields
@click.option(
    "--space", multiple=True, metavar="FIELD=RANGE|all", help="Search FIELD: 1e-4..1e-1:log, 8..64:step=8, a,b."
)
@click.option("--oracle", help="Search algorithm: random, grid, bayesian (default) or hyperband.")
@click.option(
    "--objective",
    callback=filled,
    metavar="NAME",
    help="Metric to optimise, such as val_loss (default: the field monitor).",
)
@click.option("--seed", type=click.IntRange(0, MOST_SEED), help="Seed of the oracle (default: 0).")
@click.option("--pruner", help="median or halving: stop trials that do badly.")
@click.option("--max-trials", type=click.IntRange(1), metavar="N", help="End after N trials.")
@click.option("--max-time", metavar="TIME", help="End after TIME, such as 90s, 15m, 2h.")
@click.option("--max-trial-time", metavar="TIME", help="Stop each trial after TIME.")
@click.option("--max-epochs-total", type=click.IntRange(1), metavar="N", help="End after N epochs of all trials.")
@click.option("--max-parameters", type=click.IntRange(1), metavar="N", help="Skip larger networks.")
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    metavar="N",
    help="Trials that run at once (default: 1).",
)
@click.option("--gpus-per-trial", type=click.IntRange(0), metavar="N", help="GPUs reserved for each trial.")
@click.option("--engine", help="local (default), or ray: trials on the nodes of a Ray cluster.")
@click.option(
    "--address", metavar="HOST:PORT", help="With --engine ray: the head node, as `ray start --head` prints it."
)
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep the weights of the N best trials (default: 3).")
@click.option("--max-disk", type=click.FloatRange(0, MOST_DISK), metavar="GB", help="Largest size of these weights.")
@click.option(
    "--directory",
    callback=filled,
    metavar="STUDY",
    help="The study's folder (default: studies/<recipe>-<digest of the definition>).",
)
@data_dir
@skip_bad
@trust
@quiet
@answers("tune")
def tune(
    recipe: Any,
    fields: tuple[str, ...],
    space: tuple[str, ...],
    quiet: bool,
    skip_bad: bool,
    trust: bool,
    **options: Any,
) -> dict[str, Any]:
    """Tune a recipe: run trials whose fields an oracle chooses.

    A FIELD=VALUE is fixed. A job is a file with the same in YAML; what the command line says comes after it. The same
    command on the same folder goes on where it stopped.
    """
    options = {name: value for name, value in options.items() if value is not None}
    from zoo.tuning import jobs

    for name in ("max_time", "max_trial_time"):
        if name in options:
            options[name] = jobs.duration(options[name])
    job = {}
    if recipe.endswith((".yaml", ".yml")):
        job = jobs.read(recipe, trust, load_backend)
        recipe = job.pop("recipe")
    everything = space == (ALL,)
    ranges = {} if everything else pairs_of(space, "A space is given as field=range, or all.", "The space of {}")
    recipe, fixed = named(recipe, fields, ranges)
    job["fixed"] = {**without(job.get("fixed"), ranges), **fixed}
    if everything:
        job["space"] = ALL
    elif ranges and job.get("space") == ALL:
        raise InputError("The job searches all fields: leave out --space, or `space: all`.")
    elif ranges or isinstance(job.get("space"), dict):
        job["space"] = {**without(job.get("space"), fixed), **ranges}
    from zoo.tuning.tune import tune

    flags = {name: True for name, asked in (("skip_bad", skip_bad), ("quiet", quiet)) if asked}
    study = tune(recipe, **{**job, **options, **flags})
    from zoo.overview import listing
    from zoo.tuning.report import leaderboard

    return {**listing.as_json(listing.look(study.path)), "leaderboard": leaderboard.rows(study)}


@click.command()
@click.argument("study", callback=filled, shell_complete=completing.runs)
@click.option("--top", type=click.IntRange(1), metavar="N", help="Print the N best trials only.")
@click.option("--csv", is_flag=True, help="Print CSV with a header line.")
@click.option("--wide", is_flag=True, help="Print every field, even if lines are longer than the terminal is wide.")
@answers("leaderboard")
def leaderboard(study: Any, top: int | None, csv: bool, wide: bool) -> list[dict[str, Any]]:
    """Print the trials of a study, the best first.

    In a terminal that is too narrow for every field, it prints those in which a trial differs from the default.
    """
    from zoo.tuning.report import leaderboard
    from zoo.tuning.study import Study

    if csv and wanted():
        raise InputError("--csv and --json are two formats: give one.")
    study = Study.open(study)
    if csv:
        say(leaderboard.as_csv(study, top).rstrip("\n"))
    elif wide or (width := progress.line_width()) is None:
        print_table(leaderboard.as_cells(study, top))
    else:
        print_table(leaderboard.cells_within(study, width, top), fit=True)
    return leaderboard.rows(study, top)
