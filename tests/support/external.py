"""An external PostgreSQL, named by ``TEST_DATABASE_URL``; it cannot be killed or restarted.

The role in the URL must be allowed to create databases. Every database made here is dropped again.
"""

import asyncio
import threading
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import asyncpg


class ExternalPostgres:
    """The part of ``PostgresServer`` that needs no power over the server's processes."""

    can_restart = False
    running = True

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # Whatever driver a SQLAlchemy user wrote into the scheme.
        self._parts = parts._replace(scheme="postgresql")
        self._made: list[str] = []

    def url(self, database: str | None = None) -> str:
        """The same server and role, another database."""
        path = self._parts.path if database is None else f"/{database}"
        return urlunsplit(self._parts._replace(path=path))

    def start(self) -> None:
        """Nothing to do: it runs, or the tests fail."""

    def create_database(self, name: str | None = None, *, template: str | None = None) -> str:
        """Creates a database, empty or a copy of one without connections; returns its URL."""
        name = name or f"test_{uuid.uuid4().hex}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}"')
        self._made.append(name)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drops it, with its connections."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        if name in self._made:
            self._made.remove(name)

    def execute(self, sql: str) -> None:
        """Runs SQL in the database the URL names."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url())
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        _in_a_thread(lambda: asyncio.run(run()))

    def close(self) -> None:
        """Drops what was made here."""
        for name in reversed(self._made.copy()):
            self.drop_database(name)


def _in_a_thread(work: Callable[[], None]) -> None:
    """The caller's thread may have an event loop, which ``asyncio.run`` would disturb."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
