"""Records how sends ended: iovox's acceptances, and all other outcomes.

Promise: an outcome is in the journal before anything else is done with it. One that cannot be
recorded in time is retried in the background until it is, and its caller is answered UNCONFIRMED.
If this process dies first, the journal has it; without a journal the lease lapses, and the message
is UNCONFIRMED until a receipt settles it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.fact import Accepted, Ended
from app.model.message import Acceptance, Message, Outcome
from app.model.status import Status
from app.ops.logs import StepLog
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull
from app.parts.lifecycle import wait_for_event
from app.record.journal import Journal, OpenOperation
from app.send import outcomes
from app.send.batching import low_latency_batcher
from app.send.outcomes import SubmitResult
from app.store.clock import Now, utc_now
from app.store.message_rows import Tracked
from app.store.messages import MessageStore

CAPACITY = 10_000
RECORD_TIMEOUT = 5.0
"""Seconds that a caller waits for its outcome to be recorded before it is answered UNCONFIRMED."""
RETRY_INTERVAL = 0.5

Item = TypeVar("Item")
Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class OutcomeRecorder:
    """``accept`` and ``settle`` return the result for the caller; they never raise StoreErrors."""

    def __init__(
        self,
        *,
        store: MessageStore,
        announce: Callable[[], None],
        journal: Journal | None = None,
        steps: StepLog,
        now: Now = utc_now,
    ) -> None:
        """``announce`` is called after every commit that may have written events."""
        self._store = store
        self._journal = journal or Journal()
        self._steps = steps
        self._now = now
        writers = store.writes_at_once
        self._acceptances = low_latency_batcher(
            _acceptance_writer(store.accepted, announce),
            capacity=CAPACITY,
            writers=writers,
        )
        self._outcomes = low_latency_batcher(
            _outcome_writer(store.settle, announce), capacity=CAPACITY, writers=writers
        )
        self._retries: set[asyncio.Task[None]] = set()

    async def accept(self, message: Message, sms_activity_id: str) -> SubmitResult:
        """Record that iovox accepted a message and gave it this id."""
        acceptance = Acceptance(message.id, sms_activity_id, self._now())
        fact = Accepted(message.id, sms_activity_id, acceptance.at)
        recorded, bound = await self._record(self._acceptances, acceptance, fact)
        if recorded and bound is None and not self._journal.is_checked:
            # The database has forgotten the message, and it is being brought back.
            await wait_for_event(self._journal.checked, RECORD_TIMEOUT)
            recorded, bound = await self._record(self._acceptances, acceptance)
        if not recorded:
            return SubmitResult(message.id, Status.UNCONFIRMED)
        if bound is None:
            why = f"iovox answered with an id that is another message's: {sms_activity_id}"
            log.error("iovox_id_in_conflict", message_id=str(message.id))
            unconfirmed = outcomes.unconfirmed(message, self._now(), why)
            return await self.settle(unconfirmed, attempted=message)
        if bound != sms_activity_id:
            log.error("iovox_second_id_ignored", message_id=str(message.id), kept=bound)
        self._steps.log("submitted", message_id=str(message.id), sms_activity_id=bound)
        return SubmitResult(message.id, Status.SUBMITTED, bound)

    async def settle(self, outcome: Outcome, *, attempted: Message | None = None) -> SubmitResult:
        """Record any other outcome: of an attempt at a message, or of a decision about one, which
        would be decided again if the database forgot it.
        """
        fact = None if attempted is None else _ended(outcome, attempted)
        record = await self._record(self._outcomes, outcome, fact)  # mypy loses its type otherwise
        recorded, applied = record
        if not recorded:
            return SubmitResult(outcome.message_id, Status.UNCONFIRMED)
        step = outcome.step
        if not applied and step.status is not Status.UNCONFIRMED:
            return await self._stored_result(outcome.message_id)
        self._steps.log(step.status.lower(), message_id=str(outcome.message_id))
        return SubmitResult(outcome.message_id, step.status, None, outcome.errors, step.reasons)

    async def find(self, message_id: UUID) -> Tracked | None:
        """The stored message; None also while the database is unavailable."""
        try:
            return await self._store.find(message_id)
        except StoreUnavailable:
            return None

    async def close(self) -> None:
        """Record what is pending, within a timeout; beyond it the leases are the safety net."""
        if self._retries:
            await asyncio.wait(set(self._retries), timeout=RECORD_TIMEOUT)
        for task in self._retries:
            task.cancel()
        await self._acceptances.close()
        await self._outcomes.close()

    async def _stored_result(self, message_id: UUID) -> SubmitResult:
        """For an outcome that did not apply: a receipt came first, or the lease had lapsed."""
        found = await self.find(message_id)
        if found is None or found.sms_activity_id is None:
            return SubmitResult(message_id, Status.UNCONFIRMED)
        return SubmitResult(message_id, Status.SUBMITTED, found.sms_activity_id)

    async def _record(
        self,
        batcher: Batcher[Item, Result | StoreRefused],
        item: Item,
        fact: Accepted | Ended | None = None,
    ) -> tuple[bool, Result | None]:
        """(True, the store's result) once committed; (False, None) if it is refused or retried."""
        operation = None if fact is None else self._journal.write_ahead([fact])
        try:
            async with asyncio.timeout(RECORD_TIMEOUT):
                result = await batcher.submit(item)
        except Exception as error:  # noqa: BLE001  whatever it is, the outcome must not be lost
            log.error("outcome_not_recorded", consequence="tried again", reason=str(error))
            task = asyncio.create_task(self._retry(batcher, item, operation))
            self._retries.add(task)
            task.add_done_callback(self._retries.discard)
            return False, None
        if operation is not None:
            operation.close()
        if isinstance(result, StoreRefused):
            _log_lost(item, result.detail)
            return False, None
        return True, result

    async def _retry(
        self,
        batcher: Batcher[Item, Result | StoreRefused],
        item: Item,
        operation: OpenOperation | None,
    ) -> None:
        """Until it is recorded. Idempotent; after a lapsed lease it has no effect."""
        while True:
            await asyncio.sleep(RETRY_INTERVAL)
            try:
                result = await batcher.submit(item)
            except (StoreUnavailable, BatcherFull):
                continue
            except (BatcherClosed, asyncio.CancelledError):
                _log_lost(item, "we shut down before the database was back")
                raise
            except Exception:
                log.exception("outcome_not_recorded", consequence="tried again")
                continue
            if operation is not None:
                operation.close()
            if isinstance(result, StoreRefused):
                _log_lost(item, result.detail)
            return


def _ended(outcome: Outcome, message: Message) -> Ended:
    return Ended(
        message_id=outcome.message_id,
        lease=outcome.lease,
        leases=message.leases,
        step=outcome.step,
        announce=outcome.announce,
        errors=outcome.errors,
        next_attempt_at=outcome.next_attempt_at,
        attempted=outcome.attempted,
    )


def _log_lost(item: object, reason: str) -> None:
    """Log an outcome with its ids, so that an operator can still find out what it was."""
    names = ("message_id", "sms_activity_id")
    ids = {name: str(getattr(item, name)) for name in names if hasattr(item, name)}
    log.error("outcome_lost", consequence="UNCONFIRMED", reason=reason, **ids)


def _acceptance_writer(
    accepted: Callable[[Sequence[Acceptance]], Awaitable[dict[UUID, str | None]]],
    announce: Callable[[], None],
) -> Callable[[Sequence[Acceptance]], Awaitable[Sequence[str | None]]]:
    """``MessageStore.accepted`` for a batcher: one result an item, the id that the message has."""

    async def write(batch: Sequence[Acceptance]) -> Sequence[str | None]:
        bound = await accepted(batch)
        announce()
        return [bound.get(acceptance.message_id) for acceptance in batch]

    return write


def _outcome_writer(
    settle: Callable[[Sequence[Outcome]], Awaitable[set[UUID]]],
    announce: Callable[[], None],
) -> Callable[[Sequence[Outcome]], Awaitable[Sequence[bool]]]:
    """``MessageStore.settle`` for a batcher: one result an item, whether the outcome applied."""

    async def write(batch: Sequence[Outcome]) -> Sequence[bool]:
        applied = await settle(batch)
        announce()
        return [outcome.message_id in applied for outcome in batch]

    return write
