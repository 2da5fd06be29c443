"""The files of one journal: append-only segments in a folder of its own.

Written by one process, with one write a batch and no fsync: what was written survives the process,
and a loss of the disk and of the database at once is not provided for. What is read may be damaged,
or not ours: such a file is set aside under another name, and stops nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import structlog

from app.model.fact import Gap, Position
from app.parts.private_files import UnsafeFileError, open_private
from app.record.encoding import encode
from app.record.framing import Damaged, Raw, frame, unframe

MAGIC = b"iovox-receipts journal 2\n"
LARGEST = 64 * 1024 * 1024
"""Bytes after which a new segment begins."""
OLDEST = 3600.0
"""Seconds after which a new segment begins: old facts are deleted by whole segments."""
LOCK = "lock"
ASIDE = ".set-aside"
_NAME = re.compile(r"(\d{10})\.journal")
_SET_ASIDE_OR_NOT = re.compile(rf"(\d{{10}})\.journal({re.escape(ASIDE)})?")
ASIDE_NAME = re.compile(rf"(\d{{10}})\.journal{re.escape(ASIDE)}")
NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
_HEADER_KIND = 0

log = structlog.get_logger(__name__)


class Located(NamedTuple):
    """A record and where it begins."""

    position: Position
    raw: Raw


class Writer:
    """Appends to the journal in ``folder``. Opening it begins a new segment."""

    def __init__(self, folder: Path, database: UUID) -> None:
        """Raises OSError."""
        self.folder = folder
        self.database = database
        self._file = -1
        self._number = max(_numbers(folder, _SET_ASIDE_OR_NOT), default=0)
        self._size = 0
        self._begun_at = 0.0
        self._is_whole = True
        self._begin()

    @property
    def end(self) -> Position:
        """Where the next fact will stand, or a place before it."""
        return self._number, self._size

    def append(self, records: bytes) -> None:
        """Write records at once. Raises OSError; the next segment then begins with a ``Gap``."""
        if not self._is_whole or self._size >= LARGEST or self._is_old():
            self._begin()
        written = 0
        try:
            written = os.write(self._file, records)
        finally:
            self._is_whole = written == len(records)
            self._size += written
        if not self._is_whole:
            raise OSError(f"{written} of {len(records)} bytes were written")

    def begin_anew(self) -> int:
        """Begin a new segment; returns its number. Raises OSError."""
        self._begin()
        return self._number

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _is_old(self) -> bool:
        return time.monotonic() - self._begun_at > OLDEST

    def _begin(self) -> None:
        file = open_private(self.folder / file_name(self._number + 1), NEW)
        header = json.dumps({"database": self.database.hex, "process": self.folder.name})
        start = MAGIC + frame(_HEADER_KIND, header.encode())
        if not self._is_whole:
            start += encode(Gap())
        try:
            if os.write(file, start) != len(start):
                raise OSError("the disk has no room for a new segment")
        except OSError:
            os.close(file)
            (self.folder / file_name(self._number + 1)).unlink(missing_ok=True)
            raise
        self.close()
        self._file, self._size = file, len(start)
        self._number += 1
        self._begun_at = time.monotonic()
        self._is_whole = True


class Lock:
    """Whoever holds it is the process of this journal. The kernel frees it when that dies."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where another process holds it."""
        self._file = open_private(folder / LOCK)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._file)

    close = release


def make_folder(folder: Path) -> None:
    """Make a folder for the journals. Raises OSError, also where it is a link or someone else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink():
        raise UnsafeFileError(f"{folder} is a link, which is not followed: remove it")
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(file, 0o700)
    finally:
        os.close(file)


def segments(folder: Path) -> list[int]:
    """The numbers of the segments in a journal's folder, in order. Raises OSError."""
    return sorted(_numbers(folder, _NAME))


def database_of(folder: Path) -> UUID | None:
    """The database that a journal belongs to; None where no segment says so."""
    for number in reversed(segments(folder)):
        with suppress(OSError, Damaged):  # set aside when its facts are read
            return header_of(read_bytes(folder, number), folder)[0]
    return None


def read(folder: Path, start: Position, until: Position | None = None) -> Iterator[Located | None]:
    """The records from ``start`` on, before ``until``; None stands for what is missing or damaged.

    (0, 0) is the journal's beginning. What can be read of a segment that was set aside is read
    again each time: the database may forget it once more. Raises OSError.
    """
    expected = start[0] or 1
    for number in sorted(set(_numbers(folder, _SET_ASIDE_OR_NOT))):
        if number < start[0] or (until is not None and number > until[0]):
            continue
        if number != expected:
            yield None
        expected = number + 1
        end = until[1] if until is not None and until[0] == number else None
        yield from _records(folder, number, start[1] if number == start[0] else 0, end)
    if until is not None and expected <= until[0]:
        yield None


def read_segment(folder: Path, number: int) -> Iterator[Located]:
    """The records of one segment as far as it can be read, which is left as it is."""
    with suppress(OSError, Damaged):
        data = read_bytes(folder, number)
        _, at = header_of(data, folder)
        for start, found in _scan(data, at):
            if isinstance(found, Raw):
                yield Located((number, start), found)


def _records(folder: Path, number: int, start: int, end: int | None) -> Iterator[Located | None]:
    """Damage costs one record; where its end is not known, the rest of the segment as well."""
    try:
        data = read_bytes(folder, number)
        _, first = header_of(data, folder)
    except (OSError, Damaged) as error:
        set_aside(folder, number, str(error))
        yield None
        return
    why = ""
    for at, found in _scan(data, max(first, start)):
        if end is not None and at >= end:
            break
        if found is None:
            log.warning("journal_torn", segment=number, bytes=len(data) - at)
        elif isinstance(found, Damaged):
            why = why or str(found)
            yield None
        else:
            yield Located((number, at), found)
    if why:
        set_aside(folder, number, why)


def _scan(data: bytes, at: int) -> Iterator[tuple[int, Raw | Damaged | None]]:
    """The records from a place on; None in the end where the last one is cut off."""
    while at < len(data):
        found: Raw | Damaged | None
        try:
            found = unframe(data, at)
        except Damaged as error:
            found = error
        yield at, found
        if found is None or found.end is None:
            return
        at = found.end


def header_of(data: bytes, folder: Path) -> tuple[UUID, int]:
    """The database of a segment and where its first record begins. Raises Damaged."""
    if not data.startswith(MAGIC):
        raise Damaged("it is no segment of a journal")
    raw = unframe(data, len(MAGIC))
    if raw is None or raw.kind != _HEADER_KIND:
        raise Damaged("it has no header")
    try:
        fields = json.loads(raw.content)
        database, process = UUID(fields["database"]), fields["process"]
    except (ValueError, KeyError, TypeError):
        raise Damaged("its header cannot be read") from None
    if process != folder.name:
        raise Damaged(f"it belongs to the journal {process!r:.50}")
    return database, raw.end


def read_bytes(folder: Path, number: int) -> bytes:
    """The bytes of a segment, set aside or not. Raises OSError, also for links and folders."""
    path = folder / file_name(number)
    if not os.path.lexists(path):
        path = _aside(path)
    with os.fdopen(open_private(path, os.O_RDONLY), "rb") as opened:
        return opened.read()


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ASIDE)


def set_aside(folder: Path, number: int, why: str) -> None:
    """Rename a segment that is damaged or not ours, and say so."""
    path = folder / file_name(number)
    aside = _aside(path)
    if not os.path.lexists(path):
        return  # it is set aside already
    log.error(
        "journal_segment_set_aside",
        path=str(path),
        why=why,
        now=aside.name,
        consequence="what cannot be read of it is not brought back if the database forgets it",
    )
    try:
        path.rename(aside)
    except OSError as error:
        log.error("journal_segment_not_set_aside", path=str(path), reason=str(error))


def _numbers(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    found = (pattern.fullmatch(each.name) for each in folder.iterdir())
    return [int(match[1]) for match in found if match]


def file_name(number: int) -> str:
    """The file name of a segment that is not set aside."""
    return f"{number:010d}.journal"
