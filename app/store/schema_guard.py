"""Keeps a running process from using a schema that does not fit it, as a newer release changes it.

Meanwhile receipts go to the spool, everything else is refused with the reason, and nothing is read
or written. It goes on by itself when the schema fits again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from app.errors import SchemaBehind, SchemaUnusable, ServiceError
from app.store.engine import Database
from app.store.schema import migrate, require_current
from app.store.watch import CHECK_PATIENCE, DatabaseWatch

EVERY = 2.0
"""Seconds between checks: a breaking migration is announced ``schema.NOTICE`` seconds ahead."""

log = structlog.get_logger(__name__)


class SchemaGuard:
    """``check`` is for a DatabaseWatch, which calls it while the database is away; ``run`` calls it
    at other times.
    """

    def __init__(self, databases: Sequence[Database]) -> None:
        """``databases``: all that the process uses; the schema is read through the first."""
        self._databases = databases
        self._refused: str | None = None

    async def check(self) -> None:
        """Raises SchemaUnusable, SchemaBehind or StoreUnavailable; SQLite is migrated instead."""
        first = self._databases[0]
        try:
            try:
                await require_current(first)
            except SchemaBehind:
                if not first.is_sqlite:
                    raise
                first.refuse(None)
                await migrate(first)
        except (SchemaUnusable, SchemaBehind) as error:
            self._refuse(error)
            raise
        self._allow()

    async def run(self, watch: DatabaseWatch) -> None:
        """Check every few seconds. Runs until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            if not watch.is_up:
                continue  # it checks by itself
            try:
                async with asyncio.timeout(CHECK_PATIENCE):
                    await self.check()
            except (SchemaUnusable, SchemaBehind) as error:
                watch.report_down(error.detail)
            except (ServiceError, TimeoutError):
                pass  # the next writer fails likewise, and reports it

    def _refuse(self, error: SchemaUnusable | SchemaBehind) -> None:
        why = error.detail
        for database in self._databases:
            database.refuse(why)
        # A SchemaBehind is logged by the watch.
        if self._refused != why and isinstance(error, SchemaUnusable):
            log.error(
                "schema_unusable",
                detail=why,
                consequence="receipts go to the spool, everything else is refused",
            )
        self._refused = why

    def _allow(self) -> None:
        for database in self._databases:
            database.refuse(None)
        if self._refused is not None:
            log.info("schema_usable_again", was=self._refused)
        self._refused = None
