"""Messages, their deliveries, receipts and events; API keys, idempotency keys, the rate limit."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    false,
    text,
)

from app.store.column_types import SERIAL, UUID_ARRAY, UtcTime
from app.store.tables.metadata import metadata

messages = Table(
    "messages",
    metadata,
    Column("id", Uuid, primary_key=True),  # version 7, so their order is that of creation
    Column("app", Text, nullable=False),
    Column("reference", Text),
    Column("origin", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("expiry", Integer),
    Column("c2c_failover_link_id", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("send_at", UtcTime),
    Column("expires_at", UtcTime),
    Column("state", Text, nullable=False),  # our own; once accepted, the status is its delivery's
    Column("state_at", UtcTime, nullable=False),
    Column("sms_activity_id", Text),  # null until iovox accepts the message or a receipt names it
    Column("submitted_at", UtcTime),
    Column("errors", Text),  # JSON: [{"field", "message"}] of the refusal
    Column("steps", Text),  # JSON: what we did before iovox accepted it, oldest first
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", UtcTime),  # QUEUED: not before
    Column("give_up_at", UtcTime),  # QUEUED: not after
    Column("lease", Uuid),  # SENDING: the token that every update of this attempt names
    Column("lease_until", UtcTime),  # SENDING: when it becomes UNCONFIRMED
    Column("announced", Integer, nullable=False, server_default=text("0")),  # 1: has event QUEUED
    Column("resend_of", Uuid, ForeignKey("messages.id")),
    Column("leases", Integer, nullable=False, server_default=text("0")),  # how often it was leased
    # The incarnation of the database in which it was recorded; null: before there was one, or
    # brought back from a journal.
    Column("incarnation", Uuid),
    Column("erased_at", UtcTime),  # when its number, text and reference were emptied
)
# Partial: a plan that reads the nulls from it would scan every message without an id, a hundred
# thousand of them where the queue is long, for each message that is accepted.
Index(
    "messages_by_sms_activity_id",
    messages.c.sms_activity_id,
    unique=True,
    postgresql_where=text("sms_activity_id is not null"),
    sqlite_where=text("sms_activity_id is not null"),
)
# A page of a list is read from one of these, newest first. Each costs two entries per message (one
# when it is recorded, one when it is accepted), so there is one per filter, and none without the
# app: for a caller that sees all apps, the apps' lists are merged.
Index("messages_by_app", messages.c.app, messages.c.id.desc())
Index("messages_by_destination", messages.c.app, messages.c.destination, messages.c.id.desc())
Index("messages_by_origin", messages.c.app, messages.c.origin, messages.c.id.desc())
Index(
    "messages_by_state",
    messages.c.app,
    messages.c.state,
    messages.c.id.desc(),
    postgresql_where=text("state <> 'SUBMITTED'"),
    sqlite_where=text("state <> 'SUBMITTED'"),
)
Index(
    "messages_due",
    messages.c.app,
    messages.c.next_attempt_at,
    messages.c.id,
    postgresql_where=text("state = 'QUEUED'"),
    sqlite_where=text("state = 'QUEUED'"),
)
Index(
    "messages_outlived",
    messages.c.give_up_at,
    postgresql_where=text("state = 'QUEUED'"),
    sqlite_where=text("state = 'QUEUED'"),
)
Index(
    "messages_leased",
    messages.c.lease_until,
    postgresql_where=text("state = 'SENDING'"),
    sqlite_where=text("state = 'SENDING'"),
)
Index(
    "messages_resent",
    messages.c.resend_of,
    postgresql_where=text("resend_of is not null"),
    sqlite_where=text("resend_of is not null"),
)

# Searches by a part: the last four digits of a number, the beginning of a reference. The second one
# also finds a whole reference, newest first by a backward scan.
Index(
    "messages_by_last_digits",
    messages.c.app,
    text("substr(destination, length(destination) - 3)"),
    messages.c.id.desc(),
)
Index(
    "messages_by_reference_prefix",
    messages.c.app,
    messages.c.reference,
    messages.c.id,
    postgresql_ops={"reference": "text_pattern_ops"},  # in the order of bytes, not the collation's
    postgresql_where=text("reference is not null"),
    sqlite_where=text("reference is not null"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("sms_activity_id", Text, primary_key=True),
    Column("message_id", Uuid),  # null until a message of ours has this id
    Column("app", Text),
    Column("expires_at", UtcTime),  # the message's, for the list of overdue messages
    # Times at which the message was created and accepted by iovox, in the unit of status_key's time
    # (twice the microseconds since 1970): lists and statistics need not join the message.
    Column("created_key", BigInteger),
    Column("submitted_key", BigInteger),
    Column("reason", Text),  # the status_reason of the receipt that decides the status
    Column("status", Text, nullable=False),
    # Rank, time and tie of the receipt that decides the status (`app.model.status`); 0: none does.
    Column("status_key", BigInteger, nullable=False, server_default=text("0")),
    Column("status_at", UtcTime),
    Column("seen", Integer, nullable=False, server_default=text("0")),  # flags of its receipts
    Column("prev_key", BigInteger),  # status_key before the last update: RECEIVE compares with it
    Column("received_at", UtcTime),  # the first receipt's, if that came before the message
)
# Ids that are known from receipts alone, by the arrival of the first one.
_UNMATCHED = "message_id is null and received_at is not null"
Index(
    "deliveries_unmatched",
    deliveries.c.received_at,
    deliveries.c.sms_activity_id,
    postgresql_where=text(_UNMATCHED),
    sqlite_where=text(_UNMATCHED),
)
Index(
    "deliveries_by_status",
    deliveries.c.app,
    deliveries.c.status,
    deliveries.c.message_id.desc(),
    postgresql_where=text("app is not null"),
    sqlite_where=text("app is not null"),
)
_CONTRADICTORY = "app is not null and seen & 3 = 3"
Index(
    "deliveries_contradictory",
    deliveries.c.app,
    deliveries.c.message_id.desc(),
    postgresql_where=text(_CONTRADICTORY),
    sqlite_where=text(_CONTRADICTORY),
)
# A list by the time of the status reads the messages created since an hour before that range, and
# from this index older ones, whose status came an hour or more after their creation. The last 18
# digits of status_key are its time.
_LATE = "app is not null and status_key % 1000000000000000000 > created_key + 7200000000"
Index(
    "deliveries_late",
    deliveries.c.app,
    deliveries.c.status_at,
    deliveries.c.message_id,
    postgresql_where=text(_LATE),
    sqlite_where=text(_LATE),
)
# Only messages under way with an expiry: one that gets a final status leaves the index.
_EXPIRING = (
    "app is not null and expires_at is not null "
    "and status in ('SUBMITTED', 'ACKNOWLEDGED', 'BUFFERED')"
)
Index(
    "deliveries_expiring",
    deliveries.c.app,
    deliveries.c.expires_at,
    deliveries.c.message_id,
    postgresql_where=text(_EXPIRING),
    sqlite_where=text(_EXPIRING),
)

receipts = Table(
    "receipts",
    metadata,
    Column("sms_activity_id", Text, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),  # of the other four fields
    Column("id", Uuid, nullable=False),  # of the first arrival
    Column("status", Text, nullable=False),
    Column("status_key", BigInteger, nullable=False),
    Column("delivery_status", Text),
    Column("status_reason", Text),
    Column("receipt_timestamp", Text),
    Column("at", UtcTime, nullable=False),
    Column("time_quality", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("body", LargeBinary, nullable=False),  # as it came; empty once it is erased
    Column("message_hint", Uuid),  # the header X-Message-Id
    Column("also", UUID_ARRAY),  # the ids of further arrivals of the same receipt, a bounded number
    Column("times_seen", Integer, nullable=False, server_default=text("1")),
)


events = Table(
    "events",
    metadata,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("message_id", Uuid, nullable=False),
    Column("app", Text, nullable=False),
    Column("sms_activity_id", Text),
    Column("status", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
    Column("contradictory", Boolean, nullable=False, server_default=false()),  # as it was then
    # True: the message became contradictory, and its status stays as it was.
    Column("status_stays", Boolean, nullable=False, server_default=false()),
    Column("digest", LargeBinary),  # of the receipt, where one was stored with the event
    sqlite_autoincrement=True,
)
Index("events_by_app", events.c.app, events.c.id)

rejected_receipts = Table(
    "rejected_receipts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("received_at", UtcTime, nullable=False),
    Column("http_status", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("message_hint", Uuid),
    Column("replayed_at", UtcTime),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("app", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    Column("expires_at", UtcTime),
    Column("last_used_at", UtcTime),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("app", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("message_id", Uuid),  # of a single send, whose response is read from its message
    Column("answer", Text),  # of a batch: its response, which is known when it is recorded
    Column("repeated_at", UtcTime),  # the first repetition; a record that was repeated stands
)
Index("idempotency_keys_by_age", idempotency_keys.c.created_at)

# One row: when the next message may be sent to iovox, for all replicas together.
pace = Table(
    "pace",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_at", UtcTime, nullable=False),
)
