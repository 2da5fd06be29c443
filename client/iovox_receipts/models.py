"""The service's answers as values. Fields that a newer service adds are kept in ``raw``.

Reprs leave out texts, numbers and references, since reprs end up in logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict, cast

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer to a send.

    ``status`` is SUBMITTED (iovox has it), QUEUED (it will be sent) or UNCONFIRMED (iovox may have
    it: it is never sent again by itself, and a receipt settles it), or UNSENT (it was not sent, and
    now it is too late). ``segments`` is an estimate of the SMS that the text takes over the air, in
    this ``encoding``; ``warning`` says why they are more than one might expect. ``replayed``: the
    service had answered this idempotency key before.
    """

    id: str
    status: str
    sms_activity_id: str | None = None
    reasons: tuple[str, ...] = ()
    replayed: bool = False
    segments: int | None = None
    encoding: str | None = None
    warning: str | None = None
    raw: Json = field(default_factory=dict, repr=False, compare=False)


class Outcome(TypedDict):
    """What became of one text of a batch. ``index`` is its place in the request.

    ``status`` is QUEUED, or REJECTED: then there is no ``id``, and ``errors`` say why.
    """

    index: int
    id: str | None
    status: str
    errors: list[dict[str, str]]
    segments: NotRequired[int]
    encoding: NotRequired[str]
    warning: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to a message. ``source`` is ``service`` or ``iovox``.

    ``receipt_timestamp`` is iovox's London wall-clock text, ``at`` the same in UTC, and
    ``time_quality`` says how sure that is (exact, repeated, missing, offset, received or ahead).
    """

    status: str
    at: datetime
    source: str
    reasons: tuple[str, ...] = ()
    delivery_status: str | None = None
    status_reason: str | None = None
    receipt_timestamp: str | None = None
    time_quality: str | None = None
    received_at: datetime | None = None
    times_seen: int | None = None


@dataclass(frozen=True, slots=True)
class Failover:
    """The call flow of a message, and the statuses after which iovox calls it.

    ``called``: whether the status is one of those. No receipt says that the call was made.
    """

    link_id: str = field(repr=False)
    after: tuple[str, ...]
    called: bool


@dataclass(frozen=True, slots=True)
class Message:
    """What became of a message. Times are aware and in UTC.

    What is known from receipts alone has an ``sms_activity_id`` and no ``id``, ``app`` or request.
    """

    id: str | None
    sms_activity_id: str | None
    app: str | None
    status: str
    status_at: datetime | None
    final: bool
    contradictory: bool
    overdue: bool
    created_at: datetime | None = None
    submitted_at: datetime | None = None
    expires_at: datetime | None = None
    send_at: datetime | None = None
    resend_of: str | None = None
    erased_at: datetime | None = None
    origin: str | None = field(default=None, repr=False)
    destination: str | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)
    expiry: int | None = None
    c2c_failover_link_id: str | None = field(default=None, repr=False)
    failover: Failover | None = None
    history: tuple[Entry, ...] = field(default=(), repr=False)
    raw: Json = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a message's status. Keep ``id``: reading goes on after it.

    ``contradictory``: by then there were receipts for success and for failure. Where the status is
    that of the event before, this is what is new.
    """

    id: str
    message_id: str
    sms_activity_id: str | None
    status: str
    at: datetime
    recorded_at: datetime
    reference: str | None = field(default=None, repr=False)
    contradictory: bool = False
    raw: Json = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages, newest first; ``next`` is the cursor of those that follow, if any do."""

    messages: tuple[Message, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a lookup of many ids."""

    messages: tuple[Message, ...]
    not_found: tuple[str, ...]


def sent(raw: Json, *, replayed: bool) -> Sent:
    """From the JSON of an answer to a send."""
    return Sent(
        id=raw["id"],
        status=raw["status"],
        sms_activity_id=raw.get("sms_activity_id"),
        reasons=tuple(raw.get("reasons") or (one["message"] for one in raw.get("errors") or ())),
        replayed=replayed,
        segments=raw.get("segments"),
        encoding=raw.get("encoding"),
        warning=raw.get("warning"),
        raw=raw,
    )


def outcome(raw: Json) -> Outcome:
    """From the JSON of one element of the answer to a batch."""
    found = Outcome(index=raw["index"], id=raw["id"], status=raw["status"], errors=raw["errors"])
    return cast("Outcome", {**raw, **found})


def message(raw: Json) -> Message:
    """From the JSON of one message; an element of a list has no history."""
    return Message(
        id=raw["id"],
        sms_activity_id=raw["sms_activity_id"],
        app=raw["app"],
        status=raw["status"],
        status_at=moment(raw.get("status_at")),
        final=raw["final"],
        contradictory=raw["contradictory"],
        overdue=raw["overdue"],
        created_at=moment(raw.get("created_at")),
        submitted_at=moment(raw.get("submitted_at")),
        expires_at=moment(raw.get("expires_at")),
        send_at=moment(raw.get("send_at")),
        resend_of=raw.get("resend_of"),
        erased_at=moment(raw.get("erased_at")),
        origin=raw.get("origin"),
        destination=raw.get("destination"),
        text=raw.get("message"),
        reference=raw.get("reference"),
        expiry=raw.get("expiry"),
        c2c_failover_link_id=raw.get("c2c_failover_link_id"),
        failover=_failover(raw.get("failover")),
        history=tuple(_entry(one) for one in raw.get("history") or ()),
        raw=raw,
    )


def event(raw: Json) -> Event:
    """From the JSON of one event."""
    return Event(
        id=str(raw["id"]),
        message_id=raw["message_id"],
        sms_activity_id=raw.get("sms_activity_id"),
        status=raw["status"],
        at=_required(raw["at"]),
        recorded_at=_required(raw["recorded_at"]),
        reference=raw.get("reference"),
        contradictory=raw.get("contradictory", False),
        raw=raw,
    )


def rfc3339(at: datetime) -> str:
    """A time as the service reads it. Raises ValueError for one without a zone."""
    if at.tzinfo is None:
        raise ValueError("a time must carry its zone, such as datetime.now(UTC)")
    return at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time."""
    return None if text is None else datetime.fromisoformat(text)


def _required(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _failover(raw: Json | None) -> Failover | None:
    return Failover(raw["link_id"], tuple(raw["after"]), raw["called"]) if raw else None


def _entry(raw: Json) -> Entry:
    return Entry(
        status=raw["status"],
        at=_required(raw["at"]),
        source=raw["source"],
        reasons=tuple(raw.get("reasons") or ()),
        delivery_status=raw.get("delivery_status"),
        status_reason=raw.get("status_reason"),
        receipt_timestamp=raw.get("receipt_timestamp"),
        time_quality=raw.get("time_quality"),
        received_at=moment(raw.get("received_at")),
        times_seen=raw.get("times_seen"),
    )
