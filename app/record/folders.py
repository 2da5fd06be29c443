"""The folders of the journals of one machine, one for each process.

A journal's folder is its identity: whoever starts there goes on with it. A folder whose process has
died is brought back by any other on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from app.record.segments import (
    Lock,
    age,
    database_of,
    delete,
    make_folder,
    segments,
    set_aside_in,
    size,
)

NEVER = 10**10
"""No segment has this number."""

log = structlog.get_logger(__name__)


class Folders:
    """Everything below ``root``, which is DLR_SPOOL_DIR/journal. Raises OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def take(self, database: UUID) -> tuple[Path, Lock, bool]:
        """A journal of this database that nobody writes, or a new one; whether there are others
        that nobody writes, of another database.
        """
        make_folder(self.root)
        has_foreign = False
        for folder in self._all():
            lock = _lock(folder)
            if lock is None:
                continue
            of = database_of(folder)
            if of == database:
                return folder, lock, has_foreign
            has_foreign |= of is not None
            lock.release()
        folder = self.root / uuid4().hex
        make_folder(folder)
        return folder, Lock(folder), has_foreign

    def orphans(self, database: UUID) -> Iterator[tuple[Path, Lock]]:
        """Journals of this database whose processes are gone; the caller releases the locks."""
        for folder in self._all():
            lock = _lock(folder)
            if lock is None:
                continue
            if database_of(folder) == database:
                yield folder, lock
            else:
                lock.release()

    def size(self) -> int:
        """Bytes of all journals."""
        return sum(size(folder, number) for folder in self._all() for number in segments(folder))

    def delete_old(self, folder: Path, older_than: float, before: int) -> None:
        """Delete segments last written to so many seconds ago, with a number below ``before``; and
        what was set aside.
        """
        for number in segments(folder):
            if number < before and age(folder, number) > older_than:
                delete(folder, number)
        for path in set_aside_in(folder):
            if time.time() - path.lstat().st_mtime > older_than:
                path.unlink(missing_ok=True)

    def tidy(self, older_than: float) -> None:
        """Delete what is so old in journals that nobody writes, and those with nothing left."""
        for folder in self._all():
            lock = _lock(folder)
            if lock is None:
                continue
            self.delete_old(folder, older_than, NEVER)
            if not segments(folder) and not set_aside_in(folder):
                for path in folder.iterdir():
                    path.unlink(missing_ok=True)
                folder.rmdir()
            lock.release()

    def names(self) -> list[str]:
        """The names of all journals. Raises OSError."""
        return [folder.name for folder in self._all()]

    def rewrite_abandoned(self, rewrite: Callable[[Path], None]) -> list[Path]:
        """Rewrite the journals that nobody writes; returns their folders. Raises OSError."""
        done = []
        for folder in self._all():
            lock = _lock(folder)
            if lock is None:
                continue
            try:
                rewrite(folder)
                done.append(folder)
            finally:
                lock.release()
        return done

    def _all(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return sorted(one for one in self.root.iterdir() if one.is_dir() and not one.is_symlink())


def _lock(folder: Path) -> Lock | None:
    try:
        return Lock(folder)
    except OSError:
        return None
