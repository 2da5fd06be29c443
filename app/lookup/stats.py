"""Aggregation of counts into groups, rates and percentiles. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from math import ceil
from typing import Any

from app.lookup.responses import SecondsToDelivery, Stats, StatsGroup
from app.model.event import rfc3339
from app.model.london import midnight
from app.model.status import Status
from app.store.stats import Count

MAX_GROUPS = 1_000
"""Groups in a response, the largest: origins and reasons are unbounded."""
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}

_DELIVERY_OUTCOMES = (Status.DELIVERED, Status.FAILED, Status.EXPIRED)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(1970, 1, 1)
_UNITS: Mapping[str, Callable[[int], datetime]] = {
    "hour": lambda number: _EPOCH + number * timedelta(hours=1),
    "day": lambda number: midnight(_FIRST_DAY + number * timedelta(days=1)),
}
"""When the hour of UTC, or London's day, of this number since 1970 begins."""


def summarise(counts: Sequence[Count], *, by: str, start: datetime, end: datetime) -> Stats:
    """The response. Groups are ordered by time, or the largest first."""
    if by == "status":
        counts = [Count(one.status, one.status, one.seconds, one.messages) for one in counts]
    groups: dict[str | int | None, list[Count]] = {}
    for one in counts:
        groups.setdefault(one.key, []).append(one)
    shown = sorted(groups.items(), key=lambda group: _sort_key(by, *group))[:MAX_GROUPS]
    return Stats(
        from_=start,
        to=end,
        by=by,
        groups=[StatsGroup(key=_key(by, key), **_figures(members)) for key, members in shown],
        groups_left_out=len(groups) - len(shown),
        **_figures(counts),
    )


def _figures(counts: Iterable[Count]) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    times: Counter[int] = Counter()
    for one in counts:
        statuses[one.status] += one.messages
        if one.seconds is not None:
            # iovox truncates times to seconds: a fast delivery may seem to precede its send.
            times[max(0, one.seconds)] += one.messages
    return {
        "messages": statuses.total(),
        "statuses": dict(sorted(statuses.items())),
        "delivery_rate": _delivery_rate(statuses),
        "seconds_to_delivery": SecondsToDelivery(**percentiles(times)),
    }


def _delivery_rate(statuses: Mapping[str, int]) -> float | None:
    """The share of DELIVERED among the messages with a final status from iovox."""
    known = sum(statuses.get(status, 0) for status in _DELIVERY_OUTCOMES)
    return round(statuses.get(Status.DELIVERED, 0) / known, 6) if known else None


def percentiles(times: Mapping[int, int]) -> dict[str, int | None]:
    """Percentiles by the nearest-rank method, so each is the time of an actual message."""
    total, below = sum(times.values()), 0
    found: dict[str, int | None] = dict.fromkeys(PERCENTILES)
    for seconds, messages in sorted(times.items()):
        for name, share in PERCENTILES.items():
            if below < ceil(share * total) <= below + messages:
                found[name] = seconds
        below += messages
    return found


def _key(by: str, key: str | int | None) -> str | None:
    if by in _UNITS and key is not None:
        return rfc3339(_UNITS[by](int(key)))
    return None if key is None else str(key)


def _sort_key(by: str, key: str | int | None, members: Iterable[Count]) -> tuple[int, str]:
    if by in _UNITS:
        return int(key or 0), ""
    return -sum(one.messages for one in members), str(key)
