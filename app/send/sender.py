"""The journey of a message from an app to iovox: recorded first, then attempted or queued."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from uuid_utils.compat import uuid7

from app.batcher import Batcher, BatcherClosed, BatcherFull
from app.errors import Conflict, FieldError, Invalid, NotFound, StoreUnavailable, Unavailable
from app.model.message import Message, Request
from app.model.status import Status
from app.send.gate import Gate
from app.send.idempotency import KeyedBody, first_answer, require_same
from app.send.requests import check
from app.send.submitter import Sent, Submitter
from app.store.idempotency import IdempotencyKey, IdempotencyStore
from app.store.messages import MessageStore, NewMessage

LARGEST_BATCH = 128
CAPACITY = 2_000
INLINE_WAIT = timedelta(seconds=0.05)
"""How long a caller is kept for its moment under DLR_IOVOX_RATE before it is told QUEUED."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and whether it is the repetition of an earlier one."""

    sent: Sent
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The answer to a batch: its JSON, one object a message in the order they came."""

    body: str
    replayed: bool = False


class Sender:
    """Sends for apps. Raises Invalid, Conflict, NotFound or Unavailable; nothing half-stored."""

    def __init__(
        self,
        *,
        store: MessageStore,
        keys: IdempotencyStore,
        submitter: Submitter,
        gate: Gate,
        wake: Callable[[], None],
        horizon: timedelta,
        retry_for: timedelta,
    ) -> None:
        """``wake`` tells the queue's workers, here and in other replicas, that there is work."""
        self._store = store
        self._keys = keys
        self._submitter = submitter
        self._gate = gate
        self._wake = wake
        self._horizon = horizon
        self._retry_for = retry_for
        self._records: Batcher[NewMessage, bool] = Batcher(
            store.add, largest=LARGEST_BATCH, capacity=CAPACITY
        )
        self._attempts: set[asyncio.Task[Sent]] = set()

    async def send(self, app: str, fields: object, key: KeyedBody | None) -> Answered:
        """Send one message as the app asked in JSON."""
        now = datetime.now(UTC)
        try:
            request = check(fields, now=now, horizon=self._horizon)
        except Invalid:
            # A schedule that was fine an hour ago is 'in the past' when the request is repeated.
            if key is not None and (used := await self._used(app, key, now)):
                return await self._repeat(used, now)
            raise
        return await self._send(self._new(app, request, now), key, now)

    async def resend(self, app: str | None, message_id: UUID, key: KeyedBody | None) -> Answered:
        """Send a message's text again, deliberately, as a new message; ``app`` None sees all."""
        now = datetime.now(UTC)
        found = await self._owned(app, message_id)
        if found.state in (Status.QUEUED, Status.SENDING):
            raise Conflict("The message has not been sent yet, so it cannot be sent again")
        old = found.request
        request = Request(
            origin=old.origin,
            destination=old.destination,
            text=old.text,
            expiry=old.expiry,
            c2c_failover_link_id=old.c2c_failover_link_id,
            reference=old.reference,
        )
        return await self._send(self._new(found.app, request, now, resend_of=found.id), key, now)

    async def cancel(self, app: str | None, message_id: UUID) -> UUID:
        """Take back a message that is QUEUED. Raises Conflict where it is not."""
        found = await self._owned(app, message_id)
        cancelled = found.state is Status.QUEUED and await self._store.cancel(
            found, datetime.now(UTC)
        )
        if not cancelled:
            raise Conflict("Only a QUEUED message can be cancelled; this one is beyond that")
        return found.id

    async def send_batch(
        self, app: str, messages: Sequence[object], key: KeyedBody | None
    ) -> BatchAnswer:
        """Queue many messages; a bad one does not spoil the others."""
        now = datetime.now(UTC)
        if key is not None and (used := await self._used(app, key, now)):
            return BatchAnswer(used.answer or "{}", replayed=True)
        new: list[Message] = []
        outcomes: list[dict[str, object]] = []
        for index, fields in enumerate(messages):
            try:
                request = check(fields, now=now, horizon=self._horizon)
            except Invalid as error:
                outcomes.append(_outcome(index, None, "INVALID", error.errors))
                continue
            message = _queued(self._new(app, request, now), now)
            new.append(message)
            outcomes.append(_outcome(index, message.id, Status.QUEUED, ()))
        answer = json.dumps({"messages": outcomes})
        claimed = key.claim(app, answer=answer) if key else None
        if not await self._store.add_batch(new, claimed) and key is not None:
            used = await self._used(app, key, now)
            return BatchAnswer(used.answer or "{}" if used else "{}", replayed=True)
        self._wake()
        return BatchAnswer(answer)

    async def close(self) -> None:
        """Finish the attempts under way; each is bounded by the client's time-outs."""
        await self._records.close()
        if self._attempts:
            await asyncio.wait(set(self._attempts))

    async def _send(self, message: Message, key: KeyedBody | None, now: datetime) -> Answered:
        moment = await self._moment(message)
        if moment is None:
            message = _queued(message, now)
        else:
            message = _leased(message, self._submitter.lease_until(moment))
        claim = key.claim(message.app, message_id=message.id) if key else None
        if not await self._record(NewMessage(message, claim)) and key is not None:
            used = await self._used(message.app, key, now)
            if used is None:
                raise Unavailable("The idempotency key has just run out; send the request again")
            return await self._repeat(used, now)
        if moment is None:
            self._wake()
            return Answered(Sent(message.id, Status.QUEUED))
        wait = (moment - datetime.now(UTC)).total_seconds()
        if wait > 0:
            await asyncio.sleep(wait)
        return Answered(await self._attempt(message))

    async def _attempt(self, message: Message) -> Sent:
        """In a task of its own: a caller that hangs up must not break a send off half-way."""
        task = asyncio.create_task(self._submitter.attempt(message))
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)
        sent = await asyncio.shield(task)
        if sent.status is Status.QUEUED:
            self._wake()
        return sent

    async def _moment(self, message: Message) -> datetime | None:
        """When it may be sent while its caller waits, or None where it has to queue."""
        if message.request.send_at is not None:
            return None
        try:
            moments = await self._gate.admit(1, within=INLINE_WAIT)
        except StoreUnavailable as error:
            raise Unavailable(f"Nothing was sent: {error.detail}") from error
        return moments[0] if moments else None

    async def _record(self, new: NewMessage) -> bool:
        try:
            return await self._records.submit(new)
        except StoreUnavailable as error:
            raise Unavailable(f"Nothing was sent: {error.detail}") from error
        except (BatcherFull, BatcherClosed):
            raise Unavailable("Nothing was sent: too many requests wait, or we shut down") from None

    def _new(
        self, app: str, request: Request, now: datetime, resend_of: UUID | None = None
    ) -> Message:
        message = Message(
            id=uuid7(),
            app=app,
            request=request,
            created_at=now,
            state=Status.QUEUED,
            resend_of=resend_of,
        )
        return replace(
            message, give_up_at=message.expires_at or message.starts_at + self._retry_for
        )

    async def _owned(self, app: str | None, message_id: UUID) -> Message:
        tracked = await self._store.find(message_id)
        if tracked is None or app not in (None, tracked.message.app):
            raise NotFound(f"There is no message {message_id}")
        return tracked.message

    async def _used(self, app: str, key: KeyedBody, now: datetime) -> IdempotencyKey | None:
        used = await self._keys.find(app, key.key, now=now)
        if used is not None:
            require_same(used, key)
        return used

    async def _repeat(self, used: IdempotencyKey, now: datetime) -> Answered:
        tracked = await self._store.find(used.message_id) if used.message_id else None
        if tracked is None:
            fault = FieldError("Idempotency-Key", "was used for something else")
            raise Invalid("Use a new idempotency key for a new request", errors=(fault,))
        return Answered(first_answer(tracked, now), replayed=True)


def _queued(message: Message, now: datetime) -> Message:
    return replace(message, announced=True, next_attempt_at=message.request.send_at or now)


def _leased(message: Message, until: datetime) -> Message:
    return replace(message, state=Status.SENDING, lease=uuid4(), lease_until=until)


def _outcome(
    index: int, message_id: UUID | None, status: str, errors: Sequence[FieldError]
) -> dict[str, object]:
    return {
        "index": index,
        "id": str(message_id) if message_id else None,
        "status": status,
        "errors": [{"field": e.field, "message": e.message} for e in errors],
    }
