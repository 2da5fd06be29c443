"""`dlr queue`: what waits, and what an operator decides where nobody knows what was sent."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.here import Done, dlr
from tests.record.rewinding import Rewinder
from tests.record.test_restore import WITHOUT_RECEIPT, beat, settle_down
from tests.send.world import Iovox, Service, World, to, until
from tests.support.long import POSTGRESQL, on


class Operator:
    """Runs `dlr queue` beside the service."""

    def __init__(self, database_url: str) -> None:
        self._env = {"DLR_DATABASE_URL": database_url}

    async def __call__(self, *words: str) -> Done:
        return await asyncio.to_thread(dlr, ["queue", *words], self._env)

    async def shown(self) -> dict[str, Any]:
        lines = (await self("--json")).stdout.splitlines()  # the service's log may stand among them
        found: dict[str, Any] = json.loads(next(each for each in lines if each.startswith("{")))
        return found


pytestmark = on(POSTGRESQL)


@pytest.fixture
async def operator(database_url: str) -> Operator:
    return Operator(database_url)


async def queue(service: Service, count: int) -> list[str]:
    answer = await service.post("/v1/messages/batch", {"messages": [to(WITHOUT_RECEIPT)] * count})
    assert answer.status_code == 202, answer.text
    return [item["id"] for item in answer.json()["messages"]]


async def sent_at_all(iovox: Iovox) -> int:
    return int((await iovox.counts())["accepted"])


async def test_held_nothing_is_sent_until_it_is_released(world: World, operator: Operator) -> None:
    iovox = await world.iovox(receipts=False)
    service = await world.service(iovox)
    await settle_down(service)
    held = await operator("hold", "--reason", "a restore")
    assert (held.returncode, held.stderr) == (0, "")
    assert "The queue is held.\n" in held.stdout
    ids = await queue(service, 3)
    alone = await service.send(to(WITHOUT_RECEIPT))
    assert (alone.status_code, alone.json()["status"]) == (202, "QUEUED")
    await asyncio.sleep(1.5)
    assert await sent_at_all(iovox) == 0
    shown = await operator.shown()
    assert shown["hold"]["reason"] == "a restore"
    assert [(one["app"], one["messages"]) for one in shown["waiting"]] == [("billing", 4)]
    table = await operator()
    assert "a restore" in table.stdout
    assert "billing" in table.stdout
    assert (await operator("release")).returncode == 0
    for id_ in [*ids, alone.json()["id"]]:
        await service.becomes(id_, "SUBMITTED")
    shown = await operator.shown()
    assert (shown["hold"], shown["waiting"]) == (None, [])
    assert [one["state"] for one in shown["processes"]] == ["there"]


async def test_a_hold_that_the_database_forgets_is_held_again(
    world: World, rewinder: Rewinder, operator: Operator
) -> None:
    iovox = await world.iovox(receipts=False)
    service = await world.service(iovox)
    await settle_down(service)
    moment = await asyncio.to_thread(rewinder.keep)
    await beat(service)
    await operator("hold", "--reason", "do not forget")
    await beat(service)
    await asyncio.to_thread(rewinder.put_back, moment)

    async def held() -> bool:
        hold = (await operator.shown())["hold"]
        return bool(hold and hold["reason"] == "do not forget")

    await until(held, "the hold to be back", patience=15)


async def test_both_disks_gone(world: World, rewinder: Rewinder, operator: Operator) -> None:
    """What was queued before is settled, not sent again; what came since is sent."""
    iovox = await world.iovox(receipts=False)
    async with world.another() as first:
        service = await first.service(iovox)
        await settle_down(service)
        await operator("hold")
        old = await queue(service, 5)
        moment = await asyncio.to_thread(rewinder.keep)
        await beat(service)
        await operator("release")
        for id_ in old:
            await service.becomes(id_, "SUBMITTED")
    await asyncio.to_thread(rewinder.put_back, moment)  # and the spool's folder is gone, too
    assert (await operator("hold")).returncode == 0
    cut = datetime.now(UTC)
    service = await world.service(iovox)
    await settle_down(service)
    settled = await operator("settle", "--before", cut.isoformat(), "--as", "UNCONFIRMED")
    assert "5 messages are UNCONFIRMED now.\n" in settled.stdout
    new = await queue(service, 2)
    assert "Nothing that is queued is sent" in (await operator()).stdout
    assert (await operator("release")).returncode == 0
    for id_ in new:
        await service.becomes(id_, "SUBMITTED")
    for id_ in old:
        await service.becomes(id_, "UNCONFIRMED")
    assert (await iovox.counts())["by_message_id"] == dict.fromkeys([*old, *new], 1)


async def test_what_was_settled_and_forgotten_is_settled_again(
    world: World, rewinder: Rewinder, operator: Operator
) -> None:
    iovox = await world.iovox(receipts=False)
    service = await world.service(iovox)
    await settle_down(service)
    await operator("hold")
    ids = await queue(service, 3)
    await beat(service)
    moment = await asyncio.to_thread(rewinder.keep)
    await beat(service)
    later = datetime.now(UTC).isoformat()
    await operator("settle", "--before", later, "--as", "UNCONFIRMED")
    await operator("release")
    await beat(service)
    await asyncio.to_thread(rewinder.put_back, moment)
    for id_ in ids:
        await service.becomes(id_, "UNCONFIRMED")
    await operator("release")
    await asyncio.sleep(1.5)
    assert await sent_at_all(iovox) == 0


async def test_the_queue_waits_for_a_process_that_does_not_come_back(
    world: World, rewinder: Rewinder, operator: Operator
) -> None:
    """Not what was queued since, and not once an operator says so."""
    iovox = await world.iovox(receipts=False)
    service = await world.service(iovox)
    async with world.another() as second:
        dying = await second.service(iovox)
        await settle_down(service)
        await settle_down(dying)
        await operator("hold")
        (old,) = await queue(service, 1)
        await beat(service, dying)
        moment = await asyncio.to_thread(rewinder.keep)
        await beat(service, dying)
        dying.runtime.keeper._claimant = None  # it signs off no more
    await operator("release")
    await service.becomes(old, "SUBMITTED")
    await asyncio.to_thread(rewinder.put_back, moment)
    await operator("release")

    async def brought_back() -> bool:
        return len((await operator.shown())["processes"]) == 2

    await until(brought_back, "both processes to be known", patience=15)
    assert (await iovox.counts())["by_message_id"] == {old: 1}


async def test_what_is_queued_later_is_not_settled_beforehand(
    world: World, operator: Operator
) -> None:
    service = await world.service(await world.iovox(receipts=False))
    assert (await operator("hold")).returncode == 0
    (queued,) = await queue(service, 1)
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    refused = await operator("settle", "--before", future, "--as", "UNCONFIRMED")
    assert refused.returncode == 2
    assert "it lies in the future" in refused.stderr
    assert (await service.look(queued))["status"] == "QUEUED"


@pytest.mark.parametrize(
    "words",
    [("settle", "--before", "yesterday", "--as", "UNCONFIRMED"), ("settle", "--as", "SENT")],
)
async def test_wrong_words_are_refused(operator: Operator, words: tuple[str, ...]) -> None:
    assert (await operator(*words)).returncode == 2
