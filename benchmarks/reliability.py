"""What becomes of runs, studies and files that are killed, damaged and asked for what cannot be, as numbers.

    python benchmarks/reliability.py
    python benchmarks/reliability.py --only kills --number 20 --seed 1

`kills`: processes of `zoo.train` and `zoo.tune` killed with `kill -9` at moments that the seed draws. `commands`: wrong
command lines. `calls`: wrong calls of Python. `files`: each file of a run, a study, an export and a `.keras` file
damaged in each way, and every verb asked. `--number` draws so many cases of each part instead of all. The laws are
those of the tests, in `tests/reliability`. Every case runs in this process; killed ones are forked from a warm one.
"""

import argparse
import os
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import zoo
from tests.reliability import calls, commands, damage, kills
from tests.reliability.judging import Faults

NUMBERS = {"kills": 100, "commands": 300, "calls": 60, "files": None}
"""{part: how many cases; None is all}."""


def row(what, faults, seconds):
    """A row of the table, and the lines of what broke a law."""
    found = (len(faults.tracebacks), len(faults.foreign), len(faults.misread))
    print(f"| {what} | {faults.cases} | {' | '.join(map(str, found))} | {seconds:.0f} |", flush=True)
    for line in faults.all():
        print(f"    {line}", file=sys.stderr)


def drawn(cases, number, seed):
    """`number` of the cases, or all."""
    return cases if number is None or number >= len(cases) else random.Random(seed).sample(cases, number)


def of_commands(home, run, number, seed):
    """Wrong command lines."""
    faults, begun = Faults(), time.monotonic()
    here = home / "here"
    here.mkdir()
    os.chdir(here)
    for line in drawn(commands.lines(home / "theirs", run), number, seed):
        commands.hold(faults, line, home / "theirs", here)
    row("wrong command lines", faults, time.monotonic() - begun)


def of_calls(home, run, number, seed):
    """Wrong calls of Python."""
    faults, begun = Faults(), time.monotonic()
    commands.make_folders(home / "folders")
    theirs = home / "folders" / "thesis"
    for what, function in drawn(calls.calls(str(theirs), run), number, seed):
        calls.hold(faults, what, function, home / "folders")
    row("wrong calls of Python", faults, time.monotonic() - begun)


def of_files(home, run, number, seed):
    """Damaged files."""
    (home / "keras").mkdir()
    zoo.load(run).save(home / "keras" / "model.keras")
    zoo.export(run, home / "export")
    damage.DamagedStudy.make(home / "study")
    laws = {
        "a run": (damage.DamagedRun, run),
        "a study": (damage.DamagedStudy, home / "study"),
        "an export": (damage.DamagedExport, home / "export"),
        "a `.keras` file": (damage.DamagedKeras, home / "keras"),
    }
    for name, (law, whole) in laws.items():
        faults, begun = Faults(), time.monotonic()
        one = law(whole, home / f"damaged-{law.__name__}")
        for file, how in drawn(one.cases(), number, seed):
            one.hold(faults, file, how)
        row(f"damaged files of {name}", faults, time.monotonic() - begun)


def of_kills(home, run, number, seed):
    """Killed runs and studies."""
    for verb, kind, share in (("train", kills.Run, number - number // 2), ("tune", kills.Study, number // 2)):
        found, begun = kills.Kills(), time.monotonic()
        killer = kills.Killer(kind, home / verb, seed)
        while found.early + found.between < share:
            killer.episode(found, share - found.early - found.between)
        print(
            f"| `zoo {verb}` | {found.early} | {found.between} | {found.episodes} | {len(found.failed)} | "
            f"{len(found.different)} | {time.monotonic() - begun:.0f} |", flush=True,
        )  # fmt: skip
        for line in (*found.failed, *found.different):
            print(f"    {line}", file=sys.stderr)


HEADS = {
    "kills": "| killed | before the first checkpoint | between first and last | episodes | ended with an error | "
    "other weights, histories or scores | seconds |\n|---|---|---|---|---|---|---|",
    "files": "| | cases | tracebacks | foreign bytes changed | silent misreadings | seconds |\n"
    "|---|---|---|---|---|---|",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=NUMBERS, action="append", help="a part; may be given twice")
    parser.add_argument("--number", type=int, help="cases of each part (default: 100 kills, 300, 60, all)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    parts = {"commands": of_commands, "calls": of_calls, "files": of_files, "kills": of_kills}
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        os.environ["XDG_STATE_HOME"] = str(home / "state")
        os.environ.setdefault("ZOO_DATA", str(home / "data"))
        run = home / "run"
        zoo.train("lenet", epochs=2, directory=run, quiet=True)
        head = None
        for name, part in parts.items():
            if given.only and name not in given.only:
                continue
            if head != (head := HEADS.get(name, HEADS["files"])):
                print(f"\n{head}", flush=True)
            (home / name).mkdir()
            part(home / name, run, given.number or NUMBERS[name], given.seed)


if __name__ == "__main__":
    main()
