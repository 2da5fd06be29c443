"""A database that forgets, together with what else may be the case at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.crash.clients import Clients
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS
from tests.events.receiver import receiving
from tests.events.sse import listening
from tests.record.keyed import KeyedSenders
from tests.record.rewinding import PostgresRewinder, Rewinder
from tests.record.stage import assert_nothing_is_lost, stage
from tests.record.test_disks import hold_of
from tests.record.test_restore import (
    WITHOUT_RECEIPT,
    assert_all_is_back,
    beat,
    receipt,
    receipts_of,
    send_and_receive,
    settle_down,
)
from tests.send.world import Service, World, to, until
from tests.support.faketime import FakeClock
from tests.support.long import LONG, POSTGRESQL, SQLITE, on
from tests.support.pgbouncer import PgBouncer
from tests.support.postgresql import PostgresServer
from tests.support.small_disk import CannotMount, fill, small_disk


@pytest.mark.postgresql
async def test_through_a_pooler(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Connections to a pooler live on, whatever happens behind it."""
    rewinder = PostgresRewinder(postgres_server, postgres_url)
    with PgBouncer(postgres_url) as pooler:
        async with AsyncExitStack() as stack:
            world = World(pooler.through(postgres_url), stack)
            iovox = await world.iovox(receipts=False)
            service = await world.service(iovox, database_pooler="transaction")
            await settle_down(service)
            moment = await asyncio.to_thread(rewinder.keep)
            sent, ids = await send_and_receive(service, sends=10, receipts=15)
            await asyncio.to_thread(rewinder.put_back, moment)
            await assert_all_is_back(service, iovox, sent, ids)


@pytest.mark.postgresql
@pytest.mark.crash
@pytest.mark.skipif(not LONG, reason="long: DLR_TEST_LONG=1")
async def test_clocks_that_are_apart(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Ten minutes ahead and behind: who is waited for, and what is older, goes by one clock."""
    rewinder = PostgresRewinder(postgres_server, postgres_url)
    ledger = Ledger("clocks", HEADERS)
    async with stage(tmp_path, postgres_url, postgres_url) as on_it:
        for minutes in (10, -10):
            folder = tmp_path / f"clock{minutes}"
            folder.mkdir()
            clock = FakeClock(folder, timedelta(minutes=minutes))
            await on_it.replica(env=clock.env)
        senders = KeyedSenders(on_it.ports, on_it.key)
        async with Clients(on_it.ports[0], ledger, per_second=40) as receipts, senders:
            await receipts.answered(20, within=30)
            moment = await asyncio.to_thread(rewinder.keep)
            queued = await on_it.queue(20)
            await receipts.answered(60, within=30)
            await asyncio.to_thread(rewinder.put_back, moment)
            await receipts.answered(20, within=30)
        await assert_nothing_is_lost(on_it, postgres_url, ledger, senders, queued)


async def is_there(service: Service, message_id: str) -> bool:
    return (await service.client.get(f"/v1/messages/{message_id}")).status_code == 200


@on(POSTGRESQL)
async def test_what_is_scheduled_cancelled_and_sent_again_and_who_is_told(
    world: World, rewinder: Rewinder
) -> None:
    iovox = await world.iovox(receipts=False)
    async with receiving() as receiver:
        service = await world.service(
            iovox, webhook_allow_http=True, webhook_allowed_networks="127.0.0.0/8"
        )
        key = await service.key("billing", "send", "read", "webhooks")
        wanted = {"url": receiver.url, "statuses": ["SUBMITTED"]}
        made = await service.client.post("/v1/webhooks", headers=key, json=wanted)
        assert made.status_code == 201, made.text
        await settle_down(service)
        first = (await service.send(to(WITHOUT_RECEIPT))).json()["id"]
        await beat(service)
        async with listening(service.client, key) as reader:
            moment = await asyncio.to_thread(rewinder.keep)
            later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
            scheduled = (await service.send(to(WITHOUT_RECEIPT, send_at=later))).json()["id"]
            cancelled = (await service.send(to(WITHOUT_RECEIPT, send_at=later))).json()["id"]
            gone = await service.client.delete(f"/v1/messages/{cancelled}")
            assert gone.status_code == 200, gone.text
            again = (await service.post(f"/v1/messages/{first}/resend")).json()["id"]
            await asyncio.to_thread(rewinder.put_back, moment)
            for id_ in (scheduled, cancelled, again):
                await until(partial(is_there, service, id_), f"{id_} to be back", patience=30)
            assert await service.becomes(cancelled, "CANCELLED") == "CANCELLED"
            await service.becomes(again, "SUBMITTED")
            assert (await service.look(again))["resend_of"] == first
            await service.becomes(scheduled, "SUBMITTED", patience=30)
            last = (await service.send(to(WITHOUT_RECEIPT))).json()["id"]

            async def is_told(id_: str) -> bool:
                streamed = [e["status"] for e in reader.events if e["message_id"] == id_]
                return "SUBMITTED" in streamed and "SUBMITTED" in receiver.statuses_of(id_)

            for id_ in (again, scheduled, last):
                await until(partial(is_told, id_), f"everybody to be told of {id_}")
        counts = (await iovox.counts())["by_message_id"]
        assert counts == dict.fromkeys([first, again, scheduled, last], 1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", size=2048 * 1024) as mounted:
            yield mounted
    except CannotMount as reason:
        pytest.skip(str(reason))


@on(SQLITE)
async def test_a_disk_that_is_full_for_a_while(
    world: World, rewinder: Rewinder, disk: Path
) -> None:
    """Receipts and sends are taken all the same, and what is missing then is said afterwards."""
    iovox = await world.iovox(receipts=False)
    service = await world.service(iovox, spool_dir=disk / "spool")
    await settle_down(service)
    moment = await asyncio.to_thread(rewinder.keep)
    await beat(service)
    with capture_logs() as logs:
        ballast = fill(disk)
        _, lost = await send_and_receive(service, sends=20, receipts=40)
        ballast.unlink()
        _, kept = await send_and_receive(service, sends=3, receipts=5)
    said = [line["event"] for line in logs if line["event"].startswith("journal_")]
    assert said == ["journal_fails", "journal_works"]
    assert set(lost) | set(kept) <= set(await receipts_of(service))
    await asyncio.to_thread(rewinder.put_back, moment)

    async def is_held() -> bool:
        return "does not reach back" in (await hold_of(service) or "")

    await until(is_held, "the queue to be held")
    assert set(kept) <= set(await receipts_of(service))


def journals(disk: Path) -> list[Path]:
    return list(disk.glob("spool/journal/*"))


@on(SQLITE)
async def test_a_start_on_a_full_disk(world: World, disk: Path) -> None:
    """It is said once, tried again each second, and leaves nothing behind."""
    iovox = await world.iovox(receipts=False)
    (disk / "spool").mkdir(mode=0o700)
    async with world.another() as before:
        await before.service(iovox, spool_dir=disk / "spool")
    ballast = fill(disk)
    with capture_logs() as logs:
        service = await world.service(iovox, spool_dir=disk / "spool")
        await receipt(service, "one")
        assert (await service.send(to(WITHOUT_RECEIPT), idempotency_key="a")).status_code == 201
        await asyncio.sleep(3)
    assert [line["event"] for line in logs].count("journal_cannot_be_opened") == 1
    assert len(journals(disk)) == 1
    ballast.unlink()
    await asyncio.wait_for(service.runtime.journal.checked.wait(), 15)
    assert len(journals(disk)) == 1


@on(SQLITE)
async def test_a_time_without_a_journal_is_a_gap_in_it(
    world: World, rewinder: Rewinder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What was sent in that time is nowhere written: the queue is held, not sent again."""
    iovox = await world.iovox(receipts=False)
    settings: dict[str, Any] = {"spool_dir": tmp_path_factory.mktemp("spool")}
    async with world.another() as with_journal:
        service = await with_journal.service(iovox, **settings)
        await settle_down(service)
        later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        queued = (await service.send(to(WITHOUT_RECEIPT, send_at=later))).json()["id"]
        await beat(service)
        moment = await asyncio.to_thread(rewinder.keep)
    async with world.another() as without:
        service = await without.service(iovox, journal_for=0, **settings)
        await service.becomes(queued, "SUBMITTED")
    async with world.another() as again:
        service = await again.service(iovox, **settings)
        await settle_down(service)
        assert await hold_of(service) is None  # the database has all of it
    await asyncio.to_thread(rewinder.put_back, moment)
    service = await world.service(iovox, **settings)
    await settle_down(service)
    assert "does not reach back" in (await hold_of(service) or "")
    await asyncio.sleep(4)  # in which it would be sent
    assert (await iovox.counts())["by_message_id"] == {queued: 1}
