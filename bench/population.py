"""A database as a long time of use leaves it: messages that ended, in all the ways they end.

Two receipts a message, and its events. Of a thousand messages, six never came to receipts: they are
our own, or iovox sent none. The oldest are still without a receipt: what a window sends them for.
Were they the newest, every list would begin with thousands of them.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from app.record.rollups import Roller
from app.store.engine import Database
from app.store.retention import RetentionStore
from app.store.rollups import RollupStore
from app.store.stats import StatsStore
from bench import servers, traffic
from bench.bulk import Filling, fill
from bench.data import CREATED_KEY, NUMBERED, REQUEST, REQUEST_COLUMNS, settle, warm
from tests.support.postgresql import PostgresServer

CHUNK = 250_000
"""Messages a statement."""
BULKY = 200_000
"""Receipts from which on the indexes are built afterwards."""
BYTES_PER_RECEIPT = 1_600
"""Of disk, with everything that goes with it."""

WITH_RECEIPTS = 994
"""Of a thousand."""
LATE = 500
"""The one in a thousand whose last receipt came two hours later."""

# Up to which place in the thousand a message's two receipts had these statuses.
_ENDINGS = (
    (1, "FAILED", "DELIVERED"),  # contradictory
    (31, "ACKNOWLEDGED", "FAILED"),
    (41, "ACKNOWLEDGED", "EXPIRED"),
    (46, "ACKNOWLEDGED", "BUFFERED"),
    (1000, "ACKNOWLEDGED", "DELIVERED"),
)
_RANKS = {"ACKNOWLEDGED": 1, "BUFFERED": 1, "FAILED": 2, "EXPIRED": 2, "DELIVERED": 3}
_TIES = ("BUFFERED", "FAILED")
_FIRST, _SECOND = (
    "case " + " ".join(f"when place < {end[0]} then '{end[step]}'" for end in _ENDINGS) + " end"
    for step in (1, 2)
)
_STATE = (
    "case place when 994 then 'REJECTED' when 995 then 'REJECTED' when 996 then 'UNCONFIRMED' "
    "when 997 then 'CANCELLED' when 998 then 'UNSENT' else 'SUBMITTED' end"
)
_KEY = (
    "(case status "
    + " ".join(f"when '{status}' then {rank}" for status, rank in _RANKS.items())
    + f" end) * 1000000000000000000 + {CREATED_KEY} + after::bigint * 2000000"
    + f" + (status in {_TIES})::int"
)
_PLACED = f"{NUMBERED}, lateral (select (n % 1000)::int place, n >= {{known}} has_ended) p"
_AFTER = f"case place when {LATE} then 7200 else 18 end"
_RECEIPTS_OF = f"""{_PLACED}, lateral (values (1, {_FIRST}, 9), (2, {_SECOND}, {_AFTER}))
  r(step, status, after)
where has_ended and place < {WITH_RECEIPTS}"""
_HAS_SID = "(place < 994 or place = 999 or not has_ended)"
_AT = "made_at + after * interval '1 s'"

_MESSAGES = f"""
insert into messages (id, {REQUEST_COLUMNS}, state, state_at, sms_activity_id, submitted_at)
select id, {REQUEST}, case when {_HAS_SID} then 'SUBMITTED' else {_STATE} end, made_at,
  case when {_HAS_SID} then sid end, case when {_HAS_SID} then made_at end {_PLACED}
"""
_DELIVERIES = f"""
insert into deliveries (sms_activity_id, message_id, app, created_key, submitted_key, reason,
  status, status_key, status_at, seen)
select sid, id, '{traffic.APP}', {CREATED_KEY}, {CREATED_KEY}, reason,
  coalesce(status, 'SUBMITTED'), coalesce({_KEY}, 0), {_AT},
  case when status is null then 0 when place < 1 then 3 when status = 'DELIVERED' then 1
    when status in ('FAILED', 'EXPIRED') then 2 else 0 end
{_PLACED} left join lateral (
  select {_SECOND} status, '2' reason, {_AFTER} as after where has_ended and place < {WITH_RECEIPTS}
) r on true
where {_HAS_SID}
"""
_RECEIPTS = f"""
insert into receipts (sms_activity_id, digest, id, status, status_key, delivery_status,
  status_reason, receipt_timestamp, at, time_quality, received_at, body, message_hint)
select sid, uuid_send((step || substr(h, 2))::uuid), id, status, key, 'delivery report',
  step::text, stamp, at, 'exact', at,
  convert_to('{{{{"sms_activity_id": "' || sid || '", "delivery_status": "delivery report", '
    '"status_reason": "' || step || '", "receipt_timestamp": "' || stamp || '", "status": "'
    || status || '"}}}}', 'UTF8'), id
from (select h, id, sid, step, status, {_KEY} as key, {_AT} as at, left(({_AT})::text, 19) stamp
{_RECEIPTS_OF} offset 0) z
"""
_EVENTS = f"""
insert into events (message_id, app, sms_activity_id, status, at, recorded_at)
select id, '{traffic.APP}', sid, status, {_AT}, {_AT}
{_PLACED}, lateral (values (0, 'SUBMITTED', 0), (1, {_FIRST}, 9), (2, {_SECOND}, {_AFTER}))
  r(step, status, after)
where {_HAS_SID} and (step = 0 or (has_ended and place < {WITH_RECEIPTS}))
"""


@dataclass(slots=True)
class Population:
    """The first ``known`` messages have no receipt yet, then come ``messages`` that have ended.

    ``key`` may read; ``next_known`` is the first that no window has sent a receipt of.
    """

    database: str
    messages: int
    receipts: int
    known: int
    key: str
    next_known: int = 0


def populate(
    postgres: PostgresServer, database: str, receipts: int, known: int, say: Callable[[str], None]
) -> Population:
    """Fill an empty, migrated database; ``known``: messages without receipts yet."""
    ended = -(-receipts * 1000 // (2 * WITH_RECEIPTS))
    needed, free = receipts * BYTES_PER_RECEIPT, shutil.disk_usage(postgres.folder).free
    if free < needed:
        raise RuntimeError(
            f"{receipts:,} receipts need {needed / 1e9:.0f} GB in {postgres.folder.parent}, where "
            f"{free / 1e9:.0f} GB are free; --big takes a smaller number"
        )
    say(f"loading {receipts:,} receipts")
    fillings = [
        Filling(table, _chunks(statement, ended, known))
        for table, statement in (
            ("receipts", _RECEIPTS),
            ("events", _EVENTS),
            ("messages", _MESSAGES),
            ("deliveries", _DELIVERIES),
        )
    ]
    if receipts >= BULKY:
        fill(postgres, database, fillings, say)
    else:
        for filling in fillings:
            for statement in filling.statements:
                postgres.execute(statement, database=database)
        settle(postgres, database)
    say("counting roll-ups")
    asyncio.run(_roll(postgres.url(database)))
    warm(postgres, database)
    scopes = ("--scope", "read")
    key = servers.dlr(["keys", "create", traffic.APP, *scopes], postgres.url(database))
    found = int(postgres.execute("select count(*) from receipts", database=database))
    return Population(database, ended, found, known, key)


async def _roll(url: str) -> None:
    """As the worker would have, while the table grew."""
    database = Database(url)
    store = RollupStore(database, StatsStore(database))
    await Roller(store, RetentionStore(database), rest=0).run_once()
    await database.close()


def _chunks(statement: str, ended: int, known: int) -> list[str]:
    total = ended + known
    return [
        statement.format(first=start, last=min(start + CHUNK, total) - 1, known=known)
        for start in range(0, total, CHUNK)
    ]
