"""The service's connections to its database, and whether it can be used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from app.runtime.configured import open_database
from app.settings import Settings
from app.store.clock import DatabaseClock
from app.store.engine import Database
from app.store.schema_guard import SchemaGuard
from app.store.watch import CHECK_PATIENCE, DatabaseWatch
from app.store.writable import require_writable

INTAKE_CONNECTIONS = 6
"""Database connections reserved for receipts, which must not wait for the API's queries."""
INTAKE_ASYNCPG_CONNECTIONS = 4
"""Of these, in asyncpg's pool, for batches of receipts: two in parallel, the drainer, and one that
hangs. The others are SQLAlchemy's, for rejected calls and for health checks."""


class Databases:
    """Two pools of connections to one database: ``intake`` for receipts alone, ``main`` for all
    else. With SQLite both are the same.

    ``greet`` is called at each check of the database, after its schema is found to be usable.
    Raises ConfigurationError.
    """

    def __init__(
        self, settings: Settings, *, clock: DatabaseClock, greet: Callable[[], Awaitable[None]]
    ) -> None:
        self.main = open_database(settings, clock=clock)
        self.intake = self.main if self.main.is_sqlite else _open_intake(settings, clock)
        self.schema = SchemaGuard((self.intake, self.main))
        self.watch = DatabaseWatch(
            self._require_usable,
            on_down=self.drop_idle,
            on_up=self._drop_elsewhere,
            name=self.main.name,
            patience=CHECK_PATIENCE + self.main.failover_time,
        )
        self._greet = greet
        self._writable_server: object = None

    @property
    def pools(self) -> tuple[Database, ...]:
        """Each pool once."""
        return (self.main,) if self.intake is self.main else (self.main, self.intake)

    def use_url(self, url: str) -> None:
        """Connect by this URL from now on: its password has changed."""
        for database in self.pools:
            database.use_url(url)

    def drop_idle(self) -> None:
        """Close the idle connections: they may lead to a server that is gone."""
        for database in self.pools:
            database.drop_idle()

    async def _require_usable(self) -> None:
        """The watch's check. Raises StoreUnavailable or SchemaBehind."""
        self._writable_server = await require_writable(self.intake)
        # Before the greeting, which may wait for a heartbeat that hangs at a silent former primary.
        self._drop_elsewhere()
        await self.schema.check()
        await self._greet()

    def _drop_elsewhere(self) -> None:
        """Close connections to any other server than the one that can be written: at a former
        primary that is dead and silent, operations would wait for many seconds.
        """
        for database in self.pools:
            database.drop_elsewhere(self._writable_server)


def _open_intake(settings: Settings, clock: DatabaseClock) -> Database:
    return open_database(
        settings,
        pool_size=INTAKE_CONNECTIONS,
        direct_size=INTAKE_ASYNCPG_CONNECTIONS,
        clock=clock,
    )
