"""What a caller asks for: credentials, the call, and the XML, judged in iovox's own words.

Every check raises ``RefusalError`` with all that it found. Where iovox documents no rule (a bad
callback_url, an expiry that is no number), nothing is refused.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from app.simulator.answers import UNAUTHORIZED, Fault, Receive, RefusalError

LARGEST_BODY = 256 * 1024
"""Bytes; undocumented. Far above the longest text that passes, and it bounds our memory."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """A text that passed every check. ``expiry`` is kept as it was written."""

    origin: str
    destination: str
    message: str
    callback_url: str | None
    callback_headers: Headers
    expiry: str | None
    c2c_failover_link_id: str | None
    x_message_id: str | None


async def read_body(receive: Receive) -> bytes | None:
    """The request's bytes; None when the caller left before the end."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return None
        part: bytes = event.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY:
            raise RefusalError(Fault(413, "Request Entity Too Large"))
        parts.append(part)
        more = event.get("more_body", False)
    return b"".join(parts)


def check_credentials(headers: Mapping[str, str], expected: Mapping[str, str | None]) -> None:
    """401 unless each header named in ``expected`` has its value: any, where that is None."""
    for name, value in expected.items():
        given = headers.get(name, "").encode()
        if not given or not hmac.compare_digest(given, (value or "").encode() or given):
            raise RefusalError(UNAUTHORIZED)


def check_call(http_method: str, query: bytes) -> None:
    """The version and the method of the call, as the URL gives them."""
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
        # iovox documents no text for this one: these words are ours.
        faults.append(Fault(400, "API Method Invalid"))
    if faults:
        raise RefusalError(*faults)


def _parameters(query: bytes) -> dict[str, str]:
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def read_submission(body: bytes, longest_message: int) -> Submission:
    """The text that the XML asks for, with every field that is wrong named at once."""
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
    """The texts of the request's nodes by name; the first one of a name counts."""
    if not body.strip():
        raise RefusalError(Fault(400, "XML Empty"))
    try:
        root = fromstring(body, forbid_dtd=True)
    except ParseError as error:
        words = str(error).rpartition(": line ")[0]
        raise _xml_fault(words, *error.position) from None
    except DefusedXmlException:
        raise _xml_fault("DTD forbidden", *_position(body, b"<!DOCTYPE")) from None
    except (LookupError, ValueError):  # an encoding that nobody knows, or that expat cannot read
        raise _xml_fault("unknown encoding", 1, 0) from None
    if root.tag != "request" or not len(root):
        raise RefusalError(Fault(400, "Request Empty"))
    return {child.tag: child.text or "" for child in reversed(root)}


def _xml_fault(words: str, line: int, column: int) -> RefusalError:
    return RefusalError(Fault(400, f"XML parse error. {words} at line {line}, column {column}"))


def _position(body: bytes, what: bytes) -> tuple[int, int]:
    before = body[: max(body.find(what), 0)]
    return before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1)


# Digits follow E.164, without a leading + or 00; the 11 characters bind a name only.
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
    """``Name: value,Name: value`` as pairs. No escaping is documented: every comma separates."""
    pairs = (pair.partition(":") for pair in notation.split(","))
    return tuple((name.strip(), value.strip()) for name, colon, value in pairs if colon)
