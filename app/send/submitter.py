"""One attempt to submit one message: the request to iovox, then the record of its outcome.

Promise: once the request may have been written, no failure here makes the message be sent again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from opentelemetry.trace import Span, StatusCode, Tracer

from app.errors import NotSent, OutcomeUnknown, SubmissionError
from app.iovox.client import IovoxClient
from app.model.fact import OnWire
from app.model.message import Message, Outcome, Submission
from app.model.status import Status
from app.ops.metrics import Metrics
from app.ops.recent import Recent
from app.ops.traces import NO_TRACER, as_attributes, client_span
from app.record.journal import Forgotten, Journal
from app.send import outcomes
from app.send.breaker import CircuitBreaker
from app.send.outcome_recorder import OutcomeRecorder
from app.send.outcomes import SubmitResult
from app.store.clock import Now, utc_now

LEASE_MARGIN = 10.0
"""Seconds that a lease outlasts all of the client's timeouts together: for recording the message
and waiting for its slot before the request, and for recording the outcome after it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """Of a queued message: the incarnation of the database in which it was taken."""

    taken_in: UUID | None


class Submitter:
    """Makes attempts, for the requests of callers and for the queue alike."""

    def __init__(
        self,
        *,
        client: IovoxClient,
        recorder: OutcomeRecorder,
        breaker: CircuitBreaker,
        metrics: Metrics,
        recent: Recent,
        throttle: Callable[[], Awaitable[None]],
        tracer: Tracer = NO_TRACER,
        journal: Journal | None = None,
        now: Now = utc_now,
    ) -> None:
        """``throttle`` is awaited right before a request is written."""
        self._journal = journal or Journal()
        self._client = client
        self._recorder = recorder
        self._max_duration = timedelta(seconds=client.max_duration)
        self._breaker = breaker
        self._metrics = metrics
        self._recent = recent
        self._throttle = throttle
        self._tracer = tracer
        self._now = now
        self._under_way: set[UUID] = set()

    def lease_until(self, start: datetime) -> datetime:
        """The end of a lease for an attempt that begins at ``start``."""
        return start + self._max_duration + timedelta(seconds=LEASE_MARGIN)

    async def attempt(self, message: Message, lease: Lease | None = None) -> SubmitResult:
        """Submit a leased message once, and record the outcome. Never raises an Exception.

        ``lease``: of a message that was queued. One that was recorded with its lease is in the
        journal as on the wire already.
        """
        self._under_way.add(message.id)
        try:
            with client_span(self._tracer, "submit", message_id=message.id) as span:
                result = await self._attempt(message, lease)
                _annotate(span, result)
                return result
        except Exception:
            # Whatever it was, iovox may have the text, so no error may invite to send again.
            log.exception("attempt_broke_off", message_id=str(message.id))
            return SubmitResult(message.id, Status.UNCONFIRMED)
        finally:
            self._under_way.discard(message.id)

    async def give_back(self, message: Message, why: str) -> None:
        """Queue again a message that is leased, and that nobody has attempted under this lease."""
        outcome = outcomes.never_attempted(message, self._now(), why)
        await self._recorder.settle(outcome, attempted=message)

    def is_under_way(self, message_id: UUID) -> bool:
        """Whether an attempt of this process has not ended: it ends by itself, whatever its lease
        says. A clock that is set forward ends all leases at once.
        """
        return message_id in self._under_way

    async def _attempt(self, message: Message, lease: Lease | None) -> SubmitResult:
        now = self._now()
        if skipped := await self._skip(message, now):
            self._breaker.record_nothing()
            return await self._recorder.settle(skipped, attempted=message)
        began = time.monotonic()
        try:
            sms_activity_id = await self._client.send(
                _submission(message, now), throttle=self._before_write(message, lease)
            )
        except SubmissionError as error:
            self._record_failure(message, error, began)
            breaker_open = self._breaker.is_open
            outcome = outcomes.failed(message, error, self._now(), breaker_open=breaker_open)
            return await self._recorder.settle(outcome, attempted=message)
        except Exception as error:
            log.exception("send_failed", message_id=str(message.id))
            self._count(OutcomeUnknown.code, began)
            self._breaker.record_unknown(message.id)
            why = f"the send broke off: {type(error).__name__}"
            unconfirmed = outcomes.unconfirmed(message, self._now(), why)
            return await self._recorder.settle(unconfirmed, attempted=message)
        self._breaker.record_success()
        self._count("submitted", began)
        self._metrics.last_submission.set_to_current_time()
        self._recent.submitted()
        return await self._recorder.accept(message, sms_activity_id)

    def _before_write(self, message: Message, lease: Lease | None) -> Callable[[], Awaitable[None]]:
        """The client's ``throttle`` for an attempt: it waits for the rate limit, and journals that
        the message may be on the wire.

        It raises NotSent if the breaker opened while the attempt waited for a connection. Else, at
        an iovox that hangs, each connection that times out would go to one more message.
        """
        was_open = self._breaker.is_open  # then it is the probe

        async def throttle() -> None:
            await self._throttle()
            if self._breaker.is_open and not was_open:
                raise NotSent("iovox gives others no answer just now", reached=False, busy=True)
            if lease is not None:
                self._note_on_wire(message, lease)

        return throttle

    def _note_on_wire(self, message: Message, lease: Lease) -> None:
        """Journal that the message may be sent from here on: it must not be sent again, whatever
        the database says later. Raises NotSent if the database has forgotten, as after a restore,
        since the lease was taken.
        """
        try:
            self._journal.confirm([OnWire(message)], lease.taken_in)
        except Forgotten as error:
            raise NotSent(error.detail, reached=False, busy=True) from None

    async def _skip(self, message: Message, now: datetime) -> Outcome | None:
        """The outcome of a message past its deadline, or whose lease is too short by now."""
        if message.give_up_at is not None and now >= message.give_up_at:
            found = await self._recorder.find(message.id)
            return outcomes.past_deadline(message, found.steps if found else (), now)
        if message.lease_until is not None and self._max_duration > message.lease_until - now:
            return outcomes.requeued(message, now, "our own database took too long")
        return None

    def _count(self, outcome: str, began: float) -> None:
        self._metrics.sends.labels(outcome).inc()
        self._metrics.iovox_seconds.labels(outcome).observe(time.monotonic() - began)

    def _record_failure(self, message: Message, error: SubmissionError, began: float) -> None:
        """Count it, and tell the breaker."""
        self._count(error.code, began)
        if isinstance(error, OutcomeUnknown):
            self._breaker.record_unknown(message.id)
        elif not isinstance(error, NotSent):
            self._breaker.record_success()
        elif error.busy:
            self._breaker.record_nothing()
        else:
            self._breaker.record_failure(message.id)
        if isinstance(error, NotSent) and error.credentials:
            self._metrics.credentials_refused.inc()
            self._recent.credentials_were_refused()
            log.critical(
                "iovox_refuses_our_credentials",
                todo="check DLR_IOVOX_USERNAME, DLR_IOVOX_SECURE_KEY and our source address",
            )
        log.warning("send_not_accepted", message_id=str(message.id), code=error.code)


def _annotate(span: Span, result: SubmitResult) -> None:
    """Not the reasons of a failure: they may quote the number."""
    span.set_attributes(
        as_attributes({"status": result.status, "sms_activity_id": result.sms_activity_id})
    )
    if result.status is not Status.SUBMITTED:
        span.set_status(StatusCode.ERROR)


def _submission(message: Message, now: datetime) -> Submission:
    """The request to iovox; a retry asks for the minutes that remain of the expiry."""
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
