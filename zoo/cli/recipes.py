"""The verbs about recipes: list, show, train."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import completing
from zoo.cli.answers import answers, say
from zoo.cli.given import named, open_source, parsed, resumed
from zoo.cli.options import data_dir, fields, filled, quiet, skip_bad, trust
from zoo.cli.screen import load_backend, print_table
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.base.recipe import Recipe
    from zoo.fields.kinds import Field


@click.command("list")
@click.argument("pattern", default="*", shell_complete=completing.recipes)
@click.option("--task", help="Only recipes of this task, such as image_classification.")
@quiet
@answers("list")
def list_(pattern: str, task: str | None, quiet: bool) -> list[dict[str, Any]]:
    """List recipes, or those that match PATTERN."""
    from zoo import registry

    wanted = set(registry.names(pattern, task=task))
    if not wanted and not quiet:
        click.echo("No recipe matches.", err=True)
    width = max(map(len, wanted), default=0) + 2
    found = [entry for entry in registry.entries() if entry.name in wanted]
    for entry in found:
        if quiet:
            say(entry.name)
            continue
        variants = f" (variants {', '.join(entry.variants)})" if entry.variants else ""
        say(f"{entry.name:<{width}}{entry.task or '?':<24}{entry.summary}{variants}")
    keys = ("name", "task", "summary", "variants", "distribution")
    return [{key: getattr(entry, key) for key in keys} for entry in found]


@click.command()
@click.argument("recipe", shell_complete=completing.recipes)
@fields
@quiet
@answers("show")
def show(recipe: Any, fields: tuple[str, ...], quiet: bool) -> dict[str, Any]:
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
    summary = (type(made).__doc__ or "").strip().splitlines()[0]
    described = [_described(made, name, field) for name, field in made.fields().items()]
    if not quiet:
        say(f"{made.label}: {summary}\n")
        rows = [("field", "value", "default", "legal", "search", "help")]
        for one, field in zip(described, made.fields().values(), strict=True):
            value = shown(one["value"]) if one["active"] else "-"
            help = f"{one['help']} (only with {one['only_with']})" if one["only_with"] else one["help"]
            rows.append((one["name"], value, shown(field.default), one["legal"], one["search"], help))
        print_table(rows)
        say()
    from zoo.cost import summarize

    cost = summarize(made.network(), made.example_shape(), made.batch_size)
    say(f"parameters     {cost.parameters:,} ({cost.trainable:,} trainable)")
    if cost.multiply_adds is None:
        say("multiply-adds  not counted on this backend, nor activations")
    else:
        loops = ", without its loops" if cost.loops else ""
        say(f"multiply-adds  {cost.multiply_adds:,} (one forward pass of one example{loops})")
        activations = f"{cost.activation_bytes / 1e6:.2f} MB"
        say(f"activations    {activations} (float32, kept by a training step of batch_size={made.batch_size})")
    say(f"size           {cost.bytes / 1e6:.2f} MB (float32 weights)")
    for variant in made.variants:
        same = [name for name in made.origin.given if shown(getattr(made, name)) == variant]
        if same and made.variant != variant:
            say(f"\n{made.label} with {same[0]}={variant} is not the variant {made.name}/{variant}.")
    return {"recipe": made.label, "summary": summary, "fields": described, "cost": dataclasses.asdict(cost)}


def _described(made: "Recipe", name: str, field: "Field") -> dict[str, Any]:
    """What `zoo show` tells of a field; the value of one that is inactive is its default."""
    return {
        "name": name,
        "value": getattr(made, name),
        "default": field.default,
        "active": not made.inactive(name, made.values()),
        "only_with": " and ".join(f"{other}{condition.text}" for other, condition in field.conditions()),
        "legal": field.range,
        "search": field.search_text,
        "help": field.help,
    }


@click.command()
@click.argument("recipe", required=False, shell_complete=completing.recipes)
@fields
@click.option(
    "--directory",
    callback=filled,
    metavar="RUN",
    help="The run's folder (default: runs/<recipe>-<digest of the fields>).",
)
@click.option(
    "--resume", callback=filled, shell_complete=completing.runs, metavar="RUN", help="Resume the training of this run."
)
@click.option("--until", type=click.IntRange(1), metavar="N", help="Pause when N epochs are trained in all.")
@click.option(
    "--best-of",
    callback=filled,
    shell_complete=completing.runs,
    metavar="STUDY",
    help="Retrain a study's best trial over several seeds.",
)
@click.option("--seeds", type=click.IntRange(2), metavar="N", help="With --best-of: number of seeds (default: 3).")
@data_dir
@skip_bad
@trust
@quiet
@answers("train")
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
) -> dict[str, Any]:
    """Train a recipe, or resume a run.

    RECIPE is a name, a variant or a file: lenet, lenet/modern, ./my_recipe.py. The same command on the same folder
    goes on where it stopped.
    """
    if best_of is not None:
        if recipe is not None or resume is not None or until is not None:
            raise InputError("--best-of trains what the study found: leave RECIPE, fields, --resume and --until out.")
        return _train_best(best_of, seeds or 3, directory, data_dir, skip_bad, trust, quiet)
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

    run = train(
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
    from zoo.overview import listing

    return {**listing.as_json(listing.look(run.path)), "history": listing.history.read(run.path)}


def _train_best(
    study: Any, seeds: int, directory: str | None, data_dir: str | None, skip_bad: bool, trust: bool, quiet: bool
) -> dict[str, Any]:
    from zoo.tuning.study import Study

    study = Study.open(study, trust)
    study.best_trial()
    load_backend()
    from zoo.tuning.best_of import train_best

    found = train_best(study, seeds=seeds, directory=directory, data_dir=data_dir, skip_bad=skip_bad, quiet=quiet)
    if quiet:
        for name, (mean, deviation) in found.items():
            say(f"{name} {mean:.6g} ± {deviation:.2g}")
    scores = {name: {"mean": mean, "deviation": deviation} for name, (mean, deviation) in found.items()}
    return {"study": study.path, "trial": study.best_trial().number, "seeds": seeds, "scores": scores}
