"""The page "Overview": how many were sent, what became of them, how fast, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request, Response

from app.console.charts import Bar, Chart, stacked
from app.console.guard import READERS, ConsoleRoute, allows
from app.console.pages import PATH, render
from app.console.parts import Console
from app.console.query import GROUPS
from app.errors import FieldError, Invalid
from app.lookup.responses import Figures, SecondsToDelivery, Stats
from app.lookup.stats import percentiles, summarise
from app.model.london import LONDON, midnight
from app.model.numbers import as_written
from app.model.words import REASONS

router = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)

RANGES = {"24h": "24 hours", "7d": "7 days", "14d": "14 days", "30d": "30 days"}
DEFAULT = "7d"
MOST_GROUPS = 12
_CHARTED = (("delivered",), ("waiting",), ("unconfirmed",), ("failed", "unsent"))
"""What each of the chart's kinds counts."""


@dataclass(frozen=True, slots=True)
class Row:
    """One span of time, or one group, in the table behind the chart."""

    label: str
    sent: int
    delivered: int
    failed: int
    waiting: int
    unconfirmed: int
    rate: float | None
    means: str = ""


@router.get("/overview")
@allows(*READERS)
async def overview(request: Request) -> Response:
    """Of a range that stands in the address."""
    chosen = request.query_params.get("range", DEFAULT)
    if chosen not in RANGES:
        known = ", ".join(RANGES)
        raise Invalid("The range can’t be read.", errors=(FieldError("range", f"one of {known}"),))
    console: Console = request.app.state.console
    now = console.now()
    by, start = (
        ("hour", now - timedelta(hours=24)) if chosen == "24h" else ("day", _days(now, chosen))
    )
    if by == "hour":
        start = start.replace(minute=0, second=0, microsecond=0)
    sees = request.state.caller.sees
    totals = await console.overview.totals(app=sees, start=start, end=now)

    def grouped(by: str) -> Stats:
        return summarise(totals.counts(by), by=by, start=start, end=now)

    over_time, reasons, origins = grouped(by), grouped("reason"), grouped("origin")
    apps = grouped("app") if sees is None else None
    spans = _spans(over_time, start, now, by)
    return render(
        request,
        "overview.html",
        place="Overview",
        total=_row("all", over_time),
        seconds=SecondsToDelivery(**percentiles(totals.seconds)),
        chart=_chart(spans),
        spans=spans,
        reasons=[
            _row(group.key or "none given", group, REASONS.get(group.key or "", ""))
            for group in reasons.groups[:MOST_GROUPS]
        ],
        origins=[
            _row(as_written(group.key or ""), group) for group in origins.groups[:MOST_GROUPS]
        ],
        apps=apps and [_row(group.key or "", group) for group in apps.groups[:MOST_GROUPS]],
        ranges=RANGES,
        chosen=chosen,
        by=by,
        start=start,
    )


def _days(now: datetime, chosen: str) -> datetime:
    """London's midnight, so that the first bar is a whole day."""
    days = int(chosen.removesuffix("d"))
    return midnight(now.astimezone(LONDON).date() - timedelta(days=days - 1))


def _spans(stats: Stats, start: datetime, end: datetime, by: str) -> list[Row]:
    """Every hour or day of the range, also those without a message."""
    known = {group.key: group for group in stats.groups}
    rows = []
    at = start
    while at < end:
        local = at.astimezone(LONDON)
        label = f"{local:%H}:00" if by == "hour" else f"{local.day} {local:%b}"
        group = known.get(f"{at:%Y-%m-%dT%H:%M:%SZ}")
        rows.append(_row(label, group) if group else Row(label, 0, 0, 0, 0, 0, None))
        at = at + timedelta(hours=1) if by == "hour" else midnight(local.date() + timedelta(days=1))
    return rows


def _row(label: str, figures: Figures, means: str = "") -> Row:
    delivered, waiting, unconfirmed, failed = (_count(figures, kinds) for kinds in _CHARTED)
    return Row(
        label, figures.messages, delivered, failed, waiting, unconfirmed, figures.delivery_rate,
        means,
    )  # fmt: skip


def _count(figures: Figures, kinds: Sequence[str]) -> int:
    return sum(figures.statuses.get(status, 0) for kind in kinds for status in GROUPS[kind])


def _chart(rows: Sequence[Row]) -> Chart:
    return stacked(
        [Bar(row.label, (row.delivered, row.waiting, row.unconfirmed, row.failed)) for row in rows]
    )
