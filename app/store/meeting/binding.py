"""Where a message and its sms_activity_id are tied together, whoever came first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.message import Acceptance
from app.store.meeting import postgresql, sqlite


async def meet_and_bind(
    connection: AsyncConnection, pairs: Sequence[Acceptance], now: datetime
) -> dict[UUID, str]:
    """iovox has answered: create or lock the deliveries, then tie them. Answers who was tied, and
    to which sms_activity_id.

    Two statements, because the second's snapshot must be younger than the first's locks.
    """
    ids = [pair.sms_activity_id for pair in pairs]
    if connection.dialect.name == "sqlite":
        await sqlite.meet(connection, ids)
    else:
        await connection.exec_driver_sql(postgresql.MEET, (ids,))
    return await bind(connection, pairs, now)


async def meet_and_bind_directly(driver: Any, pairs: Sequence[Acceptance]) -> dict[UUID, str]:
    """``meet_and_bind`` by asyncpg's own connection: once a send, SQLAlchemy costs too much."""
    async with driver.transaction():
        await driver.execute(postgresql.MEET, [pair.sms_activity_id for pair in pairs])
        return await bind_directly(driver, pairs)


async def bind_directly(driver: Any, pairs: Sequence[Acceptance]) -> dict[UUID, str]:
    """``bind`` by asyncpg's own connection, within the transaction that it is in."""
    rows = await driver.fetch(postgresql.BIND, *_bind_arguments(pairs))
    return {row["id"]: row["sid"] for row in rows}


async def bind(
    connection: AsyncConnection, pairs: Sequence[Acceptance], now: datetime
) -> dict[UUID, str]:
    """Tie messages to deliveries that this transaction has created or locked already.

    A message that is cancelled or has another id, and a delivery that is another message's, are
    left alone; of rival pairs the first counts. Answers the ids of whoever was tied.
    """
    if connection.dialect.name == "sqlite":
        return await sqlite.bind(connection, pairs, now)
    rows = await connection.exec_driver_sql(postgresql.BIND, _bind_arguments(pairs))
    return {row.id: row.sid for row in rows}


def _bind_arguments(pairs: Sequence[Acceptance]) -> tuple[list[UUID], list[str], list[datetime]]:
    return (
        [pair.message_id for pair in pairs],
        [pair.sms_activity_id for pair in pairs],
        [pair.at for pair in pairs],
    )
