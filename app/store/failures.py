"""Classifies failures of the database: a receipt is tried again, or set apart, by the difference.

``StoreUnavailable``: the database is away, full or not migrated; the same data may be stored later.
``StoreUnsuitable``, a kind of it: it is there, and a setting has to change before it can be used.
``StoreRefused``: the database, or its driver, does not accept the data.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import StoreRefused, StoreUnavailable, StoreUnsuitable
from app.store.connections.pooler import Unsuitable

TRIES = 3
"""Of a transaction that PostgreSQL breaks off, for example in a deadlock."""

# PostgreSQL's error classes: data exceptions, violated constraints, and limits such as a key that
# is too long for an index. Everything else (no connection, no space, no table, read-only, shutting
# down) says nothing against the data.
_REFUSING_CLASSES = ("22", "23", "54")
_REFUSING_SQLITE = (sqlite3.IntegrityError, sqlite3.DataError)
_TRANSIENT_CLASSES = ("40",)
_STALE_PLAN = "0A000"
_OF_DATABASES = (
    SQLAlchemyError,
    # asyncpg's own, while connecting, or where it is used without SQLAlchemy
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    # sqlite3's, for a value that it cannot encode
    UnicodeEncodeError,
    OverflowError,
)

Result = TypeVar("Result")


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what a driver raises into StoreUnavailable or StoreRefused, with the driver's message.

    ``name`` says which database it was, for the log. A StoreRefused does not have it: it is about
    the data, and may be shown to whoever sent them.

    The driver's error itself is dropped: it quotes rows and values, which are customers' data, and
    a traceback ends up in a log.
    """
    try:
        yield
    except Unsuitable as error:
        raise StoreUnsuitable(f"{name}: {error}") from None
    except PoolTimeout:
        raise StoreUnavailable(f"{name}: every connection is in use") from None
    except _OF_DATABASES as error:
        if _refuses(error):
            raise StoreRefused(_message(error)) from None
        raise StoreUnavailable(f"{name}: {_message(error)}") from None


async def retry_transient(transaction: Callable[[], Awaitable[Result]]) -> Result:
    """Run a transaction, up to TRIES times if it fails transiently. Raises what it raises.

    Transient are a deadlock, a serialization failure, and a cached plan whose types have changed.
    """
    for _ in range(TRIES - 1):
        try:
            return await transaction()
        except StoreUnavailable as error:
            if not _is_transient(error):
                raise
    return await transaction()


def _is_transient(error: Exception) -> bool:
    state = sqlstate(error.__context__)
    return state.startswith(_TRANSIENT_CLASSES) or state == _STALE_PLAN


def _refuses(error: Exception) -> bool:
    if getattr(error, "connection_invalidated", False):
        return False
    original = _original(error)
    if isinstance(original, _REFUSING_SQLITE):
        return True
    # Without a SQLSTATE it never reached the server: the driver could not encode the value.
    state = sqlstate(error)
    causes = (original, original.__cause__)
    unencodable = any(isinstance(cause, (ValueError, OverflowError)) for cause in causes)
    return state.startswith(_REFUSING_CLASSES) or (not state and unencodable)


def _original(error: BaseException) -> BaseException:
    """The driver's own error, unwrapped from SQLAlchemy's."""
    return (error.orig if isinstance(error, StatementError) else None) or error


def sqlstate(error: BaseException | None) -> str:
    """PostgreSQL's code for it; empty where it has none."""
    return str(getattr(error and _original(error), "sqlstate", None) or "")


def _message(error: Exception) -> str:
    """The driver's first line, without the statement and its values: those are customers' data."""
    original = _original(error)
    message = str(original).partition("\n")[0]
    _, at_fault, which = message.partition("invalid input for query argument ")
    if at_fault:  # asyncpg appends the value that it could not encode
        message = f"{at_fault}{which.partition(':')[0]}: it cannot be encoded"
    return message[:300] or type(original).__name__
