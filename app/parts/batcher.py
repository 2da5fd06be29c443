"""A batcher: writes items in batches, each of what arrived during the last write. Generic.

There is no fixed interval: a lone item is written within a few iterations of the event loop, and
under load a batch is whatever arrived meanwhile, so the batch size adapts to the load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

QUIET_ITERATIONS = 2
"""Iterations of the event loop without a new item before a small batch starts: some microseconds
each when idle, a millisecond or more under load."""
MAX_WAIT = 0.1
"""Seconds after which a small batch starts although another one is being written. A write takes
milliseconds, except one that waits for a lock or for a dead connection: without this limit it would
delay all others until its time-out, which for a batch of receipts is 2 s."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Result_contra = TypeVar("Result_contra", contravariant=True)


class Waiter(Protocol[Result_contra]):
    """Gets an item's result: a future, or an object with its methods. They must not raise."""

    def done(self) -> bool:
        """Whether the result is not wanted any more."""

    def set_result(self, result: Result_contra, /) -> None:
        """The item was written."""

    def set_exception(self, exception: Exception, /) -> None:
        """The item was not written, or nobody knows."""


class BatcherFull(Exception):
    """The queue is at its capacity; the item was not taken."""


class BatcherClosed(Exception):
    """The batcher is closed; the item was not taken."""


class Batcher(Generic[Item, Result]):
    """Calls ``write`` with up to ``largest`` items, in at most ``writers`` concurrent calls.

    A batch starts while another one is being written only if it has ``min_concurrent`` items or
    has waited MAX_WAIT. With one writer all callers would end up in one batch and then wait for
    each other: nothing would be written while their responses are sent (docs/performance.md).

    ``write`` returns one result per item, in order; an exception is set for every item of its
    batch. Every item that was taken gets its result exactly once, after its own batch was written.
    Cancelling a caller that waits does not remove its item: it is written all the same.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        largest: int,
        capacity: int,
        writers: int = 1,
        min_concurrent: int | None = None,
        quiet_iterations: int = QUIET_ITERATIONS,
    ) -> None:
        self._write = write
        self._largest = largest
        self._capacity = capacity
        self._writers = writers
        self._min_concurrent = largest if min_concurrent is None else min_concurrent
        self._quiet_iterations = quiet_iterations
        self._waiting: list[tuple[Item, Waiter[Result]]] = []
        self._writing: set[asyncio.Task[None]] = set()
        self._starting = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether the next ``submit`` would raise BatcherFull."""
        return len(self._waiting) >= self._capacity

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Take an item; await the future. Raises BatcherFull or BatcherClosed at once."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.enqueue(item, future)
        return future

    def enqueue(self, item: Item, waiter: Waiter[Result]) -> None:
        """Take an item; the waiter gets its result. Raises BatcherFull or BatcherClosed."""
        if self._closed:
            raise BatcherClosed
        if self.is_full:
            raise BatcherFull
        self._waiting.append((item, waiter))
        if self._starting:
            return
        if self._may_start(self._min_concurrent):
            self._start_soon()
        else:
            self._set_timer()

    async def close(self) -> None:
        """Take no more items; return when all that were taken have been written."""
        self._closed = True
        while self._waiting or self._writing:
            self._start()
            await asyncio.wait(set(self._writing))
        if self._timer is not None:
            self._timer.cancel()

    def _start_soon(self) -> None:
        if self._writing:
            self._start()
        else:
            self._starting = True
            asyncio.get_running_loop().call_soon(
                self._start_when_quiet, len(self._waiting), self._quiet_iterations
            )

    def _start_when_quiet(self, seen: int, left: int) -> None:
        """Start once no item has arrived for some iterations of the event loop, or there are many.

        What the network delivers at one moment is read over a few iterations. Without this delay
        the first item of it would become a batch of its own (docs/performance.md).
        """
        waiting = len(self._waiting)
        if waiting >= self._min_concurrent or left == 0:
            self._starting = False
            self._start()
            return
        left = self._quiet_iterations if waiting > seen else left - 1
        asyncio.get_running_loop().call_soon(self._start_when_quiet, waiting, left)

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MAX_WAIT, self._start_overdue)

    def _start_overdue(self) -> None:
        """Start what waits, however little. It may have waited less: the timer is not reset."""
        self._timer = None
        self._start(min_concurrent=1)

    def _may_start(self, min_concurrent: int) -> bool:
        waiting, writing = len(self._waiting), len(self._writing)
        return writing < self._writers and waiting >= (min_concurrent if writing else 1)

    def _start(self, min_concurrent: int | None = None) -> None:
        while self._may_start(min_concurrent or self._min_concurrent):
            batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        if self._waiting:
            self._set_timer()

    async def _run(self, batch: Sequence[tuple[Item, Waiter[Result]]]) -> None:
        try:
            try:
                results = await self._write([item for item, _ in batch])
            finally:
                # Before the results are set: the next write overlaps with sending the responses.
                self._writing.discard(asyncio.current_task())
                self._start()
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for a batch of {len(batch)}")
        except BaseException as error:
            failure = error if isinstance(error, Exception) else BatcherClosed()
            for _, waiter in batch:
                if not waiter.done():
                    waiter.set_exception(failure)
            if not isinstance(error, Exception):
                raise
            return
        for (_, waiter), result in zip(batch, results, strict=True):
            if not waiter.done():
                waiter.set_result(result)
