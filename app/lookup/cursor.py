"""Where a list goes on: an opaque text for callers to hand back. Trusts no text.

It says no more than a place in the order of messages, so it needs no secret: who may see what is
decided by the key alone. A checksum tells one that was changed or cut.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from uuid import UUID

_VERSION = b"\x01"
_CHECKSUM = 7
"""Bytes; with the version and an id they make 24, which base64 writes without padding."""

CURSOR_PATTERN = "^A[Q-Za-f][A-Za-z0-9_-]{30}$"
"""As far as a pattern can say it: the version, and the length."""


def cursor_after(message_id: UUID) -> str:
    """The cursor of what is older than this message."""
    place = _VERSION + message_id.bytes
    return urlsafe_b64encode(place + _checksum(place)).decode()


def read_cursor(text: str) -> UUID:
    """The message that a list goes on after. Raises ValueError."""
    try:
        place = urlsafe_b64decode(text.encode("ascii"))[len(_VERSION) : -_CHECKSUM]
        message_id = UUID(bytes=place)
    except ValueError:
        raise ValueError("is not a cursor of ours") from None
    if cursor_after(message_id) != text:  # base64 can be written in many ways, and we write one
        raise ValueError("is not a cursor of ours")
    return message_id


def _checksum(place: bytes) -> bytes:
    return blake2b(place, digest_size=_CHECKSUM, person=b"dlr cursor").digest()
