"""Command lines that ask for what cannot be: kinds of wrong values, in each place where a verb takes one.

Every one ends with status 2, or 1, and a line; it leaves the folders of others as they are. Those of `train` and `tune`
name a folder that is not theirs, so that none of them trains.
"""

import itertools
import os
import pathlib

import click

from tests.reliability.judging import shell
from zoo.cli.group import zoo as group

WRONG = {
    "nothing": "",
    "a NUL byte": "a\0b",
    "very long": "x" * 5000,
    "a number of 400 digits": "9" * 400,
    "digits of another script": "٣",
    "half a character": "\udcff",
    "an emoji": "🦒",
    "two lines": "a\nb",
    "an underscored number": "1_0",
    "no number": "nan",
    "below all": "-7",
    "brackets": "[1, {",
    "a format": "%s {0} {{",
}
"""{kind: a text that is a value of no field of numbers, of no choice, and no name}."""

NAMES = ("lenett", "lenet/", "/lenet", "lenet/nope", "./nope.py", "nope.job.py", "..", "zoo:nope", "lenet=3", "LENET")
"""Names of no recipe."""

FACTS = {
    "empty.d": None,
    "no-json.d": "nonsense",
    "list.d": "[]",
    "null.d": "null",
    "nothing.d": "{}",
    "endless.d": '{"schema": 1e999}',
    "newer.d": '{"schema": 99}',
    "older.d": '{"schema": 0}',
    "text.d": '{"schema": "one"}',
    "bare.d": '{"schema": 1, "recipe": 3, "data": 3, "status": 3}',
    "half.d": '{"schema": 1, "recipe": {"refer',
    "nested.d": "[" * 100_000,
}
"""{name of a folder: what its run.json and study.json say}."""


def make_folders(root):
    """Makes folders that are neither runs nor studies, and returns their names: what verbs are pointed at."""
    root = pathlib.Path(root)
    for name, text in FACTS.items():
        (root / name).mkdir(parents=True)
        for file in ("run.json", "study.json") if text is not None else ():
            (root / name / file).write_text(text)
    (root / "thesis").mkdir()
    (root / "thesis" / "thesis.txt").write_text("precious")
    for file in ("run.json", "study.json"):
        (root / "folder.d" / file).mkdir(parents=True)
        (root / "bytes.d").mkdir(exist_ok=True)
        (root / "bytes.d" / file).write_bytes(b"\xff\xfe\0")
    (root / "file.txt").write_text("precious")
    (root / "circle").symlink_to(root / "circle")
    names = [*FACTS, "thesis", "folder.d", "bytes.d", "file.txt", "circle", "nowhere", "file.txt/below"]
    return [str(root / name) for name in names]


def lines(root, run):
    """Returns the command lines, each a list of texts; `root` is made, and `run` is a run that is done."""
    folders = make_folders(root)
    theirs = str(pathlib.Path(root) / "thesis")
    found = [*_unknown(), *_recipes(theirs), *_fields(theirs), *_pointed(folders, run), *_options(theirs, run)]
    return [list(one) for one in dict.fromkeys(map(tuple, found))]


def _unknown():
    """Verbs that are none, and none."""
    yield from ([wrong] for wrong in ("trian", *WRONG.values()) if wrong not in ("-7",))
    yield from (["--install-completion", wrong] for wrong in WRONG.values() if wrong != "-7")
    yield from (["data", wrong] for wrong in ("verfy", *WRONG.values()))
    yield from (["data", verb, wrong] for verb in ("prepare", "verify") for wrong in ("digitz", *WRONG.values()))


def _recipes(theirs):
    """Recipes that are none."""
    for verb in ("train", "tune", "show"):
        where = [] if verb == "show" else ["--directory", theirs]
        yield from ([verb, *where, "--", name] for name in (*NAMES, *WRONG.values()))


def _fields(theirs):
    """Fields of a recipe, each with one of the wrong values, which take turns."""
    from zoo import recipe
    from zoo.fields import Text

    turns = itertools.cycle(WRONG.values())
    names = [name for name, field in type(recipe("lenet")).fields().items() if not isinstance(field, Text)]
    for name in names:
        yield ["train", "lenet", f"{name}={next(turns)}", "--directory", theirs]
        yield ["show", "lenet", f"{name}={next(turns)}"]
        yield ["tune", "lenet", "--space", f"{name}={next(turns)}..", "--max-trials", "1", "--directory", theirs]
    for pair in ("=", "=3", "epochs", "epochs=3=4", "dropuot=0.1", "epochs =3", "\0=1", "\udcff=1"):
        yield ["train", "lenet", pair, "--directory", theirs]
        yield ["show", "lenet", pair]


def _pointed(folders, run):
    """Verbs pointed at folders that are not what they take."""
    wrong = [*folders, *(value for kind, value in WRONG.items() if kind not in ("an emoji", "below all"))]
    for folder in wrong:
        yield from ([verb, folder] for verb in ("evaluate", "report", "leaderboard", "watch", "serve", "demo"))
        yield from ([verb, folder, "there"] for verb in ("predict", "export"))
        yield ["compare", str(run), folder]
        yield from (["train", option, folder] for option in ("--resume", "--best-of"))
        if not os.path.isdir(folder):
            yield ["runs", folder]
        yield ["train", "lenet", f"init_from={folder}"]
    for file in folders:
        yield ["predict", str(run), file]
        yield ["tune", f"{file}.yaml"]


def _options(theirs, run):
    """Every option that takes a value, with wrong ones, and every flag with a value."""
    base = {
        "train": ["lenet", "--directory", theirs], "tune": ["lenet", "--max-trials", "1", "--directory", theirs],
        "evaluate": [str(run)], "predict": [str(run), "x.png"], "export": [str(run), theirs], "report": ["nowhere"],
        "leaderboard": ["nowhere"], "runs": ["nowhere"], "show": ["lenet"], "list": [], "reproduce": ["nowhere"],
        "data": ["list"], "compare": [str(run), "nowhere"], "watch": ["nowhere"], "serve": ["nowhere"],
        "demo": ["nowhere"],
    }  # fmt: skip
    turns = itertools.cycle(WRONG.values())
    for verb, command in group.commands.items():
        for option in command.params:
            if not isinstance(option, click.Option):
                continue
            if option.is_flag:
                yield [verb, *base[verb], f"{option.opts[0]}=yes"]
            else:
                path = option.name in ("data_dir", "directory", "masks")  # any other text names a folder to make
                wrong = ("", "a\0b") if path else (next(turns), next(turns))
                yield from ([verb, *base[verb], option.opts[0], one] for one in wrong)
        yield [verb, *base[verb], "--nope"]


def hold(faults, line, *folders):
    """Runs a command line, which must fail, and leave `folders` as they are."""
    faults.cases += 1
    shown = " ".join(line)[:80]
    with faults.untouched(repr(shown), *folders):
        if shell(faults, *line).status == 0:
            faults.misread.append(f"{shown!r} was accepted")
