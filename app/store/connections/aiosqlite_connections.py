"""aiosqlite's connection, made safe to be stopped while it is being closed."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from functools import partial
from typing import Any

from aiosqlite import Connection

RETRY_EVERY = 0.01
"""Seconds between attempts to switch a file to WAL mode."""


class StoppableConnection(Connection):
    """A connection that is stopped once.

    SQLAlchemy closes the connection of a read that was cancelled, and stops it if the close is
    cancelled as well, as Starlette does with a response whose client has disconnected. aiosqlite's
    close stops the connection, too, and would wait for ever for a thread that has ended by then.
    """

    _stopped: asyncio.Future[Any] | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._thread.daemon = True  # as SQLAlchemy has it: a process need not wait for it

    def stop(self) -> asyncio.Future[Any] | None:
        """End the thread after what is queued; every call returns the same future."""
        if self._stopped is None:
            self._stopped = super().stop()
        return self._stopped


def connect_sqlite(*arguments: Any, **options: Any) -> StoppableConnection:
    """A connection to be awaited, as SQLAlchemy's ``async_creator_fn``, in WAL mode.

    ``timeout``: seconds that it waits for locks.
    """
    return StoppableConnection(partial(_connect, *arguments, **options), iter_chunk_size=64)


def _connect(database: str, *, timeout: float, **options: Any) -> sqlite3.Connection:
    """Called in the connection's thread.

    SQLite does not wait for locks where it changes the journal mode, which the first connections to
    a new file all do.
    """
    connection: sqlite3.Connection = sqlite3.connect(database, timeout=timeout, **options)
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                connection.close()
                raise
            time.sleep(RETRY_EVERY)
        else:
            return connection
