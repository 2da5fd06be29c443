"""The head of a request: what `app.server.protocol` reads from it, and rewrites.

Untrusted bytes, parsed by httptools; names of headers are in lower case.
"""

from __future__ import annotations

from app.server.requests import Headers

TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)
"""The answers to an incomplete head."""


def content_length(headers: Headers) -> int:
    """The declared length of a body; 0 without one. The parser has checked that it is a number."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


def without_upgrade(method: bytes, url: bytes, headers: Headers) -> bytes:
    """The bytes of a head, with its empty line, without ``Upgrade`` and what belongs to it."""
    lines = [b"%s %s HTTP/1.1" % (method, url)]
    for name, value in headers:
        if name == b"connection" and b"close" in value.lower():
            lines.append(b"connection: close")
        elif name not in (b"connection", b"upgrade"):
            lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join([*lines, b"", b""])
