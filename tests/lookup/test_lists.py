"""Lists against a plain reading of the rules: every filter, alone and with others, page by page."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from app.model.search import MESSAGE_STATUSES
from app.model.status import FINAL, Status
from app.store.lists.store import ListStore
from tests.lookup.world import NOW, Json, World, all_pages, faults

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGES = 64
SPAN = timedelta(days=8)
ORIGINS = ("447923221231", "Brand", "A.B C", "447000000000")
DESTINATIONS = ("447700900001", "447700900002", "33612345678")
REFERENCES = ("order-1", "order-2", "ünïcødé, with = and '", None)
APPS = ("billing", "billing", "shipping", "unheard-of")
Params = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(world: World) -> list[Json]:
    """Messages in every status, as single lookups show them."""
    chance = random.Random(20_201_006)
    found = []
    for place in range(MESSAGES):
        status = sorted(MESSAGE_STATUSES)[place % len(MESSAGE_STATUSES)]
        created_at = NOW - SPAN * chance.random()
        late = chance.choice([0, 3, 70, 4_000, 90_000])
        message = await world.message(
            status,
            app=chance.choice(APPS),
            created_at=created_at,
            status_at=(created_at + timedelta(seconds=late)).replace(microsecond=0),
            receipts=[(Status.FAILED, created_at)] if chance.random() < 0.3 else (),
            origin=chance.choice(ORIGINS),
            destination=chance.choice(DESTINATIONS),
            reference=chance.choice(REFERENCES),
            expiry=chance.choice([None, None, 1, 600, 100_000]),
        )
        response = await world.admin.get(f"/v1/messages/{message.id}")
        body = response.json()
        body.pop("history")
        found.append(body)
    await world.receipts("of no message", ("DELIVERED", NOW))
    return found


async def test_every_status_and_oddity_is_there(known: list[Json]) -> None:
    assert {one["status"] for one in known} == set(MESSAGE_STATUSES)
    assert any(one["contradictory"] for one in known)
    assert any(one["overdue"] for one in known)


@pytest.mark.parametrize("limit", [3, 500])
@pytest.mark.parametrize("app", ["billing", "shipping", "admin"])
async def test_without_a_filter_all_of_it_comes_newest_first(
    world: World, known: list[Json], app: str, limit: int
) -> None:
    expected = wanted(known, app, {})
    assert await listed(world, app, {}, limit) == expected
    assert len(expected) > 10


MOMENT = NOW - SPAN / 2
ALONE: Mapping[str, Params] = {
    **{f"status {status}": {"status": str(status)} for status in sorted(MESSAGE_STATUSES)},
    "two statuses": {"status": "FAILED,QUEUED"},
    "a status twice": {"status": "FAILED,FAILED"},
    "a status as two parameters": {"status": ["DELIVERED", "UNSENT"]},
    "final": {"final": "true"},
    "not final": {"final": "false"},
    "final, and a status that never is": {"final": "true", "status": "QUEUED"},
    "overdue": {"overdue": "true"},
    "not overdue": {"overdue": "false"},
    "overdue and final": {"overdue": "true", "final": "true"},
    "contradictory": {"contradictory": "true"},
    "not contradictory": {"contradictory": "false"},
    "destination": {"destination": DESTINATIONS[0]},
    "destination as people write it": {"destination": "+33 (6) 12-34.56 78"},
    "destination with 00": {"destination": "0033612345678"},
    "destination that has none": {"destination": "+44 7700 900199"},
    **{f"origin {origin}": {"origin": origin} for origin in ORIGINS},
    "destination with a trunk zero": {"destination": "+33 (0)6.12/34-56 78"},
    "destination as it was pasted": {"destination": "\u202a+33\u200b612\u00ad345678\u202c"},
    "origin with plus": {"origin": "+447923221231"},
    "origin in other letters": {"origin": "brand"},
    **{f"reference {name}": {"reference": name} for name in REFERENCES if name},
    "app": {"app": "billing"},
    "app that has none": {"app": "nobody"},
    "from": {"from": MOMENT.isoformat()},
    "to": {"to": MOMENT.isoformat()},
    "range": {"from": (MOMENT - SPAN / 4).isoformat(), "to": MOMENT.isoformat()},
    "empty range": {"from": MOMENT.isoformat(), "to": MOMENT.isoformat()},
    "the beginning of time": {"from": "0001-01-01T00:00:00Z"},
    "the end of time": {"from": "9999-12-31T23:59:59Z"},
    "status since": {"status_from": MOMENT.isoformat()},
    "status until": {"status_to": MOMENT.isoformat()},
    "status in range": {"status_from": (MOMENT - SPAN / 4).isoformat(),
                        "status_to": MOMENT.isoformat()},
    "status since for ever": {"status_from": "0001-01-01T00:00:00Z"},
}  # fmt: skip


@pytest.mark.parametrize("params", ALONE.values(), ids=ALONE)
async def test_each_filter(world: World, known: list[Json], params: Params) -> None:
    for app, limit in (("billing", 7), ("admin", 500)):
        if "app" not in params or app == "admin":
            assert await listed(world, app, params, limit) == wanted(known, app, params)


CHOICES: Mapping[str, list[Any]] = {
    "status": ["FAILED", "DELIVERED", "QUEUED,BUFFERED,DELIVERED", "UNCONFIRMED,EXPIRED,SUBMITTED"],
    "final": ["true", "false"],
    "overdue": ["true", "false"],
    "contradictory": ["true", "false"],
    "destination": list(DESTINATIONS),
    "origin": list(ORIGINS),
    "reference": ["order-1", "order-2"],
    "from": [(NOW - SPAN * share).isoformat() for share in (0.9, 0.5)],
    "to": [(NOW - SPAN * share).isoformat() for share in (0.1, 0.4)],
    "status_from": [(NOW - SPAN * share).isoformat() for share in (0.9, 0.5)],
    "status_to": [(NOW - SPAN * share).isoformat() for share in (0.1, 0.4)],
}


@pytest.mark.parametrize(
    ("candidates", "probed"),
    [
        pytest.param((200, 2_000, 10_000), 1_000, id="as ever"),
        # So few are looked at for one page that nearly every page is short, and a cursor stands in
        # the middle of several branches of different length.
        pytest.param((1, 2), 2, id="hardly any candidates"),
        pytest.param((12, 30), 7, id="few candidates"),
    ],
)
async def test_filters_together(
    world: World,
    known: list[Json],
    candidates: tuple[int, ...],
    probed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = world.service.runtime.database
    overdue_after = timedelta(hours=72)
    lists = ListStore(database, overdue_after=overdue_after, candidates=candidates, probed=probed)
    monkeypatch.setattr(world.service.runtime.lookups, "_lists", lists)
    chance = random.Random(probed)
    for _ in range(10):
        names = chance.sample(sorted(CHOICES), chance.randint(1, 4))
        params = {name: chance.choice(CHOICES[name]) for name in names}
        for app in ("billing", "admin"):
            expected = wanted(known, app, params)
            limit = chance.choice([1 if len(expected) < 10 else 6, 4, 100])
            found = await listed(world, app, params, limit)
            assert found == expected, params


async def test_what_is_new_does_not_move_the_pages(world: World) -> None:
    await world.add_key("moving", "read")
    old = [await world.message(app="moving") for _ in range(4)]
    ask = world.as_app("moving").get
    first = (await ask("/v1/messages", params={"limit": 2})).json()
    await world.message(app="moving")
    second = (await ask("/v1/messages", params={"limit": 2, "cursor": first["next"]})).json()
    ids = [one["id"] for one in first["messages"] + second["messages"]]
    assert sorted(ids) == sorted(str(one.id) for one in old)
    assert second["next"] is None


async def test_a_tie_in_time_loses_nothing(world: World) -> None:
    await world.add_key("ties", "read")
    made = {str((await world.message(app="ties", created_at=NOW)).id) for _ in range(9)}
    found = await all_pages(world.as_app("ties"), {"status": "SUBMITTED"}, limit=2)
    assert {one["id"] for one in found} == made
    assert len(found) == 9


async def test_the_next_page_is_linked(world: World) -> None:
    await world.add_key("linked", "read")
    for place in range(3):
        await world.message(app="linked", origin="A.B C", created_at=NOW - timedelta(hours=place))
    client = world.as_app("linked")
    response = await client.get("/v1/messages", params={"origin": "A.B C", "limit": 2})
    link = response.links["next"]["url"]
    following = await client.get(link)
    assert [one["origin"] for one in following.json()["messages"]] == ["A.B C"]
    assert "next" not in following.links
    assert following.json()["next"] is None


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ("colour=red", "colour", "not a parameter"),
        ("Status=FAILED", "Status", "not a parameter"),
        ("status=LOST", "status", "'LOST' is not a status"),
        ("status=failed", "status", "is not a status"),
        ("status=FAILED,", "status", "is not a status"),
        ("status=UNKNOWN", "status", "GET /v1/receipts/unmatched"),
        ("status=", "status", "is empty"),
        ("final=yes", "final", "true or false"),
        ("overdue=1", "overdue", "true or false"),
        ("contradictory=True", "contradictory", "true or false"),
        ("destination=hello", "destination", "phone number"),
        ("destination=4477009000011223", "destination", "phone number"),
        ("destination=07700+900123", "destination", "international form, such as +447700900123"),
        ("origin=M%C3%BCller", "origin", "not U+00FC"),
        ("origin=+", "origin", "is empty"),
        ("destination=%E2%80%83+", "destination", "is empty"),
        ("reference=" + "x" * 256, "reference", "longer than 255"),
        ("reference=%00", "reference", "characters"),
        ("reference=%ED%A0%80", "reference", "characters"),
        ("from=yesterday", "from", "RFC 3339"),
        ("from=yesterday", "from", "or a date, such as 2026-11-22, which is London's"),
        ("from=2026-02-30", "from", "no time that exists"),
        ("to=9999-12-31", "to", "no time that exists"),
        ("from=2026-11-22&to=2026-11-20", "to", "before from"),
        ("from=2026-11-22&to=2026-11-21", "to", "before from"),
        ("from=2026-11-22T00:00:00Z&to=2026-11-21", "to", "before from"),
        ("from=2026-10-26&to=2026-10-25", "to", "before from"),
        ("status_from=2026-11-22&status_to=2026-11-21", "status_to", "before status_from"),
        ("from=2026-11-22T09:00:00", "from", "offset"),
        ("from=2026-02-30T09:00:00Z", "from", "no time that exists"),
        ("from=0001-01-01T00:00:00%2B14:00", "from", "no time that exists"),
        ("from=2026-11-22T09:00:00Z&to=2026-11-21T09:00:00Z", "to", "before from"),
        ("status_from=2026-11-22T09:00:00Z&status_to=2026-11-21T09:00:00Z", "status_to", "before"),
        ("limit=0", "limit", "1 to 500"),
        ("limit=501", "limit", "1 to 500"),
        ("limit=ten", "limit", "1 to 500"),
        ("limit=1.5", "limit", "1 to 500"),
        ("limit=%D9%A1", "limit", "1 to 500"),
        ("limit=1&limit=2", "limit", "more than once"),
        ("origin=a&origin=b", "origin", "more than once"),
        ("cursor=nonsense", "cursor", "not a cursor"),
        ("cursor=", "cursor", "is empty"),
        ("%FF=1", "\ufffd", "not a parameter"),
        ("=1", "", "not a parameter"),
    ],
)
async def test_bad_parameters_are_named(world: World, query: str, field: str, says: str) -> None:
    found = faults(await world.admin.get(f"/v1/messages?{query}"))
    assert says in found[field]


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-11-22&to=2026-11-22",
        "from=2026-11-22T23:59:59Z&to=2026-11-22",
        "from=2026-11-22&to=2026-11-22T00:00:00Z",
        "status_from=2026-11-22&status_to=2026-11-22",
    ],
)
async def test_a_range_of_a_day_or_less_is_none_that_is_reversed(world: World, query: str) -> None:
    assert (await world.admin.get(f"/v1/messages?{query}")).status_code == 200


async def test_all_faults_are_named_at_once(world: World) -> None:
    found = faults(await world.admin.get("/v1/messages?limit=0&colour=red&status=LOST&from=x"))
    assert set(found) == {"limit", "colour", "status", "from"}


async def test_a_repeated_parameter_hides_no_other_fault(world: World) -> None:
    query = "limit=1&limit=2&colour=red&colour=blue&status=LOST&from=x&reference="
    found = faults(await world.admin.get(f"/v1/messages?{query}"))
    assert set(found) == {"limit", "colour", "status", "from", "reference"}
    assert found["limit"] == "is given more than once"
    assert found["reference"] == "is empty"


async def test_an_unknown_parameter_is_told_what_there_is(world: World) -> None:
    unknown = await world.admin.get("/v1/stats?colour=red&colour=blue")
    assert faults(unknown) == {
        "colour": "is not a parameter here; there are: from, to, by, app",
    }


async def test_a_plus_that_nobody_escaped_is_a_plus(world: World) -> None:
    escaped = await world.admin.get("/v1/messages?from=2020-01-01T00:00:00%2B01:00&limit=1")
    plain = await world.admin.get("/v1/messages?from=2020-01-01T00:00:00+01:00&limit=1")
    assert plain.json() == escaped.json()


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/stats"])
async def test_only_an_admin_may_name_an_app(world: World, path: str) -> None:
    response = await world.as_app("billing").get(path, params={"app": "shipping"})
    assert response.status_code == 403
    assert (await world.admin.get(path, params={"app": "shipping"})).status_code == 200


async def listed(world: World, app: str, params: Params, limit: int) -> list[Json]:
    """The list, without what tests of their own have added for other apps."""
    found = await all_pages(world.as_app(app), params, limit=limit)
    return [one for one in found if one["app"] in APPS]


def wanted(known: list[Json], app: str, params: Params) -> list[Json]:
    """The list, by the rules as they are written down."""
    seen = known if app == "admin" else [one for one in known if one["app"] == app]
    kept = [one for one in seen if all(RULES[name](one, params[name]) for name in params)]
    return sorted(kept, key=lambda one: str(one["id"]), reverse=True)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _status(one: Json, value: Any) -> bool:
    return one["status"] in ",".join([value] if isinstance(value, str) else value).split(",")


RULES: Mapping[str, Callable[[Json, Any], bool]] = {
    "status": _status,
    "final": lambda one, value: (one["status"] in FINAL) is (value == "true"),
    "overdue": lambda one, value: one["overdue"] is (value == "true"),
    "contradictory": lambda one, value: one["contradictory"] is (value == "true"),
    "destination": lambda one, value: (
        one["destination"]
        == "".join(c for c in value.replace("(0)", "") if c.isdigit()).removeprefix("00")
    ),
    "origin": lambda one, value: one["origin"] == value.removeprefix("+"),
    "reference": lambda one, value: one["reference"] == value,
    "app": lambda one, value: one["app"] == value,
    "from": lambda one, value: _moment(one["created_at"]) >= _moment(value),
    "to": lambda one, value: _moment(one["created_at"]) < _moment(value),
    "status_from": lambda one, value: _moment(one["status_at"]) >= _moment(value),
    "status_to": lambda one, value: _moment(one["status_at"]) < _moment(value),
}
