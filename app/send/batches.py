"""Batches on a send's way, of which a caller waits for two in turn.

Where the database will not have one, its bad item fails alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from app.errors import StoreRefused
from app.parts.batcher import Batcher
from app.store.failures import retry_transient

LARGEST = 128

Item = TypeVar("Item")
Result = TypeVar("Result")


def early(
    write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
    *,
    capacity: int,
    writers: int,
) -> Batcher[Item, Result | StoreRefused]:
    """A batcher of what callers wait for."""
    return Batcher(
        careful(write),
        largest=LARGEST,
        capacity=capacity,
        writers=writers,
        quiet_iterations=0,
    )


def careful(
    write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
) -> Callable[[Sequence[Item]], Awaitable[Sequence[Result | StoreRefused]]]:
    """``write``, but a batch that is refused is written item by item.

    An item that is refused by itself has its error for a result. Raises StoreUnavailable.
    """

    async def write_all(batch: Sequence[Item]) -> Sequence[Result | StoreRefused]:
        try:
            return await retry_transient(partial(write, batch))
        except StoreRefused as error:
            if len(batch) == 1:
                return [error]
        return [result for item in batch for result in await write_all([item])]

    return write_all
