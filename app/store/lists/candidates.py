"""Sources of candidates for a page of a list: indexes that give ids, newest first.

Candidates satisfy one filter, read from an index; the other filters are evaluated for one candidate
at a time. Statuses from SUBMITTED on are read from `deliveries`, our own from `messages`: one
branch for each status, since no plan for several at once, and none over both tables, stays fast.

The SQL depends on which filters are used, and not on their values: those are parameters by name.
Only the condition of a partial index is written as a literal: a generic plan cannot use such an
index for a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    text,
    true,
)

from app.model.search import MESSAGE_STATUSES, NON_FINAL, NOT_ACCEPTED, Search
from app.model.status import OWN, Status
from app.store.tables import deliveries, messages

TEXTS = ("reference", "destination", "origin")
COMMON = 20_000
"""If more references have one beginning, reading all messages, newest first, is as fast as reading
these from the index."""


@dataclass(frozen=True)
class Branch:
    """Ids from one index. ``where`` selects them; ``fits`` is evaluated for each.

    ``app`` is the column to narrow by; None if the branch is over all apps.
    """

    key: ColumnElement[Any]
    app: ColumnElement[str] | None
    where: tuple[ColumnElement[bool], ...] = ()
    fits: tuple[ColumnElement[bool], ...] = ()

    def some(self, *, app: ColumnElement[str] | None, above: bool) -> Select[Any]:
        """Any ``depth`` ids below ``below``, to be counted: unordered, as not every index has the
        order.
        """
        of_app = () if self.app is None else (self.app == app,)
        some = (
            select(self.key.label("id"))
            .where(*of_app, *self.where, self.key < bindparam("below"))
            .where(*([self.key >= bindparam("above")] if above else []))
            .limit(bindparam("depth"))
            .subquery()
        )
        return select(some.c.id)

    def newest(self, *, app: ColumnElement[str] | None, above: bool, below: bool) -> Select[Any]:
        """The newest ``depth`` ids, each with its place in the branch and whether it ``fits``."""
        of_app = () if self.app is None else (self.app == app,)
        place = func.row_number().over(order_by=self.key.desc())
        fits = and_(true(), *self.fits)
        first = (
            select(self.key.label("id"), place.label("place"), fits.label("fits"))
            .where(*of_app, *self.where)
            .where(*([self.key >= bindparam("above")] if above else []))
            .where(*([self.key < bindparam("below")] if below else []))
            .order_by(self.key.desc())
            .limit(bindparam("depth"))
            .subquery()
        )
        return select(first.c.id, first.c.place, first.c.fits)


@dataclass(frozen=True)
class Candidates:
    """Branches that together have every message that satisfies one filter, named ``satisfies``.

    ``depth``: how many are counted to see whether they are few, instead of the usual number.
    """

    satisfies: str
    branches: tuple[Branch, ...]
    is_per_app: bool = True
    depth: int | None = None


def candidates(search: Search, *, is_sqlite: bool) -> list[Candidates]:
    """The possible sources for a search, those first that usually have fewest; at least one."""
    found = [_by_text(name) for name in TEXTS if getattr(search, name) is not None]
    if search.destination_ends is not None:
        found.append(_by_last_digits())
    if search.reference_starts is not None:
        found.append(_by_beginning(is_sqlite=is_sqlite))
    if search.contradictory:
        found.append(_contradictory())
    if search.overdue:
        found.append(_overdue(search))
    elif search.statuses is not None:
        # Most messages end DELIVERED, and many have one origin; other statuses are rare.
        place = len(found) if Status.DELIVERED in search.statuses else 0
        found.insert(place, _by_status(search, search.statuses))
    elif not found and (search.status_from or search.status_to):
        found.append(_by_status(search, MESSAGE_STATUSES))
    if search.reference_starts is not None and len(found) == 1:
        found.append(_everything(search))  # for the case that most references begin like that
    return found or [_everything(search)]


def within(column: ColumnElement[Any], name: str, search: Search) -> list[ColumnElement[bool]]:
    """Conditions that a time lies in the range of this name: its start included, its end not."""
    start, end = f"{name}_from", f"{name}_to"
    return [
        *([column >= bindparam(start)] if getattr(search, start) else []),
        *([column < bindparam(end)] if getattr(search, end) else []),
    ]


def _by_text(name: str) -> Candidates:
    is_it = messages.c[name] == bindparam(name)
    return Candidates(name, (Branch(messages.c.id, messages.c.app, (is_it,)),))


def _by_last_digits() -> Candidates:
    """The index has the last four digits; more of them are compared for each candidate."""
    last = _sql("substr(destination, length(destination) - 3) = :last_digits")
    return Candidates("last digits", (Branch(messages.c.id, messages.c.app, (last,)),))


def _by_beginning(*, is_sqlite: bool) -> Candidates:
    """In the order of bytes, as in the index: PostgreSQL has operators of their own for that."""
    least, most = (">=", "<=") if is_sqlite else ("~>=~", "~<=~")
    reference = messages.c.reference
    within_it = (
        reference.is_not(None),
        reference.op(least, is_comparison=True)(bindparam("reference_starts")),
        reference.op(most, is_comparison=True)(bindparam("reference_until")),
    )
    branch = Branch(messages.c.id, messages.c.app, within_it)
    return Candidates("reference_starts", (branch,), depth=COMMON)


def _everything(search: Search) -> Candidates:
    if search.app is None:
        return Candidates("nothing", (Branch(messages.c.id, None),), is_per_app=False)
    return Candidates("nothing", (Branch(messages.c.id, messages.c.app),))


def _contradictory() -> Candidates:
    branch = Branch(deliveries.c.message_id, deliveries.c.app, (_sql("seen & 3 = 3"),))
    return Candidates("contradictory", (branch,))


def _by_status(search: Search, statuses: frozenset[Status]) -> Candidates:
    branches = [_of_status(status, search) for status in sorted(statuses)]
    by_iovox = sorted(statuses - OWN)
    if search.status_from and by_iovox:
        branches = [_prompt(branch) if branch.fits else branch for branch in branches]
        branches.append(_late(search, by_iovox))
    return Candidates("statuses", tuple(branches))


def _of_status(status: Status, search: Search) -> Branch:
    """Messages with one status. Its time is compared in the table that has it, before any join."""
    table, key, state, at = (
        (messages, messages.c.id, messages.c.state, messages.c.state_at)
        if status in NOT_ACCEPTED
        else (deliveries, deliveries.c.message_id, deliveries.c.status, deliveries.c.status_at)
    )
    is_it = state == literal_column(f"'{status}'")
    is_elsewhere = status is Status.SUBMITTED  # its time is the message's
    fits = () if is_elsewhere else tuple(within(at, "status", search))
    return Branch(key, table.c.app, (is_it,), fits)


def _prompt(branch: Branch) -> Branch:
    """The branch, limited to messages created since an hour before the range of status times."""
    if branch.key is not deliveries.c.message_id:
        return branch
    return replace(branch, where=(*branch.where, branch.key >= bindparam("oldest_prompt")))


def _late(search: Search, statuses: Sequence[Status]) -> Branch:
    """Older messages with a status in that range, which came late: these have their own index."""
    return Branch(
        deliveries.c.message_id,
        deliveries.c.app,
        (
            _sql("status_key % 1000000000000000000 > created_key + 7200000000"),
            *within(deliveries.c.status_at, "status", search),
            deliveries.c.message_id < bindparam("oldest_prompt"),
            deliveries.c.status.in_(statuses),
        ),
    )


def _overdue(search: Search) -> Candidates:
    """Messages under way that are older than ``overdue_after`` are nearly all overdue, and are read
    by status. Younger ones are overdue only if their expiry has passed, and are read by the index
    on that: by status would mean to read everything under way.
    """
    statuses = NON_FINAL if search.statuses is None else search.statuses
    branches = []
    for status in sorted(statuses):
        branch = _of_status(status, search)
        limits = [] if status in NOT_ACCEPTED else [branch.key < bindparam("oldest_fresh")]
        if status is Status.QUEUED:  # leaves out those scheduled for later
            limits.append(messages.c.next_attempt_at <= bindparam("now"))
        branches.append(replace(branch, where=(*branch.where, *limits)))
    if statuses - NOT_ACCEPTED:
        branches.append(_expired())
    return Candidates("nothing", tuple(branches))


def _expired() -> Branch:
    return Branch(
        deliveries.c.message_id,
        deliveries.c.app,
        (
            _sql("expires_at is not null"),
            _sql("status in ('SUBMITTED', 'ACKNOWLEDGED', 'BUFFERED')"),
            deliveries.c.expires_at >= bindparam("earliest_expiry"),
            deliveries.c.expires_at < bindparam("now"),
            deliveries.c.message_id >= bindparam("oldest_fresh"),
        ),
    )


def _sql(condition: str) -> ColumnElement[bool]:
    return text(condition)  # type: ignore[return-value]
