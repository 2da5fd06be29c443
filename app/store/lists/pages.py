"""The statements behind a page of a list, built once for each combination of filters.

Building one costs more than running it, so values are parameters by name and the statements are
kept. The parameters' names are in ``candidates`` and ``_conditions``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.model.search import LAST_DIGITS, NON_FINAL, Search
from app.model.status import Status
from app.store.any_of import chunks
from app.store.lists.candidates import TEXTS, Branch, Candidates, within
from app.store.records import JOINED
from app.store.tables import deliveries, messages

LARGEST_UNION = 400
"""SQLite allows 500 terms."""


class PageStatements:
    """The statements of one search by one source of candidates.

    ``apps``: the number of apps; ``above``: whether ids have a lower bound.
    """

    def __init__(
        self, search: Search, source: Candidates, *, apps: int, above: bool, is_sqlite: bool
    ) -> None:
        self._source = source
        self._apps = apps
        self._above = above
        self._is_sqlite = is_sqlite
        conditions = _conditions(search, source)
        self.evaluates_each = bool(conditions)
        self.evaluates_in_index = any(branch.fits for branch in source.branches)
        self.probed = source.depth
        self.branches = len(source.branches) * (apps if source.is_per_app else 1)
        self.count = self._count()
        self.first_page = self._page(conditions, below=False)
        self.page = self._page(conditions, below=True)

    def _count(self) -> Select[Any]:
        """The number of candidates, counted up to ``depth``."""
        some = self._each(lambda branch, app: branch.some(app=app, above=self._above))
        some = select(some.c.id).limit(bindparam("depth")).subquery()
        return select(func.count()).select_from(some)

    def _page(self, conditions: Sequence[ColumnElement[bool]], *, below: bool) -> Select[Any]:
        """Up to ``limit`` ids that satisfy the conditions, each with the horizon.

        The horizon is the id down to which all candidates were evaluated; null if no candidate is
        left below. There is at least one row, so that it is returned without any id, too.
        """
        candidates = select(self._candidates(below=below)).cte("candidates")
        last = select(candidates.c.id).where(candidates.c.place == bindparam("depth"))
        horizon = select(
            last.order_by(candidates.c.id.desc()).limit(1).scalar_subquery().label("id")
        ).subquery("horizon")
        newest = select(candidates.c.id).where(candidates.c.fits)
        newest = newest.order_by(candidates.c.id.desc())
        page = self._passing(newest.subquery("newest"), conditions).subquery("page")
        return (
            select(horizon.c.id.label("horizon"), page.c.id)
            .select_from(horizon.outerjoin(page, true()))
            .order_by(page.c.id.desc())
        )

    def _passing(self, newest: Subquery, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
        query = select(newest.c.id).order_by(newest.c.id.desc()).limit(bindparam("limit"))
        if not conditions:
            return query
        one = select(messages.c.id).select_from(JOINED)
        one = one.where(messages.c.id == newest.c.id, *conditions).correlate(newest)
        if self._is_sqlite:
            return query.where(one.exists())
        # A lateral join evaluates one candidate after the other, newest first, until the page is
        # full. The offset keeps the planner from another order.
        return query.select_from(newest.join(one.offset(0).lateral("one"), true()))

    def _candidates(self, *, below: bool) -> Subquery:
        return self._each(
            lambda branch, app: branch.newest(app=app, above=self._above, below=below)
        )

    def _each(self, read: Callable[[Branch, ColumnElement[str] | None], Select[Any]]) -> Subquery:
        """The union of what is read of each branch for each app."""
        branches = self._source.branches
        if not self._source.is_per_app:
            return read(branches[0], None).subquery()
        if self._is_sqlite:
            names = [bindparam(f"app{place}", type_=Text) for place in range(self._apps)]
            return _united([read(branch, app) for app in names for branch in branches]).subquery()
        apps = func.unnest(bindparam("apps", type_=ARRAY(Text))).table_valued("app")
        app = literal_column("apps.app", Text)
        each = _united([read(branch, app) for branch in branches]).lateral("each")
        return (
            select(*each.c)
            .select_from(apps.render_derived(name="apps").join(each, true()))
            .subquery()
        )


def _united(terms: Sequence[Select[Any]]) -> Select[Any] | CompoundSelect[Any]:
    if len(terms) == 1:
        return terms[0]
    if len(terms) <= LARGEST_UNION:
        return union_all(*terms)
    parts = [union_all(*chunk).subquery() for chunk in chunks(terms, LARGEST_UNION)]
    return union_all(*(select(*part.c) for part in parts))


def _conditions(search: Search, source: Candidates) -> list[ColumnElement[bool]]:
    """The conditions that the source does not cover."""
    status = func.coalesce(deliveries.c.status, messages.c.state)
    wanted = [
        messages.c[name] == bindparam(name)
        for name in TEXTS
        if getattr(search, name) is not None and name != source.satisfies
    ]
    if search.statuses is not None and source.satisfies != "statuses":
        wanted.append(status.in_(sorted(search.statuses)))
    if search.contradictory is not None and source.satisfies != "contradictory":
        both = func.coalesce(deliveries.c.seen, 0).op("&")(3) == 3
        wanted.append(both if search.contradictory else ~both)
    if search.overdue is not None:
        wanted.append(_is_overdue() if search.overdue else ~_is_overdue())
    wanted += _parts(search, source)
    wanted += within(messages.c.created_at, "created", search)
    wanted += within(_status_at(), "status", search)
    return wanted


def _parts(search: Search, source: Candidates) -> list[ColumnElement[bool]]:
    """Conditions on parts of a number and of a reference, and on what is excluded."""
    wanted: list[ColumnElement[bool]] = []
    if search.destination_ends is not None and (
        source.satisfies != "last digits" or len(search.destination_ends) > LAST_DIGITS
    ):
        wanted.append(_ends(bindparam("destination_ends", type_=Text)))
    if search.reference_starts is not None and source.satisfies != "reference_starts":
        wanted.append(_starts(bindparam("reference_starts", type_=Text)))
    if search.not_destination_ends is not None:
        wanted.append(~_ends(bindparam("not_destination_ends", type_=Text)))
    if search.not_origin is not None:
        wanted.append(messages.c.origin != bindparam("not_origin"))
    if search.not_reference_starts is not None:
        wanted.append(~_starts(bindparam("not_reference_starts", type_=Text)))
    return wanted


def _ends(digits: ColumnElement[str]) -> ColumnElement[bool]:
    start = func.length(messages.c.destination) - func.length(digits) + 1
    return func.substr(messages.c.destination, start) == digits


def _starts(beginning: ColumnElement[str]) -> ColumnElement[bool]:
    reference = func.coalesce(messages.c.reference, "")
    return func.substr(reference, 1, func.length(beginning)) == beginning


def _is_overdue() -> ColumnElement[bool]:
    """Like ``Record.overdue``. Never null, so that its negation is everything else."""
    status = func.coalesce(deliveries.c.status, messages.c.state)
    starts_at = func.coalesce(messages.c.send_at, messages.c.created_at)
    has_passed = case(
        (messages.c.expires_at.is_not(None), messages.c.expires_at < bindparam("now")),
        else_=starts_at < bindparam("latest_start"),
    )
    return and_(status.in_(sorted(NON_FINAL)), has_passed)


def _status_at() -> ColumnElement[Any]:
    """Like ``Record.status_at``."""
    return case(
        (deliveries.c.status == Status.SUBMITTED, messages.c.submitted_at),
        (deliveries.c.status_at.is_(None), messages.c.state_at),
        else_=deliveries.c.status_at,
    )
