"""The verbs about data sets: list, prepare, verify."""

from typing import Any

import click

from zoo.cli.options import Commands, data_dir, quiet
from zoo.cli.screen import load_backend
from zoo.errors import InputError


@click.group(cls=Commands)
def data() -> None:
    """List, prepare and verify data sets."""


@data.command("list")
@data_dir
@quiet
def data_list(data_dir: str | None, quiet: bool) -> None:
    """List the data sets that need no network, those prepared, and the other forms."""
    from zoo.data.opening import BUILT_IN, FORMS, TABLES
    from zoo.data.tfds_source import data_root

    root = data_root(data_dir)
    for name in BUILT_IN:
        state = "prepared" if any((root / f"zoo_{name}").glob("[0-9]*")) else "prepared on first use"
        click.echo(f"{name:<16}{state}")
    for name in TABLES:
        click.echo(f"{name:<16}a table, in memory")
    ours = {f"zoo_{name}" for name in BUILT_IN}
    others = sorted(p.parent.relative_to(root).as_posix() for p in root.glob("*/[0-9]*") if p.parent.name not in ours)
    for name in dict.fromkeys(others):
        click.echo(f"tfds:{name:<11}prepared")
    if not quiet:
        click.echo(f"Also: {FORMS}. The data lie in {root}.")


@data.command()
@click.argument("name")
@data_dir
@quiet
def prepare(name: str, data_dir: str | None, quiet: bool) -> None:
    """Prepare the data set NAME (digits, tfds:mnist); twice at once is safe."""
    source = _prepared_source(name, data_dir)
    if not quiet:
        click.echo(f"{name}: {', '.join(f'{size:,} {split}' for split, size in source.sizes.items())}.")


@data.command()
@click.argument("name")
@data_dir
@quiet
def verify(name: str, data_dir: str | None, quiet: bool) -> None:
    """Read every example of the data set NAME."""
    count = _prepared_source(name, data_dir).verify()
    if not quiet:
        click.echo(f"{name}: all {count:,} examples were read.")


def _prepared_source(name: str, data_dir: str | None) -> Any:
    from zoo.data import open_source

    load_backend()
    source = open_source(name, data_dir=data_dir)
    if not hasattr(source, "verify"):
        raise InputError(f"{name} is read where it lies; only built-in and tfds: sets are prepared.")
    return source
