"""The verbs about data sets: list, prepare, verify."""

from typing import Any

import click

from zoo.cli.answers import answers, say
from zoo.cli.options import Commands, data_dir, quiet
from zoo.cli.screen import load_backend
from zoo.errors import InputError


@click.group(cls=Commands)
def data() -> None:
    """List, prepare and verify data sets."""


@data.command("list")
@data_dir
@quiet
@answers("data list")
def data_list(data_dir: str | None, quiet: bool) -> dict[str, Any]:
    """List the data sets that need no network, those prepared, and the other forms."""
    from zoo.data.opening import BUILT_IN, FORMS, TABLES
    from zoo.data.tfds_source import data_root

    root = data_root(data_dir)
    ours = {f"zoo_{name}" for name in BUILT_IN}
    others = sorted(p.parent.relative_to(root).as_posix() for p in root.glob("*/[0-9]*") if p.parent.name not in ours)
    prepared = {name: any((root / f"zoo_{name}").glob("[0-9]*")) for name in BUILT_IN}
    states = {
        **{name: "prepared" if ready else "prepared on first use" for name, ready in prepared.items()},
        **dict.fromkeys(TABLES, "a table, in memory"),
        **{f"tfds:{name}": "prepared" for name in others},
    }
    for name, state in states.items():
        say(f"{name:<16}{state}")
    if not quiet:
        say(f"Also: {FORMS}. The data lie in {root}.")
    sets = [{"name": name, "state": state} for name, state in states.items()]
    return {"folder": root, "sets": sets}


@data.command()
@click.argument("name")
@data_dir
@quiet
@answers("data prepare")
def prepare(name: str, data_dir: str | None, quiet: bool) -> dict[str, Any]:
    """Prepare the data set NAME (digits, tfds:mnist); twice at once is safe."""
    source = _prepared_source(name, data_dir)
    if not quiet:
        say(f"{name}: {', '.join(f'{size:,} {split}' for split, size in source.sizes.items())}.")
    return {"name": name, "sizes": source.sizes}


@data.command()
@click.argument("name")
@data_dir
@quiet
@answers("data verify")
def verify(name: str, data_dir: str | None, quiet: bool) -> dict[str, Any]:
    """Read every example of the data set NAME."""
    count = _prepared_source(name, data_dir).verify()
    if not quiet:
        say(f"{name}: all {count:,} examples were read.")
    return {"name": name, "examples": count}


def _prepared_source(name: str, data_dir: str | None) -> Any:
    from zoo.data import open_source

    load_backend()
    source = open_source(name, data_dir=data_dir)
    if not hasattr(source, "verify"):
        raise InputError(f"{name} is read where it lies; only built-in and tfds: sets are prepared.")
    return source
