"""Batches: each message has its own outcome, independent of the others."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from app.errors import StoreUnavailable
from app.model.message import Message
from tests.send.world import ACCEPTED, HELLO, REFUSED, Iovox, Service, faults, to, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/messages/batch"


async def test_invalid_messages_do_not_fail_the_others(service: Service, iovox: Iovox) -> None:
    """Batches of 1,000 are in tests/send/test_replicas.py."""
    many = 200
    await iovox.behave(receipts=False)  # not tested here
    messages = [to(ACCEPTED, reference=f"order-{index}") for index in range(many)]
    messages[7] |= {"destination": "abc"}
    messages[many // 2] = {"message": "Hello"}
    messages[-1] |= {"expiry": 0, "expirey": 3}
    response = await service.post(PATH, {"messages": messages})
    assert response.status_code == 202
    items: list[dict[str, Any]] = response.json()["messages"]
    assert [item["index"] for item in items] == list(range(many))
    bad = {item["index"]: item for item in items if item["errors"]}
    assert {index: {e["field"] for e in item["errors"]} for index, item in bad.items()} == {
        7: {"destination"},
        many // 2: {"origin", "destination"},
        many - 1: {"expiry", "expirey"},
    }
    assert {(item["id"], item["status"]) for item in bad.values()} == {(None, "REJECTED")}
    good = [item for item in items if not item["errors"]]
    assert {(item["status"], item["segments"], item["encoding"]) for item in good} == {
        ("QUEUED", 1, "GSM-7")
    }

    async def all_sent() -> bool:
        return await service.states() == {"SUBMITTED": many - 3}

    await until(all_sent, "the good ones", patience=60, every=0.2)
    counts = await iovox.counts()
    assert counts["attempts_by_message_id"] == {item["id"]: 1 for item in good}
    first = await service.look(items[0]["id"])
    assert first["reference"] == "order-0"


@pytest.mark.parametrize("late", [0.0, 1.2], ids=["at once", "later"])
async def test_what_a_claim_has_leased_is_sent_though_its_result_was_lost(
    service: Service, iovox: Iovox, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """Its connection broke at the commit, which took effect. Nobody has sent these messages yet."""
    store = service.runtime.messages
    claim = store.claim
    lost: list[asyncio.Task[Any]] = []

    async def lose(**how: Any) -> list[tuple[Message, datetime]]:
        if not lost:
            if not (await service.states()).get("QUEUED"):
                return []
            lost.append(asyncio.create_task(commit(how)))
            await asyncio.sleep(0)
            if not late:
                await lost[0]
            raise StoreUnavailable("connection reset by peer")
        # What is being committed is locked.
        return await claim(**how) if lost[0].done() else []

    async def commit(how: dict[str, Any]) -> list[tuple[Message, datetime]]:
        await asyncio.sleep(late)
        return await claim(**how)

    monkeypatch.setattr(store, "claim", lose)
    items = (await service.post(PATH, {"messages": [HELLO] * 3})).json()["messages"]
    for item in items:
        await service.becomes(item["id"], "SUBMITTED", "ACKNOWLEDGED", "DELIVERED")
        steps = [step["status"] for step in (await service.look(item["id"]))["history"]]
        assert "UNCONFIRMED" not in steps
        assert steps.count("QUEUED") == 2
    assert len(await lost[0]) == 3
    counts = await iovox.counts()
    assert counts["attempts_by_message_id"] == {item["id"]: 1 for item in items}


async def test_messages_are_sent_in_order(service: Service, iovox: Iovox) -> None:
    messages = [to(ACCEPTED, message=f"text {number}") for number in range(40)]
    items = (await service.post(PATH, {"messages": messages})).json()["messages"]
    for item in items:
        await service.becomes(item["id"], "SUBMITTED", "ACKNOWLEDGED", "DELIVERED")
    # Attempts are concurrent, so neighbours may be swapped.
    arrived = [int(message["message"].split()[1]) for message in await iovox.messages()]
    assert all(abs(number - place) < 40 for place, number in enumerate(arrived))
    assert sorted(arrived) == list(range(40))


async def test_a_message_that_iovox_refuses_does_not_affect_the_others(service: Service) -> None:
    response = await service.post(PATH, {"messages": [to(ACCEPTED), to(REFUSED)]})
    good, bad = (item["id"] for item in response.json()["messages"])
    await service.becomes(good, "DELIVERED")
    await service.becomes(bad, "REJECTED")
    assert (await service.look(bad))["errors"][0]["field"] == "destination"
    steps = [step["status"] for step in (await service.look(bad))["history"]]
    assert steps == ["QUEUED", "REJECTED"]


async def test_only_invalid_messages(service: Service) -> None:
    response = await service.post(PATH, {"messages": [{}, 3, None, []]})
    assert response.status_code == 202
    assert [bool(item["errors"]) for item in response.json()["messages"]] == [True] * 4
    assert await service.states() == {}


WRONG: list[tuple[str, Any, set[str]]] = [
    ("no messages", {"messages": []}, {"messages"}),
    ("too many", {"messages": [HELLO] * 1001}, {"messages"}),
    ("no list", {"messages": HELLO}, {"messages"}),
    ("missing", {}, {"messages"}),
    ("a bare list", [HELLO], {"body"}),
    ("an unknown field", {"messages": [HELLO], "message": 1}, {"message"}),
    ("both", {"mesages": [HELLO]}, {"messages", "mesages"}),
]


@pytest.mark.parametrize(("body", "fields"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
async def test_invalid_batches(service: Service, body: Any, fields: set[str]) -> None:
    assert faults(await service.post(PATH, body)).keys() == fields
    assert await service.states() == {}


async def test_send_at_is_validated_for_each_message(service: Service) -> None:
    messages = [to(ACCEPTED, send_at="2020-01-01T00:00:00Z"), to(ACCEPTED)]
    items = (await service.post(PATH, {"messages": messages})).json()["messages"]
    assert items[0]["errors"] == [{"field": "send_at", "message": "lies in the past"}]
    assert items[1]["errors"] == []
