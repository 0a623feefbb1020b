"""`Keeper`: which trials keep their weights."""

import contextlib
import os
import pathlib
import re

from zoo.runs import drop_checkpoints
from zoo.tuning.ledger import Ledger


class Keeper:
    """Removes the weights of all trials but the best, those that run, and those that may go on to another rung.

    It goes through the folders of all trials once, when it is first asked. From then on it looks only at trials that
    had weights when it was last asked, or that it was told of.

    Args:
        ledger: the study's ledger, held for writing.
        keep: how many of the best trials keep their weights; None is all with a score.
        max_disk: GB that all weights may take; the worst go first. The best never goes, nor do those that run and those
            that may go on. None is no limit.
    """

    def __init__(self, ledger: Ledger, keep: int | None, max_disk: float | None = None):
        self._ledger = ledger
        self._keep = keep
        self._max_disk = max_disk
        self._weighty = None  # numbers of trials that may have weights to lose
        self._sizes = {}  # {number: bytes of its folder} of trials that do not run

    def add(self, number: int) -> None:
        """Says that a trial runs, and so has weights or will."""
        if self._weighty is not None:
            self._weighty.add(number)
        self._sizes.pop(number, None)

    def drop(self) -> None:
        """Removes the weights of trials that have lost their place."""
        if self._weighty is None:
            self._weighty = self._with_folders()
        needed = self._ledger.promising() | set(self._ledger.running())
        every = self._keep is None
        best = [] if every and self._max_disk is None else self._ledger.best(self._keep)
        kept = needed | set(best)
        for number in sorted(self._weighty - kept):
            if not (every and self._ledger.trial(number).score is not None):
                self._drop(number)
        self._weighty = kept
        if self._max_disk is not None:
            self._drop_beyond(best, needed)

    def _drop_beyond(self, best, needed):
        """Drops the worst of `best` until all weights fit on the disk."""
        total = sum(_size(self._ledger.run_path(number)) for number in needed)
        ended = [number for number in best if number not in needed]
        for number in ended:
            if number not in self._sizes:
                self._sizes[number] = _size(self._ledger.run_path(number))
            total += self._sizes[number]
        for number in reversed(ended):
            if total <= self._max_disk * 1e9:
                return
            if number != best[0]:
                total -= self._sizes[number]
                self._drop(number)
                self._sizes[number] = 0
                self._weighty.discard(number)

    def _drop(self, number):
        drop_checkpoints(self._ledger.run_path(number))

    def _with_folders(self):
        names = [entry.name for entry in (self._ledger.path / "trials").iterdir()]
        return {int(name) for name in names if re.fullmatch(r"\d{4,}", name)}


def _size(folder: pathlib.Path) -> int:
    """Returns the bytes of the files in a folder, in which another process may write."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(os.path.join(path, name)).st_size
    return size
