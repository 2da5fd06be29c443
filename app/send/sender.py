"""Sends, batches, resends and cancellations: each message is recorded, then attempted or queued."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.errors import Conflict, Invalid, NotFound, SchemaUnusable, StoreUnavailable, Unavailable
from app.model.audit import Action, Actor, Entry
from app.model.fact import Ended
from app.model.message import Message, Request, Step, expiry_time
from app.model.status import Status
from app.ops.logs import StepLog
from app.ops.traces import annotate_span
from app.record.journal import Journal
from app.send.gate import Admission, Gate
from app.send.idempotency import KeyedBody
from app.send.outcomes import SubmitResult
from app.send.rates import KeyRates
from app.send.recorder import Recorder
from app.send.replay import Replayer
from app.send.requests import read_message, require_schedule
from app.send.responses import (
    BatchItem,
    BatchResponse,
    BatchResult,
    SendResult,
    queued_item,
    refused_item,
)
from app.send.submitter import Submitter
from app.store.clock import Now, utc_now
from app.store.idempotency import IdempotencyStore
from app.store.ids import new_id
from app.store.messages import MessageStore, NewMessage

YIELD_AFTER = 0.004
"""Seconds of validating a batch after which it yields to the event loop."""
PAUSE = 0.002
"""Seconds for which it yields: a receipt takes several iterations of the event loop, and validating
in each of them would delay it by as many times YIELD_AFTER."""
MAX_BATCH_FAULTS = 1_000
"""Faults that the response to a batch names in all; each message also says how many it has more."""


class Sender:
    """Sends for apps. Raises Invalid, Conflict, NotFound or Unavailable; no partial records."""

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
        steps: StepLog,
        now: Now = utc_now,
        journal: Journal | None = None,
    ) -> None:
        """``rates`` is what the routes count messages against.

        ``wake`` wakes the queue's workers, here and in other replicas.

        ``announce`` is called after every commit that wrote events. ``horizon`` limits ``send_at``;
        ``retry_for`` is the deadline of a message without an expiry.
        """
        self._store = store
        self._steps = steps
        self.now = now
        self._journal = journal or Journal()
        self._replayer = Replayer(store=store, keys=keys, journal=self._journal, now=now)
        self._submitter = submitter
        self._gate = gate
        self.rates = rates
        self._wake = wake
        self._announce = announce
        self.horizon = horizon
        self._retry_for = retry_for
        self._recorder = Recorder(store, journal=self._journal, now=now)
        self._validating = asyncio.Lock()
        """One batch at a time: several would take as many times YIELD_AFTER of each iteration."""
        self._attempts: set[asyncio.Task[SubmitResult]] = set()

    async def send(
        self, app: str, request: Request, key: KeyedBody | None, *, queued: bool = False
    ) -> SendResult:
        """Send one message; ``queued``: by the queue, without waiting for iovox."""
        now = self.now()
        try:
            require_schedule(request, now=now, horizon=self.horizon)
        except Invalid:
            # When a request is repeated, a valid ``send_at`` may have passed.
            if key is not None and (claim := await self._replayer.find(app, key, now)):
                return await self._replayer.replay(claim)
            raise
        return await self._send(self._new(app, request, now), app, key, queued=queued)

    async def resend(
        self,
        app: str,
        sees: str | None,
        message_id: UUID,
        key: KeyedBody | None,
        *,
        actor: Actor,
    ) -> SendResult:
        """Send a message's text again, deliberately, as a new message.

        ``app`` is the caller; ``sees`` is the app whose messages it may see, None for all.
        """
        now = self.now()
        found = await self._find_visible(sees, message_id)
        if found.state in (Status.QUEUED, Status.SENDING):
            raise Conflict(
                f"The message is {found.state}: it has not been sent yet, so not again either"
            )
        if not found.request.text:
            why = "erased" if found.erased_at else "not kept as long as the message"
            raise Conflict(f"The message cannot be sent again: its text was {why}")
        request = replace(found.request, send_at=None)
        new = self._new(found.app, request, now, resend_of=found.id)
        entry = actor.did(Action.RESEND, found.id, details={"resent_as": str(new.id)})
        return await self._send(new, app, key, entry=entry)

    async def cancel(self, sees: str | None, message_id: UUID, *, actor: Actor) -> UUID:
        """Cancel a QUEUED message. Raises Conflict if it is not QUEUED."""
        found = await self._find_visible(sees, message_id)
        is_queued = found.state is Status.QUEUED
        entry = actor.did(Action.CANCEL, found.id)
        if not (is_queued and await self.take_back(found, entry=entry)):
            status = "being sent just now" if is_queued else await self._store.status(found.id)
            raise Conflict(f"Only a QUEUED message can be cancelled; this one is {status}")
        self._steps.log("cancelled", message_id=str(found.id))
        self._announce()
        return found.id

    async def take_back(self, message: Message, *, entry: Entry | None = None) -> bool:
        """Cancel a message, and journal that; False if it is no longer QUEUED. Raises KeysWait."""
        began_in = self._journal.incarnation
        at = self.now()
        leases = await self._store.cancel(message, at, entry=entry)
        if leases is None:
            return False
        step = Step(Status.CANCELLED, at)
        fact = Ended(
            message.id, None, leases, step, announce=True, attempted=False, message=message
        )
        self._journal.confirm([fact], began_in)
        return True

    async def send_batch(
        self, app: str, messages: Sequence[object], key: KeyedBody | None
    ) -> BatchResult:
        """Queue many messages; an invalid one does not fail the others."""
        now = self.now()
        if key is not None and (claim := await self._replayer.find(app, key, now)):
            return await self._replayer.replay_batch(claim)
        async with self._validating:
            new, items = await self._validate(app, messages, now)
        response = BatchResponse(messages=items)
        text = response.model_dump_json(exclude_unset=True) if key else None
        new_claim = key.claim(app, answer=text) if key else None
        if not await self._recorder.record_batch(new, new_claim) and key is not None:
            return await self._replayer.replay_batch(
                await self._replayer.find_conflicting(app, key)
            )
        for message in new:
            self._steps.log("recorded", message_id=str(message.id), status=message.state)
        self._notify_queued()
        return BatchResult(response)

    async def close(self) -> None:
        """Finish the attempts under way; each is bounded by the client's timeouts."""
        await self._gate.close()
        await self._recorder.close()
        if self._attempts:
            await asyncio.wait(set(self._attempts))

    async def _send(
        self,
        message: Message,
        key_app: str,
        key: KeyedBody | None,
        *,
        queued: bool = False,
        entry: Entry | None = None,
    ) -> SendResult:
        """``key_app``: the app whose idempotency key it is. An admin resends for another app.

        ``entry`` is the audit's.
        """
        admission = Admission(None) if queued else await self._admit(message)
        message = self._in_initial_state(message, admission)
        claim = key.claim(key_app, message_id=message.id) if key else None
        recorded = False
        try:
            recorded = await self._recorder.record(NewMessage(message, claim, entry))
        finally:
            if not recorded and admission.probe:
                self._gate.breaker.release_probe()
        if not recorded and key is not None:
            return await self._replayer.replay(await self._replayer.find_conflicting(key_app, key))
        self._steps.log("recorded", message_id=str(message.id), status=message.state)
        annotate_span(message_id=message.id)
        if message.announced:
            self._notify_queued()
        if admission.slot is None:
            return SendResult(SubmitResult(message.id, Status.QUEUED), message)
        attempt = self._start(message, admission.slot)
        if admission.probe:  # it may take long, and its caller need not wait
            return SendResult(SubmitResult(message.id, Status.QUEUED), message)
        # Shielded: a caller that disconnects must not cancel an attempt.
        return SendResult(await asyncio.shield(attempt), message)

    async def _admit(self, message: Message) -> Admission:
        if message.request.send_at is not None:
            return Admission(None)
        try:
            return await self._gate.admit()
        except SchemaUnusable:
            raise  # it says why
        except StoreUnavailable as error:
            raise Unavailable("Nothing was sent: the database cannot be reached") from error

    def _in_initial_state(self, message: Message, admission: Admission) -> Message:
        """QUEUED, or SENDING under a lease; also a probe's caller is answered QUEUED."""
        if admission.slot is None:
            return _queued(message)
        return replace(
            message,
            state=Status.SENDING,
            leases=1,
            lease=new_id(),
            lease_until=self._submitter.lease_until(admission.slot),
            announced=admission.probe,
        )

    def _start(self, message: Message, slot: datetime) -> asyncio.Task[SubmitResult]:
        task = asyncio.create_task(self._attempt(message, slot))
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)
        return task

    async def _attempt(self, message: Message, slot: datetime) -> SubmitResult:
        await self._gate.wait_until(slot)
        result = await self._submitter.attempt(message)
        if result.status is Status.QUEUED:
            self._wake()
        return result

    async def _validate(
        self, app: str, messages: Sequence[object], now: datetime
    ) -> tuple[list[Message], list[BatchItem]]:
        """The valid messages of a batch, and what is answered about each."""
        new: list[Message] = []
        items: list[BatchItem] = []
        nameable = MAX_BATCH_FAULTS
        yielded_at = time.monotonic()
        for index, fields in enumerate(messages):
            if time.monotonic() - yielded_at > YIELD_AFTER:
                await asyncio.sleep(PAUSE)
                yielded_at = time.monotonic()
            try:
                request = read_message(fields, now=now, horizon=self.horizon)
            except Invalid as error:
                items.append(refused_item(index, error, most=nameable))
                nameable -= len(items[-1].errors)
                continue
            message = _queued(self._new(app, request, now))
            new.append(message)
            items.append(queued_item(index, message))
        return new, items

    def _notify_queued(self) -> None:
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

    async def _find_visible(self, sees: str | None, message_id: UUID) -> Message:
        tracked = await self._store.find(message_id)
        if tracked is None or sees not in (None, tracked.message.app):
            raise NotFound("There is no message with this id; it has to be ours, not iovox's")
        return tracked.message


def _queued(message: Message) -> Message:
    return replace(message, announced=True, next_attempt_at=message.starts_at)
