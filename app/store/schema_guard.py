"""Keeps a running process off a schema that it cannot use: one that a newer release is changing.

While it cannot: receipts go to the spool, everything else is refused in words, nothing is read or
written. It goes on by itself when the schema fits again.
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
"""Seconds between looks: a breaking migration is announced ``schema.NOTICE`` seconds before it."""

log = structlog.get_logger(__name__)


class SchemaGuard:
    """``check`` is what a DatabaseWatch checks by; ``run`` looks while the watch does not."""

    def __init__(self, databases: Sequence[Database]) -> None:
        """``databases``: all that the process uses; the schema is looked at through the first."""
        self._databases = databases
        self._told: str | None = None

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
        """Look every few seconds. Runs until cancelled."""
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
                pass  # whoever writes learns it, and says so

    def _refuse(self, error: SchemaUnusable | SchemaBehind) -> None:
        why = error.detail
        for database in self._databases:
            database.refuse(why)
        # The watch says by itself what is behind.
        if self._told != why and isinstance(error, SchemaUnusable):
            log.error(
                "schema_unusable",
                detail=why,
                consequence="receipts go to the spool, everything else is refused",
            )
        self._told = why

    def _allow(self) -> None:
        for database in self._databases:
            database.refuse(None)
        if self._told is not None:
            log.info("schema_usable_again", was=self._told)
        self._told = None
