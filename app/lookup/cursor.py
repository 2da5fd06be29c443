"""The pagination cursor of lists: opaque to clients. Its text is untrusted.

A cursor holds only a position in the order of messages and grants no access (the API key does), so
it needs a checksum against damage and no signature.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from uuid import UUID

_VERSION = b"\x01"
_CHECKSUM = 7
"""Bytes; with the version and an id they make 24, which base64 writes without padding."""

CURSOR_PATTERN = "^A[Q-Za-f][A-Za-z0-9_-]{30}$"
"""Of the version and the length; a pattern cannot express the checksum."""


def cursor_after(message_id: UUID) -> str:
    """The cursor of the page that begins after this message."""
    position = _VERSION + message_id.bytes
    return urlsafe_b64encode(position + _checksum(position)).decode()


def read_cursor(text: str) -> UUID:
    """The id of the message before the page. Raises ValueError."""
    try:
        position = urlsafe_b64decode(text.encode("ascii"))[len(_VERSION) : -_CHECKSUM]
        message_id = UUID(bytes=position)
    except ValueError:
        raise ValueError("is not a cursor of ours") from None
    if cursor_after(message_id) != text:  # base64 has several spellings of the same bytes
        raise ValueError("is not a cursor of ours")
    return message_id


def cursor_of_id(sms_activity_id: str) -> str:
    """The cursor of the page that begins after an id of iovox's, which may be any text."""
    return urlsafe_b64encode(sms_activity_id.encode()).decode()


def read_id_cursor(text: str) -> str:
    """The id before the page. Raises ValueError."""
    try:
        return urlsafe_b64decode(text.encode("ascii")).decode()
    except ValueError:
        raise ValueError("is not a cursor of ours") from None


def _checksum(position: bytes) -> bytes:
    return blake2b(position, digest_size=_CHECKSUM, person=b"dlr cursor").digest()
