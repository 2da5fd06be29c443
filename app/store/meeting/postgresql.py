"""RECEIVE, MEET and BIND: the statements where a message meets its receipts, for PostgreSQL.

Locks are taken in one order everywhere: receipts (by id and digest), deliveries (by
sms_activity_id), messages (by id), and last, only if there is an event to write, the advisory lock
that makes the order of events the order of commits. docs/architecture.md says what breaks without
each of them. READ COMMITTED is assumed.

Messages are locked "for no key update": their keys never change. A resend locks the key of the
message that it refers to (a foreign key) at the end of its statement, after the event lock, and
"for update" would make the two deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.model.status import DELIVERED_FLAG, FAILED_FLAG
from app.store.events import EVENT_LOCK

MOST_ARRIVALS_KEPT = 100
"""Ids of repeated arrivals that are kept for each receipt, the latest ones: a spool may still
replay those. A replay of an older one is counted once more."""

_US = "interval '1 microsecond'"

_BOTH = DELIVERED_FLAG | FAILED_FLAG
_IS_CONTRADICTORY = f"seen & {_BOTH} = {_BOTH}"
"""A condition on `deliveries`. A contradictory message is DELIVERED, so among its events only those
of that status are contradictory."""

# The parameter is one array of a composite type, with an element for each receipt in the order of
# arrival. With an array for each of the fourteen columns asyncpg examined every element, which took
# 9 % of the service's CPU. Times are microseconds since 1970, which asyncpg encodes faster than
# datetimes (docs/performance.md).
_COLUMNS = f"""id, sid, digest, status, key, timestamptz 'epoch' + at * {_US} as at,
    timestamptz 'epoch' + received_at * {_US} as received_at, body, hint, flag, delivery_status,
    status_reason, receipt_timestamp, time_quality, ord"""
_ARRIVALS = """unnest($1::arrived_receipt[]) with ordinality
    t(id, sid, digest, status, key, at, received_at, body, hint, flag, delivery_status,
      status_reason, receipt_timestamp, time_quality, ord)"""


# The body of a receipt of an erased message is not stored. `erased` has few rows with an
# sms_activity_id, so looking it up costs little.
_BODY = """case when exists (select from erased x where x.sms_activity_id = sid)
    then ''::bytea else body end"""


@dataclass(frozen=True, slots=True)
class _Batch:
    """The parts of RECEIVE that depend on whether a batch repeats an sms_activity_id."""

    arrivals: str
    """The CTE b, which has every arrival once."""
    receipts: str
    """The name of the CTE that has every receipt once."""
    also: str
    """The ids of the receipt's further arrivals in the batch."""
    times_seen: str
    best_before: str
    """The greatest key among the receipts of the same id that precede it in the batch."""
    one_per_id: str
    """Picks one row for each sms_activity_id, the one with the greatest key."""
    flags: str
    """The flags of all receipts of the id."""


_ANY = _Batch(
    arrivals=f"""b as materialized (
  select distinct on (id) {_COLUMNS} from {_ARRIVALS} order by id, ord),
f as materialized (
  select distinct on (sid, digest) *, array_agg(id) over same ids,
    bool_or(hint is not null) over same named
  from b window same as (partition by sid, digest) order by sid, digest, ord)""",
    receipts="f",
    also="nullif(array_remove(ids, id), '{}')",
    times_seen="cardinality(ids)",
    best_before="""max(key) over (partition by sid order by ord
    rows between unbounded preceding and 1 preceding)""",
    one_per_id="distinct on (sid)",
    flags="bit_or(flag) over (partition by sid)",
)
# In most batches no two receipts have the same id. PostgreSQL does not know that, and would sort
# and compare all the same (docs/performance.md has what this saves).
_DISTINCT_IDS = _Batch(
    arrivals=f"""b as materialized (select {_COLUMNS}, hint is not null named from {_ARRIVALS})""",
    receipts="b",
    also="null",
    times_seen="1",
    best_before="null::bigint",
    one_per_id="",
    flags="flag",
)


def _receive(of: _Batch) -> str:
    """All of RECEIVE but its final select. Its CTEs, in the order of locks:

    b: arrivals (f: receipts, each once); r: receipts inserted or counted; fresh: what can change a
    delivery; u: deliveries updated; judged: which receipts raise the status; p: the evidence log's
    queue; due: events to write; need: pairs that BIND has to process; k: their messages, locked;
    l: the event lock, taken after these; e: events.
    """
    return f"""
with {of.arrivals},
r as (
  insert into receipts (id, sms_activity_id, digest, status, status_key, delivery_status,
    status_reason, receipt_timestamp, at, time_quality, received_at, body, message_hint, also,
    times_seen)
  select id, sid, digest, status, key, delivery_status, status_reason, receipt_timestamp, at,
    time_quality, received_at, {_BODY}, hint, {of.also}, {of.times_seen}
  from {of.receipts} order by sid, digest
  on conflict (sms_activity_id, digest) do update set (also, times_seen) = (
    select (array_agg(a order by a desc))[1:{MOST_ARRIVALS_KEPT}],
      count(*) + receipts.times_seen - coalesce(cardinality(receipts.also), 0)
    from (select distinct a from unnest(receipts.also || excluded.also || excluded.id) a
          where a <> receipts.id) every),
    -- one that is replayed from a spool may have arrived earlier
    received_at = least(receipts.received_at, excluded.received_at)
  where excluded.id <> receipts.id or excluded.also is not null
  returning id, xmax = 0 is_new),
fresh as materialized (
  select *, {of.best_before} best_before
  from (
    -- a repetition raises no status, but it may be the first to name its message
    select sid, digest, is_new, ord, status, at, status_reason, received_at,
      case when r.id is null then 0 else key end key,
      case when r.id is null then 0 else flag end flag
    from {of.receipts} left join r using (id) where r.id is not null or named) z),
u as (
  insert into deliveries (sms_activity_id, status, status_key, status_at, reason, seen,
    received_at)
  select {of.one_per_id} sid, case when key > 0 then status else 'UNKNOWN' end, key,
    case when key > 0 then at end, case when key > 0 then status_reason end,
    {of.flags}, received_at
  from fresh order by sid, key desc
  on conflict (sms_activity_id) do update set
    prev_key = deliveries.status_key,
    seen = deliveries.seen | excluded.seen,
    status = case when excluded.status_key > deliveries.status_key
      then excluded.status else deliveries.status end,
    status_at = case when excluded.status_key > deliveries.status_key
      then excluded.status_at else deliveries.status_at end,
    reason = case when excluded.status_key > deliveries.status_key
      then excluded.reason else deliveries.reason end,
    status_key = greatest(deliveries.status_key, excluded.status_key),
    -- only serves the list of unmatched ids
    received_at = coalesce(deliveries.received_at,
      case when deliveries.message_id is null then excluded.received_at end)
  where excluded.status_key > deliveries.status_key
    or deliveries.seen | excluded.seen <> deliveries.seen or deliveries.message_id is null
  returning sms_activity_id sid, message_id, app, prev_key, status, status_key, status_at, seen),
judged as materialized (
  select sid, x.digest, x.is_new, u.message_id, u.app, x.status, x.at, x.ord,
    {_IS_CONTRADICTORY} and x.flag = {DELIVERED_FLAG} contradictory,
    coalesce(u.app is not null and x.key > greatest(u.prev_key, coalesce(x.best_before, 0)), false)
      is_due
  from fresh x left join u using (sid)),
-- the evidence log, if there is one, finds new receipts by their events, and those without one here
p as (
  insert into evidence_pending (sms_activity_id, digest)
  select sid, digest from judged
  where is_new and not is_due and exists (select from evidence_logs where ended_at is null)),
due as materialized (
  select message_id, app, sid, status, at, ord, contradictory, false status_stays, digest
  from judged where is_due
  union all
  -- the row was updated though its status stays, so its flags changed: it became contradictory now
  select message_id, app, sid, status, status_at, 0, true, true, null
  from u where app is not null and status_key = prev_key and {_IS_CONTRADICTORY}),
need as materialized (
  select x.hint, sid, min(x.ord) ord from b x join u using (sid)
  where x.hint <> u.message_id or (x.hint is not null and u.message_id is null)
  group by x.hint, sid),
k as materialized (
  select id from messages where id = any(array(select hint from need)) order by id
  for no key update),
l as materialized (
  select pg_advisory_xact_lock({EVENT_LOCK})
  from (select (select count(*) from due) n, (select count(*) from k) o offset 0) z
  where n > 0 and o >= 0),
e as (
  insert into events (message_id, app, sms_activity_id, status, at, recorded_at, contradictory,
    status_stays, digest)
  select message_id, app, sid, status, at, clock_timestamp(), contradictory, status_stays, digest
  from due cross join l order by ord)
"""


# Returns the (hint, sms_activity_id) pairs that BIND has to process in the same transaction.
RECEIVE = f"{_receive(_ANY)} select hint, sid from need order by ord"

# Most batches leave BIND nothing to do, so this one statement is their transaction: a third of the
# round trips (docs/performance.md). Where BIND has something to do, a division by zero rolls the
# statement back.
_FAIL_IF_ANY_TO_BIND = "select 1 / (case when exists (select from need) then 0 else 1 end)"
RECEIVE_WITHOUT_BIND = f"{_receive(_ANY)} {_FAIL_IF_ANY_TO_BIND}"
RECEIVE_DISTINCT_IDS = f"{_receive(_DISTINCT_IDS)} {_FAIL_IF_ANY_TO_BIND}"
"""RECEIVE_WITHOUT_BIND for batches in which no sms_activity_id is repeated."""

# Creates the deliveries or locks them ("where false" still locks). $1: sms_activity_ids.
MEET = """
insert into deliveries (sms_activity_id, status)
select distinct sid, 'SUBMITTED' from unnest($1::text[]) sid order by sid
on conflict (sms_activity_id) do update set status = deliveries.status where false
"""

SUBMITTED = """sms_activity_id = c.sid, state = 'SUBMITTED', state_at = c.at, submitted_at = c.at,
    lease = null, lease_until = null, next_attempt_at = null"""

# Its snapshot is younger than MEET's locks, so it sees every receipt that came first and writes
# their events itself. $1: message ids, $2: sms_activity_ids, $3: times of acceptance. It returns no
# row for a pair that is bound already, in conflict, cancelled, or without a message.
BIND = f"""
with k as materialized (
  select id, app from messages
  where id = any($1::uuid[]) and sms_activity_id is null and state <> 'CANCELLED'
  order by id for no key update),
c as materialized (
  select distinct on (sid) * from (
    select distinct on (k.id) k.id, k.app, t.sid, t.at, t.ord
    from unnest($1::uuid[], $2::text[], $3::timestamptz[]) with ordinality t(id, sid, at, ord)
      join k using (id) join deliveries d on d.sms_activity_id = t.sid
    where d.message_id is null order by k.id, t.ord) z
  order by sid, ord),
m as (
  update messages m set {SUBMITTED}
  from c where m.id = c.id
  returning m.id, m.app, m.created_at, m.expires_at, c.sid, m.submitted_at),
d as (
  update deliveries d set message_id = m.id, app = m.app, expires_at = m.expires_at,
    created_key = (extract(epoch from m.created_at) * 2000000)::bigint,
    submitted_key = (extract(epoch from m.submitted_at) * 2000000)::bigint,
    status = case when d.status_key = 0 then 'SUBMITTED' else d.status end
  from m where d.sms_activity_id = m.sid returning d.sms_activity_id sid, d.seen),
l as materialized (
  select pg_advisory_xact_lock({EVENT_LOCK}) from (select count(*) n from d) z where n > 0),
e as (
  insert into events (message_id, app, sms_activity_id, status, at, recorded_at, contradictory)
  select id, app, sid, status, at, clock_timestamp(),
    {_IS_CONTRADICTORY} and status = 'DELIVERED'
  from (
    select id, app, sid, 'SUBMITTED' status, submitted_at at, 0::bigint key from m
    union all
    select * from (
      select distinct on (m.sid, r.status_key) m.id, m.app, m.sid, r.status, r.at, r.status_key
      from m join receipts r on r.sms_activity_id = m.sid
      where r.status_key > 0 order by m.sid, r.status_key, r.digest) q) s
  join d using (sid) cross join l order by sid, key)
select id, sid from m
"""
