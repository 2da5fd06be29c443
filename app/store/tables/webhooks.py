"""Webhooks and the outbox of their deliveries."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, Uuid, text

from app.store.column_types import UtcTime
from app.store.tables.metadata import metadata

# Subscribers to events. A signature needs the secret itself, so it is stored: encrypted where the
# operator has given a key for it, else in plain text (see `app.parts.sealing`).
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("app", Text),  # whose events; null: all apps', for admins only
    Column("url", Text, nullable=False),
    Column("statuses", Text, nullable=False),  # separated by spaces
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_secret_until", UtcTime),
    Column("state", Text, nullable=False),
    Column("reason", Text),  # why it is not active
    Column("created_at", UtcTime, nullable=False),
    Column("position", BigInteger, nullable=False),  # events up to here are in the outbox
    Column("failures", Integer, nullable=False, server_default=text("0")),  # consecutive rounds
    Column("failing_since", UtcTime),
    Column("not_before", UtcTime),  # backoff: the receiver is down, or sent Retry-After
    Column("lease", Uuid),  # the token of the process that delivers to it
    Column("lease_until", UtcTime),
    Column("key_id", Text),  # the API key that made it; null: made before this was recorded
)
Index("webhooks_by_app", webhooks.c.app)

# The outbox: one row for each event and webhook, kept for some time after it was delivered.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),  # version 7, in the order of events
    Column("webhook_id", Uuid, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", BigInteger),  # null for a test
    Column("recorded_at", UtcTime),  # the event's
    Column("message_id", Uuid),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),  # stored, so that a retry is the same to the byte
    Column("state", Text, nullable=False),
    Column("replays", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),  # since the last replay
    Column("created_at", UtcTime, nullable=False),
    Column("first_attempt_at", UtcTime),
    Column("next_attempt_at", UtcTime),  # PENDING: not before
    Column("ended_at", UtcTime),
    Column("status_code", Integer),
    Column("error", Text),
    Column("attempt_log", Text),  # JSON; null: no attempts, or none since they are kept
)
Index(
    "webhook_deliveries_by_event",
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.event_id,
    unique=True,
)
Index("webhook_deliveries_listed", webhook_deliveries.c.webhook_id, webhook_deliveries.c.id.desc())
Index(
    "webhook_deliveries_due",
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.next_attempt_at,
    postgresql_where=text("state = 'PENDING'"),
    sqlite_where=text("state = 'PENDING'"),
)
Index(
    "webhook_deliveries_in_turn",
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.message_id,
    webhook_deliveries.c.event_id,
    postgresql_where=text("state = 'PENDING'"),
    sqlite_where=text("state = 'PENDING'"),
)
# The deliveries of one message's events.
Index(
    "webhook_deliveries_by_message",
    webhook_deliveries.c.message_id,
    postgresql_where=text("message_id is not null"),
    sqlite_where=text("message_id is not null"),
)
Index("webhook_deliveries_ended", webhook_deliveries.c.ended_at)
