"""Stamps of a wrong clock or zone: what becomes of the status and of the statistics."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from app.model.london import LONDON
from app.model.receipt import Arrival, Receipt, interpret
from app.model.status import Status
from tests.lookup.world import Json, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENT_AT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)


async def told(world: World, app: str, *receipts: tuple[str, int, timedelta | str]) -> Json:
    """A message after receipts: a status, seconds from the send to its arrival, and its stamp, as
    it came or as how far the clock that wrote it was off."""
    sid = str(uuid4())
    await world.add_key(app, "read")
    message = await world.message(
        app=app, created_at=SENT_AT, status_at=SENT_AT, sms_activity_id=sid
    )
    for status, seconds, written in receipts:
        received_at = SENT_AT + timedelta(seconds=seconds)
        stamp = written
        if isinstance(written, timedelta):
            stamp = f"{(received_at + written).astimezone(LONDON):%Y-%m-%d %H:%M:%S}"
        body = {"sms_activity_id": sid, "status": status, "receipt_timestamp": stamp}
        receipt = interpret(Arrival(uuid4(), received_at, json.dumps(body).encode()))
        assert isinstance(receipt, Receipt)
        await world.service.runtime.receipts.add([receipt], [])
    found: Json = (await world.as_app(app).get(f"/v1/messages/{message.id}")).json()
    return found


async def seconds_to_delivery(world: World, app: str) -> int:
    asked = {"from": (SENT_AT - timedelta(minutes=1)).isoformat()}
    stats = (await world.as_app(app).get("/v1/stats", params=asked)).json()
    assert stats["messages"] == 1
    seconds: int = stats["seconds_to_delivery"]["p50"]
    return seconds


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_a_stamp_of_2099_does_not_win_over_the_truth(world: World) -> None:
    found = await told(
        world,
        "ahead-2099",
        ("FAILED", 10, "2099-01-01 00:00:00"),
        ("BUFFERED", 15, "2099-01-01 00:00:00 BST"),
        ("EXPIRED", 20, timedelta(0)),
    )
    assert (found["status"], found["contradictory"]) == (Status.EXPIRED, False)
    entries = {entry["status"]: entry for entry in found["history"]}
    assert entries["FAILED"]["time_quality"] == entries["BUFFERED"]["time_quality"] == "ahead"
    assert entries["FAILED"]["at"] == entries["FAILED"]["received_at"]
    assert entries["FAILED"]["receipt_timestamp"] == "2099-01-01 00:00:00"
    assert entries["EXPIRED"]["time_quality"] in ("exact", "repeated")
    assert list(entries) == ["SUBMITTED", "FAILED", "BUFFERED", "EXPIRED"]


@pytest.mark.parametrize(
    ("app", "stamp", "seconds"),
    [
        ("ahead-true", timedelta(0), 10),
        ("ahead-half-a-minute", timedelta(seconds=30), 40),
        ("ahead-hour", HOUR, 10),
        ("ahead-day", DAY, 10),
        ("ahead-century", "2099-01-01 00:00:00", 10),
        (
            "ahead-yesterday",
            -DAY,
            0,
        ),  # late is possible: it is taken at its word, and no less than 0
    ],
)
async def test_times_to_delivery(
    world: World, app: str, stamp: timedelta | str, seconds: int
) -> None:
    found = await told(world, app, ("DELIVERED", 10, stamp))
    assert found["status"] == Status.DELIVERED
    assert await seconds_to_delivery(world, app) == seconds


async def test_yesterdays_stamp_loses_to_todays(world: World) -> None:
    found = await told(world, "behind", ("FAILED", 10, timedelta(0)), ("EXPIRED", 20, -DAY))
    assert found["status"] == Status.FAILED
