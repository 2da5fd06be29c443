"""Migrations that lock briefly: in batches, beside who reads and writes, and again after a stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import column, insert, select, table, text

from app.errors import StoreUnavailable
from app.store import migrating, online
from app.store.engine import Database
from app.store.schema import migrate
from app.store.tables import deliveries, receipts
from tests.store.test_migrations import upgrade
from tests.store.test_schema import INDEXES_ON_EXPRESSIONS, differences

pytestmark = INDEXES_ON_EXPRESSIONS

IDS = [f"id-{number:02}" for number in range(25)]
NOW = datetime(2026, 6, 6, 12, tzinfo=UTC)


@pytest.fixture
async def before_telling(empty_database_url: str) -> AsyncIterator[Database]:
    """A schema from before `deliveries.received_at`, with receipts that have no message."""
    opened = Database(empty_database_url)
    await upgrade(opened, "0002_webhooks")
    old = table("deliveries", column("sms_activity_id"), column("status"))
    async with opened.write() as connection:
        await connection.execute(
            insert(old), [{"sms_activity_id": one, "status": "DELIVERED"} for one in IDS]
        )
        await connection.execute(insert(receipts), [row(n, one) for n, one in enumerate(IDS)])
    yield opened
    await opened.close()


def row(number: int, sms_activity_id: str) -> dict[str, object]:
    return {
        "sms_activity_id": sms_activity_id,
        "digest": b"1",
        "id": uuid4(),
        "status": "DELIVERED",
        "status_key": 1,
        "at": NOW,
        "time_quality": "received",
        "received_at": NOW + timedelta(seconds=number),
        "body": b"{}",
    }


async def test_rows_are_filled_in_by_batches(
    before_telling: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "ROWS_AT_ONCE", 10)
    await migrate(before_telling)
    async with before_telling.read() as connection:
        found = await connection.execute(
            select(deliveries.c.sms_activity_id, deliveries.c.received_at)
        )
        assert {one: at for one, at in found} == {  # noqa: C416  dict() needs tuples for mypy
            one: NOW + timedelta(seconds=number) for number, one in enumerate(IDS)
        }
    assert await differences(before_telling) == []


@pytest.mark.postgresql
async def test_what_was_broken_off_half_way_is_finished(empty_postgres_url: str) -> None:
    """The column is there, and an index that PostgreSQL has given up on."""
    opened = Database(empty_postgres_url)
    try:
        await upgrade(opened, "0002_webhooks")
        async with opened.write() as connection:
            await connection.execute(text("alter table deliveries add received_at timestamptz"))
            await connection.execute(
                text("create index deliveries_unmatched on deliveries (sms_activity_id)")
            )
            await connection.execute(
                text(
                    "update pg_index set indisvalid = false"
                    " where indexrelid = 'deliveries_unmatched'::regclass"
                )
            )
        await migrate(opened)
        assert await differences(opened) == []
        async with opened.read() as connection:
            assert not await connection.scalar(
                text("select count(*) from pg_index where not indisvalid")
            )
    finally:
        await opened.close()


@pytest.mark.postgresql
async def test_locks_that_are_never_to_be_had_are_given_up_in_words(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "PATIENCE", 1.5)
    told: list[str] = []
    opened = Database(empty_postgres_url)
    try:
        await upgrade(opened, "0001")
        async with opened.write() as reader:
            await reader.execute(text("select count(*) from webhooks"))
            with pytest.raises(StoreUnavailable, match=r"0002_webhooks were not to be"):
                await migrate(opened, told.append)
        waits = [line for line in told if "waits for a lock" in line]
        assert waits
        assert all(line.count("iovox-receipts") == 1 for line in waits), "the reader, not ourselves"
        await migrate(opened)
    finally:
        await opened.close()
