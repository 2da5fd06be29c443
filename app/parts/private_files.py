"""Files and folders that only their owner may read, opened without following links. Generic.

Whoever can write to the folder could put a link, a pipe or a file of their own at a name that we
are about to use: its target would be emptied, or would get what is not theirs to read.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


class UnsafeFileError(OSError):
    """Something is at the path that is not a file of ours. Its text says what, and what to do."""


def make_private_folder(folder: Path) -> None:
    """Make it where there is none, for its owner alone. Raises OSError.

    One that is there keeps its mode: it may be shared on purpose, as a volume by its group.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_private(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    """Open a file of ours, made for its owner alone where there is none. Raises OSError.

    UnsafeFileError where a link, anything but a file, or somebody else's file is at the path.
    """
    require_private(path)
    wanted = flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, wanted, 0o600)
    try:
        _check_found(path, os.fstat(descriptor))
        with suppress(PermissionError):  # a volume that has no owners
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_private(path: Path) -> None:
    """Make an empty file where there is none; one that is there has to be ours. Raises OSError.

    A file that is there is not opened: closing it would end the locks that SQLite has on it.
    """
    with suppress(FileExistsError):
        os.close(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        return
    require_private(path)
    with suppress(PermissionError):
        path.chmod(0o600)


def require_private(path: Path) -> None:
    """Raises UnsafeFileError where something else than a file of ours is at the path."""
    with suppress(FileNotFoundError):
        _check_found(path, path.lstat())


def _check_found(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFileError(f"{path} is a link, which is not followed: remove it")
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(f"{path} is no file: remove it")
    # The folder's owner, as on a volume that was filled by another user, could replace it anyway.
    if found.st_uid not in (os.geteuid(), 0, path.parent.stat().st_uid):
        raise UnsafeFileError(f"{path} is another user's file ({found.st_uid}): remove it")
