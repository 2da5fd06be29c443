"""Records of a journal: a header with length, checksum and kind, then the content.

What is read may be damaged: a record counts only if its checksums are right.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_PREFIX = struct.Struct("<IIB")
_CHECK = struct.Struct("<I")
HEADER_SIZE = _PREFIX.size + _CHECK.size
"""Length of the content, CRC-32 of kind and content, kind; and the CRC-32 of these three, without
which a damaged length would look like a record that is cut off by the end of the file."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one record. A batch of 1,000 messages has about a megabyte; a length beyond this is damage."""


class Damaged(Exception):
    """The bytes are no record, or not the one that was written.

    ``end`` is where the next one begins; None where that is not known.
    """

    def __init__(self, why: str, end: int | None = None) -> None:
        super().__init__(why)
        self.end = end


@dataclass(frozen=True, slots=True)
class Raw:
    """One record: where it ends, and its content, which is not decoded yet."""

    end: int
    kind: int
    content: bytes


def frame(kind: int, content: bytes) -> bytes:
    """A record with its header."""
    prefix = _PREFIX.pack(len(content), zlib.crc32(content, kind), kind)
    return prefix + _CHECK.pack(zlib.crc32(prefix)) + content


def unframe(data: bytes | memoryview, start: int) -> Raw | None:
    """The record that begins at ``start``; None where it is cut off there. Raises Damaged."""
    at = start + HEADER_SIZE
    if len(data) < at:
        return None
    length, checksum, kind = _PREFIX.unpack_from(data, start)
    (check,) = _CHECK.unpack_from(data, start + _PREFIX.size)
    if zlib.crc32(data[start : start + _PREFIX.size]) != check or length > MOST_BYTES:
        raise Damaged(f"the header of the record at {start} is wrong")
    end = at + length
    if end > len(data):
        return None
    content = bytes(data[at:end])
    if zlib.crc32(content, kind) != checksum:
        raise Damaged(f"the checksum of the record at {start} is wrong", end)
    return Raw(end, kind, content)
