"""`Batcher`: requests that come at the same time are asked together."""

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from zoo.errors import ZooError

Arrays = Mapping[str, np.ndarray]


class Full(ZooError):
    """The queue is full: ask again later."""


@dataclasses.dataclass(eq=False)
class _Request:
    """What one client asks. `rows` is None for what must be asked alone."""

    key: Hashable
    arrays: Arrays
    rows: int | None
    since: float
    future: "asyncio.Future[dict[str, np.ndarray]]"


class Batcher:
    """Asks a model for requests in batches: one batch at a time, in a thread of its own.

    Requests are put together along their first axis where their keys, and the shapes and types of their arrays beyond
    that axis, are equal. If a batch fails, each of its requests is asked alone, so that none fails by another's fault.

    Args:
        run: from (key, {input: array}) to {output: array}.
        most: rows of a batch at most; a request of more rows is a batch of its own.
        delay: seconds that a request waits for others at most, while the model is idle.
        queue: requests that wait at most.
    """

    def __init__(
        self, run: Callable[[Any, Arrays], dict[str, np.ndarray]], *, most: int, delay: float, queue: int
    ) -> None:
        self._run = run
        self._most = most
        self._delay = delay
        self._queue = queue
        self._waiting: collections.deque[_Request] = collections.deque()
        self._woken = asyncio.Event()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "model")

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    async def ask(self, key: Hashable, arrays: Arrays, rows: int | None) -> dict[str, np.ndarray]:
        """Returns {output: array} of a request, with as many rows as it has.

        Args:
            key: what `run` gets; requests of different keys are not mixed.
            arrays: {input: array}, all with `rows` rows.
            rows: how many; None for a request that must be asked alone.
        Raises: `Full`, at once, where as many wait as may; what `run` raised.
        """
        if len(self._waiting) >= self._queue:
            raise Full(f"The queue is full: {self._queue} requests wait. Ask again later.")
        loop = asyncio.get_running_loop()
        shapes = tuple((name, array.shape[1:], array.dtype.str) for name, array in sorted(arrays.items()))
        request = _Request((key, shapes), arrays, rows, loop.time(), loop.create_future())
        self._waiting.append(request)
        self._woken.set()
        return await request.future

    async def serve(self) -> None:
        """Answers requests until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                await self._wake(None)
            first = self._waiting[0]
            while self._rows(first) < self._most and (left := first.since + self._delay - loop.time()) > 0:
                await self._wake(left)
            await self._answer(self._take(first))

    def close(self) -> None:
        """Ends the thread, once it is idle."""
        self._thread.shutdown()

    async def _wake(self, seconds: float | None) -> None:
        """Waits for the next request, so many seconds at most."""
        self._woken.clear()
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    def _rows(self, first: _Request) -> int:
        """How many rows could be asked together with `first`; one that is asked alone waits for nothing."""
        if first.rows is None:
            return self._most
        return sum(one.rows for one in self._waiting if one.key == first.key and one.rows is not None)

    def _take(self, first: _Request) -> list[_Request]:
        """Takes `first` and what fits into its batch out of the queue; clients that are gone are dropped."""
        batch, kept, rows = [], collections.deque(), 0
        for one in self._waiting:
            if one.future.done():
                continue
            fits = one.key == first.key and one.rows is not None and rows + one.rows <= self._most
            if one is first or (first.rows is not None and fits):
                batch.append(one)
                rows += one.rows or 0
            else:
                kept.append(one)
        self._waiting = kept
        return batch

    async def _answer(self, batch: list[_Request]) -> None:
        """Sets the futures of a batch."""
        loop = asyncio.get_running_loop()
        if not batch:
            return
        try:
            answers = await loop.run_in_executor(self._thread, self._asked, batch)
        except Exception as error:
            if len(batch) == 1 and not batch[0].future.done():
                batch[0].future.set_exception(error)
            elif len(batch) > 1:
                for one in batch:
                    await self._answer([one])
            return
        for one, answer in zip(batch, answers, strict=True):
            if not one.future.done():
                one.future.set_result(answer)

    def _asked(self, batch: list[_Request]) -> list[dict[str, np.ndarray]]:
        """The answer to each request of a batch."""
        key, _ = batch[0].key
        if len(batch) == 1:
            return [self._run(key, batch[0].arrays)]
        joined = {name: np.concatenate([one.arrays[name] for one in batch]) for name in batch[0].arrays}
        found = self._run(key, joined)
        ends = np.cumsum([one.rows for one in batch])
        if any(array.shape[:1] != (ends[-1],) for array in found.values()):
            raise ValueError("The outputs do not have the rows of the inputs.")
        parts = {name: np.split(array, ends[:-1]) for name, array in found.items()}
        return [{name: part[number] for name, part in parts.items()} for number in range(len(batch))]
