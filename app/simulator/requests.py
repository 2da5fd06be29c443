"""Validation of sendSms requests, with iovox's error texts: credentials, query, XML.

Every check raises ``RefusalError`` with all errors that it found. What iovox documents no rule for
(an invalid callback_url, a non-numeric expiry) is accepted.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from app.simulator.responses import UNAUTHORIZED, Fault, Receive, RefusalError

MAX_BODY_SIZE = 256 * 1024
"""Bytes; not documented by iovox. Far above any valid request; it bounds the memory used."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid send. ``expiry`` is the text as received."""

    origin: str
    destination: str
    message: str
    callback_url: str | None
    callback_headers: Headers
    expiry: str | None
    c2c_failover_link_id: str | None
    x_message_id: str | None


async def read_body(receive: Receive) -> bytes | None:
    """The body; None if the client disconnected. Raises RefusalError beyond MAX_BODY_SIZE."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return None
        part: bytes = event.get("body", b"")
        size += len(part)
        if size > MAX_BODY_SIZE:
            raise RefusalError(Fault(413, "Request Entity Too Large"))
        parts.append(part)
        more = event.get("more_body", False)
    return b"".join(parts)


def check_credentials(headers: Mapping[str, str], expected: Mapping[str, str | None]) -> None:
    """Raise 401 unless each header in ``expected`` has its value (any value, if that is None)."""
    for name, value in expected.items():
        given = headers.get(name, "").encode()
        if not given or not hmac.compare_digest(given, (value or "").encode() or given):
            raise RefusalError(UNAUTHORIZED)


def check_call(http_method: str, query: bytes) -> None:
    """Check the HTTP method, and the API version and method in the query."""
    asked = _parameters(query)
    version = asked.get("v", "").strip()
    faults = []
    if not version:
        faults.append(Fault(400, "API Version Empty"))
    elif version != "3":
        faults.append(Fault(400, "API Version Invalid"))
    if http_method != "POST":
        faults.append(Fault(400, f"Request Method must be POST. {http_method} attempted"))
    if asked.get("method") != "sendSms":
        # Our own text: iovox documents none for this error.
        faults.append(Fault(400, "API Method Invalid"))
    if faults:
        raise RefusalError(*faults)


def _parameters(query: bytes) -> dict[str, str]:
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def read_submission(body: bytes, longest_message: int) -> Submission:
    """Parse and validate the XML; all invalid fields are reported together."""
    texts = _parse(body)
    faults = tuple(_field_faults(texts, longest_message))
    if faults:
        raise RefusalError(*faults)
    headers = parse_header_pairs(texts.get("callback_url_headers", ""))
    return Submission(
        origin=texts["origin"],
        destination=texts["destination"],
        message=texts["message"],
        callback_url=texts.get("callback_url", "").strip() or None,
        callback_headers=headers,
        expiry=texts.get("expiry") or None,
        c2c_failover_link_id=texts.get("c2c_failover_link_id") or None,
        x_message_id=next((v for name, v in headers if name.lower() == "x-message-id" and v), None),
    )


def _parse(body: bytes) -> dict[str, str]:
    """The texts of the request's elements by name; of repeated ones the first."""
    if not body.strip():
        raise RefusalError(Fault(400, "XML Empty"))
    try:
        root = fromstring(body, forbid_dtd=True)
    except ParseError as error:
        words = str(error).rpartition(": line ")[0]
        raise _xml_fault(words, *error.position) from None
    except DefusedXmlException:
        raise _xml_fault("DTD forbidden", *_position(body, b"<!DOCTYPE")) from None
    except (LookupError, ValueError):  # an unknown encoding, or one that expat does not support
        raise _xml_fault("unknown encoding", 1, 0) from None
    if root.tag != "request" or not len(root):
        raise RefusalError(Fault(400, "Request Empty"))
    return {child.tag: child.text or "" for child in reversed(root)}


def _xml_fault(words: str, line: int, column: int) -> RefusalError:
    return RefusalError(Fault(400, f"XML parse error. {words} at line {line}, column {column}"))


def _position(body: bytes, what: bytes) -> tuple[int, int]:
    before = body[: max(body.find(what), 0)]
    return before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1)


# Numbers are E.164 digits without a leading + or 00; the limit of 11 characters is for names.
_ORIGIN = re.compile(r"(?!00)[0-9]{1,15}|(?=.*[A-Za-z .])[A-Za-z0-9 .]{1,11}")
_DESTINATION = re.compile(r"[1-9][0-9]{1,14}")


def _field_faults(texts: Mapping[str, str], longest_message: int) -> Iterable[Fault]:
    rules: tuple[tuple[str, str, Callable[[str], object], str], ...] = (
        ("origin", "Origin", _ORIGIN.fullmatch, "Origin Invalid: {}"),
        ("destination", "Destination", _DESTINATION.fullmatch, "Destination Invalid: {}"),
        (
            "message",
            "Message",
            lambda text: len(text) <= longest_message,
            "Message must be less than 160 characters long",
        ),
    )
    for node, name, is_valid, complaint in rules:
        text = texts.get(node, "")
        if not text.strip():
            yield Fault(400, f"{name} Empty")
        elif not is_valid(text):
            yield Fault(400, complaint.format(text))


def parse_header_pairs(notation: str) -> Headers:
    """Parse ``Name: value,Name: value``. iovox documents no escaping: every comma separates."""
    pairs = (pair.partition(":") for pair in notation.split(","))
    return tuple((name.strip(), value.strip()) for name, colon, value in pairs if colon)
