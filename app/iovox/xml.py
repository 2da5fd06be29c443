"""XML to and from iovox: requests built so that every text arrives as it was, answers read safely.

What is built comes from our own callers, already checked. What is read comes over a network where
a proxy can answer in iovox's place: it is untrusted, limited in size, allowed no DTD and hence no
entities, and anything that cannot be understood is an answer that is not ``readable``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring  # nosec B405

from defusedxml.ElementTree import fromstring

from app.model.message import Submission

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer that are read; iovox's own are a few hundred."""

ID_LIMIT = 255
"""Characters of an sms_activity_id that we can keep."""

# ElementTree writes a CR as it is, and every XML reader turns that into LF.
_CARRIAGE_RETURN = "&#13;"
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class AnswerError:
    """One error in iovox's words; ``status`` is the HTTP status that it repeats, if it does."""

    status: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What iovox's answer says. ``readable`` is false where it is not XML of iovox's making."""

    sms_activity_id: str | None = None
    errors: tuple[AnswerError, ...] = ()
    readable: bool = True


_UNREADABLE = Answer(readable=False)


def forbidden_characters(text: str) -> tuple[str, ...]:
    """The characters of ``text`` that XML 1.0 cannot carry, as ``U+0007``, each once, in order."""
    if _FORBIDDEN.search(text) is None:
        return ()
    return tuple(f"U+{ord(char):04X}" for char in dict.fromkeys(_FORBIDDEN.findall(text)))


def build_request(submission: Submission, *, callback_url: str, callback_url_headers: str) -> bytes:
    """The body of one sendSms. ValueError where a text holds what XML 1.0 forbids."""
    texts = {
        "origin": submission.origin,
        "destination": submission.destination,
        "message": submission.text,
        "callback_url": callback_url or None,
        "callback_url_headers": callback_url_headers or None,
        "expiry": None if submission.expiry is None else str(submission.expiry),
        "c2c_failover_link_id": submission.c2c_failover_link_id or None,
    }
    request = Element("request")
    for node, text in texts.items():
        if text is not None:
            SubElement(request, node).text = text
    written = tostring(request, "unicode")
    if _FORBIDDEN.search(written):
        raise ValueError(_fault_in(texts))
    return (_DECLARATION + written.replace("\r", _CARRIAGE_RETURN)).encode()


def _fault_in(texts: Mapping[str, str | None]) -> str:
    for node, text in texts.items():
        if characters := forbidden_characters(text or ""):
            return f"{node} holds characters that XML cannot carry: {', '.join(characters)}"
    raise AssertionError("only called where there is one")


def parse_answer(body: bytes) -> Answer:
    """Read what was answered. Never raises: what cannot be understood is not ``readable``.

    The encoding is UTF-8 unless the XML itself declares another one; HTTP's charset has no say.
    """
    root = _root(body)
    if root is None or _name(root) not in ("response", "errors", "error"):
        return _UNREADABLE
    errors = tuple(_error(node) for node in root.iter() if _name(node) == "error")
    return Answer(_activity_id(root), errors)


def _root(body: bytes) -> Element | None:
    if len(body) > ANSWER_LIMIT:
        return None
    body = body.lstrip()  # a blank line before the declaration is ill-formed, and common
    try:
        return _parse(body)
    except (ParseError, ValueError, LookupError):
        pass  # defusedxml's own refusals are ValueErrors; LookupError is an unknown encoding
    try:
        # Words in the wrong charset are still words, and an id is plain ASCII.
        return _parse(body.decode("utf-8", "replace"))
    except (ParseError, ValueError, LookupError):
        return None


def _parse(document: bytes | str) -> Element:
    root: Element = fromstring(document, forbid_dtd=True)
    return root


def _activity_id(root: Element) -> str | None:
    """The id: opaque text, outer white space aside. None where there is none that can be kept."""
    if _name(root) != "response":
        return None
    for node in root:
        if _name(node) == "sms_activity_id":
            text = "".join(node.itertext()).strip()
            return text if 0 < len(text) <= ID_LIMIT and "\ufffd" not in text else None
    return None


def _error(node: Element) -> AnswerError:
    status = node.get("status", "").strip()
    known = re.fullmatch("[1-5][0-9][0-9]", status)
    text = " ".join("".join(node.itertext()).split())
    return AnswerError(int(status) if known else None, text)


def _name(node: Element) -> str:
    """The element's name without a namespace; comments and the like have none."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
