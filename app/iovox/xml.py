"""Building and parsing of iovox's XML. Requests have validated input; responses are untrusted.

A request preserves every text exactly. A response may come from a proxy in iovox's place: its size
is limited, a DTD (and so entities) forbidden, and what cannot be parsed is not ``readable``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError  # nosec B405
from xml.sax.saxutils import escape  # nosec B406

from defusedxml.ElementTree import fromstring

from app.model.activity_id import MAX_ID_LENGTH, one_spelling
from app.model.message import Submission

MAX_RESPONSE_SIZE = 64 * 1024
"""Bytes; iovox's responses have a few hundred."""

# XML parsers turn a literal CR into LF (XML 1.0, 2.11); a character reference preserves it.
_CARRIAGE_RETURN = {"\r": "&#13;"}
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class ResponseError:
    """One error, with iovox's text; ``status`` is its status attribute, if that is valid."""

    status: int | None
    text: str


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """The content of a response. ``readable`` is False if it is not iovox's XML."""

    sms_activity_id: str | None = None
    errors: tuple[ResponseError, ...] = ()
    readable: bool = True


_UNREADABLE = ParsedResponse(readable=False)


def forbidden_characters(text: str) -> tuple[str, ...]:
    """The characters of ``text`` that XML 1.0 forbids, as ``U+0007``; each once, in order."""
    if _FORBIDDEN.search(text) is None:
        return ()
    return tuple(f"U+{ord(char):04X}" for char in dict.fromkeys(_FORBIDDEN.findall(text)))


def build_request(submission: Submission, *, callback_url: str, callback_url_headers: str) -> bytes:
    """The body of a sendSms request. Raises ValueError if a text has forbidden characters."""
    texts = {
        "origin": submission.origin,
        "destination": submission.destination,
        "message": submission.text,
        "callback_url": callback_url or None,
        "callback_url_headers": callback_url_headers or None,
        "expiry": None if submission.expiry is None else str(submission.expiry),
        "c2c_failover_link_id": submission.c2c_failover_link_id or None,
    }
    nodes = [
        f"<{node}>{escape(text, _CARRIAGE_RETURN)}</{node}>"
        for node, text in texts.items()
        if text is not None
    ]
    written = f"{_DECLARATION}<request>{''.join(nodes)}</request>"
    if _FORBIDDEN.search(written):
        raise ValueError(_describe_forbidden(texts))
    return written.encode()


def _describe_forbidden(texts: Mapping[str, str | None]) -> str:
    for node, text in texts.items():
        if characters := forbidden_characters(text or ""):
            return f"{node} holds characters that XML cannot carry: {', '.join(characters)}"
    raise AssertionError("only called where there is one")


def parse_response(body: bytes) -> ParsedResponse:
    """Parse the body of a response. Never raises: the result may be not ``readable``.

    The encoding is UTF-8 unless the XML declares another one; HTTP's charset is ignored.
    """
    root = _root(body)
    if root is None or _name(root) not in ("response", "errors", "error"):
        return _UNREADABLE
    errors = tuple(_error(node) for node in root.iter() if _name(node) == "error")
    return ParsedResponse(_activity_id(root), errors)


def _root(body: bytes) -> Element | None:
    if len(body) > MAX_RESPONSE_SIZE:
        return None
    body = body.lstrip()  # a blank line before the declaration is not well-formed, but common
    try:
        return _parse(body)
    except (ParseError, ValueError, LookupError):
        pass  # defusedxml raises ValueErrors; LookupError is an unknown encoding
    try:
        # Invalid UTF-8 spoils an error text at most: an id is ASCII.
        return _parse(body.decode("utf-8", "replace"))
    except (ParseError, ValueError, LookupError):
        return None


def _parse(document: bytes | str) -> Element:
    root: Element = fromstring(document, forbid_dtd=True)
    return root


def _activity_id(root: Element) -> str | None:
    """The id in its one spelling; None if it is missing or too long."""
    if _name(root) != "response":
        return None
    for node in root:
        if _name(node) == "sms_activity_id":
            text = one_spelling("".join(node.itertext()))
            return text if 0 < len(text) <= MAX_ID_LENGTH and "\ufffd" not in text else None
    return None


def _error(node: Element) -> ResponseError:
    status = node.get("status", "").strip()
    known = re.fullmatch("[1-5][0-9][0-9]", status)
    text = " ".join("".join(node.itertext()).split())
    return ResponseError(int(status) if known else None, text)


def _name(node: Element) -> str:
    """The local name of an element; an empty string for comments and processing instructions."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
