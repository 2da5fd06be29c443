"""The newest beats of a process, on disk: a restarted one knows what the database must have.

Overwritten in place, before the database is told, without fsync, as the journal is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

FILE = "beats"
_SIZE = 16
# O_NONBLOCK: a pipe in its place is not waited for.
_WRITE = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Beats(NamedTuple):
    """In which incarnation, and its number: the last beat that the database is known to have, and
    the next one.
    """

    n: int
    incarnation: UUID
    last: UUID
    next: UUID


def write(folder: Path, beats: Beats) -> None:
    """Keep these. A disk that does not take them leaves older ones: that costs a needless check."""
    with suppress(OSError):
        file = os.open(folder / FILE, _WRITE, 0o600)
        try:
            ids = (beats.incarnation, beats.last, beats.next)
            data = beats.n.to_bytes(_SIZE) + b"".join(one.bytes for one in ids)
            os.pwrite(file, data, 0)
        finally:
            os.close(file)


def read(folder: Path) -> Beats | None:
    """What was kept last; None where nothing was."""
    try:
        file = os.open(folder / FILE, _READ)
    except OSError:
        return None
    try:
        data = os.pread(file, 4 * _SIZE, 0)
    except OSError:  # a directory, a pipe
        return None
    finally:
        os.close(file)
    if len(data) < 4 * _SIZE:
        return None
    ids = [UUID(bytes=data[at : at + _SIZE]) for at in range(_SIZE, 4 * _SIZE, _SIZE)]
    return Beats(int.from_bytes(data[:_SIZE]), *ids)
