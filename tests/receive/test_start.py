"""Starting: without a database, on one that is not migrated, and what stops a start at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.here import dlr
from tests.crash.clients import Clients
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, SETTINGS, Service, stored
from tests.crash.waiting import until
from tests.support.ports import free_port
from tests.support.postgresql import PostgresServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def send(service: Service, ledger: Ledger, receipts: int) -> None:
    """So many receipts, all of them answered 200."""
    async with Clients(service.port, ledger, per_second=500) as clients:
        await clients.answered(receipts, within=20)
    assert ledger.statuses == {200: len(ledger.attempts)}, service.output()[-4000:]


@pytest.fixture
def started(folder: Path) -> Iterator[list[Service]]:
    services: list[Service] = []
    yield services
    for service in services:
        service.close()


@pytest.mark.postgresql
async def test_a_database_that_is_down_is_no_reason_not_to_receive(
    own_postgres: PostgresServer, postgres_url: str, folder: Path, started: list[Service]
) -> None:
    await asyncio.to_thread(own_postgres.stop)
    service, ledger = Service(folder, postgres_url), Ledger("down", HEADERS)
    started.append(service)
    await service.fork()
    await send(service, ledger, 60)
    status, body = await service.ready()
    assert (status, body["status"]) == (503, "degraded")
    assert [reason.partition(":")[0] for reason in body["reasons"]] == ["database"]
    assert body["spooled"] == service.spooled() == len(ledger.attempts)
    await asyncio.to_thread(own_postgres.start)
    await service.until_drained()
    assert ledger.faults(await stored(postgres_url)) == []
    await send(service, ledger, 20)
    assert service.spooled() == 0
    assert await service.ready() == (200, {"status": "ready", "reasons": [], "spooled": 0})


@pytest.mark.postgresql
async def test_one_that_appears_unmigrated_is_waited_for(
    own_postgres: PostgresServer,
    empty_postgres_url: str,
    migrate: Callable[[str], None],
    folder: Path,
    started: list[Service],
) -> None:
    await asyncio.to_thread(own_postgres.stop)
    service, ledger = Service(folder, empty_postgres_url), Ledger("unmigrated", HEADERS)
    started.append(service)
    await service.fork()
    await send(service, ledger, 10)
    await asyncio.to_thread(own_postgres.start)
    await until(lambda: "dlr migrate" in service.output(), within=20)
    status, body = await service.ready()
    assert status == 503
    assert "dlr migrate" in body["reasons"][0]
    await send(service, ledger, 10)
    await asyncio.to_thread(migrate, empty_postgres_url)
    await service.until_drained()
    assert ledger.faults(await stored(empty_postgres_url)) == []
    assert service.output().count('"schema_behind"') == 1, "said, and not twice a second"


async def test_sqlite_where_it_cannot_be_opened_yet(folder: Path, started: list[Service]) -> None:
    service = Service(folder, f"sqlite:///{folder / 'later' / 'dlr.db'}")
    started.append(service)
    await service.fork()
    await send(service, Ledger("later", HEADERS), 10)
    assert (await service.ready())[0] == 503
    (folder / "later").mkdir()
    await service.until_drained()
    assert (await service.ready())[0] == 200


@pytest.mark.postgresql
def test_a_schema_that_is_behind_stops_the_start(empty_postgres_url: str, folder: Path) -> None:
    settings = {"DLR_DATABASE_URL": empty_postgres_url, "DLR_SPOOL_DIR": str(folder / "spool")}
    done = dlr(["serve", "--port", str(free_port())], SETTINGS | settings)
    assert done.returncode == 2
    assert "dlr migrate" in done.stderr
    assert "Traceback" not in done.stderr


# label, settings that differ, what the one message names
REFUSALS: list[tuple[str, dict[str, str], list[str]]] = [
    ("a file in the spool's place", {"DLR_SPOOL_DIR": "a-file"}, ["DLR_SPOOL_DIR", "a-file"]),
    ("a spool nobody can make", {"DLR_SPOOL_DIR": "/proc/spool"}, ["DLR_SPOOL_DIR", "/proc"]),
    (
        "everything at once",
        {"DLR_CALLBACK_URL_HEADERS": "", "DLR_SPOOL_DIR": "a-file", "DLR_PUBLIC_URL": ""},
        ["DLR_CALLBACK_URL_HEADERS", "DLR_SPOOL_DIR", "DLR_PUBLIC_URL"],
    ),
]


@pytest.mark.parametrize(("label", "settings", "named"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_one_clear_message_says_what_stops_it(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    label: str,
    settings: dict[str, str],
    named: list[str],
) -> None:
    monkeypatch.chdir(folder)
    (folder / "a-file").write_text("not a folder")
    done = dlr(["serve", "--port", str(free_port())], SETTINGS | settings)
    assert done.returncode == 2, label
    for name in named:
        assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_damaged_spool_does_not_stop_it(folder: Path, started: list[Service]) -> None:
    (folder / "spool").mkdir()
    (folder / "spool" / "receipts.db").write_text("this is no spool" * 100)
    service = Service(folder, f"sqlite:///{folder / 'dlr.db'}")
    started.append(service)
    asyncio.run(service.fork())
    assert "spool_damaged" in service.output()
    assert list((folder / "spool").glob("receipts.db.damaged-*"))
