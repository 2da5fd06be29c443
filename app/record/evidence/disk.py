"""The checkpoints on this disk: an append-only file with all that were published, kept for ever.

Processes that share DLR_SPOOL_DIR share the file. It is trusted more than the database: a database
that is behind it was rolled back.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from app.parts.private_files import open_private
from app.record.evidence.checkpoint import Checkpoint, unverified_checkpoint

FILE = "evidence-checkpoints"
ID_FILE = "evidence-disk"


class Contradiction(Exception):
    """Two checkpoints of one origin and size have different roots."""


class KnownCheckpoints:
    """The file, with what other processes append to it. Every method does blocking I/O: call it in
    a thread. Raises OSError.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read = 0
        self._known: dict[str, dict[int, bytes]] = {}

    def newest(self, origin: str) -> Checkpoint | None:
        """The largest checkpoint of an origin."""
        self._refresh()
        known = self._known.get(origin)
        if not known:
            return None
        size = max(known)
        return Checkpoint(origin, size, known[size])

    def all(self, origin: str) -> list[Checkpoint]:
        """Every checkpoint of an origin, the smallest first."""
        self._refresh()
        known = self._known.get(origin, {})
        return [Checkpoint(origin, size, known[size]) for size in sorted(known)]

    def id(self) -> str:
        """A random identifier of this disk, made and fsynced at the first call."""
        path = self._path.with_name(ID_FILE)
        with suppress(FileExistsError):
            file = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                os.write(file, secrets.token_hex(16).encode())
                os.fsync(file)
            finally:
                os.close(file)
        return path.read_text()

    def origins(self) -> set[str]:
        """Every origin that this disk has seen a checkpoint of."""
        self._refresh()
        return set(self._known)

    def remember(self, note: str) -> None:
        """Append a checkpoint, unless the file has it; fsynced on return. Raises Contradiction."""
        checkpoint = unverified_checkpoint(note)
        self._refresh()
        known = self._known.get(checkpoint.origin, {}).get(checkpoint.size)
        if known is not None:
            if known != checkpoint.root:
                raise Contradiction(
                    f"two checkpoints of {checkpoint.origin} at size {checkpoint.size} differ"
                )
            return
        is_new = not self._path.exists()
        file = open_private(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The leading line break ends a line that a crash has cut off.
            os.write(file, f"\n{json.dumps({'note': note})}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)
        if is_new:
            _fsync_folder(self._path.parent)
        self._refresh()

    def _refresh(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1
        self._read += whole
        for line in data[:whole].splitlines():
            checkpoint = _checkpoint_of(line)
            if checkpoint is not None:
                known = self._known.setdefault(checkpoint.origin, {})
                known.setdefault(checkpoint.size, checkpoint.root)


def _checkpoint_of(line: bytes) -> Checkpoint | None:
    """None for a line that a crash has cut off: it was not published yet."""
    try:
        return unverified_checkpoint(json.loads(line)["note"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _fsync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
