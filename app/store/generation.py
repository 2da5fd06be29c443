"""Which server the database is on, which timeline of it, and since when: its generation.

A database that was restored or failed over is of another one, mostly. It does not see every
forgetting: a dump that is put back under the running server changes nothing of it.
"""

from __future__ import annotations

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

_START = "extract(epoch from pg_postmaster_start_time())::text"
# Raises on a server in recovery, which is right: nothing is to be read from a standby.
_ALL = f"""
(select system_identifier from pg_control_system()) || '/'
|| left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || '/' || {_START}
"""
_DENIED = (
    asyncpg.InsufficientPrivilegeError.sqlstate,
    asyncpg.FeatureNotSupportedError.sqlstate,
    asyncpg.UndefinedFunctionError.sqlstate,
)

log = structlog.get_logger(__name__)


class Generation:
    """PostgreSQL's. ``sql`` is an expression; some who offer PostgreSQL offer only a part of it."""

    def __init__(self) -> None:
        self.sql = _ALL

    async def read(self, connection: AsyncConnection) -> str:
        """The generation of the server of this connection, which is in a transaction."""
        try:
            async with connection.begin_nested():
                found = await connection.execute(text(f"select {self.sql}"))
        except DBAPIError as error:
            if self.sql == _START or getattr(error.orig, "sqlstate", None) not in _DENIED:
                raise
            log.warning(
                "timeline_unknown",
                reason=str(error.orig).partition("\n")[0][:200],
                consequence="a failover is noticed by the server's start alone",
            )
            self.sql = _START
            return await self.read(connection)
        return str(found.scalar_one())
