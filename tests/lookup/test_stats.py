"""Counts against a plain count of the same messages, and the figures that are made of them."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lookup.stats import MAX_GROUPS, summarise
from app.model.london import LONDON
from app.model.search import MESSAGE_STATUSES
from app.model.status import Status
from app.store.stats import Count
from tests.lookup.world import BY_IOVOX, NOW, Json, World, faults

SPAN = timedelta(days=3)
PATH = "/v1/stats"


async def _filled(world: World) -> list[Json]:
    """Make messages in every state over three days; returns the responses of single lookups."""
    chance = random.Random(7)
    if "statistics" not in world.clients:
        await world.add_key("statistics", "read")
        for place in range(60):
            created_at = NOW - SPAN * chance.random()
            status = sorted(MESSAGE_STATUSES)[place % len(MESSAGE_STATUSES)]
            seconds = chance.choice([0, 1, 1, 5, 30, 4_000])
            status_at = created_at + timedelta(seconds=seconds)
            await world.message(
                status,
                app="statistics",
                created_at=created_at,
                status_at=status_at if status not in BY_IOVOX else _whole(status_at),
                origin=chance.choice(["Brand", "447923221231"]),
                receipts=[(Status.ACKNOWLEDGED, created_at)],
            )
        await world.message(Status.DELIVERED, app="shipping")
        await world.receipts("of no message", ("DELIVERED", NOW))
    response = await world.as_app("statistics").get("/v1/messages?limit=500")
    ids = {"ids": [one["id"] for one in response.json()["messages"]]}
    found = await world.as_app("statistics").post("/v1/messages/lookup", json=ids)
    messages: list[Json] = found.json()["messages"]
    return messages


def _whole(moment: datetime) -> datetime:
    """iovox's times have no fractions; cut, a status may seem to be older than its message."""
    return moment.replace(microsecond=0)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("by", ["status", "reason", "origin", "app", "hour", "day"])
async def test_every_grouping_counts_what_there_is(world: World, by: str) -> None:
    messages = await _filled(world)
    params = {"from": (NOW - SPAN).isoformat(), "to": NOW.isoformat(), "by": by}
    body = (await world.as_app("statistics").get(PATH, params=params)).json()
    assert body["by"] == by
    assert body["messages"] == len(messages) == 60
    groups: dict[str | None, list[Json]] = {}
    for one in messages:
        groups.setdefault(_key(one, by), []).append(one)
    assert {group["key"]: _figures(group) for group in body["groups"]} == {
        key: _expected(members) for key, members in groups.items()
    }
    assert _figures(body) == _expected(messages)


@pytest.mark.asyncio(loop_scope="module")
async def test_groups_of_time_are_in_its_order_and_others_by_size(world: World) -> None:
    await _filled(world)
    wide = {"from": (NOW - SPAN).isoformat()}
    ask = world.as_app("statistics").get
    hours = (await ask(PATH, params={**wide, "by": "hour"})).json()["groups"]
    keys = [datetime.fromisoformat(group["key"]) for group in hours]
    assert keys == sorted(keys)
    assert all(key.minute == key.second == 0 for key in keys)
    origins = (await ask(PATH, params={**wide, "by": "origin"})).json()["groups"]
    sizes = [group["messages"] for group in origins]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_range_includes_its_start_and_not_its_end(world: World) -> None:
    await world.add_key("edges", "read")
    start, end = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    for moment in (start - timedelta(milliseconds=1), start, end - timedelta(milliseconds=1), end):
        await world.message(Status.DELIVERED, app="edges", created_at=moment)
        await world.message(Status.QUEUED, app="edges", created_at=moment)
    params = {"from": start.isoformat(), "to": end.isoformat()}
    body = (await world.as_app("edges").get(PATH, params=params)).json()
    assert body["statuses"] == {"DELIVERED": 2, "QUEUED": 2}


DAYS = {
    "2026-03-27T23:59:59Z": "2026-03-27T00:00:00Z",
    "2026-03-28T00:00:00Z": "2026-03-28T00:00:00Z",
    "2026-03-28T23:59:59Z": "2026-03-28T00:00:00Z",
    "2026-03-29T00:00:00Z": "2026-03-29T00:00:00Z",  # 23 hours
    "2026-03-29T00:59:59Z": "2026-03-29T00:00:00Z",
    "2026-03-29T22:59:59Z": "2026-03-29T00:00:00Z",
    "2026-03-29T23:00:00Z": "2026-03-29T23:00:00Z",
    "2026-07-01T22:59:59Z": "2026-06-30T23:00:00Z",
    "2026-07-01T23:00:00Z": "2026-07-01T23:00:00Z",
    "2026-10-24T22:59:59Z": "2026-10-23T23:00:00Z",
    "2026-10-24T23:00:00Z": "2026-10-24T23:00:00Z",  # 25 hours
    "2026-10-25T00:59:59Z": "2026-10-24T23:00:00Z",
    "2026-10-25T23:59:59Z": "2026-10-24T23:00:00Z",
    "2026-10-26T00:00:00Z": "2026-10-26T00:00:00Z",
}
"""When a message was created, and when its day began in London."""


async def _with_days(world: World) -> httpx.AsyncClient:
    """The client of an app with two messages at each of these times."""
    if "days" not in world.clients:
        await world.add_key("days", "read")
        for made in DAYS:
            for status in (Status.DELIVERED, Status.QUEUED):
                await world.message(status, app="days", created_at=datetime.fromisoformat(made))
    return world.as_app("days")


def _london_date(moment: datetime) -> str:
    return moment.astimezone(LONDON).date().isoformat()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_day_is_londons(world: World) -> None:
    client = await _with_days(world)
    found: Counter[str] = Counter()
    for params in (
        {"from": "2026-03-01", "to": "2026-03-31"},
        {"from": "2026-07-01", "to": "2026-07-02"},
        {"from": "2026-10-01", "to": "2026-10-31"},  # 31 days and an hour
    ):
        response = await client.get(PATH, params={**params, "by": "day"})
        found |= {group["key"]: group["messages"] for group in response.json()["groups"]}
    assert found == {key: 2 * count for key, count in Counter(DAYS.values()).items()}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("day", ["2026-03-28", "2026-03-29", "2026-07-02", "2026-10-25"])
async def test_a_date_is_a_whole_day_in_london(world: World, day: str) -> None:
    read = (await _with_days(world)).get
    asked = {"from": day, "to": day}
    listed = (await read("/v1/messages", params=asked)).json()["messages"]
    assert {_london_date(_at(one, "created_at")) for one in listed} == {day}
    expected = [made for made in DAYS if _london_date(datetime.fromisoformat(made)) == day]
    assert len(listed) == 2 * len(expected)
    assert (await read(PATH, params=asked)).json()["messages"] == len(listed)
    changed = (await read("/v1/messages", params={"status_from": day, "status_to": day})).json()
    assert {_london_date(_at(one, "status_at")) for one in changed["messages"]} == {day}


@pytest.mark.asyncio(loop_scope="module")
async def test_an_app_counts_its_own_and_an_admin_all_or_one(world: World) -> None:
    await _filled(world)
    wide = {"from": (NOW - SPAN).isoformat(), "by": "app"}
    own = (await world.as_app("shipping").get(PATH, params=wide)).json()
    assert {group["key"] for group in own["groups"]} == {"shipping"}
    every = (await world.admin.get(PATH, params=wide)).json()
    assert {"shipping", "statistics"} <= {group["key"] for group in every["groups"]}
    one = (await world.admin.get(PATH, params={**wide, "app": "statistics"})).json()
    assert {group["key"] for group in one["groups"]} == {"statistics"}


@pytest.mark.asyncio(loop_scope="module")
async def test_the_last_day_is_counted_unless_something_else_is_asked_for(world: World) -> None:
    await world.add_key("recent", "read")
    for hours in (1, 23, 25):
        await world.message(app="recent", created_at=NOW - timedelta(hours=hours))
    ask = world.as_app("recent").get
    body = (await ask(PATH)).json()
    start, end = (datetime.fromisoformat(body[name]) for name in ("from", "to"))
    assert (body["messages"], end - start) == (2, timedelta(days=1))
    earlier = await ask(PATH, params={"to": (NOW - timedelta(hours=12)).isoformat()})
    assert earlier.json()["messages"] == 2
    assert (await ask(PATH, params={"from": (NOW - timedelta(days=9)).isoformat()})).json()[
        "messages"
    ] == 3


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_counted_as_nothing(world: World) -> None:
    body = (await world.admin.get(PATH, params={"app": "nobody"})).json()
    assert (body["messages"], body["statuses"], body["groups"]) == (0, {}, [])
    assert body["delivery_rate"] is None
    assert body["seconds_to_delivery"] == {"p50": None, "p90": None, "p99": None}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("by=weather", "by"),
        ("by=", "by"),
        ("by=day&by=hour", "by"),
        ("colour=red", "colour"),
        ("from=x", "from"),
        ("from=2026-11-22T09:00:00Z&to=2026-11-21T09:00:00Z", "to"),
        ("from=2026-11-22&to=2026-11-21", "to"),
        ("from=2026-01-01T00:00:00Z&to=2026-02-02T00:00:00Z", "from"),
        ("from=2020-01-01T00:00:00Z", "from"),
        ("from=2999-01-01T00:00:00Z", "from"),
        ("to=0001-01-01T00:00:00Z", "to"),
    ],
)
async def test_bad_parameters_are_named(world: World, query: str, field: str) -> None:
    assert field in faults(await world.admin.get(f"{PATH}?{query}"))


def test_only_so_many_groups_are_shown_the_largest() -> None:
    counts = [Count(f"origin {n}", "DELIVERED", 1, n + 1) for n in range(MAX_GROUPS + 5)]
    body = summarise(counts, by="origin", start=NOW, end=NOW).model_dump()
    assert len(body["groups"]) == MAX_GROUPS
    assert body["groups"][0]["key"] == f"origin {MAX_GROUPS + 4}"
    assert body["groups_left_out"] == 5
    assert body["messages"] == sum(range(MAX_GROUPS + 6))


@given(st.lists(st.integers(-3, 200), min_size=1, max_size=300))
def test_percentiles_are_times_that_were_taken(times: list[int]) -> None:
    counts = [Count(None, "DELIVERED", seconds, n) for seconds, n in Counter(times).items()]
    body = summarise(counts, by="day", start=NOW, end=NOW).model_dump()
    assert body["seconds_to_delivery"] == _percentiles([max(0, one) for one in times])


def _percentiles(times: list[int]) -> dict[str, int | None]:
    if not times:
        return {"p50": None, "p90": None, "p99": None}
    ordered = sorted(times)
    return {f"p{p}": ordered[-(-p * len(ordered) // 100) - 1] for p in (50, 90, 99)}


def _figures(body: Json) -> Json:
    return {name: body[name] for name in ("statuses", "delivery_rate", "seconds_to_delivery")}


def _expected(messages: list[Json]) -> Json:
    statuses = Counter(one["status"] for one in messages)
    known = statuses["DELIVERED"] + statuses["FAILED"] + statuses["EXPIRED"]
    times = [
        max(0, int((_at(one, "status_at") - _at(one, "submitted_at")).total_seconds()))
        for one in messages
        if one["status"] == "DELIVERED"
    ]
    return {
        "statuses": dict(statuses),
        "delivery_rate": round(statuses["DELIVERED"] / known, 6) if known else None,
        "seconds_to_delivery": _percentiles(times),
    }


def _at(one: Json, name: str) -> datetime:
    return datetime.fromisoformat(one[name])


def _key(one: Json, by: str) -> str | None:
    created_at = _at(one, "created_at").astimezone(UTC)
    if by == "hour":
        return created_at.strftime("%Y-%m-%dT%H:00:00Z")
    if by == "day":
        midnight = created_at.astimezone(LONDON).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight.astimezone(UTC).strftime("%Y-%m-%dT%H:00:00Z")
    if by == "reason":
        deciding = [
            entry
            for entry in one["history"]
            if (entry["source"], entry["status"]) == ("iovox", one["status"])
        ]
        return deciding[-1]["status_reason"] if deciding else None
    key: str = one[by]
    return key
