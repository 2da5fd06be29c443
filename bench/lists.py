"""Pages of a list: each filter on a small table and on a big one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from app.lookup.cursor import cursor_after
from app.lookup.requests import MessageFilters
from bench import servers, traffic
from bench.client import Job, percentile
from bench.measure import run_load
from bench.population import Population
from bench.report import Mark, Section
from bench.stage import SMALL, Stage

PAGES, PAGES_QUICK = 20, 10
"""Of each filter in a turn."""
TURNS, TURNS_QUICK = 5, 3
"""In a round. Short ones, so that what else the machine does meets small and big alike."""
WARM_UP_PAGES = 5
PATIENCE = 300.0
"""Seconds for all pages of a turn, on any machine."""
LIMIT, SCARCE = 50, 5
"""Messages on a page; fewer where a small table has no more, so that both pages are full."""
AROUND = timedelta(minutes=10)
"""Half of a range of times: some thousands of messages."""
WITHIN = 2.0

NOTE = (
    "`GET /v1/messages` with every filter that it offers, a page of {limit} ({scarce} where few "
    "have it), one caller, every filter in its turn; on {small:,} and on {big:,} messages, in "
    "short turns. The values differ from page to page and lie anywhere in the table; p99 of "
    "{pages} pages each. Pages whose filter leaves most of the table "
    "are the same work as those that leave little of it: both come from an index, newest first."
)

Query = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for around the n-th message. ``by_admin``: with a key that sees all apps."""

    name: str
    query: Callable[[int], Query]
    limit: int = LIMIT
    by_admin: bool = False


def _created_around(number: int) -> Query:
    return {"from": _time(number, -AROUND), "to": _time(number, AROUND)}


def _changed_around(number: int) -> Query:
    return {"status_from": _time(number, -AROUND), "status_to": _time(number, AROUND)}


def _time(number: int, away: timedelta) -> str:
    return f"{traffic.created_at(number) + away:%Y-%m-%dT%H:%M:%SZ}"


FILTERS = (
    Filter("none", lambda _: {}),
    Filter("cursor", lambda n: {"cursor": cursor_after(traffic.message_id(n))}),
    Filter("limit=500", lambda _: {}, limit=500),
    Filter("status=DELIVERED", lambda _: {"status": "DELIVERED"}),
    Filter("status=FAILED", lambda _: {"status": "FAILED"}),
    Filter("status=FAILED,EXPIRED", lambda _: {"status": "FAILED,EXPIRED"}),
    Filter("status=REJECTED", lambda _: {"status": "REJECTED"}, limit=SCARCE),
    Filter("status=UNCONFIRMED", lambda _: {"status": "UNCONFIRMED"}, limit=SCARCE),
    Filter("final=true", lambda _: {"final": "true"}),
    Filter("final=false", lambda _: {"final": "false"}),
    Filter("overdue=true", lambda _: {"overdue": "true"}),
    Filter("overdue=false", lambda _: {"overdue": "false"}),
    Filter("contradictory=true", lambda _: {"contradictory": "true"}, limit=SCARCE),
    Filter("contradictory=false", lambda _: {"contradictory": "false"}),
    Filter("destination", lambda n: {"destination": traffic.destination(n)}),
    Filter("origin (of all)", lambda _: {"origin": traffic.ORIGIN}),
    Filter("origin (of none)", lambda n: {"origin": f"shop {n % 1000}"}),
    Filter("reference", lambda n: {"reference": f"order-{n}"}),
    Filter("from, to", _created_around),
    Filter("status_from, status_to", _changed_around),
    Filter(
        "status=FAILED, from, to",
        lambda n: {"status": "FAILED", **_created_around(n)},
        limit=SCARCE,
    ),
    Filter("status=FAILED, origin", lambda _: {"status": "FAILED", "origin": traffic.ORIGIN}),
    Filter("by admin: none", lambda _: {}, by_admin=True),
    Filter("by admin: app", lambda _: {"app": traffic.APP}, by_admin=True),
    Filter("by admin: status=FAILED", lambda _: {"status": "FAILED"}, by_admin=True),
)


def compare(stage: Stage) -> Section:
    """Every filter, small beside big."""
    _check_filters()
    turns, pages = (TURNS_QUICK, PAGES_QUICK) if stage.quick else (TURNS * stage.rounds, PAGES)
    populations = [stage.populated(size) for size in (SMALL, stage.big)]
    times: list[list[list[float]]] = [[[] for _ in FILTERS] for _ in populations]
    with ExitStack() as servers_running:
        asked = [_start_reader(stage, population, servers_running) for population in populations]
        for ask in asked:
            ask(WARM_UP_PAGES)
        for turn in range(turns):
            stage.say(f"turn {turn + 1} of {turns}")
            for ask, so_far in zip(asked, times, strict=True):
                for group, more in zip(so_far, ask(pages), strict=True):
                    group.extend(more)
    totals = [population.messages + population.known for population in populations]
    small, big = ([_milliseconds(group) for group in groups] for groups in times)
    return _section(turns * pages, totals, small, big)


def filter_names() -> set[str]:
    """The parameters of a list; ``reveal`` selects no messages."""
    return set(MessageFilters.model_json_schema()["properties"]) - {"reveal"}


def _check_filters() -> None:
    """Raises RuntimeError for a filter of the API that is not measured here."""
    measured = {name for each in FILTERS for name in each.query(0)} | {"limit"}
    if missing := filter_names() - measured:
        raise RuntimeError(f"bench/lists.py measures no filter by {', '.join(sorted(missing))}")


def _start_reader(
    stage: Stage, population: Population, servers_running: ExitStack
) -> Callable[[int], list[list[float]]]:
    """Start a server. Returns a function that fetches so many pages of each filter, and returns the
    seconds that each page took, by filter.
    """
    url = stage.postgres.url(population.database)
    admin = servers.dlr(["keys", "create", "bench-admin", "--scope", "admin"], url)
    server = servers.serve(url)
    servers_running.enter_context(server.process)
    numbers = _numbers(population)

    def ask(pages: int) -> list[list[float]]:
        requests = _requests(population.key, admin, numbers, pages)
        options = {"requests": requests}
        done = run_load(Job(server.port, "pages", options, PATIENCE, 1, groups=len(FILTERS)))
        if done.answers != len(requests):
            raise RuntimeError(f"only {done.answers} of {len(requests)} pages in {PATIENCE:g} s")
        return done.groups

    return ask


def _numbers(population: Population) -> Iterator[int]:
    """Messages that have ended, scattered, for ever."""
    number = 0
    while True:
        number = (number + traffic.STRIDE) % population.messages
        yield population.known + number


def _requests(key: str, admin: str, numbers: Iterator[int], pages: int) -> list[tuple[str, str]]:
    """Paths and keys: the filters in turn, so that what disturbs one disturbs them all."""
    asked = []
    for _ in range(pages):
        for each in FILTERS:
            query = urlencode({**each.query(next(numbers)), "limit": each.limit})
            asked.append((f"/v1/messages?{query}", admin if each.by_admin else key))
    return asked


def _milliseconds(times: Sequence[float]) -> tuple[float, float]:
    """p50 and p99."""
    return percentile(times, 50) * 1e3, percentile(times, 99) * 1e3


def _section(
    pages: int,
    totals: Sequence[int],
    small: Sequence[tuple[float, float]],
    big: Sequence[tuple[float, float]],
) -> Section:
    rows, ratios = [], {}
    for each, few, many in zip(FILTERS, small, big, strict=True):
        ratios[each.name] = many[1] / few[1]
        cells = [f"{figure:.1f}" for figure in (*few, *many)]
        rows.append([each.name, *cells, f"{ratios[each.name]:.2f}"])
    worst = max(ratios, key=lambda name: ratios[name])
    return Section(
        title="Pages of a list",
        note=NOTE.format(
            limit=LIMIT,
            scarce=SCARCE,
            small=totals[0],
            big=totals[1],
            pages=pages,
        ),
        columns=("filter", "small p50 ms", "p99 ms", "big p50 ms", "p99 ms", "ratio of p99"),
        rows=rows,
        marks=[Mark(f"p99, big against small; the worst: {worst}", ratios[worst], WITHIN)],
        bounds=(
            "the index gives the ids and each message of the page is fetched by its own: so many "
            "pages of PostgreSQL's, and for the full page the JSON of its messages."
        ),
    )
