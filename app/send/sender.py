"""The journey of a message from an app to iovox: recorded first, then attempted or queued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.errors import Conflict, FieldError, Invalid, NotFound, StoreUnavailable, Unavailable
from app.model.message import Message, Request, expiry_time
from app.model.status import Status
from app.send.gate import Admission, Gate
from app.send.idempotency import KeyedBody, first_answer, require_same
from app.send.rates import KeyRates
from app.send.recorder import Recorder
from app.send.requests import read_message, require_schedule
from app.send.responses import BatchItem, BatchResponse, queued_item, refused_item
from app.send.submitter import Sent, Submitter
from app.store.idempotency import IdempotencyKey, IdempotencyStore
from app.store.ids import new_id
from app.store.messages import MessageStore, NewMessage

BREATH = 50
"""Messages of a batch that are checked before others get their turn: a few milliseconds."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one message, and whether this repeats an earlier result."""

    sent: Sent
    message: Message
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of the messages of a batch, and whether this repeats an earlier result."""

    response: BatchResponse
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
        rates: KeyRates,
        wake: Callable[[], None],
        announce: Callable[[], None],
        horizon: timedelta,
        retry_for: timedelta,
    ) -> None:
        """``rates`` is what the routes count messages against.

        ``wake`` tells the queue's workers, here and in other replicas, that there is work.

        ``announce`` is called after every commit that wrote events.
        """
        self._store = store
        self._keys = keys
        self._submitter = submitter
        self._gate = gate
        self.rates = rates
        self._wake = wake
        self._announce = announce
        self._horizon = horizon
        self._retry_for = retry_for
        self._recorder = Recorder(store)
        self._attempts: set[asyncio.Task[Sent]] = set()

    async def send(self, app: str, request: Request, key: KeyedBody | None) -> SendResult:
        """Send one message."""
        now = datetime.now(UTC)
        try:
            require_schedule(request, now=now, horizon=self._horizon)
        except Invalid:
            # A schedule that was fine an hour ago is 'in the past' when the request is repeated.
            if key is not None and (used := await self._used(app, key, now)):
                return await self._repeat(used, now)
            raise
        return await self._send(self._new(app, request, now), app, key)

    async def resend(
        self, app: str, sees: str | None, message_id: UUID, key: KeyedBody | None
    ) -> SendResult:
        """Send a message's text again, deliberately, as a new message.

        ``app`` asks; ``sees`` is the app whose messages it may see, None for all.
        """
        now = datetime.now(UTC)
        found = await self._owned(sees, message_id)
        if found.state in (Status.QUEUED, Status.SENDING):
            raise Conflict(
                f"The message is {found.state}: it has not been sent yet, so not again either"
            )
        request = replace(found.request, send_at=None)
        return await self._send(self._new(found.app, request, now, resend_of=found.id), app, key)

    async def cancel(self, sees: str | None, message_id: UUID) -> UUID:
        """Take back a message that is QUEUED. Raises Conflict where it is not."""
        found = await self._owned(sees, message_id)
        is_queued = found.state is Status.QUEUED
        if not (is_queued and await self._store.cancel(found, datetime.now(UTC))):
            state = "being sent just now" if is_queued else found.state
            raise Conflict(f"Only a QUEUED message can be cancelled; this one is {state}")
        self._announce()
        return found.id

    async def send_batch(
        self, app: str, messages: Sequence[object], key: KeyedBody | None
    ) -> BatchResult:
        """Queue many messages; a bad one does not spoil the others."""
        now = datetime.now(UTC)
        if key is not None and (used := await self._used(app, key, now)):
            return await self._repeat_batch(used)
        new: list[Message] = []
        items: list[BatchItem] = []
        for index, fields in enumerate(messages):
            if index % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            try:
                request = read_message(fields, now=now, horizon=self._horizon)
            except Invalid as error:
                items.append(refused_item(index, error.errors))
                continue
            message = _queued(self._new(app, request, now))
            new.append(message)
            items.append(queued_item(index, message))
        response = BatchResponse(messages=items)
        text = response.model_dump_json(exclude_unset=True) if key else None
        claimed = key.claim(app, answer=text) if key else None
        if not await self._recorder.record_batch(new, claimed) and key is not None:
            return await self._repeat_batch(await self._claimed(app, key))
        self._tell_of_queued()
        return BatchResult(response)

    async def close(self) -> None:
        """Finish the attempts under way; each is bounded by the client's time-outs."""
        await self._gate.close()
        await self._recorder.close()
        if self._attempts:
            await asyncio.wait(set(self._attempts))

    async def _send(self, message: Message, asking: str, key: KeyedBody | None) -> SendResult:
        """``asking`` is the app whose idempotency key it is."""
        admission = await self._admit(message)
        message = self._prepared(message, admission)
        claim = key.claim(asking, message_id=message.id) if key else None
        recorded = False
        try:
            recorded = await self._recorder.record(NewMessage(message, claim))
        finally:
            if not recorded and admission.probe:
                self._gate.breaker.unused()
        if not recorded and key is not None:
            return await self._repeat(await self._claimed(asking, key), datetime.now(UTC))
        if message.announced:
            self._tell_of_queued()
        if admission.moment is None:
            return SendResult(Sent(message.id, Status.QUEUED), message)
        attempt = self._start(message, admission.moment)
        if admission.probe:  # it may take long, and its caller need not wait
            return SendResult(Sent(message.id, Status.QUEUED), message)
        # Shielded: a caller that hangs up must not break a send off half-way.
        return SendResult(await asyncio.shield(attempt), message)

    async def _admit(self, message: Message) -> Admission:
        if message.request.send_at is not None:
            return Admission(None)
        try:
            return await self._gate.admit()
        except StoreUnavailable as error:
            raise Unavailable("Nothing was sent: the database cannot be reached") from error

    def _prepared(self, message: Message, admission: Admission) -> Message:
        """QUEUED, or SENDING under a lease; a probe's caller is told QUEUED all the same."""
        if admission.moment is None:
            return _queued(message)
        return replace(
            message,
            state=Status.SENDING,
            lease=new_id(),
            lease_until=self._submitter.lease_until(admission.moment),
            announced=admission.probe,
        )

    def _start(self, message: Message, moment: datetime) -> asyncio.Task[Sent]:
        task = asyncio.create_task(self._attempt(message, moment))
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)
        return task

    async def _attempt(self, message: Message, moment: datetime) -> Sent:
        await self._gate.wait_for(moment)
        sent = await self._submitter.attempt(message)
        if sent.status is Status.QUEUED:
            self._wake()
        return sent

    def _tell_of_queued(self) -> None:
        self._wake()
        self._announce()

    def _new(
        self, app: str, request: Request, now: datetime, resend_of: UUID | None = None
    ) -> Message:
        start = request.send_at or now
        expiry = request.expiry
        return Message(
            id=new_id(),
            app=app,
            request=request,
            created_at=now,
            state=Status.QUEUED,
            give_up_at=start + self._retry_for if expiry is None else expiry_time(start, expiry),
            resend_of=resend_of,
        )

    async def _owned(self, sees: str | None, message_id: UUID) -> Message:
        tracked = await self._store.find(message_id)
        if tracked is None or sees not in (None, tracked.message.app):
            raise NotFound("There is no message with this id")
        return tracked.message

    async def _used(self, app: str, key: KeyedBody, now: datetime) -> IdempotencyKey | None:
        used = await self._keys.find(app, key.key, now=now)
        if used is not None:
            require_same(used, key)
        return used

    async def _claimed(self, app: str, key: KeyedBody) -> IdempotencyKey:
        """The key that was just found to be used."""
        used = await self._used(app, key, datetime.now(UTC))
        if used is None:
            raise Unavailable("The idempotency key has just run out; send the request again")
        return used

    async def _repeat(self, used: IdempotencyKey, now: datetime) -> SendResult:
        tracked = await self._store.find(used.message_id) if used.message_id else None
        if tracked is None:
            fault = FieldError("Idempotency-Key", "was used for a message that is deleted")
            raise Invalid("Use a new idempotency key for a new request", errors=(fault,))
        told = first_answer(tracked, now)
        await self._keep(used)
        return SendResult(told, tracked.message, replayed=True)

    async def _repeat_batch(self, used: IdempotencyKey) -> BatchResult:
        await self._keep(used)
        return BatchResult(BatchResponse.model_validate_json(used.answer or ""), replayed=True)

    async def _keep(self, used: IdempotencyKey) -> None:
        """Whoever was told of a record counts on it, even if the first caller was told 503."""
        if not await self._keys.repeat(used, datetime.now(UTC)):
            raise Unavailable("What the first request left has just been undone; send it again")


def _queued(message: Message) -> Message:
    return replace(message, announced=True, next_attempt_at=message.starts_at)
