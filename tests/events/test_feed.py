"""``GET /v1/events``: what a reader sees, and that what it is told at fault is what is at fault."""

from __future__ import annotations

from typing import Any

import pytest

from app.model.event import event_id

from .world import World, activity_id, fields, serving, statuses

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_event_tells_what_happened(world: World) -> None:
    key = await world.key()
    (message,) = await world.submitted(reference="order-42")
    await world.receive("DELIVERED", message)
    answer = await world.client.get("/v1/events", headers=key)
    assert answer.status_code == 200
    first, second = answer.json()["events"]
    assert answer.json()["next"] == second["id"] != first["id"]
    assert set(first) == {
        "id", "message_id", "sms_activity_id", "reference", "status", "contradictory", "at",
        "recorded_at",
    }  # fmt: skip
    assert second | {"recorded_at": None} == {
        "id": second["id"],
        "message_id": str(message.id),
        "sms_activity_id": activity_id(message),
        "reference": "order-42",
        "status": "DELIVERED",
        "contradictory": False,
        "at": "2026-05-06T17:00:01Z",
        "recorded_at": None,
    }
    assert second["recorded_at"].endswith("Z")


async def test_pages_follow_one_another_without_gap_or_repeat(world: World) -> None:
    key = await world.key()
    messages = await world.submitted(7)
    seen, after = [], None
    while True:
        query = {"limit": 3} | ({"after": after} if after else {})
        page = (await world.client.get("/v1/events", headers=key, params=query)).json()
        if not page["events"]:
            assert page["next"] == after
            break
        assert len(page["events"]) <= 3
        seen += page["events"]
        after = page["next"]
    assert sorted(event["message_id"] for event in seen) == sorted(str(m.id) for m in messages)


async def test_next_is_set_before_the_first_event(world: World) -> None:
    key = await world.key()
    page = (await world.client.get("/v1/events", headers=key)).json()
    assert page["events"] == []
    (message,) = await world.submitted()
    answer = await world.client.get("/v1/events", headers=key, params={"after": page["next"]})
    assert [event["message_id"] for event in answer.json()["events"]] == [str(message.id)]


async def test_an_app_sees_its_own_and_an_admin_all(database_url: str) -> None:
    async with serving(database_url) as world:
        await world.submitted(2, app="billing")
        await world.submitted(3, app="support")
        counts = {}
        scopes = {"billing": "read", "support": "read", "nobody": "read", "x": "admin"}
        for app, scope in scopes.items():
            answer = await world.client.get("/v1/events", headers=await world.key(app, scope))
            counts[app] = len(answer.json()["events"])
    assert counts == {"billing": 2, "support": 3, "nobody": 0, "x": 5}


async def test_the_end_is_where_the_readers_own_events_end(world: World) -> None:
    key = await world.key("billing")
    await world.submitted(1, app="billing")
    page = (await world.client.get("/v1/events", headers=key)).json()
    await world.submitted(5, app="support")
    query = {"after": page["next"]}
    again = (await world.client.get("/v1/events", headers=key, params=query)).json()
    assert again == {"events": [], "next": page["next"]}


async def test_two_apps_that_alternate(world: World) -> None:
    key = await world.key("billing")
    for _ in range(3):
        await world.submitted(1, app="billing", reference="mine")
        await world.submitted(1, app="support", reference="theirs")
    answer = await world.client.get("/v1/events", headers=key)
    assert {event["reference"] for event in answer.json()["events"]} == {"mine"}


async def test_a_refusal_has_no_sms_activity_id(world: World) -> None:
    key = await world.key()
    await world.reject(*await world.messages())
    (event,) = (await world.client.get("/v1/events", headers=key)).json()["events"]
    assert (event["status"], event["sms_activity_id"]) == ("REJECTED", None)


async def test_a_receipt_that_raises_nothing_is_no_event(world: World) -> None:
    key = await world.key()
    (message,) = await world.submitted()
    for status, second in (("DELIVERED", 9), ("ACKNOWLEDGED", 1), ("DELIVERED", 8), ("ODD", 30)):
        await world.receive(status, message, second=second)
    events = (await world.client.get("/v1/events", headers=key)).json()["events"]
    assert statuses(events) == ["SUBMITTED", "DELIVERED"]


async def test_a_late_failure_is_an_event_that_stays_as_it_was(world: World) -> None:
    key = await world.key()
    late, early = await world.submitted(2)
    await world.receive("DELIVERED", late, second=9)
    for second in (20, 20, 21):
        await world.receive("FAILED", late, second=second)
    await world.receive("EXPIRED", early)
    await world.receive("DELIVERED", early, second=9)
    events = (await world.client.get("/v1/events", headers=key)).json()["events"]
    told = [(event["status"], event["contradictory"]) for event in events]
    assert told == [
        ("SUBMITTED", False), ("SUBMITTED", False), ("DELIVERED", False), ("DELIVERED", True),
        ("EXPIRED", False), ("DELIVERED", True),
    ]  # fmt: skip
    delivered, contradicted = events[2:4]
    assert delivered["at"] == contradicted["at"]
    assert delivered["message_id"] == contradicted["message_id"] == str(late.id)


GOOD = event_id(1)
AT_FAULT: dict[str, tuple[dict[str, Any], str]] = {
    "no cursor": ({"after": ""}, "after"),
    "nonsense": ({"after": "x"}, "after"),
    "a number": ({"after": "1"}, "after"),
    "another digit": ({"after": GOOD[:15] + "3" + GOOD[16:]}, "after"),
    "another check": ({"after": GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1")}, "after"),
    "cut short": ({"after": GOOD[:-1]}, "after"),
    "too long": ({"after": GOOD + "0"}, "after"),
    "in capitals": ({"after": event_id(10).upper()}, "after"),
    "with a line break": ({"after": GOOD + "\n"}, "after"),
    "NUL": ({"after": "\x00"}, "after"),
    "not ASCII": ({"after": "\u0661" * 20}, "after"),
    "no events at all": ({"limit": "0"}, "limit"),
    "too many": ({"limit": "501"}, "limit"),
    "below none": ({"limit": "-1"}, "limit"),
    "not a number": ({"limit": "ten"}, "limit"),
    "a number with a sign": ({"limit": "+1"}, "limit"),
    "a number with a point": ({"limit": "1.0"}, "limit"),
    "a number with a space": ({"limit": " 1"}, "limit"),
    "two limits": ({"limit": ["1", "2"]}, "limit"),
    "unknown": ({"befor": GOOD}, "befor"),
    "of another route": ({"status": "DELIVERED"}, "status"),
}


async def test_a_parameter_at_fault_is_named(world: World) -> None:
    key = await world.key()
    await world.submitted(1)
    named = {}
    for case, (query, _) in AT_FAULT.items():
        answer = await world.client.get("/v1/events", headers=key, params=query)
        named[case] = (answer.status_code, fields(answer))
    assert named == {case: (422, [name]) for case, (_, name) in AT_FAULT.items()}


async def test_a_cursor_that_the_log_does_not_reach(world: World) -> None:
    """Reading on from there would skip whatever is written until the log does."""
    key = await world.key()
    for number in (10**9, 16**12 - 1):
        query = {"after": event_id(number)}
        answer = await world.client.get("/v1/events", headers=key, params=query)
        assert (answer.status_code, fields(answer)) == (422, ["after"])


async def test_without_a_key_there_is_nothing_to_see(world: World) -> None:
    for path in ("/v1/events", "/v1/events/stream"):
        assert (await world.client.get(path)).status_code == 401
        key = await world.key("billing", "send")
        assert (await world.client.get(path, headers=key)).status_code == 403
