"""Records new messages, many in one transaction, before anything of them goes to iovox.

Promise: whoever gets ``Unavailable`` may send again. Nothing of its message went out, and where the
database kept it all the same (its answer was lost, or came too late), the record is undone. Should
a worker find it first, because it is QUEUED, sending again makes a second text, unless both carry
an idempotency key. A repetition with a key that is told of the record in time keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog

from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.model.message import Message
from app.parts.batcher import BatcherClosed, BatcherFull
from app.parts.lifecycle import wait_for_event
from app.send.batches import early
from app.store.idempotency import IdempotencyKey
from app.store.messages import MessageStore, NewMessage

CAPACITY = 2_000
PATIENCE = 5.0
"""Seconds that a caller waits for its message to be recorded before it is told 503."""
UNDO_EVERY = 0.5
UNDO_FOR = 60.0
"""Seconds between and for tries to have a look. After that it is left to the lease or the queue."""
LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Seconds before each look for a record. A statement that we have given up may go on in the server,
waiting for a lock, until that notices that we have left (see `store.connections`)."""
LAST_LOOK = 1.0
"""Seconds for it when we stop: the outcomes of sends are to be recorded in what is left."""

_AWAY = "Nothing was sent: the database cannot be reached"
_TOLD = "its record came so late that its caller was told 503 and may have sent it again"

log = structlog.get_logger(__name__)


class Recorder:
    """``record`` returns once the message is committed."""

    def __init__(self, store: MessageStore, *, patience: float = PATIENCE) -> None:
        self._store = store
        self._patience = patience
        self._records = early(store.add, capacity=CAPACITY, writers=store.writes_at_once)
        self._undoing: set[asyncio.Task[None]] = set()
        self._leaving = asyncio.Event()

    async def record(self, new: NewMessage) -> bool:
        """False where its key was used before. Raises Unavailable or StoreRefused."""
        slip = _Slip()
        try:
            self._records.enqueue(new, slip)
        except (BatcherFull, BatcherClosed):
            raise Unavailable("Nothing was sent: too many requests wait, or we shut down") from None
        try:
            async with asyncio.timeout(self._patience):
                recorded = await slip.told
        except TimeoutError:
            self._undo([new.message], new.key, after=slip.ended)
            why = f"Nothing was sent: the database took more than {self._patience:g} s"
            raise Unavailable(why) from None
        except StoreUnavailable as error:
            log.warning("not_recorded", reason=error.detail, consequence="503")
            self._undo([new.message], new.key)
            raise Unavailable(_AWAY) from error
        if isinstance(recorded, StoreRefused):
            raise recorded
        return recorded

    async def record_batch(self, new: Sequence[Message], key: IdempotencyKey | None) -> bool:
        """All messages of one request, or none. False where its key was used before."""
        try:
            return await self._store.add_batch(new, key)
        except StoreUnavailable as error:
            log.warning("batch_not_recorded", reason=error.detail, consequence="503")
            self._undo(new, key)
            raise Unavailable(_AWAY) from error

    async def close(self) -> None:
        """Write what was handed in, and leave off undoing after a last look.

        A look is not broken off where it takes milliseconds: SQLite's driver never ends a call that
        was cancelled at the wrong moment, and the process would not, either.
        """
        await self._records.close()
        self._leaving.set()
        if self._undoing:
            _, hanging = await asyncio.wait(set(self._undoing), timeout=LAST_LOOK)
            for task in hanging:
                task.cancel()

    def _undo(
        self,
        new: Sequence[Message],
        key: IdempotencyKey | None,
        *,
        after: asyncio.Future[None] | None = None,
    ) -> None:
        task = asyncio.create_task(self._undo_later(new, key, after))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def _undo_later(
        self,
        new: Sequence[Message],
        key: IdempotencyKey | None,
        after: asyncio.Future[None] | None,
    ) -> None:
        if after is not None:
            await after
        undone: set[UUID] = set()
        for wait in LOOKS:
            await wait_for_event(self._leaving, wait)
            undone |= await self._undone(new, key)
            if len(undone) == len(new) or self._leaving.is_set():
                break
        if undone:
            log.warning("late_records_undone", messages=len(undone))

    async def _undone(self, new: Sequence[Message], key: IdempotencyKey | None) -> set[UUID]:
        until = asyncio.get_running_loop().time() + UNDO_FOR
        while asyncio.get_running_loop().time() < until:
            try:
                return await self._store.disown(new, key, _TOLD)
            except StoreUnavailable:
                if self._leaving.is_set():
                    break
                await wait_for_event(self._leaving, UNDO_EVERY)
        return set()


class _Slip:
    """A batcher's ticket. Its caller waits no longer than it has patience, whoever undoes the
    record until it has ended.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.told: asyncio.Future[bool | StoreRefused] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def done(self) -> bool:
        """Somebody always wants to know the end."""
        return False

    def set_result(self, recorded: bool | StoreRefused, /) -> None:
        """It was written."""
        self.ended.set_result(None)
        if not self.told.done():
            self.told.set_result(recorded)

    def set_exception(self, exception: Exception, /) -> None:
        """It was not, as far as we know."""
        self.ended.set_result(None)
        if not self.told.done():
            self.told.set_exception(exception)
