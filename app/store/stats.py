"""Counts over a range of time, in one statement whose cost depends on the range alone.

Messages that iovox has accepted are read from `deliveries` by an index on app, status and id; the
rest from `messages` by their own states. Times to delivery come as a histogram of whole seconds
(iovox's times are no finer), so nothing is sorted and a month is a few thousand rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.model.london import offsets
from app.model.search import MESSAGE_STATUSES, NOT_ACCEPTED, id_lower_bound
from app.model.status import Status, microseconds
from app.store.engine import Database
from app.store.lists.store import APPS, OLDER, YOUNGER
from app.store.tables import deliveries, messages

PATIENCE = 60.0
"""Seconds for the statement: about what a month of a million messages a day takes."""
_SECOND = 2_000_000
"""A second in the unit of times in keys, which is half a microsecond."""
_TIME_OF_KEY = 10**18
"""A status_key modulo this is its time."""

Key = Callable[[bool], ColumnElement[Any]]
"""Makes the expression to group by; its argument says whether it is for SQLite."""


@dataclass(frozen=True, slots=True)
class Count:
    """A number of messages with one key and status. ``seconds``: submission to DELIVERED."""

    key: str | int | None
    status: str
    seconds: int | None
    messages: int


@dataclass(frozen=True, slots=True)
class HourCount:
    """A number of messages that were created in one hour and have all other fields in common."""

    hour: int
    app: str
    origin: str
    reason: str | None
    status: str
    seconds: int | None
    messages: int


class StatsStore:
    """Reads only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_hour(
        self, *, app: str | None, start: datetime, end: datetime
    ) -> Sequence[HourCount]:
        """Counts of the same messages as in ``counts``, grouped as roll-ups are.

        Raises StoreUnavailable.
        """
        statement = _by_hour(is_sqlite=self._database.is_sqlite)
        return [HourCount(*row) for row in await self._rows(statement, app, start, end)]

    async def counts(
        self, *, app: str | None, start: datetime, end: datetime, by: str
    ) -> Sequence[Count]:
        """Counts of messages created from ``start`` on and before ``end``; ``app`` None is all.

        ``by`` is one of hour, day, status, reason, origin and app; an hour in UTC and a day in
        London come as their number since 1970. Raises StoreUnavailable.
        """
        clocks = offsets(start, end) if by == "day" else None
        given = clocks and {
            "change": int(clocks.change.timestamp()),
            "before": int(clocks.before.total_seconds()),
            "after": int(clocks.after.total_seconds()),
        }
        statement = _by(by, is_sqlite=self._database.is_sqlite)
        return [Count(*row) for row in await self._rows(statement, app, start, end, given)]

    async def _rows(
        self,
        statement: Select[Any],
        app: str | None,
        start: datetime,
        end: datetime,
        given: Mapping[str, Any] | None = None,
    ) -> Sequence[Any]:
        range_: dict[str, Any] = {
            "start": start,
            "end": end,
            "start_key": 2 * microseconds(start),
            "end_key": 2 * microseconds(end),
            "above": id_lower_bound(start, -YOUNGER),
            "below": id_lower_bound(end, OLDER),
            "accepted": sorted(MESSAGE_STATUSES - NOT_ACCEPTED),
            "ours": sorted(NOT_ACCEPTED),
        }
        async with self._database.read(patience=PATIENCE) as connection:
            apps = [app] if app else (await connection.execute(APPS)).scalars().all()
            values = {**range_, **(given or {}), "apps": list(apps)}
            found: Sequence[Any] = (await connection.execute(statement, values)).all()
            return found


@cache
def _by(grouping: str, *, is_sqlite: bool) -> Select[Any]:
    return _statement({"key": _KEYS[grouping]}, is_sqlite=is_sqlite)


@cache
def _by_hour(*, is_sqlite: bool) -> Select[Any]:
    return _statement({name: _KEYS[name] for name in _OF_AN_HOUR}, is_sqlite=is_sqlite)


def _statement(keys: Mapping[str, tuple[Key, Key]], *, is_sqlite: bool) -> Select[Any]:
    """Counts, grouped by these keys, status and seconds; the columns are in this order."""
    of_ours = [key(is_sqlite).label(name) for name, (key, _) in keys.items()]
    of_accepted = [key(is_sqlite).label(name) for name, (_, key) in keys.items()]
    counted = _counted_on_sqlite if is_sqlite else _counted_on_postgresql
    parts = union_all(
        counted(_messages(of_ours), messages.c.app, messages.c.state, "ours"),
        counted(_deliveries(of_accepted), deliveries.c.app, deliveries.c.status, "accepted"),
    ).subquery()
    return select(parts)


def _messages(keys: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Messages that iovox has not accepted."""
    seconds = cast(null(), BigInteger).label("seconds")
    return select(*keys, messages.c.state.label("status"), seconds).where(
        _between(messages.c.id, "above", "below"),
        _between(messages.c.created_at, "start", "end"),
        # The very condition of their partial index, so that the planner uses it.
        messages.c.state != literal_column("'SUBMITTED'"),
    )


def _deliveries(keys: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Messages that iovox has accepted."""
    taken = deliveries.c.status_key % _TIME_OF_KEY - deliveries.c.submitted_key
    seconds = taken.op("/", precedence=8)(_SECOND)  # integer division, unlike SQLAlchemy's own
    delivered = case((deliveries.c.status == Status.DELIVERED, cast(seconds, BigInteger)))
    return select(*keys, deliveries.c.status.label("status"), delivered.label("seconds")).where(
        _between(deliveries.c.message_id, "above", "below"),
        _between(deliveries.c.created_key, "start_key", "end_key"),
    )


def _counted_on_sqlite(
    rows: Select[Any], app: ColumnElement[str], status: ColumnElement[str], statuses: str
) -> Select[Any]:
    of_apps = app.in_(bindparam("apps", expanding=True))
    of_statuses = status.in_(bindparam(statuses, expanding=True))
    every = rows.where(of_apps, of_statuses).subquery()
    return _by_all(every, every, rows.selected_columns.keys())


def _counted_on_postgresql(
    rows: Select[Any], app: ColumnElement[str], status: ColumnElement[str], statuses: str
) -> Select[Any]:
    apps = func.unnest(bindparam("apps", type_=ARRAY(Text))).table_valued("app")
    states = func.unnest(bindparam(statuses, type_=ARRAY(Text))).table_valued("status")
    # The index is on app, status and id: one seek for each pair, and nothing else is read.
    pairs = apps.render_derived(name="apps").join(states.render_derived(name="states"), true())
    mine = rows.where(app == literal_column("apps.app"), status == literal_column("states.status"))
    each = mine.offset(0).lateral("each")  # keeps the planner from a scan of the table
    return _by_all(each, pairs.join(each, true()), rows.selected_columns.keys())


def _by_all(rows: Any, source: FromClause, names: Sequence[str]) -> Select[Any]:
    columns = [rows.c[name] for name in names]
    counted = select(*columns, func.count().label("messages")).select_from(source)
    return counted.group_by(*columns)


def _between(column: ColumnElement[Any], start: str, end: str) -> ColumnElement[bool]:
    return and_(column >= bindparam(start), column < bindparam(end))


def _same(value: Callable[[], ColumnElement[Any]]) -> Key:
    return lambda _is_sqlite: value()


def _seconds_of_ours(is_sqlite: bool) -> ColumnElement[Any]:
    """The time of creation in seconds since 1970."""
    if is_sqlite:
        return cast(func.strftime("%s", messages.c.created_at), BigInteger)
    return cast(func.floor(func.date_part("epoch", messages.c.created_at)), BigInteger)


def _seconds_of_accepted(_is_sqlite: bool) -> ColumnElement[Any]:
    return cast(deliveries.c.created_key.op("/")(literal_column(str(_SECOND))), BigInteger)


def _hour(seconds: Key) -> Key:
    """The number of the hour since 1970, in UTC."""
    return lambda is_sqlite: seconds(is_sqlite).op("/")(literal_column("3600"))


def _london_day(seconds: Key) -> Key:
    """The number of London's day since 1970: a range is too short for two changes of its clocks."""

    def day(is_sqlite: bool) -> ColumnElement[Any]:
        moment = seconds(is_sqlite)
        before, change, after = (
            bindparam(name, type_=BigInteger) for name in ("before", "change", "after")
        )
        wall = cast(moment + case((moment < change, before), else_=after), BigInteger)
        return wall.op("/")(literal_column("86400"))

    return day


def _origin_of_accepted() -> ColumnElement[Any]:
    mine = messages.alias("mine")
    origin = select(mine.c.origin).where(mine.c.id == deliveries.c.message_id)
    return origin.correlate(deliveries).scalar_subquery()


_NOTHING = _same(lambda: cast(null(), Text))
_KEYS: Mapping[str, tuple[Key, Key]] = {
    "status": (_NOTHING, _NOTHING),
    "reason": (_NOTHING, _same(lambda: deliveries.c.reason)),
    "origin": (_same(lambda: messages.c.origin), _same(_origin_of_accepted)),
    "app": (_same(lambda: messages.c.app), _same(lambda: deliveries.c.app)),
    "hour": (_hour(_seconds_of_ours), _hour(_seconds_of_accepted)),
    "day": (_london_day(_seconds_of_ours), _london_day(_seconds_of_accepted)),
}
_OF_AN_HOUR = ("hour", "app", "origin", "reason")
