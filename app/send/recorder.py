"""Records new messages, many in one transaction, before any of them is sent to iovox.

Promise: a caller that gets ``Unavailable`` may send again. Its message was not sent, and a record
that was committed all the same (the database's response was lost, or came too late) is undone. If
the record is QUEUED and a worker claims it first, sending again makes a second text, unless both
requests carry an idempotency key. A record that a repeated request was answered from is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from uuid import UUID

import structlog

from app.errors import KeysWait, SchemaUnusable, StoreRefused, StoreUnavailable, Unavailable
from app.model.fact import ClaimedKey, Ended, Recorded
from app.model.message import Message, Step
from app.model.status import Status
from app.parts.batcher import BatcherClosed, BatcherFull
from app.parts.lifecycle import wait_for_event
from app.record.journal import Journal
from app.send.batching import low_latency_batcher
from app.store.clock import Now, utc_now
from app.store.idempotency import IdempotencyKey
from app.store.messages import MessageStore, NewMessage

CAPACITY = 2_000
KEYS_PATIENCE = 4.5
KEYS_PAUSE = 0.1
"""Seconds for, and between, tries to record a message with a key while keys wait."""
RECORD_TIMEOUT = 5.0
"""Seconds that a caller waits for its message to be recorded before it is answered 503."""
UNDO_DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Seconds before each query for a record to undo. A statement that we gave up may run on in the
server, waiting for a lock, until the server notices the lost connection (`store.connections`)."""
UNDO_RETRY_INTERVAL = 0.5
UNDO_RETRY_FOR = 60.0
"""Seconds between, and for, retries of such a query while the database is unavailable. After that
the record is left to its lease or to the queue."""
UNDO_CLOSE_TIMEOUT = 1.0
"""Seconds for the last query at shutdown: the rest is for recording the outcomes of sends."""

_DATABASE_UNREACHABLE = "Nothing was sent: the database cannot be reached"
_UNDO_REASON = "its record came so late that its caller was told 503 and may have sent it again"

log = structlog.get_logger(__name__)


class Recorder:
    """``record`` returns once the message is committed."""

    def __init__(
        self,
        store: MessageStore,
        *,
        journal: Journal | None = None,
        timeout: float = RECORD_TIMEOUT,
        now: Now = utc_now,
    ) -> None:
        """A message counts as recorded, for its caller, only once it is in the ``journal``."""
        self._store = store
        self._journal = journal or Journal()
        self._timeout = timeout
        self._now = now
        self._records = low_latency_batcher(
            self._add, capacity=CAPACITY, writers=store.writes_at_once
        )
        self._undoing: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def record(self, new: NewMessage) -> bool:
        """False if its key was used before. Raises Unavailable (KeysWait: it cannot be known just
        now whether it was) or StoreRefused.

        Keys that wait do so for a second, when another process has just started or the database
        was restarted: the caller waits with them, within limits.
        """
        return await _while_keys_wait(partial(self._record, new))

    async def _record(self, new: NewMessage) -> bool:
        waiter = _Waiter()
        try:
            self._records.enqueue(new, waiter)
        except (BatcherFull, BatcherClosed):
            raise Unavailable("Nothing was sent: too many requests wait, or we shut down") from None
        try:
            async with asyncio.timeout(self._timeout):
                recorded = await waiter.result
        except TimeoutError:
            self._start_undo([new.message], new.key, after=waiter.batch_ended)
            why = f"Nothing was sent: the database took more than {self._timeout:g} s"
            raise Unavailable(why) from None
        except SchemaUnusable:
            raise  # nothing was begun, and it says why
        except StoreUnavailable as error:
            log.warning("not_recorded", reason=error.detail, consequence="503")
            self._start_undo([new.message], new.key)
            raise Unavailable(_DATABASE_UNREACHABLE) from error
        if isinstance(recorded, StoreRefused | KeysWait):
            raise recorded
        return recorded

    async def record_batch(self, new: Sequence[Message], key: IdempotencyKey | None) -> bool:
        """Record all messages of one request, or none. False if its key was used before.

        Raises Unavailable, as ``record`` does.
        """
        return await _while_keys_wait(partial(self._record_batch, new, key))

    async def _record_batch(self, new: Sequence[Message], key: IdempotencyKey | None) -> bool:
        began_in = self._journal.incarnation
        try:
            recorded = await self._store.add_batch(new, key)
            if recorded:
                self._journal.confirm([Recorded(tuple(new), self._claimed(key))], began_in)
        except SchemaUnusable:
            raise
        except StoreUnavailable as error:
            log.warning("batch_not_recorded", reason=error.detail, consequence="503")
            self._start_undo(new, key)
            raise Unavailable(_DATABASE_UNREACHABLE) from error
        return recorded

    async def _add(self, new: Sequence[NewMessage]) -> Sequence[bool | KeysWait]:
        """Commit, then write to the journal. Raises Forgotten where the commit may not count."""
        began_in = self._journal.incarnation
        results = await self._store.add(new)
        recorded = (one for one, result in zip(new, results, strict=True) if result is True)
        self._journal.confirm(
            (Recorded((one.message,), self._claimed(one.key)) for one in recorded), began_in
        )
        return results

    async def close(self) -> None:
        """Write what is waiting, and end each undo after one last query.

        That query is cancelled only after a timeout: SQLite's driver never ends a call that is
        cancelled at the wrong moment, and the process would not end either.
        """
        await self._records.close()
        self._closing.set()
        if self._undoing:
            _, hanging = await asyncio.wait(set(self._undoing), timeout=UNDO_CLOSE_TIMEOUT)
            for task in hanging:
                task.cancel()

    def _start_undo(
        self,
        new: Sequence[Message],
        key: IdempotencyKey | None,
        *,
        after: asyncio.Future[None] | None = None,
    ) -> None:
        task = asyncio.create_task(self._undo(new, key, after))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def _undo(
        self,
        new: Sequence[Message],
        key: IdempotencyKey | None,
        after: asyncio.Future[None] | None,
    ) -> None:
        if after is not None:
            await after
        undone: set[UUID] = set()
        for delay in UNDO_DELAYS:
            await wait_for_event(self._closing, delay)
            undone |= await self._undo_recorded(new, key)
            if len(undone) == len(new) or self._closing.is_set():
                break
        if undone:
            log.warning("late_records_undone", messages=len(undone))

    async def _undo_recorded(self, new: Sequence[Message], key: IdempotencyKey | None) -> set[UUID]:
        until = asyncio.get_running_loop().time() + UNDO_RETRY_FOR
        while asyncio.get_running_loop().time() < until:
            began_in = self._journal.incarnation
            try:
                undone = await self._store.undo_add(new, key, _UNDO_REASON)
                facts = self._undone([one for one in new if one.id in undone], key)
                self._journal.confirm(facts, began_in)
            except StoreUnavailable:
                if self._closing.is_set():
                    break
                await wait_for_event(self._closing, UNDO_RETRY_INTERVAL)
            else:
                return undone
        return set()

    def _claimed(self, key: IdempotencyKey | None) -> ClaimedKey | None:
        if key is None:
            return None
        at = self._now()
        return ClaimedKey(key.app, key.key, key.fingerprint, at, key.message_id, key.answer)

    def _undone(self, messages: Sequence[Message], key: IdempotencyKey | None) -> Iterator[Ended]:
        step = Step(Status.UNSENT, self._now(), (_UNDO_REASON,))
        frees = self._claimed(key)
        for one in messages:
            yield Ended(one.id, one.lease, one.leases, step, announce=False,
                        attempted=False, message=one, frees=frees)  # fmt: skip


async def _while_keys_wait(record: Callable[[], Awaitable[bool]]) -> bool:
    until = asyncio.get_running_loop().time() + KEYS_PATIENCE
    while True:
        try:
            return await record()
        except KeysWait:
            if asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(KEYS_PAUSE)


class _Waiter:
    """A batcher's ticket for two waiters: the caller, until its deadline, waits for ``result``; the
    undo of its record waits for ``batch_ended``, however late that is.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.result: asyncio.Future[bool | StoreRefused | KeysWait] = loop.create_future()
        self.batch_ended: asyncio.Future[None] = loop.create_future()

    def done(self) -> bool:
        """Never: an undo may wait for the end of the batch when the caller no longer does."""
        return False

    def set_result(self, recorded: bool | StoreRefused | KeysWait, /) -> None:
        """The batch was written."""
        self.batch_ended.set_result(None)
        if not self.result.done():
            self.result.set_result(recorded)

    def set_exception(self, exception: Exception, /) -> None:
        """The batch failed, as far as we know."""
        self.batch_ended.set_result(None)
        if not self.result.done():
            self.result.set_exception(exception)
