"""Batchers for the writes that a caller of a send waits for.

Latency comes before batch size, since a caller waits for two of these writes in turn. A batch that
the database refuses is written item by item, so that only the faulty item fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from app.errors import StoreRefused
from app.parts.batcher import Batcher
from app.store.failures import retry_transient

LARGEST_BATCH = 128
MIN_CONCURRENT_BATCH = 2
"""Items with which a batch starts while another one is being written. With 1, PostgreSQL would have
nearly twice the work of them, and the next items would wait for that."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def low_latency_batcher(
    write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
    *,
    capacity: int,
    writers: int,
    min_concurrent: int = MIN_CONCURRENT_BATCH,
) -> Batcher[Item, Result | StoreRefused]:
    """A batcher that starts at once, without waiting for more items to come."""
    return Batcher(
        isolate_refused(write),
        largest=LARGEST_BATCH,
        capacity=capacity,
        writers=writers,
        min_concurrent=min_concurrent,
    )


def isolate_refused(
    write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
) -> Callable[[Sequence[Item]], Awaitable[Sequence[Result | StoreRefused]]]:
    """Wrap ``write``: transient failures are retried, a refused batch is written item by item.

    The result of an item that is refused by itself is its error. Raises StoreUnavailable.
    """

    async def write_isolating(batch: Sequence[Item]) -> Sequence[Result | StoreRefused]:
        try:
            return await retry_transient(partial(write, batch))
        except StoreRefused as error:
            if len(batch) == 1:
                return [error]
        return [result for item in batch for result in await write_isolating([item])]

    return write_isolating
