"""Rows of the evidence log as values, and the values of messages and receipts for its facts.

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
    """One origin. ``size`` and ``root`` are of its tree as it is; of the newest, events up to
    ``position`` are in it.
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
    """A signed checkpoint, with the lines of witnesses. ``stamp``: an RFC 3161 token, as DER."""

    log: int
    size: int
    note: str
    signed_at: datetime
    stamp: bytes | None
    stamped_at: datetime | None
    cosigned_at: datetime | None = None


class Chain(NamedTuple):
    """The end of a subject's facts: how many there are, the last one's hash, and what of the
    subject they have: how many of our own steps, and whether its sms_activity_id.
    """

    number: int = 0
    hash: bytes | None = None
    steps: int = 0
    attached: bool = False


@dataclass(frozen=True, slots=True)
class FactRow:
    """A fact as it is stored. ``salts`` are those of its commitments, one after the other."""

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
    """A fact about to be stored, in the order of the columns. It ends its chain."""

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
    """What facts say of a message. Steps are (status, time, reasons), oldest first."""

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
    """What facts say of an entry of the audit. ``details`` is JSON, as it is stored."""

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
    """What a fact says of a receipt. ``message_id``: whose delivery its id is, if anybody's."""

    id: UUID
    sms_activity_id: str
    message_id: UUID | None
    status: str
    at: datetime
    time_quality: str
    received_at: datetime
    body: bytes | None


class StoredReceipt(NamedTuple):
    """A receipt with what follows from its body, for the audit."""

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
    """What receipts add up to. ``bound_to`` and ``app_of_message`` are what its message says."""

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
class ToldFact:
    """A fact that was told of when it happened; of the log itself where ``message`` is None."""

    message: UUID | None
    type: str
    fields: dict[str, Any]


# A log takes it over from the one before; one that a release before 0017 begins has none.
_newest = evidence_logs.alias()
POSITION = func.coalesce(
    select(func.max(_newest.c.receipts_position)).scalar_subquery(), evidence_logs.c.position
)

# In the order of their fields.
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
"""The type of the fact of an entry of the audit. It is told of by the entry's id alone."""
_STEPS = 11


def subject_of(name: UUID | str) -> bytes:
    """Whose facts are numbered together: a message's, or an sms_activity_id's while nobody's."""
    return b"s" + name.encode() if isinstance(name, str) else b"m" + name.bytes


def subject_of_entry(id_: UUID) -> bytes:
    """Each entry of the audit has facts of its own."""
    return b"a" + id_.bytes


def message_row(row: Row[Any]) -> MessageRow:
    """From the columns of MESSAGE."""
    values = list(row)
    values[_STEPS] = tuple(
        (step["status"], datetime.fromisoformat(step["at"]), tuple(step["reasons"]))
        for step in json.loads(values[_STEPS] or "[]")
    )
    return MessageRow(*values)


def told_fact(stored: str) -> ToldFact:
    """From the column `fact`."""
    read = json.loads(stored)
    message = read["message"]
    return ToldFact(message and UUID(message), read["type"], read["fields"])


def told_json(fact: ToldFact) -> str:
    """For the column `fact`."""
    message = fact.message and str(fact.message)
    return json.dumps({"message": message, "type": fact.type, "fields": fact.fields})
