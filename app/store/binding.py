"""Where a message and its sms_activity_id are tied together, whoever came first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.message import Acceptance
from app.store import postgresql, sqlite


async def meet_and_bind(
    connection: AsyncConnection, pairs: Sequence[Acceptance], now: datetime
) -> set[UUID]:
    """iovox has answered: create or lock the deliveries, then tie them. Answers who was tied.

    Two statements, because the second's snapshot must be younger than the first's locks.
    """
    ids = [pair.sms_activity_id for pair in pairs]
    if connection.dialect.name == "sqlite":
        await sqlite.meet(connection, ids)
    else:
        await connection.exec_driver_sql(postgresql.MEET, (ids,))
    return await bind(connection, pairs, now)


async def bind(
    connection: AsyncConnection, pairs: Sequence[Acceptance], now: datetime
) -> set[UUID]:
    """Tie messages to deliveries that this transaction has created or locked already.

    A message that is cancelled or has another id, and a delivery that is another message's, are
    left alone.
    """
    if connection.dialect.name == "sqlite":
        return set(await sqlite.bind(connection, pairs, now))
    rows = await connection.exec_driver_sql(
        postgresql.BIND,
        ([pair.message_id for pair in pairs], [pair.sms_activity_id for pair in pairs], now),
    )
    return {row.id for row in rows}
