"""The verbs about runs and studies side by side: runs, watch, compare."""

from typing import Any

import click

from zoo.cli import completing
from zoo.cli.answers import answers, say
from zoo.cli.options import filled, quiet, trust
from zoo.cli.screen import print_table


@click.command()
@click.argument("folder", default=".", callback=filled)
@answers("runs")
def runs(folder: str) -> list[dict[str, Any]]:
    """List the runs and studies in FOLDER and below it, the latest first.

    FOLDER is the working folder unless told. What cannot be read is listed as damaged.
    """
    from zoo.overview import listing

    found = listing.entries(folder)
    if found:
        print_table(listing.as_cells(found), fit=True)
    else:
        say(f"There is no run and no study in {folder}. `zoo train` makes a run.", err=True)
    return [listing.as_json(entry) for entry in found]


@click.command()
@click.argument("run", callback=filled, shell_complete=completing.runs, metavar="RUN|STUDY")
@answers("watch")
def watch(run: str) -> dict[str, Any]:
    """Show the curves of a run, or the trials of a study, while it runs.

    It ends with the process that trains, or on Ctrl-C, which does not stop the training. Where no process runs, it
    shows what there is, and says so. In a file, it prints a line for each epoch, or each trial that ends.
    """
    from zoo.overview import listing, watching

    return listing.as_json(watching.watch(run))


@click.command()
@click.argument("runs", nargs=-1, required=True, shell_complete=completing.runs, metavar="RUN|STUDY...")
@click.option(
    "--directory",
    callback=filled,
    metavar="DIR",
    default="comparison",
    show_default=True,
    help="Folder of the page.",
)
@trust
@quiet
@answers("compare")
def compare(runs: tuple[str, ...], directory: str, trust: bool, quiet: bool) -> dict[str, Any]:
    """Compare runs: the fields that differ, the scores, and a page with the curves over each other.

    A study stands for its best trial. The scores are those that training reported at each run's best epoch.
    """
    from zoo.overview import comparing

    found = comparing.read(runs, trust)
    page = comparing.write(found, directory)
    print_table(comparing.as_cells(found), fit=True)
    if not quiet:
        say(f"Page written to {page}")
    return comparing.as_json(found, page)
