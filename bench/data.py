"""Messages as the service leaves them once iovox has accepted them, put there by plain SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import create_engine, insert

from app.model.status import microseconds
from app.store.tables import deliveries, events, messages
from bench import traffic
from tests.support.postgresql import PostgresServer

CHUNK = 500_000
"""Messages a statement: each must end well before psql's own time is up."""

# A message's number, its ids and when it was made. Behind the offset each is worked out once.
NUMBERED = f"""
from generate_series({{first}}::bigint, {{last}}) n,
lateral (select {traffic.SQL_HASH.format(n="n")} h offset 0) hash,
lateral (select {traffic.SQL_SID.format(h="h")} sid, {traffic.SQL_ID.format(n="n", h="h")} id,
  {traffic.SQL_CREATED_AT.format(n="n")} made_at offset 0) t
"""
REQUEST = (
    f"'{traffic.APP}', 'order-' || n, '{traffic.ORIGIN}', "
    f"'4477' || lpad((n % 100000000)::text, 8, '0'), '{traffic.TEXT}', made_at"
)
"""What the app asked for, in the order of REQUEST_COLUMNS."""
REQUEST_COLUMNS = "app, reference, origin, destination, message, created_at"
CREATED_KEY = traffic.SQL_CREATED_KEY.format(n="n")

# Just now, as it is where receipts come within seconds; whatever time their ids say.
_NOW = "lateral (select timestamptz '{just_now}' just_now) j"
_NOW_KEY = "(extract(epoch from just_now) * 2000000)::bigint"
_SUBMITTED = (
    f"""insert into messages (id, {REQUEST_COLUMNS}, state, state_at, sms_activity_id, submitted_at)
    select id, {REQUEST.replace("made_at", "just_now")}, 'SUBMITTED', just_now, sid, just_now
    {NUMBERED}, {_NOW}""",
    f"""insert into deliveries
      (sms_activity_id, message_id, app, status, created_key, submitted_key)
    select sid, id, '{traffic.APP}', 'SUBMITTED', {_NOW_KEY}, {_NOW_KEY} {NUMBERED}, {_NOW}""",
    f"""insert into events (message_id, app, sms_activity_id, status, at, recorded_at)
    select id, '{traffic.APP}', sid, 'SUBMITTED', just_now, just_now {NUMBERED}, {_NOW}""",
)


def submit_all(postgres: PostgresServer, database: str, first: int, count: int) -> None:
    """Messages ``first`` to ``first + count`` that iovox has accepted and sent no receipt of."""
    just_now = datetime.now(UTC) - timedelta(minutes=1)
    for start in range(first, first + count, CHUNK):
        last = min(start + CHUNK, first + count) - 1
        for statement in _SUBMITTED:
            filled = statement.format(first=start, last=last, just_now=just_now)
            postgres.execute(filled, database=database)
    settle(postgres, database)


def settle(postgres: PostgresServer, database: str) -> None:
    """Leave PostgreSQL nothing to do but what is measured."""
    postgres.execute("vacuum analyze", database=database)
    postgres.execute("checkpoint", database=database)


_WALKS = """
set enable_seqscan = off; set enable_bitmapscan = off; set max_parallel_workers_per_gather = 0;
select count(*) from (select id from messages order by id offset 0) m;
select count(*) from (select sms_activity_id from deliveries order by 1 offset 0) d;
select count(*) from (select digest from receipts
  order by sms_activity_id, digest offset 0) r
"""


def warm(postgres: PostgresServer, database: str) -> None:
    """Have the keys' indexes in PostgreSQL's cache, where some days of use would have put them."""
    postgres.execute(_WALKS, database=database)


def submit_all_to_sqlite(url: str, first: int, count: int) -> None:
    """The same in SQLite."""
    engine = create_engine(url)
    numbers = range(first, first + count)
    with engine.begin() as connection:
        for table, row in (
            (messages, _message_row),
            (deliveries, _delivery_row),
            (events, _event_row),
        ):
            connection.execute(insert(table), [row(number) for number in numbers])
    engine.dispose()


def _message_row(number: int) -> dict[str, object]:
    at = traffic.created_at(number)
    return {
        "id": traffic.message_id(number),
        "app": traffic.APP,
        "reference": f"order-{number}",
        "origin": traffic.ORIGIN,
        "destination": traffic.destination(number),
        "message": traffic.TEXT,
        "created_at": at,
        "state": "SUBMITTED",
        "state_at": at,
        "sms_activity_id": traffic.sms_activity_id(number),
        "submitted_at": at,
    }


def _delivery_row(number: int) -> dict[str, object]:
    key = 2 * microseconds(traffic.created_at(number))
    return {
        "sms_activity_id": traffic.sms_activity_id(number),
        "message_id": traffic.message_id(number),
        "app": traffic.APP,
        "status": "SUBMITTED",
        "created_key": key,
        "submitted_key": key,
    }


def _event_row(number: int) -> dict[str, object]:
    at = traffic.created_at(number)
    return {
        "message_id": traffic.message_id(number),
        "app": traffic.APP,
        "sms_activity_id": traffic.sms_activity_id(number),
        "status": "SUBMITTED",
        "at": at,
        "recorded_at": at,
    }
