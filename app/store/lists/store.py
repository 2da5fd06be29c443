"""Pages of messages, newest first. The cost of a page does not grow with the table.

A page is read from candidates that an index gives in order; the filters that the index does not
cover are evaluated for one candidate at a time, up to a bound. So a page may have fewer messages
than its limit, even none, while more follow its cursor: only if the filters combined hardly ever
occur together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.message import Record
from app.model.search import LAST_DIGITS, Search, id_lower_bound
from app.store.any_of import any_of
from app.store.engine import Database
from app.store.lists.candidates import candidates
from app.store.lists.pages import PageStatements
from app.store.records import JOINED, of_messages, record_of
from app.store.tables import deliveries, messages

CANDIDATES = (200, 2_000, 10_000)
"""How many are evaluated in the first, second and third statement for a page, where filters have to
be evaluated for each."""
CHEAP = 5
"""How many times more are, where a condition on the index's own table excludes most of them."""
PROBED = 1_000
"""Candidates that are counted to find the most selective filter."""
OLDER, YOUNGER = timedelta(seconds=30), timedelta(seconds=1)
"""How far ``created_at`` may lie before and after the time in the message's id."""
CLOCKS = timedelta(minutes=1)
"""How far a status's time may lie before its message's creation: iovox's clock is not ours."""
LATE = timedelta(hours=1)
"""The time from a message's creation after which its status is in the index of late ones."""
STATEMENTS_KEPT = 200
"""Combinations of filters whose statements are cached."""
_LAST = "\U0010ffff"
"""The last character in the order of bytes."""

# The apps that have messages, by a loose index scan: one seek for each app.
APPS = text("""
with recursive apps(app) as (
  select min(app) from messages
  union all
  select (select min(m.app) from messages m where m.app > apps.app) from apps
  where apps.app is not null)
select app from apps where app is not null
""")


@dataclass(frozen=True, slots=True)
class Page:
    """Records without their receipts. Older ones have ids below ``next``; None: no more follow."""

    records: Sequence[Record]
    next: UUID | None


class ListStore:
    """Reads only.

    ``overdue_after``: the age from which a message without expiry counts as overdue.
    ``candidates`` and ``probed`` bound what is read for one page.
    """

    def __init__(
        self,
        database: Database,
        *,
        overdue_after: timedelta,
        candidates: Sequence[int] = CANDIDATES,
        probed: int = PROBED,
    ) -> None:
        self._database = database
        self._overdue_after = overdue_after
        self._candidates = candidates
        self._probed = probed
        self._statements: dict[object, list[PageStatements]] = {}
        is_sqlite = database.is_sqlite
        self._details = of_messages(history=False, is_sqlite=is_sqlite).where(
            any_of(messages.c.id, "ids", is_sqlite=is_sqlite)
        )
        status = func.coalesce(deliveries.c.status, messages.c.state).label("status")
        self._by_status = (
            select(status)
            .select_from(JOINED)
            .where(any_of(messages.c.id, "ids", is_sqlite=is_sqlite))
        )

    async def page(self, search: Search, *, before: UUID | None, limit: int, now: datetime) -> Page:
        """Up to ``limit`` records whose ids lie below ``before``. Raises StoreUnavailable."""
        search = search.normalised()
        if search.statuses is not None and not search.statuses:
            return Page((), None)
        async with self._database.read() as connection:
            apps = await self._apps(connection, search)
            if not apps:
                return Page((), None)
            values = self._values(search, apps, before, now)
            statements = await self._choose(connection, search, len(apps), values)
            ids, following = await self._fill(connection, statements, values, limit)
            if not ids:
                return Page((), following)
            rows = await connection.execute(self._details, {"ids": ids})
            found = sorted(map(record_of, rows), key=_id, reverse=True)
        if search.statuses is not None:  # a status may have changed since its id was found
            found = [record for record in found if record.status in search.statuses]
        return Page(found, following)

    async def statuses(self, search: Search, *, most: int, now: datetime) -> Counter[str] | None:
        """The number of matches by status; None where there are ``most`` or more."""
        async with self._database.read() as connection:
            ids, following = await self._newest(connection, search, most, now)
            if following is not None or len(ids) >= most:
                return None
            rows = await connection.execute(self._by_status, {"ids": ids}) if ids else ()
            return Counter(row.status for row in rows)

    async def count(self, search: Search, *, most: int, now: datetime) -> int:
        """The number of matches, up to ``most``, among a bounded number of candidates."""
        async with self._database.read() as connection:
            ids, _ = await self._newest(connection, search, most, now)
            return len(ids)

    async def _newest(
        self, connection: AsyncConnection, search: Search, most: int, now: datetime
    ) -> tuple[list[UUID], UUID | None]:
        search = search.normalised()
        apps = await self._apps(connection, search)
        if not apps or (search.statuses is not None and not search.statuses):
            return [], None
        values = self._values(search, apps, None, now)
        statements = await self._choose(connection, search, len(apps), values)
        return await self._fill(connection, statements, values, most)

    async def every(
        self, search: Search, *, before: UUID | None, now: datetime, at_a_time: int
    ) -> AsyncGenerator[Sequence[Record]]:
        """All pages. Holds no connection while the caller processes one."""
        while True:
            page = await self.page(search, before=before, limit=at_a_time, now=now)
            yield page.records
            if page.next is None:
                return
            before = page.next

    async def _apps(self, connection: AsyncConnection, search: Search) -> Sequence[str]:
        if search.app is not None:
            return [search.app]
        return (await connection.execute(APPS)).scalars().all()

    async def _choose(
        self,
        connection: AsyncConnection,
        search: Search,
        apps: int,
        values: Mapping[str, Any],
    ) -> PageStatements:
        """The statements of the source with the fewest candidates. If all reach the usual bound: of
        one that does not reach a larger bound of its own, else of the first.
        """
        possible = self._possible(search, apps, above=values["above"] is not None)
        if len(possible) == 1:
            return possible[0]
        bounds = {"depth": self._probed, "below": values["below"] or UUID(int=2**128 - 1)}
        counts = [
            (await connection.execute(one.count, {**values, **bounds, **_depth(one)})).scalar_one()
            for one in possible
        ]
        for one, count in zip(possible, counts, strict=True):
            if one.probed and count < one.probed and min(counts) >= self._probed:
                return one
        return possible[counts.index(min(counts))]

    def _possible(self, search: Search, apps: int, *, above: bool) -> list[PageStatements]:
        many_apps = apps if self._database.is_sqlite else 0
        longer = len(search.destination_ends or "") > LAST_DIGITS
        shape = (_shape(search), longer, search.statuses, search.overdue, search.contradictory,
                 many_apps, above)  # fmt: skip
        if shape not in self._statements:
            if len(self._statements) >= STATEMENTS_KEPT:
                self._statements.clear()
            is_sqlite = self._database.is_sqlite
            self._statements[shape] = [
                PageStatements(search, source, apps=apps, above=above, is_sqlite=is_sqlite)
                for source in candidates(search, is_sqlite=is_sqlite)
            ]
        return self._statements[shape]

    def _values(
        self, search: Search, apps: Sequence[str], before: UUID | None, now: datetime
    ) -> dict[str, Any]:
        """Every parameter that a statement may have. The range of ids has a margin."""
        below = [
            before,
            search.created_to and id_lower_bound(search.created_to, OLDER),
            search.status_to and id_lower_bound(search.status_to, CLOCKS),
        ]
        return {
            **{field.name: getattr(search, field.name) for field in fields(search)},
            "above": search.created_from and id_lower_bound(search.created_from, -YOUNGER),
            "below": min((one for one in below if one is not None), default=None),
            "now": now,
            "latest_start": now - self._overdue_after,
            "oldest_fresh": id_lower_bound(now, -self._overdue_after),
            "earliest_expiry": now - self._overdue_after - OLDER,
            "oldest_prompt": search.status_from
            and id_lower_bound(search.status_from, -LATE - OLDER),
            "last_digits": search.destination_ends and search.destination_ends[-LAST_DIGITS:],
            "reference_until": search.reference_starts and search.reference_starts + _LAST,
            "apps": list(apps),
            **{f"app{place}": app for place, app in enumerate(apps)},
        }

    async def _fill(
        self,
        connection: AsyncConnection,
        statements: PageStatements,
        values: Mapping[str, Any],
        limit: int,
    ) -> tuple[list[UUID], UUID | None]:
        """The ids of a page, and the id below which the next page begins."""
        found: list[UUID] = []
        below = values["below"]
        for count in self._candidates if statements.evaluates_each else (limit + 1,):
            wanted = count * CHEAP if statements.evaluates_in_index else count
            depth = max(limit + 1, wanted // statements.branches)
            query = statements.first_page if below is None else statements.page
            given = {**values, "below": below, "depth": depth, "limit": limit + 1}
            rows = (await connection.execute(query, given)).all()
            below = rows[0].horizon
            found += [row.id for row in rows if row.id and (below is None or row.id >= below)]
            if len(found) > limit:
                return found[:limit], found[limit - 1]
            if below is None:
                break
        return found, below


def _depth(statements: PageStatements) -> dict[str, int]:
    return {"depth": statements.probed} if statements.probed else {}


def _shape(search: Search) -> tuple[bool, ...]:
    """Which filters are used, whatever their values."""
    return tuple(getattr(search, field.name) is not None for field in fields(search))


def _id(record: Record) -> int:
    return record.message.id.int if record.message else 0
