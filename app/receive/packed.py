"""Unpacks the body of a receipt that came with a Content-Encoding. The bytes are untrusted.

Nobody asked for one, but a proxy in between may pack bodies, and a receipt that is refused is lost.
What is kept of it is the unpacked body, so that the spool and a replay read it as any other.
"""

from __future__ import annotations

import zlib

_AUTOMATIC = 32 + zlib.MAX_WBITS
"""zlib's format or gzip's, whichever it is: what is called deflate is the former, or neither."""
_RAW = -zlib.MAX_WBITS
_PACKINGS = (b"gzip", b"x-gzip", b"deflate")


class UnpacksTooLargeError(Exception):
    """The body has more than ``largest`` bytes, unpacked."""


def unpack(body: bytes, content_encoding: bytes, *, largest: int) -> bytes:
    """The body without its encodings; as it came if it cannot be unpacked.

    If that is JSON it was not packed, whatever the header says; if not it is kept as a rejected
    call. Raises UnpacksTooLargeError, after unpacking no more than that.
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
    """Unpack all members of a gzip file, or one stream. Raises zlib.error if it is cut off."""
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
