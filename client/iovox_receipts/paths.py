"""Ids as segments of a URL's path."""

from __future__ import annotations

from urllib.parse import quote

_DOT_SEGMENTS = {".": "%2E", "..": "%2E%2E"}
"""RFC 3986, 5.2.4: unencoded, a client or a proxy takes them for this path and the one above."""


def segment(identifier: str) -> str:
    """The id, percent-encoded; iovox's ids may be any text. Raises ValueError if it is empty, or
    has lone surrogates, which UTF-8 cannot encode.
    """
    if not identifier:
        raise ValueError("an id is needed, and this one is empty")
    try:
        encoded = quote(identifier, safe="")
    except UnicodeEncodeError:
        raise ValueError("the id is not text that UTF-8 can encode") from None
    return _DOT_SEGMENTS.get(encoded, encoded)
