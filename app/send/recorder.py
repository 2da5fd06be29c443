"""Records new messages, many in one transaction, before anything of them goes to iovox.

Promise: whoever gets ``Unavailable`` may send again. Nothing of its message went out, and where the
database kept it all the same (its answer was lost, or came too late), the record is undone as soon
as the database can be asked. In between a worker may have found a message that was QUEUED; only an
idempotency key, which is recorded with it, rules that out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from app.alarm import Deadlines
from app.batcher import BatcherClosed, BatcherFull
from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.model.message import Message
from app.send.batches import early
from app.store.idempotency import IdempotencyKey
from app.store.messages import MessageStore, NewMessage

CAPACITY = 2_000
PATIENCE = 5.0
"""Seconds that a caller waits for its message to be recorded before it is told 503."""
UNDO_EVERY = 0.5
UNDO_FOR = 60.0
"""Seconds between and for tries to undo. After that a message that was SENDING is UNCONFIRMED."""

_AWAY = "Nothing was sent: the database cannot be reached"
_TOLD = "its record came so late that its caller was told 503 and may have sent it again"

log = structlog.get_logger(__name__)


class Recorder:
    """``record`` returns once the message is committed."""

    def __init__(self, store: MessageStore, *, patience: float = PATIENCE) -> None:
        self._store = store
        self._patience = patience
        self._deadlines = Deadlines(patience)
        self._records = early(store.add, capacity=CAPACITY, writers=store.writes_at_once)
        self._undoing: set[asyncio.Task[None]] = set()

    async def record(self, new: NewMessage) -> bool:
        """False where its key was used before. Raises Unavailable or StoreRefused."""
        try:
            future = self._records.submit(new)
        except (BatcherFull, BatcherClosed):
            raise Unavailable("Nothing was sent: too many requests wait, or we shut down") from None
        self._deadlines.watch(future)
        try:
            recorded = await future
        except TimeoutError:
            self._undo([new.message], new.key, is_under_way=True)
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
        """Write what was handed in; leave off undoing."""
        await self._records.close()
        for task in self._undoing:
            task.cancel()

    def _undo(
        self,
        new: Sequence[Message],
        key: IdempotencyKey | None,
        *,
        is_under_way: bool = False,
    ) -> None:
        task = asyncio.create_task(self._undo_later(new, key, is_under_way))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def _undo_later(
        self, new: Sequence[Message], key: IdempotencyKey | None, is_under_way: bool
    ) -> None:
        if is_under_way:
            await self._records.flush()
        for _ in range(int(UNDO_FOR / UNDO_EVERY)):
            try:
                undone = await self._store.disown(new, key, _TOLD)
            except StoreUnavailable:
                await asyncio.sleep(UNDO_EVERY)
                continue
            if undone:
                log.warning("late_records_undone", messages=len(undone))
            return
