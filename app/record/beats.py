"""A process's newest beats (heartbeats in the database) on its disk: after a restart it still knows
what the database must have.

The file is overwritten in place before each beat is written to the database, without fsync, like
the journal. What is read may be damaged.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from app.model.status import microseconds
from app.parts.private_files import open_private
from app.store.imprint import IMPRINT_SIZE, Imprint

FILE = "beats"
_SIZE = 16
_LENGTH = 5 * _SIZE
"""Bytes before the imprint, which is optional: older releases wrote none."""
_NO_IMPRINT = Imprint(bytes(IMPRINT_SIZE), is_released=False)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Beats(NamedTuple):
    """``last``: the newest beat that the database is known to have; ``next``: the one that is being
    written. ``incarnation`` is the database's, ``n`` its number, ``imprint`` that of its row, None
    where it cannot be compared. ``at``: when they were kept, by the database's clock.
    """

    n: int
    incarnation: UUID
    last: UUID
    next: UUID
    at: datetime
    imprint: Imprint | None = None

    @property
    def known(self) -> tuple[UUID, UUID]:
        """One of these is in the database, unless that has forgotten."""
        return self.last, self.next


def write(folder: Path, beats: Beats) -> None:
    """Keep these. If the disk does not take them, older ones stay, which cause a needless check."""
    with suppress(OSError):
        file = open_private(folder / FILE, os.O_WRONLY | os.O_CREAT)
        try:
            ids = (beats.incarnation, beats.last, beats.next)
            data = beats.n.to_bytes(_SIZE) + b"".join(one.bytes for one in ids)
            data += microseconds(beats.at).to_bytes(_SIZE)
            row, is_released = beats.imprint or _NO_IMPRINT
            data += bytes([is_released]) + row
            os.pwrite(file, data, 0)
        finally:
            os.close(file)


def read(folder: Path) -> Beats | None:
    """What was kept last; None where nothing was."""
    try:
        file = open_private(folder / FILE, os.O_RDONLY)
    except OSError:
        return None
    try:
        data = os.pread(file, _LENGTH + _SIZE, 0)
    except OSError:
        return None
    finally:
        os.close(file)
    if len(data) < _LENGTH:
        return None
    n, incarnation, last, next_, at = (data[s : s + _SIZE] for s in range(0, _LENGTH, _SIZE))
    try:
        kept_at = _EPOCH + timedelta(microseconds=int.from_bytes(at))
    except OverflowError:  # damaged
        return None
    stamp = data[_LENGTH:]
    imprint = Imprint(stamp[1:], bool(stamp[0])) if len(stamp) == _SIZE and any(stamp) else None
    return Beats(
        int.from_bytes(n),
        UUID(bytes=incarnation),
        UUID(bytes=last),
        UUID(bytes=next_),
        kept_at,
        imprint,
    )
