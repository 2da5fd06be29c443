"""Rows of the evidence log as values, and the columns of other tables that its facts are made of.

What is made for every receipt is a named tuple: a frozen dataclass takes ten times as long to make.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select

from app.store.tables import audit, deliveries, evidence_logs, messages, receipts

Place = tuple[int, int]
"""Level and index of a tile."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log, by its origin, with the present size and root of its tree. ``position``: the id of
    the last event that was read into the newest log.
    """

    id: int
    origin: str
    began_at: datetime
    ended_at: datetime | None
    size: int
    root: bytes
    position: int


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A signed checkpoint; ``note`` includes the lines of witnesses. ``stamp``: an RFC 3161
    TimeStampResp, DER.
    """

    log: int
    size: int
    note: str
    signed_at: datetime
    stamp: bytes | None
    stamped_at: datetime | None
    cosigned_at: datetime | None = None


class Chain(NamedTuple):
    """The end of a subject's chain of facts: its length and the last fact's hash; how many of the
    message's steps are in it, and whether its attachment to an sms_activity_id is.
    """

    number: int = 0
    hash: bytes | None = None
    steps: int = 0
    attached: bool = False


@dataclass(frozen=True, slots=True)
class FactRow:
    """A stored fact. ``salts``: those of its commitments, concatenated; empty once deleted."""

    log: int
    index: int
    subject: bytes
    number: int
    hash: bytes
    text: str
    salts: bytes
    steps: int
    attached: bool


class NewFact(NamedTuple):
    """A fact to be stored; its fields are named as the columns are. It is the last of its chain."""

    log: int
    idx: int
    subject: bytes
    number: int
    hash: bytes
    fact: str
    salts: bytes
    steps: int
    attached: bool


@dataclass(frozen=True, slots=True)
class MessageRow:
    """The columns of a message that its facts are made of. ``steps``: (status, time, reasons),
    oldest first.
    """

    id: UUID
    app: str
    origin: str
    destination: str | None
    text: str | None
    reference: str | None
    expiry: int | None
    c2c_failover_link_id: str | None
    created_at: datetime
    send_at: datetime | None
    resend_of: UUID | None
    steps: tuple[tuple[str, datetime, tuple[str, ...]], ...]
    sms_activity_id: str | None
    submitted_at: datetime | None
    state: str


class EntryRow(NamedTuple):
    """The columns of an audit entry that its fact is made of. ``details`` is the stored JSON."""

    id: UUID
    at: datetime
    who: str
    app: str | None
    address: str | None
    action: str
    what: str | None
    destination: str | None
    reference: str | None
    details: str | None
    times: int


class ReceiptRow(NamedTuple):
    """The columns of a receipt that its fact is made of. ``message_id``: of the message that its
    sms_activity_id belongs to; None while it is unmatched.
    """

    id: UUID
    sms_activity_id: str
    message_id: UUID | None
    status: str
    at: datetime
    time_quality: str
    received_at: datetime
    body: bytes | None


class StoredReceipt(NamedTuple):
    """A receipt with the columns that were read from its body, for the audit of the log."""

    id: UUID
    sms_activity_id: str
    status: str
    at: datetime
    time_quality: str
    received_at: datetime
    body: bytes | None
    delivery_status: str | None
    status_reason: str | None
    receipt_timestamp: str | None
    digest: bytes
    status_key: int


class DeliveryRow(NamedTuple):
    """A delivery's status. ``bound_to`` and ``app_of_message`` are columns of its message."""

    sms_activity_id: str
    message_id: UUID | None
    app: str | None
    status: str
    status_key: int
    status_at: datetime | None
    seen: int
    bound_to: str | None
    app_of_message: str | None


@dataclass(frozen=True, slots=True)
class PendingFact:
    """A fact that waits in ``evidence_pending``. ``message``: whose chain it goes to, if any."""

    message: UUID | None
    type: str
    fields: dict[str, Any]


# Each log takes the position over from the one before. ``position`` stands in where no log has a
# receipts_position: the first log was begun by a release from before migration 0017. Receipts that
# are named in events which only such a release has read are missed then.
_newest = evidence_logs.alias()
POSITION = func.coalesce(
    select(func.max(_newest.c.receipts_position)).scalar_subquery(), evidence_logs.c.position
)

# The columns of each row class, in the order of its fields.
LOG: tuple[ColumnElement[Any], ...] = (
    evidence_logs.c.id,
    evidence_logs.c.origin,
    evidence_logs.c.began_at,
    evidence_logs.c.ended_at,
    evidence_logs.c.size,
    evidence_logs.c.root,
    POSITION,
)
MESSAGE: tuple[ColumnElement[Any], ...] = (
    messages.c.id,
    messages.c.app,
    messages.c.origin,
    messages.c.destination,
    messages.c.message,
    messages.c.reference,
    messages.c.expiry,
    messages.c.c2c_failover_link_id,
    messages.c.created_at,
    messages.c.send_at,
    messages.c.resend_of,
    messages.c.steps,
    messages.c.sms_activity_id,
    messages.c.submitted_at,
    messages.c.state,
)
RECEIPT: tuple[ColumnElement[Any], ...] = (
    receipts.c.id,
    receipts.c.sms_activity_id,
    deliveries.c.message_id,
    receipts.c.status,
    receipts.c.at,
    receipts.c.time_quality,
    receipts.c.received_at,
    receipts.c.body,
)
STORED_RECEIPT: tuple[ColumnElement[Any], ...] = tuple(
    receipts.c[name] for name in StoredReceipt._fields
)
ENTRY: tuple[ColumnElement[Any], ...] = (
    audit.c.id,
    audit.c.at,
    audit.c.who,
    audit.c.app,
    audit.c.address,
    audit.c.action,
    audit.c.what,
    audit.c.destination,
    audit.c.reference,
    audit.c.details,
    audit.c.times,
)

DELIVERY: tuple[ColumnElement[Any], ...] = (
    deliveries.c.sms_activity_id,
    deliveries.c.message_id,
    deliveries.c.app,
    deliveries.c.status,
    deliveries.c.status_key,
    deliveries.c.status_at,
    deliveries.c.seen,
    messages.c.sms_activity_id.label("bound_to"),
    messages.c.app.label("app_of_message"),
)

AUDITED = "audited"
"""The type of an audit entry's fact. It is enqueued by the entry's id alone."""
_STEPS = 11
"""The index of ``messages.c.steps`` in MESSAGE."""


def subject_of(name: UUID | str) -> bytes:
    """The key of a chain: of a message, or of an sms_activity_id that is not matched yet."""
    return b"s" + name.encode() if isinstance(name, str) else b"m" + name.bytes


def subject_of_entry(id_: UUID) -> bytes:
    """The key of the chain of an audit entry."""
    return b"a" + id_.bytes


def message_row(row: Row[Any]) -> MessageRow:
    """A row of the columns MESSAGE as a value."""
    values = list(row)
    values[_STEPS] = tuple(
        (step["status"], datetime.fromisoformat(step["at"]), tuple(step["reasons"]))
        for step in json.loads(values[_STEPS] or "[]")
    )
    return MessageRow(*values)


def parse_pending_fact(stored: str) -> PendingFact:
    """Read the column ``evidence_pending.fact``."""
    read = json.loads(stored)
    message = read["message"]
    return PendingFact(message and UUID(message), read["type"], read["fields"])


def pending_fact_json(fact: PendingFact) -> str:
    """The value of the column ``evidence_pending.fact``."""
    message = fact.message and str(fact.message)
    return json.dumps({"message": message, "type": fact.type, "fields": fact.fields})
