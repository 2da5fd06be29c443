"""The spool: receipts on local disk while the database is away, in an SQLite file, fsynced.

Delivery guarantee: when ``append`` returns, the arrivals are on disk at the spool's path and
survive a kill or a power cut. They stay there until ``forget``, once the database has them,
so after a crash some may be replayed that did land; the store recognises them by their ids.

Several processes may use one spool. SQLite lets one of them write at a time, which also makes
``seq`` follow the order of commits. Nothing about the file is taken for granted: it may be found
damaged, full, or gone, and none of that stops the service.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from app.errors import ConfigurationError, SpoolUnavailable
from app.model.receipt import Arrival
from app.parts.private_files import (
    make_private,
    make_private_folder,
    open_private,
    require_private,
)
from app.receive.spool_file import (
    SUFFIXES,
    connect,
    count,
    insert,
    is_damage,
    is_transient,
    probe_write,
    read,
    reread_newest,
    salvage,
    salvage_file,
)

FILE = "receipts.db"
LOCK = "spool.lock"
TRIES = 3
SHRINK_ABOVE = 32 * 1024 * 1024
"""Bytes of an empty file that are worth giving back."""

log = structlog.get_logger(__name__)


class Spool:
    """The file and one connection to it. Used from one thread at a time; the calls block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / FILE
        self._connection: sqlite3.Connection | None = None
        self._verifier: sqlite3.Connection | None = None
        """A second connection: it reads what was written from disk, as another process would."""
        self._file = (0, 0)
        self._read_from: sqlite3.Connection | None = None
        self._fault = "its file is deleted again and again"
        self._committed_up_to = 0
        """Up to this seq the database has everything, although it could not be deleted here yet."""

    def open(self) -> None:
        """Make the folder and the file, or raise ConfigurationError: no start without a spool.

        A damaged file is set aside under another name and a new one begun. One that has filled its
        disk is opened all the same, since it empties only by being drained.
        """
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"The spool cannot be written: {error}.\n"
                f"  DLR_SPOOL_DIR: {self._folder.absolute()} must be a folder that this process "
                "may write to, on a disk with room."
            ) from error

    def append(self, arrivals: Sequence[Arrival]) -> None:
        """Put arrivals on disk: all of them, or Unavailable is raised and they are not known to be.

        A file that is damaged, or gone from its path, is replaced by a new one first.
        """
        for _ in range(TRIES):
            with self._repairing():
                with self._transaction() as connection:
                    insert(connection, arrivals)
                if self._is_verified():
                    return
        raise SpoolUnavailable(self._fault)

    def oldest(self, limit: int) -> list[tuple[int, Arrival]]:
        """Up to ``limit`` arrivals with their sequence numbers, oldest first.

        Raises Unavailable. None may also mean that a damaged file was just set aside.
        """
        found: list[tuple[int, Arrival]] = []
        with self._repairing():
            self._read_from = connection = self._current()
            found += list(read(connection, after=self._committed_up_to, limit=limit))
        return found

    def forget(self, up_to: int) -> None:
        """Delete what the database has: all that ``oldest`` returned, up to this number.

        A full disk has no room for a deletion either. What cannot be deleted is skipped by later
        reads, until it can be or ``tidy`` replaces the file.
        """
        with self._repairing():
            if self._connection is None or self._connection is not self._read_from:
                return  # the file was replaced since: its numbers mean other arrivals
            try:
                with self._transaction(self._connection) as connection:
                    connection.execute("delete from arrivals where seq <= ?", (up_to,))
                self._committed_up_to = 0
            except sqlite3.OperationalError as error:
                if not self._committed_up_to:
                    log.warning(
                        "spool_not_cleared", error=str(error), consequence="skipped by later reads"
                    )
                self._committed_up_to = up_to

    def tidy(self) -> None:
        """Once all is drained, truncate the write-ahead log and vacuum a large file.

        Raises Unavailable.
        """
        with self._repairing():
            connection = self._current()
            if self._committed_up_to:
                self._replace_emptied(connection)
            elif not self.depth():
                if self.path.stat().st_size > SHRINK_ABOVE:
                    connection.execute("vacuum")
                connection.execute("pragma wal_checkpoint(truncate)")

    def cleanse(self) -> bool:
        """Vacuum the file and truncate the write-ahead log, so that deleted rows cannot be read in
        them any more; False while arrivals wait, or another process reads. Raises Unavailable.
        """
        if self.depth():
            return False
        busy = 1
        with self._repairing():
            connection = self._current()
            connection.execute("vacuum")
            (busy, *_) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        return not busy

    def depth(self) -> int:
        """How many arrivals wait. Raises Unavailable."""
        waiting = 0
        with self._repairing():
            waiting += count(self._current(), after=self._committed_up_to)
        return waiting

    def close(self) -> None:
        """Close the file."""
        for connection in (self._verifier, self._connection):
            if connection is not None:
                connection.close()
        self._verifier = self._connection = None

    def _open(self) -> None:
        try:
            self._check(self._connect())
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._set_aside(error)
        try:
            with self._transaction() as connection:
                probe_write(connection)
        except sqlite3.OperationalError as error:
            if not self.depth():
                raise
            log.error("spool_full", error=str(error), consequence="started to drain it")

    def _connect(self) -> sqlite3.Connection:
        self.close()
        self._committed_up_to = 0
        if not self._folder.is_dir():
            make_private_folder(self._folder)
            _sync(self._folder.parent)
        with exclusive(self._folder / LOCK):
            make_private(self.path)
            for suffix in SUFFIXES[1:]:  # SQLite opens these by itself
                require_private(Path(f"{self.path}{suffix}"))
            self._file = _identity(self.path)
            self._connection = connect(self.path)
            self._verifier = connect(self.path)
        return self._connection

    def _current(self) -> sqlite3.Connection:
        """A connection to the file that is at the path now."""
        if self._connection is None:
            return self._connect()
        if not self._is_in_place():
            # No file at the path: ours was deleted, and can still be read through the open handle.
            orphans = [] if self.path.exists() else [a for _, a in read(self._connection)]
            log.error("spool_gone", path=str(self.path), carried_over=len(orphans))
            self._create_with(orphans)
        return self._connection

    def _create_with(self, arrivals: Sequence[Arrival]) -> None:
        connection = self._connect()
        if arrivals:
            with self._transaction(connection):
                insert(connection, arrivals)

    def _check(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("pragma quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"malformed: {found}")

    @contextmanager
    def _transaction(
        self, connection: sqlite3.Connection | None = None
    ) -> Iterator[sqlite3.Connection]:
        connection = connection or self._current()
        connection.execute("begin immediate")
        try:
            yield connection
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def _is_in_place(self) -> bool:
        """Whether the file we have open is the one at the path, which a drainer opens."""
        try:
            return _identity(self.path) == self._file
        except OSError:
            return False

    def _is_verified(self) -> bool:
        """Whether a drainer would read what was just written. Raises sqlite3.DatabaseError."""
        if self._verifier is not None:
            reread_newest(self._verifier)
        return self._is_in_place()

    @contextmanager
    def _repairing(self) -> Iterator[None]:
        """Repair a damaged or missing file and continue after the block; else raise Unavailable."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._fault = str(error)
            if is_transient(error):
                raise SpoolUnavailable(str(error)) from error
            try:
                if is_damage(error):
                    self._set_aside(error)
                else:
                    self._connect()  # the fault may be the open file's alone
            except (sqlite3.Error, OSError) as failure:
                raise SpoolUnavailable(str(failure)) from failure

    def _set_aside(self, damage: Exception) -> None:
        """Rename a damaged file, for people to examine, and copy what is readable to a new one."""
        saved = salvage(self._connection) if self._connection else {}
        self.close()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        aside = self.path.with_name(f"{FILE}.damaged-{stamp}")
        with exclusive(self._folder / LOCK):
            is_ours = self._is_in_place()  # else another process was first, and the file is new
            # The write-ahead log before the main file: without its main file, it would be deleted
            # by the next process that opens the path.
            for suffix in reversed(SUFFIXES) if is_ours else ():
                part = Path(f"{self.path}{suffix}")
                if part.exists():
                    part.rename(f"{aside}{suffix}")
        # After the renaming: a process that has just appended to the file sees that it is no longer
        # in place, and appends again.
        if is_ours:
            saved |= salvage_file(aside)
        self._create_with([saved[seq] for seq in sorted(saved)] if is_ours else [])
        if is_ours:
            log.critical(
                "spool_damaged",
                error=str(damage),
                set_aside_as=str(aside),
                carried_over=len(saved),
                todo="the rest, if any: `sqlite3 FILE .recover`, see docs/operations.md",
            )

    def _replace_emptied(self, connection: sqlite3.Connection) -> None:
        """Replace a file that the database has all of, and that has no room for a deletion."""
        with exclusive(self._folder / LOCK):
            connection.execute("begin immediate")  # no other process writes to it from here on
            last = connection.execute("select max(seq) from arrivals").fetchone()[0]
            if last == self._committed_up_to and self._is_in_place():
                empty = self.path.with_name(f"{FILE}.new")
                empty.unlink(missing_ok=True)  # left by a killed process, or planted
                make_private(empty)
                for suffix in SUFFIXES[1:]:
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                empty.replace(self.path)  # atomic: a missing file would look like a deleted one
                log.info("spool_begun_anew", why="its disk had no room to delete what is drained")
            connection.execute("rollback")
        if not self._is_in_place():
            self._connect()


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock between processes; the kernel frees it should this one be killed."""
    with open(open_private(lock), "rb") as file:  # noqa: PTH123  it is open already
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()  # a link in its place is another file
    return found.st_dev, found.st_ino


def _sync(folder: Path) -> None:
    """Fsync a folder, which makes a new name in it durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
