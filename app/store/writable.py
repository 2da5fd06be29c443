"""Whether the database takes writes: a standby and a read-only server answer every read.

A full disk shows in writes alone, so it is writers that report it (see ``watch``).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from app.errors import StoreUnavailable
from app.store.connections.connect import server_of
from app.store.engine import Database

_STATE = text("""
select pg_is_in_recovery() is_standby, current_setting('transaction_read_only') = 'on' is_read_only
""")

STANDBY = "it is a standby, or still recovering, and takes no writes"
READ_ONLY = "it takes no writes: default_transaction_read_only is on"


async def require_writable(database: Database) -> object:
    """Raises StoreUnavailable if the database takes no writes, or cannot be reached.

    Answers which server it is that takes them; None for SQLite.
    """
    if database.is_sqlite:
        return None
    async with database.look() as connection:  # also while its schema does not fit
        found = (await connection.execute(_STATE)).one()
        if not (found.is_standby or found.is_read_only):
            link: Any = (await connection.get_raw_connection()).driver_connection
            return server_of(link)
        # A session keeps the read-only default with which it began: the next check needs a new one.
        await connection.invalidate()
        raise StoreUnavailable(f"{database.name}: {STANDBY if found.is_standby else READ_ONLY}")
