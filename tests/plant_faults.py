"""Shows that the tests notice faults: plants each fault of `faults.toml` in a copy of the tree, and runs its tests.

    python tests/plant_faults.py
    python tests/plant_faults.py --only epsilon-outside-of-the-root bleu-sides-swapped --json faults.json

A fault is one line, replaced by another. It is found by its text, so that files may move. It is caught where a test
fails, of a suite that passes without it; `--confirm` runs that test once more without the fault. Imports are slow and
are done once: each run of pytest is a fork of a process that has TensorFlow and Keras, but nothing of ours.

Run it with a Python that has the dependencies and no keras-zoo: an installed one could be tested in place of the copy.
"""

import argparse
import compileall
import concurrent.futures
import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

FAULTS = pathlib.Path(__file__).with_name("faults.toml")

PLACES = ("zoo", "layers", "recipes")
"""Folders in which faults are planted."""

LAST = ("test_conforms", "test_every_recipe_law_holds")
"""Names of tests that are run after all others."""

CAUGHT, MISSED, BROKEN = "caught", "not caught", "broken"


@dataclasses.dataclass(frozen=True)
class Fault:
    """A line that is made wrong.

    Attributes:
        id: its name.
        before, after: the line without the blanks around it, as it is and as it is made.
        why: what is wrong then, in a few words.
        tests: patterns of the names of test files that ought to notice, the quickest first.
    """

    id: str
    before: str
    after: str
    why: str
    tests: list[str]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a fault.

    Attributes:
        id: of the fault.
        file: where its line was found, relative to the root.
        status: `CAUGHT`, `MISSED` or `BROKEN`.
        by: the test that failed first; or what is broken.
        seconds: how long its tests ran.
    """

    id: str
    file: str
    status: str
    by: str
    seconds: float


class Copy:
    """A copy of a tree, in which one fault at a time is planted and tested.

    Args:
        root: the tree: what git tracks, and what it does not ignore.
        folder: where the copy goes, and what its tests write.
        confirm: whether a test that fails is run once more without the fault, and must pass then.
        timeout: seconds that the tests of a fault may take.
    """

    def __init__(self, root, folder, confirm, timeout):
        self._confirm, self._timeout = confirm, timeout
        self._tree, self._written = folder / "tree", folder / "written"
        self._log, self._failure = folder / "log", folder / "failure"
        options = ("-z", "--cached", "--others", "--exclude-standard")
        listed = subprocess.run(["git", "ls-files", *options], cwd=root, capture_output=True, text=True, check=True)
        for name in listed.stdout.split("\0"):
            if (root / name).is_file():
                (self._tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self._tree / name)
        compileall.compile_dir(self._tree, quiet=2)

    def outcome(self, fault):
        """The `Outcome` of a fault."""
        path = find(self._tree, fault)
        start = time.monotonic()
        with planted(path, fault):
            code = self._pytest(test_files(self._tree, fault))
        seconds = round(time.monotonic() - start, 1)
        failed = self._failure.read_text() if self._failure.exists() else ""
        status, by = BROKEN, f"pytest ended with {code}: {self._last_line()}"
        if code is None:
            by = f"not done after {self._timeout} s"
        elif code == 0:
            status, by = MISSED, ""
        elif code in (1, 2) and failed:
            of_file = "::" not in failed  # it could not be imported
            if self._confirm and self._pytest([failed, *(["--collect-only"] if of_file else [])]) != 0:
                by = f"fails without the fault too: {failed}"
            else:
                status, by = CAUGHT, f"{failed} (at import)" if of_file else failed
        return Outcome(fault.id, path.relative_to(self._tree).as_posix(), status, by, seconds)

    def _pytest(self, arguments):
        """The exit code of pytest in a forked process; None where it took too long."""
        self._failure.unlink(missing_ok=True)
        shutil.rmtree(self._written, ignore_errors=True)
        pid = os.fork()
        if pid == 0:
            self._run_and_exit(["-q", "-x", "-p", "no:cacheprovider", f"--basetemp={self._written}", *arguments])
        end = time.monotonic() + self._timeout
        try:
            while time.monotonic() < end:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    return os.waitstatus_to_exitcode(status)
                time.sleep(0.05)
            return None
        finally:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.killpg(pid, signal.SIGKILL)  # it, and what it has started
                os.waitpid(pid, 0)

    def _run_and_exit(self, arguments):
        """What the forked process does: pytest in the copy, its output in the log."""
        code = 70
        try:
            os.setsid()
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(self._tree)
            sys.path[0] = os.environ["PYTHONPATH"] = str(self._tree)  # of processes that tests start, too
            sys.dont_write_bytecode = True  # a compiled fault must not outlive it
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            origin = importlib.util.find_spec("zoo").origin
            if not pathlib.Path(origin).is_relative_to(self._tree):
                raise RuntimeError(f"{origin} would be tested in place of {self._tree}.")
            import pytest

            code = int(pytest.main(arguments, plugins=[FirstFailure(self._failure)]))
        except BaseException as error:
            print(repr(error))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _last_line(self):
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


class FirstFailure:
    """A plugin of pytest that writes to a file which test failed first, or which file that could not be imported.

    Tests of `LAST` come last: they hold every law, take long, and a failure elsewhere tells more.
    """

    def __init__(self, path):
        self._path = path

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: item.name.partition("[")[0] in LAST)

    def pytest_collectreport(self, report):
        self._note(report)

    def pytest_runtest_logreport(self, report):
        self._note(report)

    def _note(self, report):
        if report.failed and not self._path.exists():
            self._path.write_text(report.nodeid)


@contextlib.contextmanager
def planted(path, fault):
    """Inside, the fault stands in the file; outside, the file is as it was, and so is its time."""
    text, stat = path.read_text("utf-8"), path.stat()
    lines = text.split("\n")
    number = next(number for number, line in enumerate(lines) if line.strip() == fault.before)
    lines[number] = lines[number].replace(fault.before, fault.after)
    path.write_text("\n".join(lines), "utf-8")
    try:
        yield
    finally:
        path.write_text(text, "utf-8")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # so that its compiled form counts again


def find(root, fault):
    """The file that has the line of a fault; ends the process where it is not there exactly once."""
    found = [
        path
        for place in PLACES
        for path in sorted((root / place).rglob("*.py"))
        for line in path.read_text("utf-8").split("\n")
        if line.strip() == fault.before
    ]
    if len(found) != 1:
        where = ", ".join(path.relative_to(root).as_posix() for path in found) or "nowhere"
        sys.exit(f"{fault.id}: its line must be there once, and is in {where}: {fault.before}")
    return found[0]


def test_files(root, fault):
    """The test files of a fault, relative to the root, in the order of its patterns."""
    found = []
    for pattern in fault.tests:
        paths = sorted((root / "tests").rglob(pattern))
        if not paths:
            sys.exit(f"{fault.id}: there is no test file {pattern}.")
        found += [path.relative_to(root).as_posix() for path in paths]
    return list(dict.fromkeys(found))


def read_faults(root, only):
    """The faults of `FAULTS`, or those of the ids `only`; ends the process where one could not be planted."""
    faults = [Fault(**entry) for entry in tomllib.loads(FAULTS.read_text("utf-8"))["fault"]]
    ids = [fault.id for fault in faults]
    odd = {id for id in ids if ids.count(id) > 1} | set(only or ()) - set(ids)
    if odd:
        sys.exit(f"{FAULTS} does not have exactly one fault of the name {', '.join(sorted(odd))}.")
    if only is not None:
        faults = [faults[ids.index(id)] for id in only]
    for fault in faults:
        find(root, fault)
        test_files(root, fault)
    return faults


def make_copy(root, folder, confirm, timeout):
    """Makes the copy in which a process of the pool plants its faults."""
    global _copy
    _copy = Copy(root, folder / str(os.getpid()), confirm, timeout)


def outcome_of(fault):
    """The `Outcome` of a fault, in a process of the pool."""
    return _copy.outcome(fault)


def plant(root, faults, jobs, confirm, timeout):
    """Gives the `Outcome` of each fault, in their order; `confirm` and `timeout` are as of `Copy`."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    import keras  # noqa: F401  (for the forks)
    import tensorflow  # noqa: F401  (for the forks)

    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        initial = (root, pathlib.Path(folder).resolve(), confirm, timeout)
        fork = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(jobs, fork, make_copy, initial) as pool:
            yield from pool.map(outcome_of, faults)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="ID", help="plant these alone")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (1)")
    parser.add_argument("--confirm", action="store_true", help="run a test that fails once more without the fault")
    parser.add_argument("--timeout", type=int, default=400, help="seconds that the tests of a fault may take (400)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the table there, too")
    parser.add_argument("--root", type=pathlib.Path, default=FAULTS.parent.parent, help="the tree to plant them in")
    options = parser.parse_args()
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        installed = importlib.metadata.distribution("keras-zoo").locate_file("")
        if not FAULTS.is_relative_to(pathlib.Path(installed).resolve()):
            parser.error(f"keras-zoo is installed, in {installed}: use a Python without it.")
    root = options.root.resolve()
    faults = read_faults(root, options.only)
    wide = max(len(fault.id) for fault in faults)
    outcomes = []
    for outcome in plant(root, faults, options.jobs, options.confirm, options.timeout):
        outcomes.append(outcome)
        print(f"{outcome.id:{wide}}  {outcome.status:10}  {outcome.seconds:6.1f} s  {outcome.by}", flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps([dataclasses.asdict(one) for one in outcomes], indent=1) + "\n")
    counts = {status: sum(one.status == status for one in outcomes) for status in (CAUGHT, MISSED, BROKEN)}
    print(f"{len(outcomes)} faults: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    sys.exit(0 if counts[CAUGHT] == len(outcomes) else 1)


if __name__ == "__main__":
    main()
