"""Deletes messages with their receipts and deliveries, as part of a transaction of the caller's.

Receipts first, then deliveries, then messages: the order of locks everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.any_of import any_of
from app.store.rollups import hours_of, mark
from app.store.tables import deliveries, messages, receipts, webhook_deliveries

# In the order of their keys, so that two transactions never deadlock. $1: sms_activity_ids, $2: ids
# of messages. PostgreSQL evaluates the columns of a row from left to right.
LOCK = """
select
  (select count(*) from (select from receipts where sms_activity_id = any($1::text[])
    order by sms_activity_id, digest for update) r),
  (select count(*) from (select from deliveries where sms_activity_id = any($1::text[])
    order by sms_activity_id for update) d),
  (select count(*) from (select from messages where id = any($2::uuid[])
    order by id for update) m)
"""
# One statement for all tables: in a short batch a statement's own cost exceeds that of deleting.
DELETE = """
with r as (delete from receipts where sms_activity_id = any($1::text[]) returning 1),
d as (delete from deliveries where sms_activity_id = any($1::text[])),
w as (delete from webhook_deliveries where message_id = any($2::uuid[])),
s as (update messages set resend_of = null
  where resend_of = any($2::uuid[]) and id <> all($2::uuid[])),
m as (delete from messages where id = any($2::uuid[]))
select count(*) from r
"""


async def delete_messages(connection: AsyncConnection, rows: Sequence[Any]) -> int:
    """Delete messages by rows with id and sms_activity_id; returns how many receipts they had."""
    ids = [row.id for row in rows]
    names = [row.sms_activity_id for row in rows if row.sms_activity_id is not None]
    if connection.dialect.name != "sqlite":
        await connection.exec_driver_sql(LOCK, (names, ids))
        gone = await connection.exec_driver_sql(DELETE, (names, ids))
        count = int(gone.scalar_one())
    else:
        count = await delete_any(connection, receipts.c.sms_activity_id, names)
        await delete_any(connection, deliveries.c.sms_activity_id, names)
        await delete_any(connection, webhook_deliveries.c.message_id, ids)
        resent = update(messages).where(messages.c.resend_of.in_(ids)).values(resend_of=None)
        await connection.execute(resent)
        await delete_any(connection, messages.c.id, ids)
    await mark(connection, {hour for id_ in ids for hour in hours_of(id_)})
    return count


async def delete_any(
    connection: AsyncConnection, column: ColumnElement[Any], values: Sequence[Any]
) -> int:
    """Delete the rows whose column has one of these values; returns how many."""
    if not values:
        return 0
    these = any_of(column, "values", is_sqlite=connection.dialect.name == "sqlite")
    gone = await connection.execute(delete(column.table).where(these), {"values": list(values)})
    return gone.rowcount
