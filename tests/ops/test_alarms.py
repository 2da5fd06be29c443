"""Each alarm begins when its reason is there, is told in every way, and ends by itself."""

from __future__ import annotations

import fcntl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from sqlalchemy import update

from app.model.alarm import AlarmName, Report
from app.model.receipt import Arrival
from app.ops.recent import Recent
from app.store.clock import utc_now
from app.store.ids import new_id
from app.store.tables import operations
from app.store.wakeups import WEBHOOKS
from tests.events.receiver import Answer, Receiver, always, receiving
from tests.ops.scraping import post_receipt, receipt, scrape
from tests.send.world import LOST, UNAUTHORIZED, Iovox, Service, World, to, until

EVERY = 0.1
SETTINGS: dict[str, Any] = {
    "ops_interval": EVERY,
    "webhook_allow_http": True,
    "webhook_allowed_networks": "127.0.0.0/8",
}


class Watched:
    """A service, and an admin whose webhook is told of alarms."""

    def __init__(self, service: Service, receiver: Receiver, support: dict[str, str]) -> None:
        self.service = service
        self.receiver = receiver
        self.support = support

    async def up(self) -> dict[str, dict[str, Any]]:
        answer = await self.service.client.get("/v1/alarms", headers=self.support)
        assert answer.status_code == 200, answer.text
        alarms = answer.json()["alarms"]
        return {one["alarm"]: one for one in alarms if one["ended_at"] is None}

    def told(self, kind: str, name: str) -> list[dict[str, Any]]:
        return [
            call.data
            for call in self.receiver.calls
            if call.payload["type"] == kind and call.data["alarm"] == name
        ]

    def kinds(self) -> set[str]:
        return {call.payload["type"] for call in self.receiver.calls}

    async def begins(self, name: AlarmName) -> str:
        """Everywhere: returns the words."""

        async def is_told() -> bool:
            return (
                bool(self.told("alarm.began", name))
                and name in await self.up()
                and (await scrape(self.service.client))[f"dlr_alarm{{alarm={name}}}"] == 1
            )

        await until(is_told, f"{name} to begin: {await self.up()}", every=EVERY / 2)
        (told,) = self.told("alarm.began", name)
        detail = (await self.up())[name]["detail"]
        assert told["detail"] == detail
        assert told["ended_at"] is None
        return str(detail)

    async def ends(self, name: AlarmName) -> None:
        async def is_over() -> bool:
            return (
                bool(self.told("alarm.ended", name))
                and name not in await self.up()
                and (await scrape(self.service.client))[f"dlr_alarm{{alarm={name}}}"] == 0
            )

        await until(is_over, f"{name} to end", every=EVERY / 2)


@asynccontextmanager
async def watched(
    world: World, iovox: Iovox | None = None, **changed: Any
) -> AsyncIterator[Watched]:
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        service = await world.service(iovox, **(SETTINGS | changed))
        admin, support = await service.key("ops", "admin"), await service.key("desk", "support")
        made = await service.client.post("/v1/webhooks", json={"url": receiver.url}, headers=admin)
        assert made.status_code == 201, made.text
        assert "ALARM" in made.json()["statuses"]
        yield Watched(service, receiver, support)


async def test_silence(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    iovox = await world.iovox(receipts=False)
    async with watched(world, iovox, silence_after=1) as here:
        began = time.monotonic()
        assert (await here.service.send()).status_code == 201
        assert "no receipt has come" in await here.begins(AlarmName.SILENCE)
        assert 0.9 < time.monotonic() - began < 10
        assert await post_receipt(here.service.client, receipt("a-receipt")) == 200
        await here.ends(AlarmName.SILENCE)
    said = capfd.readouterr().out
    assert "alarm_began" in said
    assert "alarm_ended" in said


async def test_no_worker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ops.alarms.rules.DUE_WITHOUT_WORKER", 0.5)
    iovox = await world.iovox()
    async with watched(world, iovox, queue_workers=False) as here, AsyncExitStack() as stack:
        await here.service.send()  # its events are a worker's to tell
        queued = await here.service.send(Prefer="respond-async")
        assert queued.status_code == 202
        assert "dlr worker" in await here.begins(AlarmName.NO_WORKER)
        assert here.kinds() == {"alarm.began"}
        worker = World(world.database_url, stack)
        await worker.service(iovox, **SETTINGS)
        await here.ends(AlarmName.NO_WORKER)

        async def is_told() -> bool:
            return "message.delivered" in here.kinds()

        await until(is_told, "the worker to tell of the messages")


@pytest.mark.parametrize(("hours", "words"), [(1, "ahead of"), (-1, "behind")])
async def test_a_zone_that_is_off_by_an_hour(sqlite_world: World, hours: int, words: str) -> None:
    async with watched(sqlite_world) as here:
        stamp = f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}Z"
        for number in range(5):
            body = receipt(f"{number}", stamp=stamp)
            assert await post_receipt(here.service.client, body) == 200
        detail = await here.begins(AlarmName.ZONE)
        assert words in detail
        assert "which is 1 h: somebody's time zone is wrong" in detail
        for number in range(8):
            assert await post_receipt(here.service.client, receipt(f"good-{number}")) == 200
        await here.ends(AlarmName.ZONE)


async def test_receipts_that_are_refused(sqlite_world: World) -> None:
    async with watched(sqlite_world) as here:
        for number in range(10):
            assert await post_receipt(here.service.client, receipt(f"{number}"), "other") == 401
        assert "10 secret" in await here.begins(AlarmName.RECEIPTS_REFUSED)


async def test_a_spool_that_is_not_drained(world: World) -> None:
    async with watched(world) as here:
        runtime = here.service.runtime
        with (runtime.settings.spool_dir / "drain.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            old = utc_now() - timedelta(seconds=61)
            await runtime.spool.append([Arrival(new_id(), old, receipt("late").encode())])
            assert "1 receipts are in the spool" in await here.begins(AlarmName.SPOOL_NOT_DRAINING)
        await here.ends(AlarmName.SPOOL_NOT_DRAINING)


async def test_credentials(sqlite_world: World) -> None:
    iovox = await sqlite_world.iovox()
    async with watched(sqlite_world, iovox) as here:
        await here.service.send(to(UNAUTHORIZED))
        assert "DLR_IOVOX_SECURE_KEY" in await here.begins(AlarmName.CREDENTIALS)
        assert (await here.service.send()).status_code == 201
        await here.ends(AlarmName.CREDENTIALS)


async def test_more_and_more_unconfirmed(sqlite_world: World) -> None:
    iovox = await sqlite_world.iovox(withheld=0.05, receipts=False)
    async with watched(sqlite_world, iovox, iovox_read_timeout=0.2) as here:
        await here.service.client.get("/healthz")
        for _ in range(5):
            assert (await here.service.send(to(LOST))).status_code == 202
            here.service.runtime.breaker.record_success()
        assert "5 messages are UNCONFIRMED" in await here.begins(AlarmName.UNCONFIRMED_GROWING)


async def test_more_and_more_overdue(sqlite_world: World) -> None:
    iovox = await sqlite_world.iovox(receipts=False)
    async with watched(sqlite_world, iovox, overdue_after=0.3) as here:
        for _ in range(5):
            await here.service.send()
        assert "5 messages are overdue" in await here.begins(AlarmName.OVERDUE_GROWING)


async def test_a_webhook_that_was_paused(sqlite_world: World) -> None:
    iovox = await sqlite_world.iovox()
    async with watched(sqlite_world, iovox, webhook_give_up_after=0.3) as here:
        admin = await here.service.key("ops", "admin")
        async with receiving(always(Answer(status=500))) as bad:
            asked = {"url": bad.url, "statuses": ["DELIVERED"]}
            made = await here.service.client.post("/v1/webhooks", json=asked, headers=admin)
            await here.service.send()
            await here.begins(AlarmName.WEBHOOK_PAUSED)
            gone = await here.service.client.delete(
                f"/v1/webhooks/{made.json()['id']}", headers=admin
            )
            assert gone.status_code == 204
        await here.ends(AlarmName.WEBHOOK_PAUSED)


async def test_a_clock_that_differs(sqlite_world: World) -> None:
    async with watched(sqlite_world) as here:
        clock, at = here.service.runtime.clock, time.monotonic()
        clock.measured(utc_now() - timedelta(seconds=5), asked=at, received=at)
        assert "5.0 s ahead of the database's" in await here.begins(AlarmName.CLOCK)
        at = time.monotonic()
        clock.measured(utc_now(), asked=at, received=at)
        await here.ends(AlarmName.CLOCK)


async def test_a_database_that_forgot(sqlite_world: World) -> None:
    async with watched(sqlite_world) as here:

        async def has_looked() -> bool:
            return here.service.runtime.alarms._turn > 2

        await until(has_looked, "a few looks")
        async with here.service.runtime.database.write() as connection:
            await connection.execute(update(operations).values(turn=0))
        assert "lost what it had committed" in await here.begins(AlarmName.DATABASE_FORGOT)


async def test_a_disk_that_is_nearly_full(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said while receipts are still taken."""
    async with watched(sqlite_world) as here:
        assert (await here.service.client.get("/readyz")).status_code == 200
        for place in ("app.ops.alarms.rules", "app.ops.gauges"):
            monkeypatch.setattr(f"{place}.LITTLE_ROOM", 2**60)
        assert "MiB left" in await here.begins(AlarmName.SPOOL_DISK_FULL)
        readiness = await here.service.client.get("/readyz")
        assert readiness.status_code == 503
        assert readiness.json()["reasons"] == ["spool: its disk is nearly full"]
        assert await post_receipt(here.service.client, receipt("taken")) == 200


async def test_two_replicas_raise_one_alarm(world: World) -> None:
    iovox = await world.iovox(receipts=False)
    async with watched(world, iovox, silence_after=0.5) as here:
        await world.service(iovox, **(SETTINGS | {"silence_after": 0.5}))
        await here.service.send()
        await here.begins(AlarmName.SILENCE)
        assert await post_receipt(here.service.client, receipt("a-receipt")) == 200
        await here.ends(AlarmName.SILENCE)
        assert len(here.told("alarm.began", AlarmName.SILENCE)) == 1
        assert len(here.told("alarm.ended", AlarmName.SILENCE)) == 1


async def test_looks_that_overlap_tell_an_alarm_once(world: World) -> None:
    """A look that takes longer than the interval: the next turn is given out meanwhile."""
    async with watched(world, ops_interval=3600) as here:
        store, at_once = here.service.runtime.operations, timedelta(microseconds=1)
        turns = []
        for _ in range(4):
            found = await store.report(uuid4(), Report("a"), now=utc_now(), every=at_once)
            assert found.is_mine
            turns.append(found.turn)
        now = utc_now()
        up, down = {AlarmName.SILENCE: "no receipt has come"}, dict[AlarmName, str]()
        concluded = [
            await store.conclude(turns[0], {}, up, now=now),
            await store.conclude(turns[1], {}, up, now=now),
            await store.conclude(turns[3], {}, down, now=now),
            await store.conclude(turns[2], {}, up, now=now),  # it has seen less
        ]
        assert [len(one.changed) for one in concluded] == [1, 0, 1, 0]
        assert [one.is_told for one in concluded] == [True, False, True, False]
        assert [one.alarms[0].ended_at for one in concluded] == [None, None, now, now]
        here.service.runtime.wakeups.announce(WEBHOOKS)
        await here.ends(AlarmName.SILENCE)
        assert len(here.told("alarm.began", AlarmName.SILENCE)) == 1
        assert len(here.told("alarm.ended", AlarmName.SILENCE)) == 1


async def test_only_an_admin_over_all_apps_gets_alarms(sqlite_world: World) -> None:
    service = await sqlite_world.service(**SETTINGS)
    hook = await service.key("billing", "webhooks")
    asked = {"url": "https://example.com/x", "statuses": ["ALARM"]}
    answer = await service.client.post("/v1/webhooks", json=asked, headers=hook)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "statuses"
    admin = await service.key("ops", "admin")
    for_app = {**asked, "app": "billing"}
    assert (
        await service.client.post("/v1/webhooks", json=for_app, headers=admin)
    ).status_code == 422


def test_what_is_remembered_is_bounded() -> None:
    with time_machine.travel(datetime(2026, 11, 28, tzinfo=UTC), tick=False) as now:
        recent = Recent()
        for _ in range(5_000):
            recent.refused("secret")
            recent.took([1.0])
        assert recent.refusals() == {"secret": 1_000}
        assert recent.lag() == (200, 1.0)
        now.shift(301)
        assert recent.refusals() == {}
        assert recent.lag() == (0, 0.0)
