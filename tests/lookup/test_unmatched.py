"""`/v1/receipts/unmatched`: receipts of nobody's messages, and why a message has its status."""

from __future__ import annotations

import csv
from datetime import timedelta
from uuid import uuid4

import pytest

from app.model.message import Acceptance
from app.model.status import Status
from tests.lookup.world import NOW, World, faults

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/receipts/unmatched"


async def test_they_are_listed_newest_first(own_world: World) -> None:
    """By when they came, whatever their stamps say."""
    await own_world.message(sms_activity_id="ours")
    await own_world.receipts("ours", ("DELIVERED", NOW))
    await own_world.receipts("first", ("DELIVERED", NOW), ("FAILED", NOW - timedelta(hours=1)))
    await own_world.receipts("second/ü", ("SOMETHING ELSE", NOW - timedelta(days=1)))
    await own_world.receipts("third", ("BUFFERED", NOW - timedelta(days=2)))
    support = own_world.as_app("support")
    whole = (await support.get(PATH)).json()
    assert [one["sms_activity_id"] for one in whole["unmatched"]] == ["third", "second/ü", "first"]
    assert whole["next"] is None
    third, second, first = whole["unmatched"]
    assert (third["status"], third["final"]) == ("BUFFERED", False)
    assert (second["status"], second["status_at"]) == ("UNKNOWN", None)
    assert (first["status"], first["contradictory"]) == ("DELIVERED", True)
    assert [one["status"] for one in first["receipts"]] == ["FAILED", "DELIVERED"]
    assert second["receipts"][0]["status"] == "SOMETHING ELSE"
    paged, cursor = [], ""
    for _ in range(4):
        page = (await support.get(f"{PATH}?limit=1{cursor}")).json()
        paged += page["unmatched"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert paged == whole["unmatched"]


async def test_an_id_leaves_when_its_message_appears(own_world: World) -> None:
    await own_world.receipts("early", ("DELIVERED", NOW))
    await own_world.receipts("of nobody", ("DELIVERED", NOW))
    support = own_world.as_app("support")
    page = (await support.get(f"{PATH}?limit=1")).json()
    assert [one["sms_activity_id"] for one in page["unmatched"]] == ["of nobody"]
    await own_world.message(sms_activity_id="early")
    await own_world.message(sms_activity_id="of nobody")
    assert (await support.get(PATH)).json() == {"unmatched": [], "next": None}
    followed = await support.get(f"{PATH}?cursor={page['next']}")
    assert followed.json() == {"unmatched": [], "next": None}


async def test_an_id_that_iovox_gave_but_no_message_took_is_listed_once_receipts_come(
    own_world: World,
) -> None:
    message = await own_world.message(sms_activity_id="the first answer")
    accepted = Acceptance(message.id, "a second answer", NOW)
    await own_world.service.runtime.messages.accepted([accepted])
    support = own_world.as_app("support")
    assert (await support.get(PATH)).json()["unmatched"] == []
    await own_world.receipts("a second answer", ("DELIVERED", NOW))
    (found,) = (await support.get(PATH)).json()["unmatched"]
    assert (found["sms_activity_id"], found["status"]) == ("a second answer", "DELIVERED")


@pytest.mark.parametrize("cursor", ["nonsense", "bm9uc2Vuc2U=", "%C3%BC"])
async def test_a_cursor_that_was_never_given_out(world: World, cursor: str) -> None:
    found = faults(await world.admin.get(f"{PATH}?cursor={cursor}"))
    assert found == {"cursor": "is not a cursor of ours"}


async def test_lists_say_why(world: World) -> None:
    reference = uuid4().hex
    for status in (Status.FAILED, Status.SUBMITTED, Status.UNSENT, Status.REJECTED):
        await world.message(status, reference=reference)
    page = f"/v1/messages?reference={reference}"
    listed = (await world.admin.get(page)).json()["messages"]
    why = {each["status"]: (each["status_reason"], each["reason"]) for each in listed}
    assert why == {
        "FAILED": ("0", "delivery failure"),
        "SUBMITTED": (None, None),
        "UNSENT": (None, "as the test says"),
        "REJECTED": (None, "as the test says"),
    }
    one = (await world.admin.get(f"/v1/messages/{listed[-1]['id']}")).json()
    del one["history"]
    assert one == listed[-1]
    table = (await world.admin.get(page, headers={"Accept": "text/csv"})).text
    rows = {row["status"]: row for row in csv.DictReader(table.splitlines())}
    assert (rows["FAILED"]["status_reason"], rows["FAILED"]["reason"]) == why["FAILED"]
