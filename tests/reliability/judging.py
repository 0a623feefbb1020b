"""What any verb may do, whatever it is asked: the right answer, or one line that says what is wrong.

Tests and `benchmarks/reliability.py` judge by this. A case that breaks the law is noted in a `Faults`, by kind.
"""

import contextlib
import dataclasses
import hashlib
import io
import pathlib
import traceback
import warnings

from zoo import ZooError, cli


@dataclasses.dataclass
class Faults:
    """The cases that were tried, and a line for each that broke the law.

    Attributes:
        cases: how many were tried.
        tracebacks: those that ended with another error than ours, or with more than one line of it.
        foreign: those that changed a file that was not theirs to change.
        misread: those that gave another answer than before, and did not say so.
    """

    cases: int = 0
    tracebacks: list[str] = dataclasses.field(default_factory=list)
    foreign: list[str] = dataclasses.field(default_factory=list)
    misread: list[str] = dataclasses.field(default_factory=list)

    def all(self):
        """Returns every line."""
        return [*self.tracebacks, *self.foreign, *self.misread]

    @contextlib.contextmanager
    def untouched(self, what, *folders):
        """Notes where a file in one of `folders` is another one after what is done inside."""
        before = [digests(folder) for folder in folders]
        yield
        for folder, files in zip(folders, before, strict=True):
            if (after := digests(folder)) != files:
                changed = sorted(name for name in {**files, **after} if files.get(name) != after.get(name))
                self.foreign.append(f"{what}: changed {', '.join(changed[:3])}")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a verb answered.

    Attributes:
        value: what it printed, or returned; None where it ended with an error.
        said: its warnings, or the line of its error.
        status: the exit status; of a call 0, or that of its error.
    """

    value: object
    said: str
    status: int


def digests(folder):
    """{path: hash} of all files in a folder; an empty folder has an entry too."""
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_dir():
            found[str(path)] = "a folder"
    return found


def shell(faults, *arguments):
    """Runs a command in this process: status 0, or 1 or 2 and one last line that says why. Returns its `Answer`."""
    arguments = [str(argument) for argument in arguments]
    shown = "zoo " + " ".join(argument if len(argument) < 60 else f"{argument[:57]}..." for argument in arguments)
    out, err, status = io.StringIO(), io.StringIO(), 0
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        try:
            cli.main(arguments)
        except SystemExit as ended:
            status = ended.code or 0
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            faults.tracebacks.append(f"{shown!r}: {_short(error)}")
            return Answer(None, "", 1)
    lines = err.getvalue().strip().splitlines() or [""]
    errors = [line for line in lines if line.startswith("Error")]
    wrong = status and errors != lines[-1:] and not (len(arguments) < 2 and lines[0].startswith("Usage: "))
    if status not in (0, 1, 2) or "Traceback" in err.getvalue() or wrong:
        faults.tracebacks.append(f"{shown!r}: status {status}, {err.getvalue()[-300:]!r}")
    if status:
        return Answer(None, lines[-1], status)
    return Answer(out.getvalue(), "\n".join(line for line in lines if line.startswith("Warning: ")), 0)


def call(faults, what, function):
    """Calls a function of Python: a value, or an error of ours in one line. Returns its `Answer`."""
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            value = function()
        except ZooError as error:
            if "\n" in str(error).strip():
                faults.tracebacks.append(f"{what}: {str(error)!r} has more than one line")
            return Answer(None, str(error), error.exit_status)
        except Exception as error:
            faults.tracebacks.append(f"{what}: {_short(error)}")
            return Answer(None, "", 1)
    return Answer(value, "\n".join(str(one.message) for one in warned if one.category is UserWarning), 0)


def _short(error):
    """An exception in one line, with the place in our code where it was raised or passed through last."""
    ours = [one for one in traceback.extract_tb(error.__traceback__) if "/zoo/" in one.filename]
    place = f" at {ours[-1].filename.rpartition('/zoo/')[2]}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{place}"
