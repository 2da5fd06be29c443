"""The folders of the journals of one machine, one for each process.

A journal's identity is its folder: a process that starts takes over one that no process holds. The
facts of a process that has died are brought back by any other on the same machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from app.model.fact import Gap
from app.record.closed_segments import (
    age,
    delete,
    delete_file,
    delete_folder,
    is_given_up,
    set_aside_in,
    size,
)
from app.record.encoding import encode
from app.record.segments import Lock, Writer, database_of, make_folder, segments

NEVER = 10**10
"""No segment has this number."""
_NAME = re.compile(r"[0-9a-f]{32}")
"""The name of a journal's folder. Whatever else an operator keeps there is left alone."""

log = structlog.get_logger(__name__)


class Folders:
    """Everything below ``root``, which is DLR_SPOOL_DIR/journal. Raises OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._complained: set[Path] = set()

    def take(self, database: UUID) -> tuple[Path, Lock, bool]:
        """A journal of this database that no process holds, or a new one, with its lock; and
        whether there is one of another database that no process holds.
        """
        make_folder(self.root)
        has_foreign = False
        for folder in self._all():
            lock = self._lock(folder)
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
            lock = self._lock(folder)
            if lock is None:
                continue
            if database_of(folder) == database:
                yield folder, lock
            else:
                lock.release()

    def leave_gaps(self) -> None:
        """Note a gap in the journals that no process holds, as one without a journal begins."""
        for folder in self._all():
            lock = self._lock(folder)
            if lock is None:
                continue
            with closing(lock):
                database = database_of(folder)
                if database is not None:
                    with closing(Writer(folder, database)) as writer:
                        writer.append(encode(Gap()))

    def set_aside(self, folder: Path) -> Path:
        """Rename a folder so that it is no longer taken for a journal. Raises OSError."""
        aside = folder.with_name(f"{folder.name}.copy-{uuid4().hex[:8]}")
        return folder.rename(aside)

    def size(self) -> int:
        """Bytes of all journals."""
        return sum(size(folder, number) for folder in self._all() for number in segments(folder))

    def delete_old(self, folder: Path, older_than: float, before: int) -> None:
        """Delete segments last written to so many seconds ago, with a number below ``before``; and
        what was set aside. What cannot be deleted, as a folder in place of a file, stays.
        """
        for number in segments(folder):
            if number < before and age(folder, number) > older_than:
                delete(folder, number)
        for path in set_aside_in(folder):
            if time.time() - path.lstat().st_mtime > older_than:
                delete_file(path)

    def tidy(self, older_than: float) -> None:
        """Delete old segments of journals that no process holds, and those that are empty then."""
        for folder in self._all():
            lock = self._lock(folder)
            if lock is None:
                continue
            with closing(lock):
                self.delete_old(folder, older_than, NEVER)
                if is_given_up(folder):
                    delete_folder(folder)

    def names(self) -> list[str]:
        """The names of all journals. Raises OSError."""
        return [folder.name for folder in self._all()]

    def rewrite_abandoned(self, rewrite: Callable[[Path], None]) -> list[Path]:
        """Rewrite the journals that no process holds; returns their folders. Raises OSError."""
        done = []
        for folder in self._all():
            lock = self._lock(folder)
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
        return sorted(
            one
            for one in self.root.iterdir()
            if _NAME.fullmatch(one.name) and one.is_dir() and not one.is_symlink()
        )

    def _lock(self, folder: Path) -> Lock | None:
        """None where another process holds it, or where it cannot be read, which is logged once."""
        try:
            return Lock(folder)
        except BlockingIOError:
            return None
        except OSError as error:
            if folder not in self._complained:
                self._complained.add(folder)
                log.error(
                    "journal_cannot_be_read",
                    folder=str(folder),
                    reason=str(error),
                    consequence="what stands in it is not brought back if the database forgets it",
                    todo="let the user of this process read and write it",
                )
            return None
