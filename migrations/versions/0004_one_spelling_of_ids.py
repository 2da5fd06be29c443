"""One spelling of each sms_activity_id: stored ids in other spellings are converted to it.

A padded id is trimmed, and a UUID in upper case or braces becomes the one in lower case. Rows whose
ids become equal are merged as if their receipts had come under that id in the first place: the status
with the greatest key, the flags of all, each receipt once with its arrivals added up, and the events
that its message is missing. Two messages never share an id: the later one keeps its spelling.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0004_one_spelling"
down_revision = "0003_telling"
branch_labels = None
depends_on = None

locks = (
    "nothing where each id has its one spelling already; otherwise receipts, deliveries, messages and"
    " events: SHARE ROW EXCLUSIVE (writers wait) until the others are brought along"
)
loses = None  # the old spellings are in the receipts' bytes, and the old code reads the new ones

Columns = dict[str, Any]

_EVENT_LOCK = 7001
_MOST_ARRIVALS_KEPT = 100
_AT_ONCE = 1_000

# Conditions that match every id in another spelling, and some others; `_one_spelling` decides.
_SUSPECT = {
    "postgresql": """(sms_activity_id collate "C") ~ '^[^!-~]|[^!-~]$'
        or (length(sms_activity_id) >= 36 and (sms_activity_id collate "C") ~ '[A-F{].*-|-.*[A-F]')""",
    "sqlite": """sms_activity_id glob '[^!-~]*' or sms_activity_id glob '*[^!-~]'
        or (length(sms_activity_id) >= 36 and sms_activity_id glob '*[A-F{]*'
            and sms_activity_id glob '*-*')""",
}

_UUID = re.compile(
    r"(?P<brace>\{)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?(brace)\})",
    re.ASCII | re.IGNORECASE,
)

_time = sa.DateTime(timezone=True)
respelt = sa.Table(
    "respelt",
    sa.MetaData(),
    sa.Column("old", sa.Text(), primary_key=True),
    sa.Column("new", sa.Text(), nullable=False, index=True),
    prefixes=["temporary"],
)
messages = sa.table(
    "messages",
    sa.column("id", sa.Uuid()),
    sa.column("sms_activity_id", sa.Text()),
    sa.column("submitted_at", _time),
)
deliveries = sa.table(
    "deliveries",
    sa.column("sms_activity_id", sa.Text()),
    sa.column("message_id", sa.Uuid()),
    sa.column("app", sa.Text()),
    sa.column("expires_at", _time),
    sa.column("created_key", sa.BigInteger()),
    sa.column("submitted_key", sa.BigInteger()),
    sa.column("reason", sa.Text()),
    sa.column("status", sa.Text()),
    sa.column("status_key", sa.BigInteger()),
    sa.column("status_at", _time),
    sa.column("seen", sa.Integer()),
    sa.column("received_at", _time),
)
receipts = sa.table(
    "receipts",
    sa.column("sms_activity_id", sa.Text()),
    sa.column("digest", sa.LargeBinary()),
    sa.column("id", sa.Uuid()),
    sa.column("status", sa.Text()),
    sa.column("status_key", sa.BigInteger()),
    sa.column("at", _time),
    sa.column("received_at", _time),
    sa.column("also", ARRAY(sa.Uuid()).with_variant(sa.Text(), "sqlite")),
    sa.column("times_seen", sa.Integer()),
)
events = sa.table(
    "events",
    sa.column("message_id", sa.Uuid()),
    sa.column("app", sa.Text()),
    sa.column("sms_activity_id", sa.Text()),
    sa.column("status", sa.Text()),
    sa.column("at", _time),
    sa.column("recorded_at", _time),
)
_tables = (receipts, deliveries, messages, events)  # in the order of their locks


def upgrade() -> None:
    bind = op.get_bind()
    if not _other_spellings(bind):
        return
    if bind.dialect.name == "postgresql":
        # Writers wait: a receipt that came under an old spelling meanwhile would be left behind.
        for table in _tables:
            bind.execute(sa.text(f"lock table {table.name} in share row exclusive mode"))
    spelt = _other_spellings(bind)
    respelt.create(bind)
    rows = [{"old": old, "new": new} for old, new in spelt.items()]
    for start in range(0, len(rows), _AT_ONCE):
        bind.execute(sa.insert(respelt), rows[start : start + _AT_ONCE])
    told: list[Columns] = []
    for new in _shared_ids(bind):
        olds = bind.execute(sa.select(respelt.c.old).where(respelt.c.new == new)).scalars().all()
        told += _merge(bind, new, olds)
        bind.execute(sa.delete(respelt).where(respelt.c.new == new))
    for table in _tables:
        old = table.c.sms_activity_id
        found = sa.select(respelt.c.new).where(respelt.c.old == old).scalar_subquery()
        these = old.in_(sa.select(respelt.c.old))
        bind.execute(sa.update(table).where(these).values(sms_activity_id=found))
    respelt.drop(bind)
    _tell(bind, told)


def downgrade() -> None:
    """Nothing: the old spellings are in the receipts' bytes, and the old code reads the new ones."""


def _one_spelling(sms_activity_id: str) -> str:
    trimmed = sms_activity_id.strip()
    match = _UUID.fullmatch(trimmed)
    return match[2].lower() if match else trimmed


def _other_spellings(bind: sa.Connection) -> dict[str, str]:
    """Every stored id that is in another spelling, with the one that it gets."""
    spelt: dict[str, str] = {}
    for table in _tables:
        suspect = sa.text(_SUSPECT[bind.dialect.name])
        query = sa.select(table.c.sms_activity_id).distinct().where(suspect)
        for old in bind.execute(query).scalars():
            new = _one_spelling(old)
            if new != old:
                spelt[old] = new
    return spelt


def _shared_ids(bind: sa.Connection) -> list[str]:
    """The ids that more than one spelling becomes, or that exist already."""
    counts = sa.select(respelt.c.new).group_by(respelt.c.new).having(sa.func.count() > 1)
    shared: set[str] = set(bind.execute(counts).scalars())
    for table in (receipts, deliveries, messages):
        there = sa.select(respelt.c.new).where(respelt.c.new == table.c.sms_activity_id)
        shared.update(bind.execute(there.distinct()).scalars())
    return sorted(shared)


def _merge(bind: sa.Connection, new: str, olds: Sequence[str]) -> list[Columns]:
    """Merge all spellings of one id; returns the events that its message is owed."""
    spellings = {new, *olds}
    rows = bind.execute(sa.select(messages).where(messages.c.sms_activity_id.in_(spellings)))
    owners = sorted(rows, key=lambda row: (row.sms_activity_id != new, row.submitted_at, row.id))
    spellings -= {row.sms_activity_id for row in owners[1:]}
    of_these = deliveries.c.sms_activity_id.in_(spellings)
    found = bind.execute(sa.select(deliveries).where(of_these)).all()
    bound = next((row for row in found if row.message_id is not None), None)
    told = _merge_receipts(bind, new, spellings, bound)
    if found:
        best = max(found, key=lambda row: (row.status_key, row is bound))
        merged = (bound or best)._asdict() | {
            "sms_activity_id": new,
            "status": best.status,
            "status_key": best.status_key,
            "status_at": best.status_at,
            "reason": best.reason,
            "seen": 0,
            "received_at": min(filter(None, (row.received_at for row in found)), default=None),
        }
        for row in found:
            merged["seen"] |= row.seen
        bind.execute(sa.delete(deliveries).where(of_these))
        bind.execute(sa.insert(deliveries), merged)
    for table in (messages, events):
        these = table.c.sms_activity_id.in_(spellings)
        bind.execute(sa.update(table).where(these).values(sms_activity_id=new))
    return told


def _merge_receipts(
    bind: sa.Connection, new: str, spellings: set[str], bound: sa.Row[Any] | None
) -> list[Columns]:
    rows = bind.execute(sa.select(receipts).where(receipts.c.sms_activity_id.in_(spellings))).all()
    by_digest: dict[bytes, list[sa.Row[Any]]] = {}
    for row in sorted(rows, key=lambda row: (row.sms_activity_id != new, row.received_at, row.id)):
        by_digest.setdefault(row.digest, []).append(row)
    for digest, (first, *others) in by_digest.items():
        this = (receipts.c.sms_activity_id == first.sms_activity_id) & (receipts.c.digest == digest)
        for row in others:
            same = (receipts.c.sms_activity_id == row.sms_activity_id) & (
                receipts.c.digest == digest
            )
            bind.execute(sa.delete(receipts).where(same))
        every = (first, *others)
        arrivals = {str(row.id) for row in every} | {one for row in every for one in _also(row)}
        also = sorted(arrivals - {str(first.id)}, reverse=True)[:_MOST_ARRIVALS_KEPT]
        values: Columns = {
            "sms_activity_id": new,
            "times_seen": sum(row.times_seen for row in every),
            "received_at": min(row.received_at for row in every),
        }
        if also != list(_also(first)):
            values["also"] = json.dumps(also) if bind.dialect.name == "sqlite" else also
        bind.execute(sa.update(receipts).where(this).values(values))
    if bound is None:
        return []
    # As BIND does: one event for each key above that of the status of its last event.
    raised = {
        row.status_key: row
        for row in sorted(rows, key=lambda row: row.digest, reverse=True)
        if row.status_key > bound.status_key
    }
    return [
        {
            "message_id": bound.message_id,
            "app": bound.app,
            "sms_activity_id": new,
            "status": row.status,
            "at": row.at,
        }
        for _, row in sorted(raised.items())
    ]


def _also(row: sa.Row[Any]) -> list[str]:
    if isinstance(row.also, str):
        return [str(one) for one in json.loads(row.also)]
    return [str(one) for one in row.also or ()]


def _tell(bind: sa.Connection, told: Sequence[Columns]) -> None:
    if not told:
        return
    now = datetime.now(UTC)
    if bind.dialect.name == "postgresql":
        bind.execute(sa.text(f"select pg_advisory_xact_lock({_EVENT_LOCK})"))
    else:
        now = now.replace(tzinfo=None)
    bind.execute(sa.insert(events), [{**one, "recorded_at": now} for one in told])
