"""Groups what arrives while the last group is being written. Generic: knows no domain.

Nobody waits for a timer: a lone item is written within a few turns of the event loop, and under
load a group is whatever came in meanwhile, so its size follows the load by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from app.parts.alarm import Alarm

QUIET_TURNS = 2
"""Turns of the event loop without news before a small batch starts: some microseconds each as a
rule, and a millisecond or more where each brings much to do."""
HANGS_AFTER = 0.1
"""Seconds after which a few items no longer wait for a batch that is being written. That takes
milliseconds, but for one that waits for a lock or for a dead link."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Told_contra = TypeVar("Told_contra", contravariant=True)


class Ticket(Protocol[Told_contra]):
    """Who is told of an item's end: a future, or something that costs less. It must not raise."""

    def done(self) -> bool:
        """Whether nobody wants to know any more."""

    def set_result(self, result: Told_contra, /) -> None:
        """It was written."""

    def set_exception(self, exception: Exception, /) -> None:
        """It was not."""


class BatcherFull(Exception):
    """More is waiting than the batcher was built to hold; nothing was taken."""


class BatcherClosed(Exception):
    """It is shutting down; nothing was taken."""


class Batcher(Generic[Item, Result]):
    """Calls ``write`` with up to ``largest`` items at a time, ``writers`` calls at once at most.

    A batch of ``enough`` items starts beside the ones that are being written; a smaller one waits
    until nothing is, or HANGS_AFTER. Without that all callers would end up in one batch, then wait
    for each other: nothing would be written while they are answered.

    ``write`` answers one result an item, in order; what it raises, every item of that batch gets.
    Every item that was taken is answered exactly once, when its own batch has been written and
    never before. A caller that is cancelled while it waits does not take its item out: it is
    written all the same.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        largest: int,
        capacity: int,
        writers: int = 1,
        enough: int | None = None,
        quiet_turns: int = QUIET_TURNS,
    ) -> None:
        self._write = write
        self._largest = largest
        self._capacity = capacity
        self._writers = writers
        self._enough = largest if enough is None else enough
        self._quiet_turns = quiet_turns
        self._waiting: list[tuple[Item, Ticket[Result]]] = []
        self._writing: set[asyncio.Task[None]] = set()
        self._starting = False
        self._closed = False
        self._kept_back = Alarm(partial(self._start, enough=1))

    @property
    def is_full(self) -> bool:
        """Whether the next ``submit`` would raise BatcherFull."""
        return len(self._waiting) >= self._capacity

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Hand an item in; await the answer. Raises BatcherFull or BatcherClosed at once."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.hand_in(item, future)
        return future

    def hand_in(self, item: Item, ticket: Ticket[Result]) -> None:
        """Hand an item in, and have the ticket told, later. Raises BatcherFull or BatcherClosed."""
        if self._closed:
            raise BatcherClosed
        if self.is_full:
            raise BatcherFull
        self._waiting.append((item, ticket))
        if self._starting:
            return
        if self._may_start(self._enough):
            self._start_soon()
        elif len(self._waiting) == 1:
            self._kept_back.set(HANGS_AFTER)

    async def close(self) -> None:
        """Take nothing more, and return when all that was taken has been written."""
        self._closed = True
        while self._waiting or self._writing:
            self._start()
            await asyncio.wait(set(self._writing))
        self._kept_back.close()

    def _start_soon(self) -> None:
        if self._writing:
            self._start()
        else:
            self._starting = True
            asyncio.get_running_loop().call_soon(self._look, len(self._waiting), self._quiet_turns)

    def _look(self, seen: int, turns_left: int) -> None:
        """Start once nothing new has come for some turns of the event loop, or it is enough.

        What the network has brought at once is read in a few turns. Without the wait the first of
        it would make a batch of its own.
        """
        waiting = len(self._waiting)
        if waiting >= self._enough or turns_left == 0:
            self._starting = False
            self._start()
            return
        turns_left = self._quiet_turns if waiting > seen else turns_left - 1
        asyncio.get_running_loop().call_soon(self._look, waiting, turns_left)

    def _may_start(self, enough: int) -> bool:
        waiting, writing = len(self._waiting), len(self._writing)
        return writing < self._writers and waiting >= (enough if writing else 1)

    def _start(self, enough: int | None = None) -> None:
        while self._may_start(enough or self._enough):
            batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        if self._waiting:
            self._kept_back.set(HANGS_AFTER)
        else:
            self._kept_back.stop()

    async def _run(self, batch: Sequence[tuple[Item, Ticket[Result]]]) -> None:
        try:
            try:
                results = await self._write([item for item, _ in batch])
            finally:
                # Before anyone is told: the next batch is written while these are being answered.
                self._writing.discard(asyncio.current_task())
                self._start()
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for a batch of {len(batch)}")
        except BaseException as error:
            failure = error if isinstance(error, Exception) else BatcherClosed()
            for _, ticket in batch:
                if not ticket.done():
                    ticket.set_exception(failure)
            if not isinstance(error, Exception):
                raise
            return
        for (_, ticket), result in zip(batch, results, strict=True):
            if not ticket.done():
                ticket.set_result(result)
