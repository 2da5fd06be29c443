"""Binds a message to the delivery of its sms_activity_id, whichever of the two was there first."""

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
    """After iovox's acceptance: create or lock the deliveries, then bind the messages to them.

    Returns the bindings. Two statements, because the snapshot of the second must be younger than
    the locks of the first.
    """
    await meet(connection, [pair.sms_activity_id for pair in pairs])
    return await bind(connection, pairs, now)


async def meet(connection: AsyncConnection, sms_activity_ids: Sequence[str]) -> None:
    """Create the deliveries of these ids, or lock those that there are."""
    if connection.dialect.name == "sqlite":
        await sqlite.meet(connection, sms_activity_ids)
    else:
        await connection.exec_driver_sql(postgresql.MEET, (list(sms_activity_ids),))


async def meet_and_bind_directly(connection: Any, pairs: Sequence[Acceptance]) -> dict[UUID, str]:
    """``meet_and_bind`` by an asyncpg connection: it is run for every send, and SQLAlchemy costs
    more than the statements.
    """
    async with connection.transaction():
        await connection.execute(postgresql.MEET, [pair.sms_activity_id for pair in pairs])
        return await bind_directly(connection, pairs)


async def bind_directly(connection: Any, pairs: Sequence[Acceptance]) -> dict[UUID, str]:
    """``bind`` by an asyncpg connection, within the transaction that it is in."""
    rows = await connection.fetch(postgresql.BIND, *_bind_arguments(pairs))
    return {row["id"]: row["sid"] for row in rows}


async def bind(
    connection: AsyncConnection, pairs: Sequence[Acceptance], now: datetime
) -> dict[UUID, str]:
    """Bind messages to deliveries that this transaction has created or locked already.

    A message that is cancelled or has another sms_activity_id, and a delivery of another message,
    are left alone; of several pairs with one message or one id the first counts. Returns the
    bindings.
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
