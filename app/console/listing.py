"""What a search finds: one message, a list with counts, or nothing with a next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from app.console.query import GROUPS, SITUATIONS, Query
from app.console.writing import COUNTED
from app.errors import NotFound
from app.lookup.lookups import Lookups
from app.lookup.responses import MessageSummary
from app.model.search import MESSAGE_STATUSES, Search
from app.model.status import Status
from app.model.words import Words, words_of

PAGE = 50
COUNTED_TOGETHER = 2 * COUNTED
"""Matches up to which all are read once; of more, each group is counted by itself, which costs five
times as much where no index has the groups: ten million messages have a thousand of each last four
digits.
"""
GROUP_NAMES: Mapping[str, str] = {
    "delivered": "delivered",
    "waiting": "waiting",
    "failed": "failed",
    "unconfirmed": "unconfirmed",
    "unsent": "not sent",
}
"""As they are written above a list."""


@dataclass(frozen=True, slots=True)
class Group:
    """A count above the list: a link to the same search with this group alone."""

    name: str
    label: str
    count: int
    query: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A page of what was found by ``search``. ``next`` is where the next page begins."""

    search: Search
    messages: Sequence[MessageSummary]
    next: UUID | None
    total: int
    groups: Sequence[Group]


async def by_id(lookups: Lookups, words: str, sees: str | None) -> str | None:
    """The id under which the page of a message is, if the words are an id of either kind."""
    if not words or len(words) > 255:
        return None
    try:
        record = await lookups.find(words, sees)
    except NotFound:
        return None
    return str(record.message.id) if record.message else record.sms_activity_id


async def find(lookups: Lookups, query: Query, *, before: UUID | None) -> Found:
    """By the first reading of a search, and by the other one where that finds nothing."""
    search = query.search
    page = await lookups.page(search, before=before, limit=PAGE)
    if not page.records and query.otherwise is not None:
        other = await lookups.page(query.otherwise, before=before, limit=PAGE)
        if other.records:
            search, page = query.otherwise, other
    groups, total = await _groups(lookups, search, query.text)
    summaries = lookups.summaries(page.records, texts=False)
    return Found(search, summaries, page.next, total, groups)


async def _groups(lookups: Lookups, search: Search, text: str) -> tuple[list[Group], int]:
    """Counts by status, of the search without its own words about statuses."""
    every = replace(search, statuses=None)
    counts = await lookups.statuses(every, most=COUNTED_TOGETHER)
    if counts is not None:
        by_group = {name: _sum(counts, statuses) for name, statuses in GROUPS.items()}
    else:
        by_group = {
            name: await lookups.count(replace(every, statuses=statuses), most=COUNTED)
            for name, statuses in GROUPS.items()
        }
    total = COUNTED if counts is None else counts.total()
    bare = without_status(text)
    groups = [Group("all", "all", total, bare, search.statuses is None)]
    groups += [
        Group(name, GROUP_NAMES[name], count, f"{bare} status:{name}".strip(), is_current)
        for name, count in by_group.items()
        if (is_current := search.statuses == GROUPS[name]) or count
    ]
    for group in groups:
        if group.is_current:
            return groups, group.count
    # Narrowed to other statuses than those of a group.
    if counts is None:
        return groups, await lookups.count(search, most=COUNTED)
    return groups, _sum(counts, search.statuses or MESSAGE_STATUSES)


def without_status(text: str) -> str:
    """A search without the statuses that are counted; what it says of others stays."""
    words = []
    for word in text.split(" "):
        operator, found, names = word.lower().partition("status:")
        if not found or operator not in ("", "-"):
            words.append(word)
        elif kept := [name for name in names.split(",") if name in SITUATIONS]:
            words.append(f"{operator}status:{','.join(kept)}")
    return " ".join(words).strip()


def words_for(message: MessageSummary) -> Words:
    """The words of a list's entry."""
    return words_of(
        message.status,
        scheduled=message.send_at is not None
        and message.status_at is not None
        and message.send_at > message.status_at,
        contradictory=message.contradictory,
        overdue=message.overdue,
    )


def _sum(counts: Counter[str], statuses: frozenset[Status]) -> int:
    return sum(counts[status] for status in statuses & MESSAGE_STATUSES)
