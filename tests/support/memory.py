"""Where the tests keep their files: in memory, where there is room for them.

A run makes and deletes some hundred thousand files, most of them PostgreSQL's, and a file system on
a disk spends a fifth of the run's CPU on that. What a test kills are processes, never the machine:
what they have written outlives them in memory as on a disk.
"""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30
"""Bytes; several times what a run holds at once. A container has 64 MB there, unless told."""


def use_memory() -> None:
    """Temporary files, also those of processes started from here; TMPDIR says otherwise."""
    if "TMPDIR" not in os.environ and _is_roomy():
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # what it was is no longer so


def short_folder() -> Path:
    """One with a short path, that any account can reach."""
    return MEMORY if tempfile.gettempdir() == str(MEMORY) else Path("/tmp")


def _is_roomy() -> bool:
    try:
        return os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    except OSError:
        return False
