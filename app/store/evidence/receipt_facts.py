"""The facts of receipts, written where their rows are: one statement of PostgreSQL for a batch.

They are most of the log. Read, made and written by this process they cost it a quarter of what a
receipt does (docs/performance.md). Their form is docs/evidence.md's; the one that
``app.record.evidence.facts`` writes elsewhere is the same, which a test compares. Random bytes come
from the caller, as this PostgreSQL has none but those of a UUID.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

RANDOM_SIZE = 64
"""Random bytes for each fact: nonce and salt."""


class Taken(NamedTuple):
    """What was behind a position among the events."""

    events: int
    position: int
    """Of the last one."""
    leaves: bytes
    """The hashes of the facts that are appended by now, one behind the other."""
    messages: Collection[UUID]
    """Those of which the log may lack something else than receipts."""
    receipts: Sequence[tuple[str, bytes]]
    """Receipts of these: sms_activity_id and digest. They are not appended."""


_TIME = "to_char({} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

# $1: the position, $2: events at most, $3: the log, $4: its size, $5: its origin as JSON,
# $6: random bytes for so many. A message whose chain has its sms_activity_id lacks nothing but
# receipts. Of several of its receipts each needs the hash of the one before: a round of f for each.
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
-- a receipt that is gone was purged meanwhile
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
"""  # noqa: S608  ours


async def write_receipts(
    driver: Any, *, log: int, size: int, origin: str, position: int, limit: int, random: bytes
) -> Taken:
    """Append a fact for each receipt that an event behind ``position`` names, of those messages
    that the log has but for their receipts. ``origin`` is JSON.
    """
    events, last, hashes, messages, names, digests = await driver.fetchrow(
        WRITE_RECEIPTS, position, limit, log, size, origin, random
    )
    receipts = list(zip(names or (), digests or (), strict=True))
    return Taken(events, last or position, hashes or b"", messages or (), receipts)
