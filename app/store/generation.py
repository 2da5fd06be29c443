"""The generation of the database: PostgreSQL's system identifier, timeline and start time.

A failover changes it, and so do most restores, but not all: a dump that is restored into the
running server leaves it as it was.
"""

from __future__ import annotations

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

_START = "extract(epoch from pg_postmaster_start_time())::text"
# Fails on a server in recovery, as it should: nothing is to be read from a standby.
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
    """Reads the generation. ``sql`` is the expression for it. Where hosted PostgreSQL denies the
    functions for the others, that is the start time alone, from the first ``read`` on.
    """

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
