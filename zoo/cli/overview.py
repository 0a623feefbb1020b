"""The verbs about runs and studies side by side: runs."""

from typing import Any

import click

from zoo.cli.answers import answers, say
from zoo.cli.options import filled
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
