"""Decompresses the body of a receipt that has a Content-Encoding. The bytes are untrusted.

iovox sends none, but a proxy in between may compress bodies, and a receipt that is refused is lost.
The decompressed body is what is stored, so that the spool and a replay read it like any other.
"""

from __future__ import annotations

import zlib

_AUTOMATIC = 32 + zlib.MAX_WBITS
"""zlib's format or gzip's, detected by the header."""
_RAW = -zlib.MAX_WBITS
"""No format: ``deflate`` is zlib's (RFC 9110, 8.4.1.2), but some senders leave out its wrapper."""
_PACKINGS = (b"gzip", b"x-gzip", b"deflate")


class UnpacksTooLargeError(Exception):
    """The body has more than ``largest`` bytes once it is decompressed."""


def unpack(body: bytes, content_encoding: bytes, *, largest: int) -> bytes:
    """The decompressed body; as it came if it cannot be decompressed.

    If that is JSON, the header was wrong, and it is a receipt like any other; if not, the call is
    kept as a rejected one. Raises UnpacksTooLargeError as soon as the limit is exceeded.
    """
    unpacked = body
    for encoding in reversed(content_encoding.lower().split(b",")):
        name = encoding.strip()
        if name in (b"", b"identity"):
            continue
        try:
            if name not in _PACKINGS:
                return body
            unpacked = _inflate(unpacked, largest)
        except zlib.error:
            return body
    return unpacked


def _inflate(packed: bytes, largest: int) -> bytes:
    try:
        return _inflate_as(_AUTOMATIC, packed, largest)
    except zlib.error:
        return _inflate_as(_RAW, packed, largest)


def _inflate_as(format_: int, packed: bytes, largest: int) -> bytes:
    """Decompress all members of a gzip file, or one stream. Raises zlib.error if it is cut off."""
    unpacked = b""
    while packed:
        stream = zlib.decompressobj(format_)
        unpacked += stream.decompress(packed, largest + 1 - len(unpacked))
        if len(unpacked) > largest:
            raise UnpacksTooLargeError
        if not stream.eof:
            raise zlib.error("it is cut off")
        packed = stream.unused_data
    return unpacked
