"""Key files: private ones, which their owner alone may read, and files of verifier keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from app.parts.private_files import open_private
from app.record.evidence.note import SigningKey, VerifierKey

_LARGEST = 64 * 1024
"""Bytes of a file that are read."""


def read_keys(file: Path) -> list[SigningKey]:
    """Read a private key file: one key a line, all of one name. Raises ValueError that says what to
    do and quotes no key.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(_LARGEST)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise ValueError(f"{file} may be read by others: `chmod 600` it")
    keys = [SigningKey.parse(line) for line in lines_of(data)]
    if not keys:
        raise ValueError(f"{file} has no key: make one with `dlr evidence keygen`")
    if len({key.name for key in keys}) > 1:
        raise ValueError(f"{file} has keys of different names: a log has one name")
    return keys


def read_verifier_keys(data: bytes) -> list[VerifierKey]:
    """Parse verifier keys, one a line. Raises ValueError that says what is wrong."""
    keys = [VerifierKey.parse(line) for line in lines_of(data)]
    if not keys:
        raise ValueError("there is no key in it")
    return keys


def write_key(file: Path, key: SigningKey) -> None:
    """Create a private key file, mode 0600, fsynced. Raises FileExistsError, OSError."""
    with os.fdopen(open_private(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as opened:
        opened.write(f"{key.private_text()}\n")
        opened.flush()
        os.fsync(opened.fileno())


def lines_of(data: bytes) -> list[str]:
    """The lines that are neither empty nor comments. Raises ValueError for what is not UTF-8."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
