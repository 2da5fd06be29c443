"""Cursors of the event feed, when the database forgets the events that they stand behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.model.event import Cursor, Reach, event_cursor, event_id, reach
from tests.record.rewinding import Rewinder
from tests.record.test_restore import WITHOUT_RECEIPT, beat, settle_down
from tests.send.world import Service, World, to, until

ERAS = [(0xA, 0), (0xB, 100), (0xC, 50)]


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        (Cursor(70, 0xC), Reach(70)),
        (Cursor(50, 0xB), Reach(50)),
        (Cursor(51, 0xB), Reach(50, is_forgotten=True)),
        (Cursor(50, 0xA), Reach(50)),
        (Cursor(99, 0xA), Reach(50, is_forgotten=True)),
        (Cursor(40, 0), Reach(40)),
        (Cursor(70, 0), Reach(50, is_forgotten=True)),
        (Cursor(30, 0xF), Reach(30, is_forgotten=True)),
        (Cursor(90, 0xF), Reach(50, is_forgotten=True)),
    ],
    ids=str,
)
def test_how_far_a_cursor_reaches(cursor: Cursor, expected: Reach) -> None:
    assert reach(cursor, ERAS) == expected


def test_before_the_first_era_every_old_cursor_is_good() -> None:
    assert reach(Cursor(7), []) == Reach(7)
    assert reach(Cursor(7), ERAS[:1]) == Reach(7)


def test_an_id_with_an_era_can_be_read_again() -> None:
    text = event_id(674, 0x2F8A91C4)
    assert event_cursor(text) == Cursor(674, 0x2F8A91C4)
    assert str(Cursor(674, 0x2F8A91C4)) == text
    for cut in range(1, len(text)):
        with pytest.raises(ValueError, match="as this service gave it"):
            event_cursor(text[:cut])


async def read(service: Service, after: str | None = None) -> dict[str, Any]:
    params = {"after": after} if after else {}
    answer = await service.client.get("/v1/events", params=params)
    return {"status_code": answer.status_code, **answer.json()}


async def queue(service: Service, reference: str) -> None:
    later = to(WITHOUT_RECEIPT, reference=reference, send_at="2026-12-20T09:00:00Z")
    assert (await service.send(later)).status_code == 202


async def test_a_reader_is_told_and_misses_nothing(world: World, rewinder: Rewinder) -> None:
    service = await world.service()
    await settle_down(service)
    await queue(service, "before")
    before = await read(service)
    await beat(service)
    moment = await asyncio.to_thread(rewinder.keep)
    await beat(service)
    for reference in ("forgotten 1", "forgotten 2"):
        await queue(service, reference)
    seen = await read(service, before["next"])
    assert [one["reference"] for one in seen["events"]] == ["forgotten 1", "forgotten 2"]
    await asyncio.to_thread(rewinder.put_back, moment)

    async def told() -> bool:
        return bool((await read(service, seen["next"]))["status_code"] == 410)

    await until(told, "the cursor to be gone", patience=15)
    gone = await read(service, seen["next"])
    assert gone["type"] == "urn:iovox-receipts:problem:gone"

    async def back() -> bool:
        events = (await read(service, gone["next"]))["events"]
        return {one["reference"] for one in events} >= {"forgotten 1", "forgotten 2"}

    await until(back, "the events to be back", patience=30)
    again = await read(service, gone["next"])
    ids = [one["id"] for one in again["events"]]
    assert not set(ids) & {one["id"] for one in seen["events"]}
    nothing = await read(service, again["next"])
    assert (nothing["events"], nothing["next"]) == ([], again["next"])
    assert (await read(service, before["next"]))["status_code"] in (200, 410)


async def test_a_plain_cursor_of_before_goes_on_working(world: World) -> None:
    service = await world.service()
    await settle_down(service)
    for reference in ("one", "two"):
        await queue(service, reference)
    page = await read(service)
    first = event_cursor(page["events"][0]["id"])
    assert first.era
    rest = await read(service, event_id(first.number))
    assert [one["reference"] for one in rest["events"]] == ["two"]
    assert (await read(service, event_id(10**9)))["status_code"] == 422
    assert (await read(service, event_id(10**9, first.era)))["status_code"] == 422
