"""The verbs that answer over HTTP until they are stopped: serve, demo."""

import pathlib
import socket
from typing import TYPE_CHECKING

import click

from zoo.cli.given import open_source
from zoo.cli.options import Decorator, filled, quiet, trust
from zoo.cli.screen import load_backend
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.runs import Trained

host: Decorator = click.option(
    "--host", default="127.0.0.1", show_default=True, callback=filled, help="Address; 0.0.0.0 lets others reach it."
)


def port(default: int) -> Decorator:
    """The option --port with its default."""
    said = "Port; 0 takes a free one."
    return click.option("--port", type=click.IntRange(0, 65535), default=default, show_default=True, help=said)


@click.command()
@click.argument("export", callback=filled)
@port(8501)
@host
@click.option("--name", callback=filled, help="Name of the model in paths (default: the folder's).")
@click.option("--batch", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Rows asked together.")
@click.option(
    "--delay", type=click.FloatRange(0, 10_000), default=2, show_default=True, metavar="MS",
    help="Milliseconds that a request waits for others, while the model is idle.",
)  # fmt: skip
@click.option(
    "--queue", type=click.IntRange(1, 1_000_000), default=256, show_default=True,
    help="Requests that may wait; more are answered with status 503.",
)  # fmt: skip
@quiet
def serve(
    export: str, port: int, host: str, name: str | None, batch: int, delay: float, queue: int, quiet: bool
) -> None:
    """Serve an export over HTTP, with the REST API of TensorFlow Serving.

    EXPORT is a folder that `zoo export` wrote, or that holds folders of versions; the highest version is served. A
    SavedModel is a program: serve exports of your own. Ctrl-C or SIGTERM ends it, once what is in flight is answered.
    """
    from zoo.serving.exported import Exported, locate
    from zoo.serving.listening import bind, local, run, url
    from zoo.serving.server import NAME, Service

    path = locate(export)
    if name is None:
        folder = path.resolve()
        name = folder.parent.name if folder.name.isdecimal() else folder.name
        name = name if NAME.fullmatch(name) else "model"
    elif not NAME.fullmatch(name):
        raise InputError(f"--name must be letters, digits, dots, dashes and underscores. Received: {name!r}.")
    with bind(host, port) as listener:
        load_backend()
        model = Exported(path)
        service = Service(model, name, most=batch, delay=delay / 1000, queue=queue)

        def ready() -> None:
            if not local(listener):
                click.echo("Warning: whoever reaches this machine can ask the model.", err=True)
            if not quiet:
                click.echo(f"Serving {pathlib.Path(export)}, version {model.version}, on {url(listener)}")
                click.echo(f"POST {url(listener)}/v1/models/{name}:predict    Ctrl-C ends it.")

        run(service.app(), listener, ready)


@click.command()
@click.argument("run", callback=filled, metavar="RUN|STUDY|SOURCE")
@port(8080)
@host
@trust
@quiet
def demo(run: str, port: int, host: str, trust: bool, quiet: bool) -> None:
    """Show what a run, or a pretrained source such as hf:OWNER/NAME, does, on a page in the browser.

    The page asks for an image, a text or the row of a table, as the task wants it, and shows the answer. It and the
    server send nothing to another machine. Of a study, the best trial is shown. Ctrl-C or SIGTERM ends it.
    """
    from zoo.serving.exported import read_facts
    from zoo.serving.listening import bind

    if read_facts(pathlib.Path(run)) is not None:
        raise InputError(f"{run} is an export: zoo serve {run} serves it. zoo demo takes the run that it was made of.")
    with bind(host, port) as listener:
        from zoo.tuning.study import Study

        source = Study.open(run).best_run() if Study.exists(run) else run
        _show(open_source(source, trust), str(run), listener, quiet)


def _show(trained: "Trained", name: str, listener: socket.socket, quiet: bool) -> None:
    from zoo.runs import Run, load
    from zoo.serving.demo import Demo
    from zoo.serving.listening import local, run, url

    probe = trained.probe() if isinstance(trained, Run) else {}
    page = Demo(load(trained), name, probe)

    def ready() -> None:
        if not local(listener):
            click.echo("Warning: whoever reaches this machine can ask the model.", err=True)
        click.echo(url(listener) if quiet else f"{name} is shown on {url(listener)}    Ctrl-C ends it.")

    run(page.app(), listener, ready)
