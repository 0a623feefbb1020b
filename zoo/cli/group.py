"""The command line: `zoo VERB ...`. A key and a value is a field; a dash is an option of the verb."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from zoo._version import __version__
from zoo.cli import completing, data, overview, recipes, runs, servers, studies
from zoo.cli.options import Commands
from zoo.cli.screen import worded_warnings
from zoo.errors import InputError, Interrupted, RunError, ZooError, ending_signals, interrupt, printable
from zoo.files import own_temporary_folder

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="zoo")
@click.option(
    "--install-completion",
    type=click.Choice((*completing.SHELLS, "auto")),
    is_flag=False,
    flag_value="auto",
    is_eager=True,
    expose_value=False,
    callback=completing.install,
    metavar="[bash|zsh|fish]",
    help="Install completion for a shell, by default yours, and exit.",
)
def zoo() -> None:
    """A model zoo on Keras 3: train, tune, evaluate, predict, export, report."""


for command in (
    recipes.list_, recipes.show, recipes.train, studies.tune,
    runs.evaluate, runs.predict, runs.export, servers.serve, servers.demo,
    overview.runs, overview.watch, overview.compare, studies.leaderboard, runs.report, runs.reproduce, data.data,
):  # fmt: skip
    zoo.add_command(command)


_WRONG_PATH = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


@contextlib.contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """Has SIGTERM and SIGHUP raise what Ctrl-C does, so that a verb ends in order and says how to go on."""
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread, which alone gets signals
        before = {number: signal.signal(number, interrupt) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 a run failed, 2 bad input, 128 + N after signal N (130: Ctrl-C)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.stdout is None:
        click.echo("Error: the standard output is closed: redirect it, to /dev/null if nobody reads it.", err=True)
        sys.exit(RunError.exit_status)
    try:
        if any("\0" in argument for argument in (sys.argv[1:] if arguments is None else arguments)):
            raise InputError("An argument has a NUL byte, which neither a name nor a path has: leave it out.")
        alone = own_temporary_folder() if arguments is None else contextlib.nullcontext()
        with worded_warnings(), _signals_as_ctrl_c(), alone:
            zoo.main(arguments, prog_name="zoo", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.NoSuchOption as error:
        error.message = f"{printable(error.message)} A field is given as NAME=VALUE, such as epochs=12."
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # whose message is the help, of many lines
            error.message = printable(error.message)
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as error:  # click's word for Ctrl-C
        cause = error.__cause__
        stopped = cause if isinstance(cause, Interrupted) else Interrupted("Stopped.", by=cause)
        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo(str(stopped), err=True)
        sys.exit(stopped.exit_status)
    except ZooError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_status)
    except ValueError as error:
        if "null byte" not in str(error):  # Python's words for a path, such as one of a job file
            raise
        click.echo("Error: a path has a NUL byte. Name another path.", err=True)
        sys.exit(InputError.exit_status)
    except _WRONG_PATH as error:
        click.echo(f"Error: {printable(str(error.filename))}: {error.strerror}. Name another path.", err=True)
        sys.exit(InputError.exit_status)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            begin = printable(str(error.filename)[:40])
            click.echo(f"Error: the path is too long: {begin}... Name another path.", err=True)
            sys.exit(InputError.exit_status)
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        with contextlib.suppress(OSError):  # else Python complains once more when it flushes at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"Error: the output cannot be written: {error.strerror}.", err=True)
        sys.exit(RunError.exit_status)
    except Exception as error:
        if type(error).__name__ not in ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError"):
            raise
        click.echo("Error: out of memory. A smaller batch_size, input_shape or network needs less.", err=True)
        sys.exit(RunError.exit_status)
