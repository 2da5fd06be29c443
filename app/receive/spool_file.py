"""The spool's file as SQLite sees it: its table, its rows, and what damage to it looks like."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.model.receipt import Arrival

SUFFIXES = ("", "-wal", "-shm")
"""An SQLite database is up to three files."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process's write; one takes milliseconds."""
LARGEST_LOG = 16 * 1024 * 1024
"""Bytes that the write-ahead log keeps at most once it has been copied into the file."""

_SCHEMA = """
create table if not exists arrivals (
  seq integer primary key autoincrement,
  id blob not null,
  received_at text not null,
  hint blob,
  body blob not null
)
"""
_SELECT = "select seq, id, received_at, body, hint from arrivals where seq > ? order by seq"
_DAMAGE = ("malformed", "not a database", "no such table", "no such column", "has no column named")
_TRANSIENT = ("locked", "full")


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, making the table where there is none. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute(f"pragma journal_size_limit = {LARGEST_LOG}")
        connection.execute("pragma secure_delete = on")  # what is drained is not left in free pages
        connection.execute(_SCHEMA)
        connection.execute(f"{_SELECT} limit 0", (0,))
    except BaseException:
        connection.close()
        raise
    return connection


def insert(connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> None:
    """Append rows; the transaction is the caller's."""
    connection.executemany(
        "insert into arrivals (id, received_at, hint, body) values (?, ?, ?, ?)",
        [
            (a.id.bytes, a.received_at.isoformat(), a.hint and a.hint.bytes, a.body)
            for a in arrivals
        ],
    )


def read(
    connection: sqlite3.Connection, *, after: int = 0, limit: int = -1
) -> Iterator[tuple[int, Arrival]]:
    """Rows with their numbers, oldest first. Raises sqlite3.DatabaseError at the first bad one."""
    for row in connection.execute(f"{_SELECT} limit ?", (after, limit)):
        yield row[0], _arrival(*row[1:])


def count(connection: sqlite3.Connection, *, after: int) -> int:
    """How many rows there are. The numbers have no gaps, and counting would read the whole file."""
    query = "select (select min(seq) from arrivals), (select max(seq) from arrivals)"
    first, last = connection.execute(query).fetchone()
    return 0 if last is None else int(last - max(first - 1, after))


def probe_write(connection: sqlite3.Connection) -> None:
    """Write to the header, so that a full or read-only disk is detected now."""
    version = connection.execute("pragma user_version").fetchone()[0]
    connection.execute(f"pragma user_version = {(version + 1) % 1_000}")


def is_damage(error: Exception) -> bool:
    """Whether the file itself is broken."""
    return isinstance(error, sqlite3.Error) and any(word in str(error) for word in _DAMAGE)


def is_transient(error: Exception) -> bool:
    """Whether the file is intact: its disk is full, or another process holds the lock."""
    return isinstance(error, sqlite3.Error) and any(word in str(error) for word in _TRANSIENT)


def reread_newest(connection: sqlite3.Connection) -> None:
    """Read the newest row from disk, not from the cache. Raises sqlite3.DatabaseError.

    A connection trusts its page cache, and would go on appending to a file that was overwritten.
    """
    connection.execute("pragma shrink_memory")
    connection.execute("select max(seq) from arrivals").fetchone()


def salvage(connection: sqlite3.Connection) -> dict[int, Arrival]:
    """What can be read of a damaged file, by seq: from either end up to the damage."""
    found: dict[int, Arrival] = {}
    for query in (_SELECT, f"{_SELECT} desc"):
        with suppress(sqlite3.Error):
            for row in connection.execute(query, (-1,)):
                if row[0] in found:
                    break
                with suppress(sqlite3.DatabaseError):
                    found[row[0]] = _arrival(*row[1:])
    return found


def salvage_file(path: Path) -> dict[int, Arrival]:
    """The same of a file that is not open."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as file:
        return salvage(file)
    return {}


def _arrival(id_: bytes, received_at: str, body: bytes, hint: bytes | None) -> Arrival:
    """A row as it was appended. Raises sqlite3.DatabaseError for one that is not ours."""
    try:
        at = datetime.fromisoformat(received_at)
        if at.tzinfo is None or not isinstance(body, bytes):
            raise ValueError("it was not written by us")
        return Arrival(
            id=UUID(bytes=id_), received_at=at, body=body, hint=UUID(bytes=hint) if hint else None
        )
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"malformed row: {error}") from error
