"""The identity of SQLite's file, by device and inode: another one may be put in its place."""

from __future__ import annotations

import os
from pathlib import Path

from app.store.failures import translated

_PIN = getattr(os, "O_PATH", 0)
"""Opens a file without reading it. Closing an ordinary one would drop SQLite's locks on it."""


class FileIdentity:
    """Holds a file open, so that no other one gets its inode. Raises StoreUnavailable."""

    def __init__(self, path: Path, name: str) -> None:
        """``name``: the database's, for errors."""
        self._name = name
        self._pinned: int | None = None
        with translated(name):
            if _PIN:
                self._pinned = os.open(path, _PIN)
            found = path.stat() if self._pinned is None else os.fstat(self._pinned)
        self._file = (found.st_dev, found.st_ino)

    @property
    def generation(self) -> str:
        """The inode: files that were there before nearly always had another one."""
        return str(self._file[1])

    def is_at(self, path: Path) -> bool:
        """Whether it is the file that is at the path now."""
        with translated(self._name):
            found = path.stat()
        return (found.st_dev, found.st_ino) == self._file

    def close(self) -> None:
        """Close the file, so that its inode may be used again."""
        if self._pinned is not None:
            os.close(self._pinned)
            self._pinned = None
