"""What was stored by an earlier release is brought along by each migration, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, TableClause, column, insert, select, table

from app.store.engine import Database
from app.store.evidence.rows import subject_of
from app.store.outbox.deliveries import WebhookDeliveryStore
from app.store.schema import migrate
from app.store.tables import api_keys, evidence_pending, webhook_deliveries, webhooks
from app.store.webhooks import WebhookStore
from tests.record.evidence.world import World
from tests.store.samples import message, receipt

MIGRATIONS = Path(__file__).parents[2] / "migrations"
SCOPES = {  # before -> after
    "read send": "read send webhooks",
    "read": "read webhooks",
    "admin read": "admin read webhooks",
    "send": "send",
    "admin": "admin",
}


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Database]:
    opened = Database(empty_database_url)
    yield opened
    await opened.close()


async def upgrade(database: Database, revision: str, *, back: bool = False) -> None:
    """To a schema of an earlier release."""

    def to_revision(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        (command.downgrade if back else command.upgrade)(config, revision)

    async with database.write() as connection:
        await connection.run_sync(to_revision)


async def test_keys_that_could_change_webhooks_still_can(empty: Database) -> None:
    await upgrade(empty, "0001")
    now = datetime.now(UTC)
    rows = [
        {
            "id": before,
            "app": "billing",
            "hash": before.encode(),
            "scopes": before,
            "created_at": now,
            "revoked_at": now if before == "read" else None,
        }
        for before in SCOPES
    ]
    async with empty.write() as connection:
        await connection.execute(insert(api_keys), rows)
    await migrate(empty)
    async with empty.read() as connection:
        found = await connection.execute(select(api_keys.c.id, api_keys.c.scopes))
        assert {row.id: row.scopes for row in found} == SCOPES


async def test_stored_webhooks_go_on(empty: Database) -> None:
    """Which key made them is not known, and a pause of days becomes one of an hour."""
    await upgrade(empty, "0001")
    now = datetime.now(UTC)
    pauses = {"quiet": now + timedelta(days=3), "soon": now + timedelta(minutes=1), "none": None}
    ids = {name: uuid4() for name in pauses}
    async with empty.write() as connection:
        await connection.execute(
            insert(_old_webhooks()), [_row(ids[n], at) for n, at in pauses.items()]
        )
    await migrate(empty)
    found = {webhook.id: webhook for webhook in await WebhookStore(empty).all(sees=None)}
    assert {webhook.key_id for webhook in found.values()} == {None}
    assert all(webhook.key_revoked for webhook in found.values())  # there is no key at all
    quiet = found[ids["quiet"]].not_before
    assert quiet is not None
    assert abs(quiet - now - timedelta(hours=1)) < timedelta(minutes=1)
    assert found[ids["soon"]].not_before == pauses["soon"]
    assert found[ids["none"]].not_before is None


async def test_deliveries_from_before_attempts_were_kept_show_what_they_have(
    empty: Database,
) -> None:
    await upgrade(empty, "0015_one_index")
    hook, delivery, now = uuid4(), uuid4(), datetime.now(UTC)
    names = [each.name for each in webhook_deliveries.c if each.name != "attempt_log"]
    old = table(
        "webhook_deliveries", *(column(name, webhook_deliveries.c[name].type) for name in names)
    )
    row = {
        "id": delivery, "webhook_id": hook, "type": "message.failed", "body": "{}",
        "state": "FAILED", "attempts": 3, "created_at": now, "status_code": 500, "error": "odd",
    }  # fmt: skip
    async with empty.write() as connection:
        await connection.execute(insert(webhooks), [_row(hook, None)])
        await connection.execute(insert(old), [row])
    for _ in range(2):
        await migrate(empty)
        found = await WebhookDeliveryStore(empty).find(hook, delivery)
        assert found is not None
        assert (found.attempts, found.status_code, found.error) == (3, 500, "odd")
        assert found.attempt_log == ()
        await upgrade(empty, "0015_one_index", back=True)


async def test_receipts_wait_for_the_evidence_log_by_rows_again(
    empty: Database, tmp_path: Path
) -> None:
    await migrate(empty)
    world = World(empty, tmp_path / "disk")
    await world.drain()
    of = message()
    await world.send(of)
    await world.accept(of, "a1")
    await world.receive(receipt("a1", "ACKNOWLEDGED", 1))
    await world.drain()
    await world.receive(receipt("a1", "DELIVERED", 5))
    for _ in range(2):
        await upgrade(empty, "0016_attempts", back=True)
        async with empty.read() as connection:
            rows = await connection.execute(select(evidence_pending.c.sms_activity_id))
            assert rows.scalars().all() == ["a1"]
        await migrate(empty)
    await world.drain()
    assert (await world.audit()).findings == []
    assert await world.reader.lag() == (False, None)
    facts = await world.reader.facts([subject_of(of.id)])
    assert len(facts) == 4  # recorded, attached, two receipts


def _old_webhooks() -> TableClause:
    names = [each.name for each in webhooks.c if each.name != "key_id"]
    return table("webhooks", *(column(name, webhooks.c[name].type) for name in names))


def _row(webhook_id: UUID, not_before: datetime | None) -> dict[str, object]:
    return {
        "id": webhook_id,
        "app": "billing",
        "url": "https://example.com",
        "statuses": "DELIVERED",
        "secret": "whsec_",
        "state": "ACTIVE",
        "created_at": datetime.now(UTC),
        "position": 0,
        "failures": 0,
        "not_before": not_before,
    }
