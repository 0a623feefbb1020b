"""What the verbs share: options, and the class of their group."""

from collections.abc import Callable
from typing import Any, TypeAlias

import click

from zoo.cli import completing
from zoo.errors import InputError, nearest

Decorator: TypeAlias = Callable[[Any], Any]
"""What adds an option or an argument to a verb."""


class Commands(click.Group):
    """Lists commands in the order in which they are defined, and turns our errors into one line and a status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if ctx.resilient_parsing:  # a shell asks what could stand here
            return super().resolve_command(ctx, args)
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = nearest(args[0], self.commands)
            raise click.UsageError(f"No such command {args[0]!r}.{near} There are: {', '.join(self.commands)}.")
        return super().resolve_command(ctx, args)


def filled(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuses an empty path: a shell variable that was not set."""
    if value == "":
        raise InputError(f"{parameter.opts[0]} is empty.")
    return value


quiet: Decorator = click.option("--quiet", is_flag=True, help="Print nothing but results and errors.")
data_dir: Decorator = click.option(
    "--data-dir", callback=filled, metavar="DIR", help="Folder of prepared data (default: ZOO_DATA)."
)
skip_bad: Decorator = click.option("--skip-bad", is_flag=True, help="Leave out what cannot be read.")
trust: Decorator = click.option(
    "--trust", is_flag=True, help="Run the recipe file that a run, study or job names: whoever wrote it chose it."
)
fields: Decorator = click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...", shell_complete=completing.fields)
