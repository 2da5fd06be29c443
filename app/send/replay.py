"""Replays: a request whose Idempotency-Key was used before gets the first request's response."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime

from app.errors import Conflict, FieldError, Invalid, Unavailable
from app.model.erased_keys import is_erased
from app.model.fact import Accepted, ClaimedKey, Ended, Fact, Recorded
from app.model.status import Status
from app.record.journal import Journal
from app.send.idempotency import HEADER, KeyedBody
from app.send.outcomes import SubmitResult
from app.send.responses import BatchResponse, BatchResult, SendResult
from app.store.clock import Now, utc_now
from app.store.idempotency import IdempotencyKey, IdempotencyStore
from app.store.message_rows import Tracked
from app.store.messages import MessageStore

_OF_AN_ATTEMPT = (Status.UNCONFIRMED, Status.REJECTED)


class Replayer:
    """Finds claimed keys and rebuilds the responses of the requests that claimed them.

    What a repeated request is answered from is written to this process's journal first: the first
    request may have been another process's, whose disk may be gone when the database forgets.
    """

    def __init__(
        self,
        *,
        store: MessageStore,
        keys: IdempotencyStore,
        journal: Journal | None = None,
        now: Now = utc_now,
    ) -> None:
        self._store = store
        self._now = now
        self._keys = keys
        self._journal = journal or Journal()

    async def find(self, app: str, key: KeyedBody, now: datetime) -> IdempotencyKey | None:
        """The key's claim, if it was used. Raises Invalid if that was with another body."""
        claim = await self._keys.find(key.claim(app), now=now)
        if claim is None or is_erased(claim.key):  # an erased key is found by its body
            return claim
        if claim.fingerprint != key.fingerprint:
            fault = FieldError(HEADER, "was used within the last 24 hours with another body")
            raise Invalid("Use a new idempotency key for a new request", errors=(fault,))
        return claim

    async def find_conflicting(self, app: str, key: KeyedBody) -> IdempotencyKey:
        """The claim that has just prevented ours. Raises Unavailable if it expired meanwhile."""
        claim = await self.find(app, key, self._now())
        if claim is None:
            raise Unavailable("The idempotency key has just run out; send the request again")
        return claim

    async def replay(self, claim: IdempotencyKey) -> SendResult:
        """The first response of a send. Raises Conflict while that request is in flight."""
        began_in = self._journal.incarnation
        tracked = await self._store.find(claim.message_id) if claim.message_id else None
        if tracked is None:
            raise await self._deleted(claim)
        first = first_result(tracked, self._now())
        await self._mark_repeated(claim)
        self._journal.confirm(_facts(tracked, claim, self._now()), began_in)
        return SendResult(first, tracked.message, replayed=True)

    async def replay_batch(self, claim: IdempotencyKey) -> BatchResult:
        """The first response of a batch, which is stored with its claim."""
        began_in = self._journal.incarnation
        if claim.answer is None:
            raise await self._deleted(claim)
        await self._mark_repeated(claim)
        answer = BatchResponse.model_validate_json(claim.answer)
        if self._journal.is_on:
            ids = [item.id for item in answer.messages if item.id is not None]
            found = await self._store.find_many(ids)
            self._journal.confirm([Recorded(tuple(found), _claimed(claim, self._now()))], began_in)
        return BatchResult(answer, replayed=True)

    async def _deleted(self, claim: IdempotencyKey) -> Invalid | Unavailable:
        """The error for a claim whose message or response is gone.

        A caller who is told to use another key sends a second text. So it is told that only if the
        claim is still there; if not, the database was just set back to before both.
        """
        if await self._keys.find(claim, now=self._now()) is None:
            return Unavailable("The database was just set back; send the request again")
        fault = FieldError(HEADER, "was used for a message or a batch that is deleted")
        return Invalid("Use a new idempotency key for a new request", errors=(fault,))

    async def _mark_repeated(self, claim: IdempotencyKey) -> None:
        """Keep the record from being undone: this caller is about to be given its id."""
        if not await self._keys.mark_repeated(claim, self._now()):
            raise Unavailable("What the first request left has just been undone; send it again")


def _facts(tracked: Tracked, claim: IdempotencyKey, now: datetime) -> Iterator[Fact]:
    """The message as it is by now, with its key."""
    message = tracked.message
    ended = message.state not in (Status.QUEUED, Status.SENDING, Status.SUBMITTED)
    was = Status.SENDING if message.state in _OF_AN_ATTEMPT else Status.QUEUED
    record = replace(message, state=was) if ended else message
    yield Recorded((record,), _claimed(claim, now))
    if tracked.sms_activity_id is not None:
        yield Accepted(message.id, tracked.sms_activity_id, now)
    elif ended and tracked.steps:
        step = tracked.steps[-1]
        yield Ended(message.id, None, message.leases, step, announce=True, errors=tracked.errors)


def _claimed(claim: IdempotencyKey, now: datetime) -> ClaimedKey:
    at = claim.claimed_at or now
    return ClaimedKey(claim.app, claim.key, claim.fingerprint, at, claim.message_id, claim.answer)


def first_result(tracked: Tracked, now: datetime) -> SubmitResult:
    """The result that the first request was given. Raises Conflict while it is in flight.

    Derived from the stored message, so it holds across replicas, restarts and crashes. It differs
    only if the database was away when the outcome was known: the first response was UNCONFIRMED.
    """
    message = tracked.message
    first_steps = {step.status: step for step in reversed(tracked.steps)}
    status = _first_status(tracked, first_steps.keys(), now)
    if status is None:
        raise Conflict(
            "The first request with this idempotency key is still being answered",
            headers={"Retry-After": "1"},
        )
    return SubmitResult(
        message_id=message.id,
        status=status,
        sms_activity_id=tracked.sms_activity_id if status is Status.SUBMITTED else None,
        errors=tracked.errors if status in (Status.REJECTED, Status.UNSENT) else (),
        reasons=first_steps[status].reasons if status in first_steps else (),
    )


def _first_status(tracked: Tracked, steps: Collection[Status], now: datetime) -> Status | None:
    message = tracked.message
    if message.announced:
        return Status.QUEUED
    for status in (Status.UNCONFIRMED, Status.REJECTED):
        if status in steps:
            return status
    if tracked.sms_activity_id is not None:
        return Status.SUBMITTED
    if message.state is Status.UNSENT:
        return Status.UNSENT
    if message.lease_until is not None and message.lease_until <= now:
        return Status.UNCONFIRMED
    return None
