"""Segments of a journal that are no longer written to: measured, rewritten, deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from app.parts.private_files import open_private
from app.record.beats import FILE as BEATS
from app.record.framing import Damaged, Raw, frame, unframe
from app.record.segments import (
    ASIDE_NAME,
    LOCK,
    NEW,
    file_name,
    header_of,
    read_bytes,
    set_aside,
)

log = structlog.get_logger(__name__)


def set_aside_in(folder: Path) -> list[Path]:
    """The files that were set aside."""
    return [each for each in folder.iterdir() if ASIDE_NAME.fullmatch(each.name)]


def age(folder: Path, number: int) -> float:
    """Seconds since the segment was last written to."""
    return time.time() - os.lstat(folder / file_name(number)).st_mtime


def size(folder: Path, number: int) -> int:
    """Its bytes."""
    return os.lstat(folder / file_name(number)).st_size


def rewrite(folder: Path, number: int, change: Callable[[Raw], bytes | None]) -> bool:
    """Rewrite a segment that is no longer written to; returns whether any record was changed.

    ``change`` returns a record's new content, of the same length, since positions in a journal are
    offsets; None leaves it as it is. The file is replaced atomically and keeps its modification
    time. Raises OSError.
    """
    path = folder / file_name(number)
    data = bytearray(read_bytes(folder, number))
    try:
        at, changed = header_of(bytes(data), folder)[1], False
        while (raw := unframe(memoryview(data), at)) is not None:
            content = change(raw)
            if content is not None and content != raw.content:
                if len(content) != len(raw.content):
                    raise ValueError("a record must keep its length")
                data[at : raw.end] = frame(raw.kind, content)
                changed = True
            at = raw.end
    except Damaged as error:
        set_aside(folder, number, str(error))
        return False
    # A torn record at the end is cut off: it cannot be decoded, but may hold what is erased.
    changed = changed or at < len(data)
    if changed:
        found = os.lstat(path)
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        file = open_private(new, NEW)
        with os.fdopen(file, "wb") as opened:
            opened.write(data[:at])
            opened.flush()
            os.fsync(opened.fileno())
        os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns))
        new.replace(path)
    return changed


def delete(folder: Path, number: int) -> None:
    """Delete a segment."""
    delete_file(folder / file_name(number))


def delete_file(path: Path) -> None:
    """Delete a file of a journal. One that cannot be is logged, and stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("journal_file_stays", path=str(path), reason=str(error))


def is_given_up(folder: Path) -> bool:
    """Whether nothing is left in a journal but the files that say whose it is."""
    return {each.name for each in folder.iterdir()} <= {LOCK, BEATS}


def delete_folder(folder: Path) -> None:
    """Delete a journal in which nothing is left."""
    for name in (LOCK, BEATS):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()
