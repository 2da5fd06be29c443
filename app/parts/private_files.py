"""Files and folders that only their owner may read, opened without following links. Generic.

Another user who can write to the folder could put a symbolic link, a FIFO or a file of their own at
a path that we are about to open. We would then truncate the link's target, or write what is not
theirs to read.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


class UnsafeFileError(OSError):
    """The path leads to something that is not our own regular file. The text names the remedy."""


def make_private_folder(folder: Path) -> None:
    """Create the folder, with mode 0700, if there is none. Raises OSError.

    An existing one keeps its mode: it may be shared on purpose, as a volume by its group.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_private(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    """Open our own file; by default it is created, with mode 0600, if there is none.

    Raises OSError; UnsafeFileError for a link, anything but a regular file, or another user's file.
    """
    require_private(path)
    # Not blocking: opening a FIFO would wait for a process that opens its other end.
    wanted = flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, wanted, 0o600)
    try:
        _check_found(path, os.fstat(descriptor))
        with suppress(PermissionError):  # a volume whose file system has no owners
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_private(path: Path) -> None:
    """Create an empty file if there is none; an existing one has to be ours. Raises OSError.

    An existing file is not opened: closing it would release this process's POSIX locks on it, which
    are SQLite's.
    """
    with suppress(FileExistsError):
        os.close(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        return
    require_private(path)
    with suppress(PermissionError):
        path.chmod(0o600)


def require_private(path: Path) -> None:
    """Raises UnsafeFileError if the path leads to anything but our own regular file."""
    with suppress(FileNotFoundError):
        _check_found(path, path.lstat())


def _check_found(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFileError(f"{path} is a link, which is not followed: remove it")
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(f"{path} is not a regular file: remove it")
    # The folder's owner is trusted (a volume may have been filled by another user): they could
    # replace the file anyway.
    if found.st_uid not in (os.geteuid(), 0, path.parent.stat().st_uid):
        raise UnsafeFileError(f"{path} is another user's file ({found.st_uid}): remove it")
