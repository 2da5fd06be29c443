"""Receipts on local disk while the database is away: an SQLite file of its own, fsynced.

Delivery guarantee: when ``append`` returns, the arrivals are on disk at the spool's path and
survive a kill or a power cut. They stay there until ``forget`` is told that the database has them,
so after a crash some may be replayed that did land; the store knows them again by their ids.

Several processes may use one spool. SQLite lets one of them write at a time, which also makes
``seq`` follow the order of commits.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import structlog

from app.errors import ConfigurationError, Unavailable
from app.model.receipt import Arrival

FILE = "receipts.db"
BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process's write; one takes milliseconds."""

_SCHEMA = """
create table if not exists arrivals (
  seq integer primary key autoincrement,
  id blob not null,
  received_at text not null,
  hint blob,
  body blob not null
)
"""

log = structlog.get_logger(__name__)


class Spool:
    """The file and one connection to it. Used from one thread at a time; the calls block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / FILE
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def open(self) -> None:
        """Make the folder and the file, or raise ConfigurationError: no start without a spool.

        A damaged file is set aside under another name and a new one begun.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                self._connect()
                self._check()
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside(error)
                self._connect()
            with self._transaction() as connection:
                # A write that changes nothing: the disk is full or read-only now, not later.
                connection.execute("update arrivals set seq = seq where seq = -1")
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"The spool cannot be written: {error}.\n"
                f"  DLR_SPOOL_DIR: {self._folder.absolute()} must be a folder that this process "
                "may write to, on a disk with room."
            ) from error

    def append(self, arrivals: Sequence[Arrival]) -> None:
        """Put arrivals on disk: all of them, or Unavailable is raised and they are not known to be.

        Should the file be found damaged, or gone from its path, a new one is begun first.
        """
        for attempt in (1, 2, 3):
            try:
                self._append(arrivals)
                if self._is_in_place():
                    return
                log.error("spool_gone", path=str(self.path), consequence="a new one is begun")
                self._connect()
            except sqlite3.Error as error:
                if not _is_damage(error) or attempt == 3:
                    raise Unavailable(f"The spool cannot be written: {error}") from error
                self._set_aside(error)
                self._connect()
            except OSError as error:
                raise Unavailable(f"The spool cannot be written: {error}") from error
        raise Unavailable("The spool's file is taken away again and again")

    def oldest(self, limit: int) -> list[tuple[int, Arrival]]:
        """Up to ``limit`` arrivals with their sequence numbers, oldest first."""
        self._reopen_if_moved()
        try:
            rows = self._open_connection().execute(
                "select seq, id, received_at, body, hint from arrivals order by seq limit ?",
                (limit,),
            )
            return [(row[0], _arrival(*row[1:])) for row in rows]
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error):
                raise Unavailable(f"The spool cannot be read: {error}") from error
            self._set_aside(error)
            self._connect()
            return []

    def forget(self, up_to: int) -> None:
        """Delete what the database has by now: everything up to this sequence number."""
        with self._transaction() as connection:
            connection.execute("delete from arrivals where seq <= ?", (up_to,))

    def depth(self) -> int:
        """How many arrivals wait."""
        self._reopen_if_moved()
        row = self._open_connection().execute("select count(*) from arrivals").fetchone()
        return int(row[0])

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _append(self, arrivals: Sequence[Arrival]) -> None:
        with self._transaction() as connection:
            connection.executemany(
                "insert into arrivals (id, received_at, hint, body) values (?, ?, ?, ?)",
                [
                    (a.id.bytes, a.received_at.isoformat(), a.hint and a.hint.bytes, a.body)
                    for a in arrivals
                ],
            )

    def _connect(self) -> None:
        self.close()
        self.path.touch(exist_ok=True)
        self._inode = self.path.stat().st_ino
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")
        connection.execute(_SCHEMA)

    def _check(self) -> None:
        found = self._open_connection().execute("pragma quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"malformed: {found}")

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connect()
        if self._connection is None:
            raise Unavailable("The spool is closed")
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._open_connection()
        connection.execute("begin immediate")
        try:
            yield connection
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def _is_in_place(self) -> bool:
        """Whether the file we wrote to is the one that a later drainer will find."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _reopen_if_moved(self) -> None:
        if not self._is_in_place():
            self._connect()

    def _set_aside(self, error: Exception) -> None:
        """Rename a damaged file, for people to look at. What can be read of it is not lost."""
        self.close()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = self.path.with_name(f"{FILE}.damaged-{stamp}")
        with exclusive(self._folder / "set-aside.lock"):
            if not self._is_in_place():
                return  # another process was first, and what lies there now is new
            for suffix in ("", "-wal", "-shm"):
                part = Path(f"{self.path}{suffix}")
                if part.exists():
                    part.rename(f"{aside}{suffix}")
        log.critical(
            "spool_damaged",
            error=str(error),
            set_aside_as=str(aside),
            todo="recover its receipts with `sqlite3 FILE .recover`, then see docs/operations.md",
        )


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock between processes; the kernel frees it should this one be killed."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _arrival(id_: bytes, received_at: str, body: bytes, hint: bytes | None) -> Arrival:
    return Arrival(
        id=UUID(bytes=id_),
        received_at=datetime.fromisoformat(received_at),
        body=body,
        hint=UUID(bytes=hint) if hint else None,
    )


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is broken, rather than the disk full or another writer slow."""
    words = str(error)
    return "malformed" in words or "not a database" in words or "no such table" in words
