"""One attempt to submit one message: the wire, then the record of what came of it.

Promise: once the request may be on the wire, nothing that fails here makes the message be sent
again. What cannot be recorded at once is tried again behind the caller's back; should this process
die first, the lease runs out and the message is UNCONFIRMED until a receipt settles it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from app.errors import (
    FieldError,
    NotSent,
    OutcomeUnknown,
    StoreRefused,
    StoreUnavailable,
    SubmissionError,
)
from app.iovox.client import IovoxClient
from app.model.message import Acceptance, Message, Outcome, Submission
from app.model.status import Status
from app.ops.metrics import Metrics
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull
from app.send import outcomes
from app.send.batches import early
from app.send.gate import Breaker
from app.store.messages import MessageStore, Tracked

CAPACITY = 10_000
RECORD_PATIENCE = 5.0
"""Seconds that a caller waits for its outcome to be recorded before it is told UNCONFIRMED."""
RECORD_AGAIN_EVERY = 0.5
LEASE_MARGIN = 10.0
"""Seconds that a lease outlasts all of the client's time-outs together: what may pass before the
wire, while a message is recorded and waits for its moment, and after it, for the outcome."""

Item = TypeVar("Item")
Result = TypeVar("Result")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """What the caller is told about one message."""

    message_id: UUID
    status: Status
    sms_activity_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    reasons: tuple[str, ...] = ()


class Submitter:
    """Makes attempts. The inline attempt of a request and the queue's are the same code."""

    def __init__(
        self,
        *,
        store: MessageStore,
        client: IovoxClient,
        breaker: Breaker,
        metrics: Metrics,
        announce: Callable[[], None],
        in_turn: Callable[[], Awaitable[None]],
    ) -> None:
        """``announce`` is called after every commit that wrote events; ``in_turn`` is awaited right
        before a request is written.
        """
        self._store = store
        self._client = client
        self._longest_wait = timedelta(seconds=client.longest_wait)
        self._breaker = breaker
        self._metrics = metrics
        self._in_turn = in_turn
        self._submitted = metrics.sends.labels("submitted")
        writers = store.writes_at_once
        self._acceptances = early(
            _in_order(store.accepted, announce), capacity=CAPACITY, writers=writers
        )
        self._outcomes = early(_counted(store.settle, announce), capacity=CAPACITY, writers=writers)
        self._recording_later: set[asyncio.Task[None]] = set()

    def lease_until(self, start: datetime) -> datetime:
        """How long a lease taken now must last."""
        return start + self._longest_wait + timedelta(seconds=LEASE_MARGIN)

    async def attempt(self, message: Message) -> Sent:
        """Submit a leased message once, and record the outcome. Never raises what went wrong."""
        try:
            return await self._attempt(message)
        except Exception:
            # Whatever it was, the text may be out there, so no error may say "send again".
            log.exception("attempt_broke_off", message_id=str(message.id))
            return Sent(message.id, Status.UNCONFIRMED)

    async def _attempt(self, message: Message) -> Sent:
        now = datetime.now(UTC)
        if not_now := await self._not_now(message, now):
            return await self.settle(not_now)
        try:
            sms_activity_id = await self._client.send(
                _submission(message, now), in_turn=self._in_turn
            )
        except SubmissionError as error:
            self._note(message, error)
            held_back = self._breaker.is_open
            outcome = outcomes.failed(message, error, datetime.now(UTC), held_back=held_back)
            return await self.settle(outcome)
        except Exception as error:
            log.exception("send_failed", message_id=str(message.id))
            why = f"the send broke off: {type(error).__name__}"
            return await self.settle(outcomes.unconfirmed(message, datetime.now(UTC), why))
        self._breaker.answered()
        self._submitted.inc()
        return await self._accept(message, sms_activity_id)

    async def _not_now(self, message: Message, now: datetime) -> Outcome | None:
        """Why it must not go out at all any more, or not under this lease."""
        if message.give_up_at is not None and now >= message.give_up_at:
            found = await self._found(message.id)
            return outcomes.outlived(message, found.steps if found else (), now)
        if message.lease_until is not None and self._longest_wait > message.lease_until - now:
            return outcomes.postponed(message, now, "our own database took too long")
        return None

    async def _found(self, message_id: UUID) -> Tracked | None:
        try:
            return await self._store.find(message_id)
        except StoreUnavailable:
            return None

    async def close(self) -> None:
        """Record what is known; return when it is, or give up with the leases as the safety net."""
        if self._recording_later:
            await asyncio.wait(set(self._recording_later), timeout=RECORD_PATIENCE)
        for task in self._recording_later:
            task.cancel()
        await self._acceptances.close()
        await self._outcomes.close()

    async def _accept(self, message: Message, sms_activity_id: str) -> Sent:
        acceptance = Acceptance(message.id, sms_activity_id, datetime.now(UTC))
        recorded, bound = await self._record(self._acceptances, acceptance)
        if not recorded:
            return Sent(message.id, Status.UNCONFIRMED)
        if bound is None:
            why = f"iovox answered with an id that is another message's: {sms_activity_id}"
            log.error("iovox_id_in_conflict", message_id=str(message.id))
            return await self.settle(outcomes.unconfirmed(message, datetime.now(UTC), why))
        if bound != sms_activity_id:
            log.error("iovox_second_id_ignored", message_id=str(message.id), kept=bound)
        return Sent(message.id, Status.SUBMITTED, bound)

    async def settle(self, outcome: Outcome) -> Sent:
        """Record how an attempt ended, or what needed none; what its caller is told."""
        record = await self._record(self._outcomes, outcome)  # unpacked here, mypy loses its type
        recorded, counted = record
        if not recorded:
            return Sent(outcome.message_id, Status.UNCONFIRMED)
        step = outcome.step
        if not counted and step.status is not Status.UNCONFIRMED:
            return await self._settled_before(outcome.message_id)
        return Sent(outcome.message_id, step.status, None, outcome.errors, step.reasons)

    async def _settled_before(self, message_id: UUID) -> Sent:
        """A receipt came first, or the lease had run out and the message is UNCONFIRMED."""
        found = await self._found(message_id)
        if found is None or found.sms_activity_id is None:
            return Sent(message_id, Status.UNCONFIRMED)
        return Sent(message_id, Status.SUBMITTED, found.sms_activity_id)

    async def _record(
        self, batcher: Batcher[Item, Result | StoreRefused], item: Item
    ) -> tuple[bool, Result | None]:
        """(True, the answer) once it is committed; (False, None) where that will be later."""
        try:
            async with asyncio.timeout(RECORD_PATIENCE):
                result = await batcher.submit(item)
        except Exception as error:  # noqa: BLE001  whatever it is, what iovox said is not to be lost
            log.error("outcome_not_recorded", consequence="tried again", reason=str(error))
            task = asyncio.create_task(self._record_later(batcher, item))
            self._recording_later.add(task)
            task.add_done_callback(self._recording_later.discard)
            return False, None
        if isinstance(result, StoreRefused):
            _log_lost(item, result.detail)
            return False, None
        return True, result

    async def _record_later(
        self, batcher: Batcher[Item, Result | StoreRefused], item: Item
    ) -> None:
        """Until it is in: recording twice changes nothing, and a lost lease makes it moot."""
        while True:
            await asyncio.sleep(RECORD_AGAIN_EVERY)
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
            if isinstance(result, StoreRefused):
                _log_lost(item, result.detail)
            return

    def _note(self, message: Message, error: SubmissionError) -> None:
        self._metrics.sends.labels(error.code).inc()
        if isinstance(error, NotSent):
            if not error.busy:
                self._breaker.refused(message.id)
        elif not isinstance(error, OutcomeUnknown):  # which says neither that it is there nor not
            self._breaker.answered()
        if isinstance(error, NotSent) and error.credentials:
            self._metrics.credentials_refused.inc()
            log.critical(
                "iovox_refuses_our_credentials",
                todo="check DLR_IOVOX_USERNAME, DLR_IOVOX_SECURE_KEY and our source address",
            )
        log.warning("send_not_accepted", message_id=str(message.id), code=error.code)


def _submission(message: Message, now: datetime) -> Submission:
    """What iovox is asked for now: a retry asks for the minutes that remain."""
    expiry = message.request.expiry
    if expiry is not None and message.expires_at is not None:
        remaining = (message.expires_at - now) / timedelta(minutes=1)
        expiry = max(1, min(expiry, math.ceil(remaining)))
    return Submission(
        message_id=message.id,
        origin=message.request.origin,
        destination=message.request.destination,
        text=message.request.text,
        expiry=expiry,
        c2c_failover_link_id=message.request.c2c_failover_link_id,
    )


def _log_lost(item: object, reason: str) -> None:
    """The lease runs out now; with these ids an operator can still tell what became of it."""
    names = ("message_id", "sms_activity_id")
    ids = {name: str(getattr(item, name)) for name in names if hasattr(item, name)}
    log.error("outcome_lost", consequence="UNCONFIRMED", reason=reason, **ids)


def _in_order(
    accepted: Callable[[Sequence[Acceptance]], Awaitable[dict[UUID, str | None]]],
    announce: Callable[[], None],
) -> Callable[[Sequence[Acceptance]], Awaitable[Sequence[str | None]]]:
    async def write(batch: Sequence[Acceptance]) -> Sequence[str | None]:
        bound = await accepted(batch)
        announce()
        return [bound.get(acceptance.message_id) for acceptance in batch]

    return write


def _counted(
    settle: Callable[[Sequence[Outcome]], Awaitable[set[UUID]]],
    announce: Callable[[], None],
) -> Callable[[Sequence[Outcome]], Awaitable[Sequence[bool]]]:
    async def write(batch: Sequence[Outcome]) -> Sequence[bool]:
        counted = await settle(batch)
        announce()
        return [outcome.message_id in counted for outcome in batch]

    return write
