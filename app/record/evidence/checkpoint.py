"""Checkpoints (C2SP tlog-checkpoint): size and root of a log, as the text of a note. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.record.evidence.merkle import HASH_SIZE
from app.record.evidence.note import VerifierKey, open_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Of the log ``origin``: its size in leaves and its root. ``extensions``: further lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text to be signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Parse the text of a note. Raises ValueError that says what is wrong."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop():
        raise ValueError("a checkpoint has a line each for its origin, size and root")
    origin, size, root, *extensions = lines
    if not origin or not all(extensions):
        raise ValueError("a checkpoint has no empty lines")
    if not _SIZE.fullmatch(size):
        raise ValueError("the size of a checkpoint is a decimal number")
    try:
        digest = base64.b64decode(root, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != HASH_SIZE or base64.b64encode(digest).decode() != root:
        raise ValueError("the root of a checkpoint is 32 bytes in base64")
    return Checkpoint(origin, int(size), digest, tuple(extensions))


def open_checkpoint(note: str, known: Iterable[VerifierKey]) -> Checkpoint:
    """Verify a note: one of the ``known`` keys must have signed it whose name is the origin.

    Raises ValueError that says what is wrong.
    """
    opened = open_note(note, known)
    checkpoint = parse_checkpoint(opened.text)
    if not any(k.name == checkpoint.origin and not k.is_witness for k in opened.signers):
        raise ValueError(f"it is not signed by the log {checkpoint.origin[:100]!r} itself")
    return checkpoint


def unverified_checkpoint(note: str) -> Checkpoint:
    """The checkpoint of a note; signatures are not looked at. Raises ValueError."""
    return parse_checkpoint(note.partition("\n\n")[0] + "\n")


def is_signed(note: str, known: Iterable[VerifierKey]) -> bool:
    """Whether ``open_checkpoint`` accepts the note."""
    try:
        open_checkpoint(note, known)
    except ValueError:
        return False
    return True
