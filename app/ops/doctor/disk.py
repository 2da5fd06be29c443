"""The spool: can it be written, is there room, and does its disk outlive the process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from app.ops.doctor.findings import Finding

CHECK = "spool"
LITTLE = 256 * 1024 * 1024
"""Bytes: some hundred thousand receipts, and the journal of a day of few texts."""
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
OF_CONTAINERS = frozenset({"overlay", "aufs"})
OVER_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph"})
MOUNTS = Path("/proc/self/mountinfo")


def examine_spool(
    folder: Path, *, mounts: str | None = None, little: int = LITTLE
) -> list[Finding]:
    """``mounts``: the text of /proc/self/mountinfo, which is read if left out."""
    folder = folder.absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())  # it is made at a start
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix="doctor-") as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        return [
            Finding(
                CHECK,
                f"{folder} cannot be written: {error.strerror}",
                "DLR_SPOOL_DIR must be a folder that the service's user may write, with room",
            )
        ]
    found = [*_of_disk(folder, _mounts() if mounts is None else mounts)]
    free = shutil.disk_usage(there).free
    if free < little:
        found.append(
            Finding(
                CHECK,
                f"The disk of {folder} has {free // 1024**2} MiB left",
                "make room: while the database is away, receipts have no other place",
            )
        )
    return found or [Finding(CHECK, f"{folder} can be written and lasts")]


def _of_disk(folder: Path, mounts: str) -> Iterator[Finding]:
    kind = file_system(folder, mounts)
    if kind in IN_MEMORY:
        yield Finding(
            CHECK,
            f"{folder} is in memory ({kind}): what is in it is gone with the machine's next start",
            "set DLR_SPOOL_DIR to a folder on a disk",
        )
    elif kind in OF_CONTAINERS:
        yield Finding(
            CHECK,
            f"{folder} is in a container's own layer ({kind}), which goes with the container",
            "mount a volume there",
        )
    elif kind in OVER_NETWORK:
        yield Finding(
            CHECK,
            f"{folder} is on a network's file system ({kind}), whose locks and flushes cannot be "
            "relied on",
            "set DLR_SPOOL_DIR to a folder on a local disk",
        )


def file_system(folder: Path, mounts: str) -> str:
    """The type of the file system that a folder is on; nothing where it cannot be told."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        words = line.split()
        if "-" not in words or len(words) < 5:
            continue
        point = Path(words[4].encode().decode("unicode_escape"))
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), words[words.index("-") + 1]
    return kind


def _mounts() -> str:
    try:
        return MOUNTS.read_text()
    except OSError:
        return ""
