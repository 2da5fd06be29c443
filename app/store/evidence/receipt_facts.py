"""Makes and stores the facts of receipts inside PostgreSQL: one statement for a batch.

Most facts are of receipts, and PostgreSQL makes them three times as fast as this process would
(docs/performance.md). docs/evidence.md specifies their form; a test compares them byte by byte with
those that ``app.record.evidence.facts`` makes. Random bytes come from the caller: without an
extension PostgreSQL has no other source of them than UUIDs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

RANDOM_SIZE = 64
"""Random bytes for each fact: nonce and salt."""


class EventBatch(NamedTuple):
    """What the events behind a position name."""

    events: int
    """How many there were."""
    position: int
    """The id of the last one."""
    leaves: bytes
    """The leaf hashes of the facts that are stored already, concatenated."""
    messages: Collection[UUID]
    """Messages of which the log may lack more than receipts."""
    receipts: Sequence[tuple[str, bytes]]
    """Receipts whose facts are still to be made: sms_activity_id and digest."""


_TIME = "to_char({} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

# $1: the position, $2: the most events, $3: the log, $4: its size, $5: its origin as JSON,
# $6: RANDOM_SIZE bytes for each of $2. k: the events, with the last fact of each one's message.
# r: the text of each receipt's fact, but for its number and its predecessor's hash (head, tail), of
# messages that are attached in the log: of these it lacks nothing but receipts. f: the facts. It is
# recursive, since each fact needs the hash of the one before it: the n-th round makes the n-th
# receipt of every message. i: stores them.
WRITE_RECEIPTS = f"""
with recursive k as materialized (
  select e.*, f.number, f.hash, f.steps, coalesce(f.attached, false) attached
  from (
    select id, message_id, sms_activity_id, digest from events
    where id > $1 order by id limit $2) e
  left join lateral (
    select number, hash, steps, attached from evidence_facts
    where subject = '\\x6d'::bytea || uuid_send(e.message_id) order by number desc limit 1) f
  on true),
-- a receipt whose row is gone was purged since
r as materialized (
  select message_id, number, hash, steps, rank, place, substr(random, 33) salt,
    '{{"at":"' || {_TIME.format("at")} || '","body":' ||
      case when length(body) > 0
        then '"' || encode(sha256(substr(random, 33) || body), 'hex') || '"' else 'null' end ||
      ',"log":' || $5::text || ',"message":"' || message_id || '","nonce":"' ||
      encode(substr(random, 1, 32), 'hex') || '","number":' head,
    '","receipt":"' || id || '","received_at":"' || {_TIME.format("received_at")} ||
      '","sms_activity_id":' || to_json(sms_activity_id) || ',"status":' || to_json(status) ||
      ',"time_quality":"' || time_quality || '","type":"receipt","v":1}}' tail
  from (
    select *, substr($6::bytea, place * {RANDOM_SIZE} + 1, {RANDOM_SIZE}) random
    from (
      select *, row_number() over (partition by message_id order by place) rank
      from (
        select k.message_id, k.number, k.hash, k.steps, k.sms_activity_id, of_k.*,
          row_number() over ()::int - 1 place
        from k cross join lateral (
          select id, status, at, time_quality, received_at, body from receipts
          where sms_activity_id = k.sms_activity_id and digest = k.digest limit 1) of_k
        where k.attached and k.digest is not null) placed offset 0) ranked) drawn),
f as (
  select message_id, rank, place, number + 1 number, steps, salt, fact,
    sha256('\\x00'::bytea || convert_to(fact, 'UTF8')) hash
  from (
    select *, head || number + 1 || ',"previous":"' || encode(hash, 'hex') || tail fact
    from r where rank = 1) first
  union all
  select message_id, rank, place, number, steps, salt, fact,
    sha256('\\x00'::bytea || convert_to(fact, 'UTF8')) hash
  from (
    select r.message_id, r.rank, r.place, f.number + 1 number, r.steps, r.salt,
      r.head || f.number + 1 || ',"previous":"' || encode(f.hash, 'hex') || r.tail fact
    from f join r on r.message_id = f.message_id and r.rank = f.rank + 1) next),
i as (
  insert into evidence_facts (log, idx, subject, number, hash, fact, salts, steps, attached)
  select $3, $4 + place, '\\x6d'::bytea || uuid_send(message_id), number, hash, fact, salt, steps,
    true
  from f)
select (select count(*) from k), (select max(id) from k),
  (select string_agg(hash, ''::bytea order by place) from f),
  (select array_agg(distinct message_id) from k where not attached),
  (select array_agg(sms_activity_id order by id) from k where not attached and digest is not null),
  (select array_agg(digest order by id) from k where not attached and digest is not null)
"""  # noqa: S608  made of constants


async def write_receipts(
    driver: Any, *, log: int, size: int, origin: str, position: int, limit: int, random: bytes
) -> EventBatch:
    """Store a fact for each receipt that one of the first ``limit`` events behind ``position``
    names, if its message is attached in the log.

    ``origin`` is JSON; ``random``: RANDOM_SIZE bytes for each of ``limit``.
    """
    events, last, hashes, messages, names, digests = await driver.fetchrow(
        WRITE_RECEIPTS, position, limit, log, size, origin, random
    )
    receipts = list(zip(names or (), digests or (), strict=True))
    return EventBatch(events, last or position, hashes or b"", messages or (), receipts)
