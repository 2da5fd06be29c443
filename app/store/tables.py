"""The tables, as the migrations create them; a test compares the two.

One schema for SQLite and PostgreSQL. Times are UTC everywhere; JSON is kept as text.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    false,
    text,
)

from app.store.column_types import SERIAL, UUID_ARRAY, UtcTime

metadata = MetaData()


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
    Column("state", Text, nullable=False),
    Column("state_at", UtcTime, nullable=False),
    Column("sms_activity_id", Text),
    Column("submitted_at", UtcTime),
    Column("errors", Text),  # JSON: [{"field", "message"}] of the refusal
    Column("steps", Text),  # JSON: what we did before iovox accepted it, oldest first
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", UtcTime),  # QUEUED: not before
    Column("give_up_at", UtcTime),  # QUEUED: not after
    Column("lease", Uuid),  # SENDING: the process that holds it
    Column("lease_until", UtcTime),  # SENDING: when it becomes UNCONFIRMED
    Column("announced", Integer, nullable=False, server_default=text("0")),  # QUEUED has its event
    Column("resend_of", Uuid, ForeignKey("messages.id")),
    Column("leases", Integer, nullable=False, server_default=text("0")),  # how often it was leased
    Column(
        "incarnation", Uuid
    ),  # of the database, when it was recorded; null: before there was one
    Column("erased_at", UtcTime),  # its number, text and reference were erased: they are empty
)
# Partial: with the nulls in it, a plan might scan all of them, including a hundred thousand queued
# messages, for the one that was just accepted.
Index(
    "messages_by_sms_activity_id",
    messages.c.sms_activity_id,
    unique=True,
    postgresql_where=text("sms_activity_id is not null"),
    sqlite_where=text("sms_activity_id is not null"),
)
# A page of a list is read from one of these, newest first. Each costs two entries for each message,
# so there is one for each filter, and none without the app: for a caller that sees all apps, the
# apps' lists are merged.
Index("messages_by_app", messages.c.app, messages.c.id.desc())
Index("messages_by_destination", messages.c.app, messages.c.destination, messages.c.id.desc())
Index("messages_by_origin", messages.c.app, messages.c.origin, messages.c.id.desc())
Index(
    "messages_by_reference",
    messages.c.app,
    messages.c.reference,
    messages.c.id.desc(),
    postgresql_where=text("reference is not null"),
    sqlite_where=text("reference is not null"),
)
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

# Parts of them, as people remember them: the last digits of a number, the beginning of a reference.
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
    postgresql_ops={"reference": "text_pattern_ops"},  # order of bytes, whatever the collation
    postgresql_where=text("reference is not null"),
    sqlite_where=text("reference is not null"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("sms_activity_id", Text, primary_key=True),
    Column("message_id", Uuid),  # null until a message of ours has this id
    Column("app", Text),
    Column("expires_at", UtcTime),  # the message's, for the list of what is overdue
    # Twice the microseconds since 1970 at which the message was created and accepted by iovox, like
    # the last digits of status_key: so lists and statistics do not have to join the message.
    Column("created_key", BigInteger),
    Column("submitted_key", BigInteger),
    Column("reason", Text),  # the status_reason that came with the status
    Column("status", Text, nullable=False),
    Column("status_key", BigInteger, nullable=False, server_default=text("0")),
    Column("status_at", UtcTime),
    Column("seen", Integer, nullable=False, server_default=text("0")),
    Column("prev_key", BigInteger),  # the key before the last change: what the event rule reads
    Column("received_at", UtcTime),  # the first receipt's, if it came before the message
)
# What is known from receipts alone, by when it was first heard of.
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
# A list by the time of the status reads messages created at that time, and from this index the
# statuses that came an hour or more after; status_key ends in twice the microseconds of its time.
_LATE = "app is not null and status_key % 1000000000000000000 > created_key + 7200000000"
Index(
    "deliveries_late",
    deliveries.c.app,
    deliveries.c.status_at,
    deliveries.c.message_id,
    postgresql_where=text(_LATE),
    sqlite_where=text(_LATE),
)
# Only messages under way with an expiry: an entry is removed when its message ends.
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
    Column("digest", LargeBinary, primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_key", BigInteger, nullable=False),
    Column("delivery_status", Text),
    Column("status_reason", Text),
    Column("receipt_timestamp", Text),
    Column("at", UtcTime, nullable=False),
    Column("time_quality", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("message_hint", Uuid),
    Column("also", UUID_ARRAY),  # the ids of further arrivals of the same receipt
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
    # The message became contradictory, and this is the status that it had before.
    Column("status_stays", Boolean, nullable=False, server_default=false()),
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
    Column("message_id", Uuid),  # of a single send: the response is read from its message
    Column("answer", Text),  # of a batch: its response, known when it is recorded
    Column("repeated_at", UtcTime),  # first repetition: from then on it is not undone
)
Index("idempotency_keys_by_age", idempotency_keys.c.created_at)

# One row: when the next message may be sent to iovox, for all replicas together.
pace = Table(
    "pace",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_at", UtcTime, nullable=False),
)

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
    Column("failures", Integer, nullable=False, server_default=text("0")),  # rounds, in a row
    Column("failing_since", UtcTime),
    Column("not_before", UtcTime),  # back-off: it is down, or sent Retry-After
    Column("lease", Uuid),  # the process that delivers to it
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
# Who was told of a message.
Index(
    "webhook_deliveries_by_message",
    webhook_deliveries.c.message_id,
    postgresql_where=text("message_id is not null"),
    sqlite_where=text("message_id is not null"),
)
Index("webhook_deliveries_ended", webhook_deliveries.c.ended_at)

# People who are signed in to the console. Digests only: a copy of the table signs nobody in.
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("csrf", Text, nullable=False),
    Column("key_id", Text),  # signed in by this API key: its scopes and its end are the session's
    Column("person", Text),  # or by OpenID Connect, as this person
    Column("app", Text, nullable=False),
    Column("scopes", Text),  # of a person
    Column("id_token", Text),  # of a person: the provider wants it to end its own session
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)
Index("console_sessions_by_age", console_sessions.c.expires_at)

# People who are at their provider's, about to come back.
console_sign_ins = Table(
    "console_sign_ins",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("nonce", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("wanted", Text, nullable=False),  # the page that they wanted
    Column("expires_at", UtcTime, nullable=False),
)

# Evidence (docs/evidence.md). One row for each origin; the last one, while it has not ended, is the
# log to which facts are appended. Without it nothing is collected.
evidence_logs = Table(
    "evidence_logs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("origin", Text, nullable=False, unique=True),
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("position", BigInteger, nullable=False),  # events up to here are in the log
)
evidence_facts = Table(
    "evidence_facts",
    metadata,
    Column("log", Integer, primary_key=True),
    Column("idx", BigInteger, primary_key=True),
    Column("subject", LargeBinary, nullable=False),  # whose facts are numbered together
    Column("number", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("fact", Text, nullable=False),
    Column("salts", LargeBinary, nullable=False),
    # Up to this fact: our own steps of the message that the log has, and whether iovox's id.
    Column("steps", Integer, nullable=False),
    Column("attached", Boolean, nullable=False),
)
Index("evidence_facts_by_subject", evidence_facts.c.subject, evidence_facts.c.number, unique=True)
evidence_tiles = Table(
    "evidence_tiles",
    metadata,
    Column("log", Integer, primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("idx", BigInteger, primary_key=True),
    Column("hashes", LargeBinary, nullable=False),
)
evidence_checkpoints = Table(
    "evidence_checkpoints",
    metadata,
    Column("log", Integer, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("note", Text, nullable=False),
    Column("signed_at", UtcTime, nullable=False),
    Column("stamp", LargeBinary),  # RFC 3161
    Column("stamped_at", UtcTime),
)
# The disks that checkpoints are kept on, and the newest one that each has.
evidence_disks = Table(
    "evidence_disks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("log", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
)
# What the log does not have yet: receipts, written with them and deleted with their appending, and
# facts of other kinds, of which nothing else remains that they could be made from.
evidence_pending = Table(
    "evidence_pending",
    metadata,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("sms_activity_id", Text),
    Column("digest", LargeBinary),
    Column("fact", Text),  # JSON: {"message", "type", "fields"}
)

# What the schema says of itself to releases that do not know it (see ``releases``).
schema_releases = Table(
    "schema_releases",
    metadata,
    Column("revision", Text, primary_key=True),
    Column("sequence", Integer, nullable=False),
    # The sequence of the oldest revision whose code can use the schema from this one on.
    Column("compatible_from", Integer, nullable=False),
    Column("breaking", Text),  # why older code cannot
    Column("applied_at", UtcTime),  # null: a migration announces it, and is about to begin
)
# What the journals of the processes are compared with (docs/architecture.md, "The journal").
#
# An incarnation is the database between two moments at which it forgot something. The first to
# notice writes the next row.
incarnations = Table(
    "incarnations",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("nonce", Uuid, nullable=False, unique=True),
    Column("generation", Text, nullable=False),  # which server, timeline and start it was seen in
    Column("last_event", BigInteger, nullable=False),  # none later is known to the one before
    Column("begun_at", UtcTime, nullable=False),
    Column("noticed_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("released_at", UtcTime),  # an operator says: wait for nobody any more
)
# One row for each journal, that is for each process that runs or has died; a stop says so.
processes = Table(
    "processes",
    metadata,
    Column("name", Text, primary_key=True),  # the journal's folder
    Column("host", Text, nullable=False),
    Column("beat", Uuid, nullable=False),  # swapped every second
    Column("mark", Uuid),  # the newest: what the journal has before it is in the database
    Column("knows", Text, nullable=False),  # names of the others that it would wait for
    Column("incarnation", Uuid),  # in which it has brought back everything; null: in none yet
    Column("last_event", BigInteger, nullable=False),  # the newest event at the last beat
    Column("is_stopped", Integer, nullable=False, server_default=text("0")),
    Column("seen_at", UtcTime, nullable=False),  # by the database's clock
)
# At most one row: nothing that is queued is sent, by any process.
queue_holds = Table(
    "queue_holds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("held_at", UtcTime, nullable=False),
    Column("held_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
# What an operator settled: messages of before that were QUEUED became UNCONFIRMED.
queue_settlements = Table(
    "queue_settlements",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("before", UtcTime, nullable=False),
    Column("settled_at", UtcTime, nullable=False),
    Column("settled_by", Text, nullable=False),
)

# One row: what all processes together knew last, and whose turn it was to find out.
operations = Table(
    "operations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("turn", BigInteger, nullable=False),  # only grows, unless the database forgets
    Column("at", UtcTime, nullable=False),
    Column("state", Text, nullable=False),  # JSON
)
process_reports = Table(
    "process_reports",
    metadata,
    Column("id", Uuid, primary_key=True),  # of the process
    Column("at", UtcTime, nullable=False),
    Column("report", Text, nullable=False),  # JSON
)
# The last time of each alarm.
alarms = Table(
    "alarms",
    metadata,
    Column("name", Text, primary_key=True),
    Column("detail", Text, nullable=False),
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
)

# Who did what: appended only, but for erasures and purges.
audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),  # version 7: in the order of time
    Column("at", UtcTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("app", Text),  # the key's
    Column("address", Text),  # where the request came from
    Column("action", Text, nullable=False),
    Column("what", Text),  # the id of what was acted on
    Column("destination", Text),  # searched for, like the reference: erasures find them here
    Column("reference", Text),
    Column("details", Text),  # JSON
    Column("once", Text),  # of several entries that share it, one is kept
    Column("times", Integer, nullable=False, server_default=text("1")),
)
Index("audit_once", audit.c.once, unique=True)
Index("audit_by_who", audit.c.who, audit.c.id.desc())
Index("audit_by_app", audit.c.app, audit.c.id.desc())
Index("audit_by_action", audit.c.action, audit.c.id.desc())
Index("audit_by_what", audit.c.what, audit.c.id.desc())
Index("audit_by_time", audit.c.at)
Index(
    "audit_by_destination",
    audit.c.destination,
    postgresql_where=text("destination is not null"),
    sqlite_where=text("destination is not null"),
)
Index(
    "audit_by_reference",
    audit.c.reference,
    postgresql_where=text("reference is not null"),
    sqlite_where=text("reference is not null"),
)

# How far the record has been thinned out, and which process is at it.
retention = Table(
    "retention",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Uuid),  # texts: messages up to here were looked at
    Column("number", BigInteger),  # events: those up to here are deleted
    Column("done_at", UtcTime),
    Column("lease", Uuid),
    Column("lease_until", UtcTime),
)
# Messages that were passed over with their texts, since they were still waiting.
retention_waiting = Table("retention_waiting", metadata, Column("id", Uuid, primary_key=True))

erasures = Table(
    "erasures",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("requested_at", UtcTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("app", Text),
    Column("digest", LargeBinary),  # of the number, under DLR_ERASURE_KEY
    Column("number", Text),  # null once it is completed
    Column("counts", Text, nullable=False),  # JSON
    Column("erased_at", UtcTime),  # the database has nothing of it any more
    Column("completed_at", UtcTime),  # nor has any disk
    Column("lease", Uuid),
    Column("lease_until", UtcTime),
)
Index(
    "erasures_open",
    erasures.c.requested_at,
    postgresql_where=text("completed_at is null"),
    sqlite_where=text("completed_at is null"),
)
Index("erasures_by_digest", erasures.c.digest)

# What was erased: messages, rejected calls, entries of the audit, receipts of nobody. A database
# that was set back is erased once more by it, and bodies of receipts that come later are not kept.
erased = Table(
    "erased",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sms_activity_id", Text),
    Column("erased_at", UtcTime, nullable=False),
)
Index("erased_by_sms_activity_id", erased.c.sms_activity_id)
Index("erased_by_time", erased.c.erased_at)

# The disks that processes write to: each confirms what was erased from it.
disks = Table(
    "disks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("host", Text, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("root", Uuid),  # the folder that it is in, with those of other processes
)
erasure_confirmations = Table(
    "erasure_confirmations",
    metadata,
    Column("erasure_id", Uuid, ForeignKey("erasures.id", ondelete="CASCADE"), primary_key=True),
    Column("disk_id", Uuid, ForeignKey("disks.id", ondelete="CASCADE"), primary_key=True),
    Column("confirmed_at", UtcTime, nullable=False),
)
