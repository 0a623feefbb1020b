"""A bar with the time left, on stderr, for what takes longer than a few seconds and says nothing meanwhile.

Trials of a study have lines of their own (`zoo.tuning.report.live`).
"""

import contextlib
import contextvars
import shutil
import sys
import threading
from collections.abc import Callable, Iterator

PATIENCE = 3.0
"""Seconds after which a bar appears."""

_silent: contextvars.ContextVar[bool] = contextvars.ContextVar("zoo.data.progress.silent", default=False)


def line_width() -> int | None:
    """Returns how many letters a line has in the terminal that stdout is; None where it is none."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if terminal else None


@contextlib.contextmanager
def silent(quiet: bool = True) -> Iterator[None]:
    """Shows no bar inside, if `quiet`; else changes nothing."""
    before = _silent.set(quiet or _silent.get())
    try:
        yield
    finally:
        _silent.reset(before)


@contextlib.contextmanager
def shown(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Shows a bar while something runs, if it takes longer than `PATIENCE` seconds, and removes it at the end.

    Nothing is shown unless stderr is a terminal. Yields a function that takes how many more steps are done.

    Args:
        what: what is done, such as "Reading images".
        total: how many steps there are; None where that is not known, and so no time left.
    """
    if _silent.get() or sys.stderr is None or not sys.stderr.isatty():
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    counted = [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left")]
    columns = [TextColumn("{task.description}"), *(counted if total else [SpinnerColumn(), TimeElapsedColumn()])]
    bar = Progress(*columns, console=Console(file=sys.stderr), transient=True, redirect_stdout=False)
    task = bar.add_task(what, total=total)
    timer = threading.Timer(PATIENCE, bar.start)
    timer.daemon = True
    timer.start()
    try:
        with silent():  # one bar at a time: the outermost
            yield lambda steps: bar.advance(task, steps)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
