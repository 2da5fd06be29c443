"""Groups what arrives while the last group is being written. Generic: knows no domain.

No timer: a lone item is written at once, and under load a group is whatever came in meanwhile, so
its size follows the load by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatcherFull(Exception):
    """More is waiting than the batcher was built to hold; nothing was taken."""


class BatcherClosed(Exception):
    """It is shutting down; nothing was taken."""


class Batcher(Generic[Item, Result]):
    """Calls ``write`` with up to ``largest`` items at a time, ``writers`` calls at once at most.

    ``write`` answers one result an item, in order; what it raises, every item of that batch gets.
    ``submit`` returns when its own batch has been written, never before. A caller that is
    cancelled while it waits does not take its item out: it is written all the same.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        largest: int,
        capacity: int,
        writers: int = 1,
    ) -> None:
        self._write = write
        self._largest = largest
        self._capacity = capacity
        self._writers = writers
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writing: set[asyncio.Task[None]] = set()
        self._starting = False
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether the next ``submit`` would raise BatcherFull."""
        return len(self._waiting) >= self._capacity

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Hand an item in; await the answer. Raises BatcherFull or BatcherClosed at once."""
        if self._closed:
            raise BatcherClosed
        if self.is_full:
            raise BatcherFull
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if not self._starting and len(self._writing) < self._writers:
            # Not at once: what else this turn of the event loop brings may come along.
            self._starting = True
            loop.call_soon(self._start)
        return future

    async def close(self) -> None:
        """Take nothing more, and return when all that was taken has been written."""
        self._closed = True
        while self._waiting or self._writing:
            self._start()
            await asyncio.wait(set(self._writing))

    def _start(self) -> None:
        self._starting = False
        while self._waiting and len(self._writing) < self._writers:
            batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._writing.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        self._start()

    async def _run(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except BaseException as error:
            failure = error if isinstance(error, Exception) else BatcherClosed()
            for _, future in batch:
                if not future.done():
                    future.set_exception(failure)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
