"""The verbs about recipes: list, show, train."""

from typing import Any

import click

from zoo.cli.given import named, open_source, parsed, resumed
from zoo.cli.options import data_dir, fields, filled, quiet, skip_bad, trust
from zoo.cli.screen import load_backend, print_table
from zoo.errors import InputError


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--task", help="Only recipes of this task, such as image_classification.")
@quiet
def list_(pattern: str, task: str | None, quiet: bool) -> None:
    """List recipes, or those that match PATTERN."""
    from zoo import registry

    wanted = set(registry.names(pattern, task=task))
    if not wanted and not quiet:
        click.echo("No recipe matches.", err=True)
    width = max(map(len, wanted), default=0) + 2
    for entry in registry.entries():
        if entry.name in wanted:
            if quiet:
                click.echo(entry.name)
                continue
            variants = f" (variants {', '.join(entry.variants)})" if entry.variants else ""
            click.echo(f"{entry.name:<{width}}{entry.task or '?':<24}{entry.summary}{variants}")


@click.command()
@click.argument("recipe")
@fields
@quiet
def show(recipe: Any, fields: tuple[str, ...], quiet: bool) -> None:
    """Show a recipe's fields and its network's cost.

    RECIPE is a name, a variant, a file or a pretrained source: lenet, lenet/modern, ./my_recipe.py, hf:OWNER/NAME.
    """
    from zoo import registry
    from zoo.fields import show as shown
    from zoo.weights import hub

    if hub.is_source(recipe):
        source = open_source(recipe).recipe
        made = source.replace(**parsed(type(source), fields))
    else:
        recipe, given = named(recipe, fields)
        made = registry.recipe(recipe, **given)
    if not quiet:
        click.echo(f"{made.label}: {(type(made).__doc__ or '').strip().splitlines()[0]}\n")
        rows = [("field", "value", "default", "legal", "search", "help")]
        for name, field in made.fields().items():
            value = "-" if made.inactive(name, made.values()) else shown(getattr(made, name))
            only = " and ".join(f"{other}{condition.text}" for other, condition in field.conditions())
            help = f"{field.help} (only with {only})" if only else field.help
            rows.append((name, value, shown(field.default), field.range, field.search_text, help))
        print_table(rows)
        click.echo()
    from zoo.cost import summarize

    cost = summarize(made.network(), made.example_shape(), made.batch_size)
    click.echo(f"parameters     {cost.parameters:,} ({cost.trainable:,} trainable)")
    if cost.multiply_adds is None:
        click.echo("multiply-adds  not counted on this backend, nor activations")
    else:
        loops = ", without its loops" if cost.loops else ""
        click.echo(f"multiply-adds  {cost.multiply_adds:,} (one forward pass of one example{loops})")
        activations = f"{cost.activation_bytes / 1e6:.2f} MB"
        click.echo(f"activations    {activations} (float32, kept by a training step of batch_size={made.batch_size})")
    click.echo(f"size           {cost.bytes / 1e6:.2f} MB (float32 weights)")
    for variant in made.variants:
        same = [name for name in made.origin.given if shown(getattr(made, name)) == variant]
        if same and made.variant != variant:
            click.echo(f"\n{made.label} with {same[0]}={variant} is not the variant {made.name}/{variant}.")


@click.command()
@click.argument("recipe", required=False)
@fields
@click.option(
    "--directory",
    callback=filled,
    metavar="RUN",
    help="The run's folder (default: runs/<recipe>-<digest of the fields>).",
)
@click.option("--resume", callback=filled, metavar="RUN", help="Resume the training of this run.")
@click.option("--until", type=click.IntRange(1), metavar="N", help="Pause when N epochs are trained in all.")
@click.option("--best-of", callback=filled, metavar="STUDY", help="Retrain a study's best trial over several seeds.")
@click.option("--seeds", type=click.IntRange(2), metavar="N", help="With --best-of: number of seeds (default: 3).")
@data_dir
@skip_bad
@trust
@quiet
def train(
    recipe: Any,
    fields: tuple[str, ...],
    directory: str | None,
    resume: str | None,
    until: int | None,
    best_of: str | None,
    seeds: int | None,
    data_dir: str | None,
    skip_bad: bool,
    trust: bool,
    quiet: bool,
) -> None:
    """Train a recipe, or resume a run.

    RECIPE is a name, a variant or a file: lenet, lenet/modern, ./my_recipe.py. The same command on the same folder
    goes on where it stopped.
    """
    if best_of is not None:
        if recipe is not None or resume is not None or until is not None:
            raise InputError("--best-of trains what the study found: leave RECIPE, fields, --resume and --until out.")
        _train_best(best_of, seeds or 3, directory, data_dir, skip_bad, trust, quiet)
        return
    if seeds is not None:
        raise InputError("--seeds goes with --best-of STUDY; a recipe's own seed is the field seed=N.")
    if resume is not None and recipe is not None and "=" in recipe:
        recipe, fields = None, (recipe, *fields)
    if resume is not None and directory is not None:
        raise InputError("--resume names the run's folder: leave --directory out.")
    if recipe is None and resume is None:
        raise click.UsageError("Name a recipe to train (`zoo list` shows them), or a run with --resume.")
    if recipe is None:
        given = resumed(resume, fields, trust)
    else:
        found, given = named(recipe, fields)
        recipe = found if resume is None else recipe  # a run says itself which values it has
    from zoo.training import train

    train(
        recipe,
        directory=directory,
        resume=resume,
        until=until,
        data_dir=data_dir,
        skip_bad=skip_bad,
        quiet=quiet,
        trust=trust,
        **given,
    )


def _train_best(
    study: Any, seeds: int, directory: str | None, data_dir: str | None, skip_bad: bool, trust: bool, quiet: bool
) -> None:
    from zoo.tuning.study import Study

    study = Study.open(study, trust)
    study.best_trial()
    load_backend()
    from zoo.tuning.best_of import train_best

    found = train_best(study, seeds=seeds, directory=directory, data_dir=data_dir, skip_bad=skip_bad, quiet=quiet)
    if quiet:
        for name, (mean, deviation) in found.items():
            click.echo(f"{name} {mean:.6g} ± {deviation:.2g}")
