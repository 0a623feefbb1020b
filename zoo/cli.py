"""The command line: `zoo VERB ...`. A key and a value is a field; a dash is an option of the verb."""

import contextlib
import dataclasses
import errno
import os
import pathlib
import sys
import warnings

import click

from zoo._version import __version__
from zoo.errors import InputError, Interrupted, RunError, ZooError, nearest

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _Commands(click.Group):
    """Lists commands in the order in which they are defined, and turns our errors into one line and a status."""

    def list_commands(self, ctx):
        return list(self.commands)

    def resolve_command(self, ctx, args):
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = nearest(args[0], self.commands)
            raise click.UsageError(f"No such command {args[0]!r}.{near} There are: {', '.join(self.commands)}.")
        return super().resolve_command(ctx, args)


def _filled(context, parameter, value):
    """Refuses an empty path: a shell variable that was not set."""
    if value == "":
        raise InputError(f"{parameter.opts[0]} is empty.")
    return value


quiet = click.option("--quiet", is_flag=True, help="Print nothing but results and errors.")
data_dir = click.option("--data-dir", metavar="DIR", help="Where prepared data lie (default: ZOO_DATA).")
skip_bad = click.option("--skip-bad", is_flag=True, help="Leave out what cannot be read.")
trust = click.option(
    "--trust", is_flag=True, help="Run the recipe file that a run, study or job names: whoever wrote it chose it."
)
fields = click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")


@click.group(cls=_Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="zoo")
def zoo():
    """A model zoo on Keras 3: train, tune, evaluate, predict, export, report."""


@zoo.command("list")
@click.argument("pattern", default="*")
@click.option("--task", help="Only recipes of this task, such as image_classification.")
@quiet
def list_(pattern, task, quiet):
    """List recipes, or those that match PATTERN."""
    from zoo import registry

    wanted = set(registry.names(pattern, task=task))
    if not wanted and not quiet:
        click.echo("No recipe matches.", err=True)
    for entry in registry.entries():
        if entry.name in wanted:
            if quiet:
                click.echo(entry.name)
                continue
            variants = f" (variants {', '.join(entry.variants)})" if entry.variants else ""
            click.echo(f"{entry.name:<16}{entry.task or '?':<24}{entry.summary}{variants}")


@zoo.command()
@click.argument("recipe")
@fields
@quiet
def show(recipe, fields, quiet):
    """Show a recipe's fields and its network's cost.

    RECIPE is a name, a variant or a file: lenet, lenet/modern, ./my_recipe.py.
    """
    from zoo import registry
    from zoo.fields import show as shown

    made = registry.recipe(recipe, **_given(recipe, fields))
    if not quiet:
        click.echo(f"{made.label}: {(type(made).__doc__ or '').strip().splitlines()[0]}\n")
        rows = [("field", "value", "default", "legal", "search", "help")]
        for name, field in made.fields().items():
            value = "-" if made.inactive(name, made.values()) else shown(getattr(made, name))
            only = " and ".join(f"{other}{condition.text}" for other, condition in field.conditions())
            help = f"{field.help} (only with {only})" if only else field.help
            rows.append((name, value, shown(field.default), field.range, field.search_text, help))
        _table(rows)
        click.echo()
    from zoo.summaries import summarize

    cost = summarize(made.network(), getattr(made, "input_shape", None), made.batch_size)
    click.echo(f"parameters     {cost.parameters:,} ({cost.trainable:,} trainable)")
    if cost.multiply_adds is None:
        click.echo("multiply-adds  not counted on this backend, nor activations")
    else:
        click.echo(f"multiply-adds  {cost.multiply_adds:,} (one forward pass of one example)")
        activations = f"{cost.activation_bytes / 1e6:.2f} MB"
        click.echo(f"activations    {activations} (float32, kept by a training step of batch_size={made.batch_size})")
    click.echo(f"size           {cost.bytes / 1e6:.2f} MB (float32 weights)")
    for variant in made.variants:
        named = [name for name in made.origin.given if shown(getattr(made, name)) == variant]
        if named and made.variant != variant:
            click.echo(f"\n{made.label} with {named[0]}={variant} is not the variant {made.name}/{variant}.")


@zoo.command()
@click.argument("recipe", required=False)
@fields
@click.option(
    "--directory",
    callback=_filled,
    metavar="RUN",
    help="The run's folder (default: runs/<recipe>-<digest of the fields>).",
)
@click.option("--resume", callback=_filled, metavar="RUN", help="Go on with this run.")
@click.option("--until", type=click.IntRange(1), metavar="N", help="Pause after N epochs in all.")
@click.option("--best-of", callback=_filled, metavar="STUDY", help="Train the fields of a study's best trial afresh.")
@click.option("--seeds", type=click.IntRange(2), metavar="N", help="With --best-of: over so many seeds (default: 3).")
@data_dir
@skip_bad
@trust
@quiet
def train(recipe, fields, directory, resume, until, best_of, seeds, data_dir, skip_bad, trust, quiet):
    """Train a recipe, or go on with a run.

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
        given = _parsed(type(_run(resume, trust).recipe), fields)
    else:
        given = _given(recipe, fields)
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


@zoo.command()
@click.argument("recipe", metavar="RECIPE|JOB.yaml")
@fields
@click.option("--space", multiple=True, metavar="FIELD=RANGE", help="Search FIELD: 1e-4..1e-1:log, 8..64:step=8, a,b.")
@click.option("--oracle", help="random, grid, bayesian (default) or hyperband.")
@click.option("--objective", metavar="NAME", help="What becomes best, such as val_loss (default: the field monitor).")
@click.option("--seed", type=click.IntRange(0), help="Of the oracle (default: 0).")
@click.option("--pruner", help="median or halving: stop trials that do badly.")
@click.option("--max-trials", type=click.IntRange(1), metavar="N", help="End after N trials.")
@click.option("--max-time", metavar="TIME", help="End after TIME, such as 90s, 15m, 2h.")
@click.option("--max-trial-time", metavar="TIME", help="Stop each trial after TIME.")
@click.option("--max-epochs-total", type=click.IntRange(1), metavar="N", help="End after N epochs of all trials.")
@click.option("--max-parameters", type=click.IntRange(1), metavar="N", help="Skip larger networks.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Trials at once (default: 1).")
@click.option("--gpus-per-trial", type=click.IntRange(0), metavar="N", help="GPUs that each trial has for itself.")
@click.option("--engine", help="local (default), or ray: trials on the nodes of a Ray cluster.")
@click.option(
    "--address", metavar="HOST:PORT", help="With --engine ray: the head node, as `ray start --head` prints it."
)
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Best trials that keep their weights (default: 3).")
@click.option("--max-disk", type=click.FloatRange(0), metavar="GB", help="What these may take.")
@click.option(
    "--directory",
    callback=_filled,
    metavar="STUDY",
    help="The study's folder (default: studies/<recipe>-<digest of the definition>).",
)
@data_dir
@skip_bad
@trust
@quiet
def tune(recipe, fields, space, quiet, skip_bad, trust, **options):
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
        _load_backend()
        job = jobs.read(recipe, trust)
        recipe = job.pop("recipe")
    fixed = _given(recipe, fields)
    ranges = _pairs(space, "A space is given as field=range.", "The space of {}")
    job["fixed"] = {**_without(job.get("fixed"), ranges), **fixed}
    if ranges or job.get("space"):
        job["space"] = {**_without(job.get("space"), fixed), **ranges}
    from zoo.tuning.tune import tune

    flags = {name: True for name, asked in (("skip_bad", skip_bad), ("quiet", quiet)) if asked}
    tune(recipe, **{**job, **options, **flags})


@zoo.command()
@click.argument("run", callback=_filled)
@click.option("--split", default="test", show_default=True, help="train, validation or test.")
@click.option("--dataset", help="Other data, by name.")
@data_dir
@skip_bad
@trust
@quiet
def evaluate(run, split, dataset, data_dir, skip_bad, trust, quiet):
    """Print a run's loss and metrics."""
    run = _run(run, trust)
    from zoo.prediction import evaluate

    found = evaluate(run, split, dataset=dataset, data_dir=data_dir, skip_bad=skip_bad)
    for name, value in found.items():
        click.echo(f"{name} {value:.6g}" if quiet else f"{split} {name:<12} {value:.6g}")


@zoo.command()
@click.argument("run", callback=_filled)
@click.argument("inputs", nargs=-1, metavar="FILE|TEXT...")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to print.")
@click.option("--csv", is_flag=True, help="Print a table with a header line.")
@click.option("--tile", type=click.IntRange(1), metavar="N", help="Segment in squares of N pixels: large pictures.")
@click.option(
    "--overlap",
    type=click.IntRange(0),
    metavar="N",
    help="Pixels that neighbouring tiles share (default: what the network sees).",
)
@click.option(
    "--masks", metavar="DIR", callback=_filled, default="predictions", show_default=True, help="Where masks go."
)
@click.option("--strict", is_flag=True, help="Refuse texts that can be read in part only.")
@skip_bad
@trust
@quiet
def predict(run, inputs, top, csv, tile, overlap, masks, strict, skip_bad, trust, quiet):
    """Print what a run says of files, or of texts.

    Without inputs, texts are the lines of standard input, and each answer is a line. Segmentation prints each class's
    share of the pixels, and writes a mask: a PNG of class ids under the file's name.
    """
    run = _run(run, trust)
    from zoo.prediction import predict
    from zoo.runs import load, table

    piped = run.recipe.texts and not inputs
    if piped:
        inputs = [line.rstrip(b"\r\n") for line in sys.stdin.buffer]
    if not inputs:
        raise InputError("Nothing to predict: give at least one input.")
    asked = {"skip_bad": skip_bad, "strict": strict, "tile": tile, "overlap": overlap}
    if run.recipe.tiles:
        model, predictions = load(run), []
        for path, target in _targets(inputs, masks).items():  # one at a time: masks are as large as pictures
            for one in predict(model, [path], **asked):
                one.write(target)
                predictions.append(dataclasses.replace(one, mask=None))
    else:
        predictions = predict(run, list(inputs), **asked)
    if csv:
        click.echo(table([{"input": one.name, **one.row(top)} for one in predictions]), nl=False)
        return
    width = max((len(one.name) for one in predictions), default=0)
    for one in predictions:
        click.echo(one.show(top) if piped else f"{one.name:<{width}}  {one.show(top)}")


@zoo.command()
@click.argument("run", callback=_filled)
@click.argument("directory", callback=_filled)
@click.option("--format", default="saved_model", show_default=True, help="saved_model, onnx or litert.")
@click.option(
    "--version", type=click.IntRange(1), metavar="N", help="Write to DIRECTORY/N, as TensorFlow Serving reads it."
)
@trust
@quiet
def export(run, directory, format, version, trust, quiet):
    """Write a run, or a study's best, as a model to serve, verified.

    DIRECTORY must not exist; the model in it needs nothing of this package.
    """
    from zoo.exporting import export
    from zoo.tuning.study import Study

    if Study.exists(run):
        run = Study.open(run).best_run()
    export(_run(run, trust), directory, format=format, version=version, quiet=quiet)


@zoo.command()
@click.argument("study", callback=_filled)
@click.option("--top", type=click.IntRange(1), metavar="N", help="Print the first N trials only.")
@click.option("--csv", is_flag=True, help="Print CSV with a header line.")
@click.option("--json", is_flag=True, help="Print a JSON list.")
def leaderboard(study, top, csv, json):
    """Print the trials of a study, the best first."""
    from zoo.tuning.report import leaderboard
    from zoo.tuning.study import Study

    if csv and json:
        raise InputError("--csv and --json are two formats: give one.")
    study = Study.open(study)
    if csv or json:
        text = leaderboard.as_csv(study, top) if csv else leaderboard.as_json(study, top)
        click.echo(text.rstrip("\n"))
        return
    _table(leaderboard.as_cells(study, top))


@zoo.command()
@click.argument("run", callback=_filled, metavar="RUN|STUDY")
@click.option("--directory", callback=_filled, metavar="DIR", help="Where to write (default: RUN/report).")
@data_dir
@skip_bad
@trust
@quiet
def report(run, directory, data_dir, skip_bad, trust, quiet):
    """Write a page about a run or a study, with pictures.

    Of a study, the folder events is written too: `tensorboard --logdir STUDY/events` shows its trials in HParams.
    """
    from zoo.tuning.study import Study

    if Study.exists(run):
        if data_dir is not None or skip_bad:
            raise InputError("The report of a study reads no data: leave --data-dir and --skip-bad out.")
        page = _study_report(Study.open(run, trust), directory)
    else:
        run = _run(run, trust)
        from zoo.reporting import report

        page = report(run, directory, data_dir=data_dir, skip_bad=skip_bad)
    if not quiet:
        click.echo(f"Report written to {page}")


@zoo.group(cls=_Commands)
def data():
    """List, prepare and verify data sets."""


@data.command("list")
@data_dir
@quiet
def data_list(data_dir, quiet):
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
def prepare(name, data_dir, quiet):
    """Prepare the data set NAME (digits, tfds:mnist); twice at once is safe."""
    source = _prepared_source(name, data_dir)
    if not quiet:
        click.echo(f"{name}: {', '.join(f'{size:,} {split}' for split, size in source.sizes.items())}.")


@data.command()
@click.argument("name")
@data_dir
@quiet
def verify(name, data_dir, quiet):
    """Read every example of the data set NAME."""
    count = _prepared_source(name, data_dir).verify()
    if not quiet:
        click.echo(f"{name}: all {count:,} examples were read.")


def _targets(inputs, folder):
    """{picture: where its mask goes}; a file that is there, or would be written twice, is an `InputError`."""
    targets = {path: pathlib.Path(folder, f"{pathlib.Path(path).stem}.png") for path in inputs}
    places = list(targets.values())
    for place in places:
        if place.exists() or places.count(place) > 1:
            why = "exists" if place.exists() else "would be the mask of two pictures"
            raise InputError(f"{place} {why}: name another folder with --masks.")
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    return targets


def _train_best(study, seeds, directory, data_dir, skip_bad, trust, quiet):
    from zoo.tuning.study import Study

    study = Study.open(study, trust)
    study.best_trial()
    _load_backend()
    from zoo.tuning.best_of import train_best

    train_best(study, seeds=seeds, directory=directory, data_dir=data_dir, skip_bad=skip_bad, quiet=quiet)


def _run(path, trust=False):
    """The run in a folder; looked up before Keras is loaded, so that a wrong name costs no seconds."""
    from zoo.runs import Run

    run = Run.open(path, trust)
    _load_backend()
    return run


def _study_report(study, directory):
    """Writes what is told of a study; the page's path."""
    from zoo.tuning.report.page import report
    from zoo.tuning.report.tensorboard import write_events

    page = report(study, directory)
    with _hushed():
        write_events(study)
    return page


def _prepared_source(name, data_dir):
    from zoo.data import open_source

    _load_backend()
    source = open_source(name, data_dir=data_dir)
    if not hasattr(source, "verify"):
        raise InputError(f"{name} is read where it lies; only built-in and tfds: sets are prepared.")
    return source


def _given(recipe, pairs):
    """{field: value} of `name=text` arguments, read by the fields of `recipe`."""
    from zoo import registry

    registry.check_name(recipe)
    _load_backend()
    return _parsed(registry.find(recipe)[0], pairs)


def _without(part, names):
    """A part of a job but for what the command line says otherwise; what is no mapping is refused where it is read."""
    part = part or {}
    return {name: value for name, value in part.items() if name not in names}


def _parsed(cls, pairs):
    given = _pairs(pairs, "Fields are given as name=value.", "{}")
    return {name: cls.field(name).parse(name, text) for name, text in given.items()}


def _pairs(given, rule, called):
    """{name: text} of `name=text` arguments; what is wrong is told by `rule`, and the name as it is `called`."""
    found = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"{rule} Received: {pair!r}.")
        if name in found:
            raise InputError(f"{called.format(name)} is given twice.")
        found[name] = text
    return found


def _table(rows):
    """Prints rows in columns; the last may be as long as it likes."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())


@contextlib.contextmanager
def _hushed():
    """Drops what TensorFlow's libraries write to stderr while they are loaded; an exception says what matters."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _load_backend():
    """Imports Keras and what reads the data: five seconds that only a verb in need of them pays."""
    try:
        with _hushed():
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        raise InputError(
            f"KERAS_BACKEND={backend} cannot be loaded: {error}. There are tensorflow, jax and torch; "
            "pip install 'keras-zoo[jax]' or 'keras-zoo[torch]' brings the latter two."
        ) from error


@contextlib.contextmanager
def _worded_warnings():
    """Prints what is meant for the user as a line, not as a place in our code."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message, category, *where, **options):
            if category is UserWarning:
                click.echo(f"Warning: {message}", err=True)
            else:
                shown(message, category, *where, **options)

        warnings.showwarning = show
        yield


_WRONG_PATH = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def main(arguments=None):
    """Runs the command line and exits: 0 done, 1 a run failed, 2 bad input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _worded_warnings():
            zoo.main(arguments, prog_name="zoo", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as error:  # click's word for Ctrl-C; its cause is what we raised
        click.echo(str(error.__cause__) if isinstance(error.__cause__, Interrupted) else "Stopped.", err=True)
        sys.exit(Interrupted.exit_status)
    except ZooError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_status)
    except _WRONG_PATH as error:
        click.echo(f"Error: {error.filename}: {error.strerror}. Name another path.", err=True)
        sys.exit(InputError.exit_status)
    except OSError as error:
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
