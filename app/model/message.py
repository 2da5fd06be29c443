"""A message: the app's request, the submission to iovox, its steps and receipts. Pure values.

A ``repr`` shows the id and no content, since reprs end up in logs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from app.errors import FieldError
from app.model.status import Status, is_contradictory, is_final


@dataclass(frozen=True, slots=True)
class Submission:
    """The content of one sendSms request, validated; phone numbers are E.164 digits without a +.

    ``expiry`` is in whole minutes from now, at least 1.
    """

    message_id: UUID
    origin: str
    destination: str
    text: str
    expiry: int | None = None
    c2c_failover_link_id: str | None = None

    def __repr__(self) -> str:
        return f"Submission({self.message_id})"


@dataclass(frozen=True, slots=True)
class Request:
    """An app's request to send a message, validated and normalised. ``expiry`` is in minutes."""

    origin: str
    destination: str
    text: str
    expiry: int | None = None
    c2c_failover_link_id: str | None = None
    reference: str | None = None
    send_at: datetime | None = None

    def __repr__(self) -> str:
        return "Request(...)"


@dataclass(frozen=True, slots=True)
class Message:
    """A stored request. Its text is empty once it is no longer kept, and its destination from
    ``erased_at`` on. ``lease`` is the token of the process that is sending it, while SENDING.
    """

    id: UUID
    app: str
    request: Request
    created_at: datetime
    state: Status
    attempts: int = 0
    leases: int = 0  # how often it was leased, attempted or not
    announced: bool = False  # the response was 202 QUEUED, and there is an event for it
    lease: UUID | None = None
    lease_until: datetime | None = None
    next_attempt_at: datetime | None = None
    give_up_at: datetime | None = None
    resend_of: UUID | None = None
    erased_at: datetime | None = None

    @property
    def starts_at(self) -> datetime:
        """The start of its expiry: ``send_at``, or else the time of the request."""
        return self.request.send_at or self.created_at

    @property
    def expires_at(self) -> datetime | None:
        """The end of its expiry; None without one."""
        if self.request.expiry is None:
            return None
        return expiry_time(self.starts_at, self.request.expiry)


def expiry_time(start: datetime, minutes: int) -> datetime:
    """``start`` plus ``minutes``, which the caller has bounded."""
    return start + timedelta(minutes=minutes)


@dataclass(frozen=True, slots=True)
class Step:
    """A change of our own state of a message, before iovox accepted it, with its reasons."""

    status: Status
    at: datetime
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an attempt, or of skipping one; acceptance by iovox is an ``Acceptance``.

    It is applied only while the message has this ``lease`` (None: it is QUEUED, without a lease).
    ``announce``: whether an event is written.
    """

    message_id: UUID
    lease: UUID | None
    step: Step
    announce: bool
    errors: tuple[FieldError, ...] = ()
    next_attempt_at: datetime | None = None
    attempted: bool = True


@dataclass(frozen=True, slots=True)
class Acceptance:
    """iovox accepted a message under this id."""

    message_id: UUID
    sms_activity_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A stored receipt, for the history. ``key`` is its status key, see ``app.model.status``."""

    status: str
    at: datetime
    key: int
    time_quality: str
    received_at: datetime
    times_seen: int
    delivery_status: str | None
    status_reason: str | None
    receipt_timestamp: str | None


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """How many deliveries of a message's events to webhooks succeeded, still wait, and failed."""

    delivered: int = 0
    pending: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A message with its delivery, or a delivery without a message of ours (``message`` is None).

    ``status`` is the delivery's if there is one, else the message's own state. ``seen`` are the
    flags of its receipts. ``reason`` and ``reason_text`` came with the receipt that decides the
    status.
    """

    message: Message | None
    sms_activity_id: str | None
    status: str
    status_at: datetime | None
    seen: int = 0
    reason: str | None = None
    reason_text: str | None = None
    webhooks: DeliveryCounts = DeliveryCounts()
    submitted_at: datetime | None = None
    errors: tuple[FieldError, ...] = ()
    steps: tuple[Step, ...] = ()
    resent_as: tuple[UUID, ...] = ()
    receipts: tuple[StoredReceipt, ...] = field(default=())

    @property
    def final(self) -> bool:
        """Whether the status is final."""
        return is_final(self.status)

    @property
    def contradictory(self) -> bool:
        """Whether there are receipts for both success and failure."""
        return is_contradictory(self.seen)

    @property
    def why(self) -> str | None:
        """Why it has its status, in iovox's words or our own; None where no reason is known."""
        if self.reason_text is not None:
            return self.reason_text
        reasons = [step.reasons for step in self.steps if step.status == self.status]
        return "; ".join(reasons[-1]) or None if reasons else None

    def overdue(self, now: datetime, overdue_after: timedelta) -> bool:
        """Whether the final status is late: after the expiry, or ``overdue_after`` without one.

        This is our own judgement, never a status that iovox reported.
        """
        if self.final or self.message is None:
            return False
        return now > (self.message.expires_at or self.message.starts_at + overdue_after)
