"""Disks that are damaged, take nothing, or are not wanted: said, and nothing stops."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.record.rewinding import Rewinder
from tests.record.test_restore import (
    WITHOUT_RECEIPT,
    beat,
    receipt,
    receipts_of,
    send_and_receive,
    settle_down,
)
from tests.send.world import Service, World, to, until
from tests.support.long import SQLITE, on

pytestmark = on(SQLITE)


async def hold_of(service: Service) -> str | None:
    async with service.runtime.database.read() as connection:
        rows = (await connection.execute(text("select reason from queue_holds"))).all()
    return rows[0][0] if rows else None


async def test_a_damaged_journal_holds_the_queue_and_stops_nothing(
    world: World, rewinder: Rewinder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    iovox = await world.iovox(receipts=False)
    spool = tmp_path_factory.mktemp("spool")
    settings: dict[str, Any] = {"spool_dir": spool}
    async with world.another() as first:
        service = await first.service(iovox, **settings)
        await settle_down(service)
        moment = await asyncio.to_thread(rewinder.keep)
        await beat(service)
        _, first_ids = await send_and_receive(service, sends=2, receipts=5)
        await beat(service)
        _, last_ids = await send_and_receive(service, sends=2, receipts=5)
    (segment,) = spool.glob("journal/*/*.journal")
    data = bytearray(segment.read_bytes())
    where = data.rindex(last_ids[-1].encode())
    data[where] ^= 0xFF
    segment.write_bytes(data)
    await asyncio.to_thread(rewinder.put_back, moment)
    with capture_logs() as logs:
        service = await world.service(iovox, **settings)
        await settle_down(service)
    events = {line["event"] for line in logs}
    assert {"journal_segment_set_aside", "journal_has_a_gap"} <= events
    assert set(first_ids) <= set(await receipts_of(service))
    assert "does not reach back" in (await hold_of(service) or "")
    await receipt(service, "one-more")
    taken = await service.send(to(WITHOUT_RECEIPT))
    assert (taken.status_code, taken.json()["status"]) == (202, "QUEUED")


async def test_a_disk_that_takes_no_journal_stops_nothing(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    iovox = await world.iovox(receipts=False)
    spool = tmp_path_factory.mktemp("spool")
    (spool / "journal").write_text("in the way")
    with capture_logs() as logs:
        service = await world.service(iovox, spool_dir=spool)
    said = [line for line in logs if line["event"] == "journal_cannot_be_opened"]
    assert [line["log_level"] for line in said] == ["error"]
    await receipt(service, "one")
    assert (await service.send(to(WITHOUT_RECEIPT), idempotency_key="a")).status_code == 201
    batch = await service.post("/v1/messages/batch", {"messages": [to(WITHOUT_RECEIPT)]})
    await service.becomes(batch.json()["messages"][0]["id"], "SUBMITTED")
    (spool / "journal").unlink()

    async def open_by_now() -> bool:
        return service.runtime.journal.checked.is_set()

    await until(open_by_now, "the journal to be open", patience=15)
    assert list(spool.glob("journal/*/*.journal"))
    assert (await service.send(to(WITHOUT_RECEIPT), idempotency_key="b")).status_code == 201


async def test_without_a_journal_there_is_nothing_of_it(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    iovox = await world.iovox(receipts=False)
    spool: Path = tmp_path_factory.mktemp("spool")
    service = await world.service(iovox, spool_dir=spool, journal_for=0)
    await receipt(service, "one")
    assert (await service.send(to(WITHOUT_RECEIPT), idempotency_key="a")).status_code == 201
    await beat(service)
    assert not (spool / "journal").exists()
    for table in ("incarnations", "processes"):
        async with service.runtime.database.read() as connection:
            count = await connection.execute(text(f"select count(*) from {table}"))
            assert count.scalar_one() == 0


async def test_a_journal_belongs_to_one_database(
    world: World, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another database with the same spool gets nothing of it."""
    spool, other = tmp_path_factory.mktemp("spool"), tmp_path_factory.mktemp("other")
    async with world.another() as first:
        service = await first.service(await world.iovox(receipts=False), spool_dir=spool)
        await send_and_receive(service, sends=1, receipts=3)
    (other / "dlr.db").write_bytes((sqlite_template / "dlr.db").read_bytes())
    elsewhere = World(f"sqlite:///{other / 'dlr.db'}", world._stack)
    with capture_logs() as logs:
        service = await elsewhere.service(spool_dir=spool)
        await settle_down(service)
    assert "journal_of_another_database" in {line["event"] for line in logs}
    assert not await receipts_of(service)
    assert await hold_of(service) is None  # it has nothing that might have been sent
    assert len(list(spool.glob("journal/*"))) == 2


async def test_a_copy_of_a_journal_is_no_second_process_of_its_name(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As where a second machine is made out of the first one's disk. Both go on."""
    spool, copy = tmp_path_factory.mktemp("spool"), tmp_path_factory.mktemp("copy") / "spool"
    iovox = await world.iovox(receipts=False)
    first = await world.service(iovox, spool_dir=spool)
    await settle_down(first)
    await send_and_receive(first, sends=2, receipts=2)
    shutil.copytree(spool / "journal", copy / "journal")
    await beat(first)
    with capture_logs() as logs:
        second = await world.service(iovox, spool_dir=copy)
        await settle_down(second)
        for service in (first, second, first, second):
            await beat(first, second)
            _, ids = await send_and_receive(service, sends=2, receipts=2)
            assert set(ids) <= set(await receipts_of(service))
    events = [line["event"] for line in logs]
    assert events.count("journal_is_a_copy") == 1
    assert "database_may_have_forgotten" not in events
    assert await hold_of(first) is None
    name = first.runtime.keeper._folder
    assert name is not None
    assert len(list(copy.glob(f"journal/{name.name}.copy-*/*.journal"))) == 1
