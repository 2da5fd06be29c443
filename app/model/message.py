"""A message: as an app asked for it, as iovox is asked to send it, and what we did. Pure values.

Reprs name a message and nothing of its content, since reprs end up in logs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from app.errors import FieldError
from app.model.status import Status, is_contradictory, is_final


@dataclass(frozen=True, slots=True)
class Submission:
    """What one send asks of iovox, checked and normalised; phone numbers are bare E.164 digits.

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
    """What an app asked for, checked and normalised."""

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
    """A request that is recorded. ``lease`` is held by whoever is sending it right now."""

    id: UUID
    app: str
    request: Request
    created_at: datetime
    state: Status
    attempts: int = 0
    announced: bool = False  # its caller was answered 202 QUEUED, and its event says so
    lease: UUID | None = None
    lease_until: datetime | None = None
    next_attempt_at: datetime | None = None
    give_up_at: datetime | None = None
    resend_of: UUID | None = None

    @property
    def starts_at(self) -> datetime:
        """When its time begins to count: when it was asked for, or when it was to be sent."""
        return self.request.send_at or self.created_at

    @property
    def expires_at(self) -> datetime | None:
        """When ``expiry`` has passed; None for a message that has none."""
        if self.request.expiry is None:
            return None
        return expiry_time(self.starts_at, self.request.expiry)


def expiry_time(start: datetime, minutes: int) -> datetime:
    """``start`` plus so many minutes. The caller has bounded the minutes."""
    return start + timedelta(minutes=minutes)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that we did with a message before iovox had it, and why."""

    status: Status
    at: datetime
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt, or a decision not to make one, ended; all but iovox's acceptance.

    It counts only as long as ``lease`` is the message's (None: it is QUEUED and nobody's).
    ``announce`` says that there is an event to write.
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
    """iovox took a message and gave it this id."""

    message_id: UUID
    sms_activity_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt as the history shows it."""

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
class Record:
    """All that is known of one message, or of an sms_activity_id that no message of ours has.

    ``message`` is None for the latter. ``status`` is the delivery's from the moment that there is
    one, and the message's own state before.
    """

    message: Message | None
    sms_activity_id: str | None
    status: str
    status_at: datetime | None
    seen: int = 0
    submitted_at: datetime | None = None
    errors: tuple[FieldError, ...] = ()
    steps: tuple[Step, ...] = ()
    resent_as: tuple[UUID, ...] = ()
    receipts: tuple[StoredReceipt, ...] = field(default=())

    @property
    def final(self) -> bool:
        """Whether nothing more is expected."""
        return is_final(self.status)

    @property
    def contradictory(self) -> bool:
        """Whether receipts say both that it arrived and that it did not."""
        return is_contradictory(self.seen)

    def overdue(self, now: datetime, patience: timedelta) -> bool:
        """Whether it should have ended by now: our reading, never a status of iovox's."""
        if self.final or self.message is None:
            return False
        return now > (self.message.expires_at or self.message.starts_at + patience)
