"""Parsing of a delivery receipt from the JSON that iovox posted. Pure; the bytes are untrusted.

Only the id and the status are required; everything else may be malformed, because iovox documents
no retry of a refused receipt. The original bytes are kept beside the parsed fields.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, TypeVar
from uuid import UUID

from app.errors import FieldError
from app.model.activity_id import MAX_ID_LENGTH, one_spelling
from app.model.london import TimeQuality, is_ahead, parse_local_time, to_utc
from app.model.status import microseconds, status_key, weight_of

MAX_CACHED_BODY = 1_000
"""Bytes: the content of larger bodies is not cached. iovox's have about 200."""
CACHED_CONTENTS = 512
"""Contents of receipts that are cached. A second has a few, and receipts come seconds after their
time, so the last minutes suffice; with 4,096 a process grew over its first half hour.
"""
_TOO_DEEP = "The body is not JSON that can be read: it is nested too deeply"
_Text = TypeVar("_Text", str, str | None)
_Texts = tuple[str | None, str | None, str | None, str]
"""delivery_status, status_reason, receipt_timestamp and status, unchanged."""


# Named tuples: several are made per request, and a frozen dataclass takes three times as long.
class Arrival(NamedTuple):
    """One authenticated request to ``/dlr``. ``id`` is our own id of the request.

    An arrival may be stored twice (a commit that timed out and took effect, then the replay from
    the spool); its id makes the second time a no-op. ``hint`` is the X-Message-Id header.
    """

    id: UUID
    received_at: datetime
    body: bytes
    hint: UUID | None = None


class ReceiptContent(NamedTuple):
    """The parsed fields of a receipt but its id. A known ``status`` is upper-cased.

    ``key`` and ``flag`` are the status's, see ``app.model.status``; ``digest`` identifies the
    receipt among those of its sms_activity_id.
    """

    status: str
    delivery_status: str | None
    status_reason: str | None
    receipt_timestamp: str | None
    at: datetime
    time_quality: TimeQuality
    key: int
    flag: int
    digest: bytes
    at_microseconds: int


class Receipt(NamedTuple):
    """A valid receipt."""

    arrival: Arrival
    sms_activity_id: str
    content: ReceiptContent


@dataclass(frozen=True, slots=True)
class Rejection:
    """An authenticated request that is not a valid receipt; its bytes are kept for a replay."""

    arrival: Arrival
    http_status: int
    reason: str
    errors: tuple[FieldError, ...] = ()


def _reject_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


# Numbers stay text: 8 and "8" are the same receipt, and a 30-digit id keeps its digits.
# ``strict=False`` accepts unescaped control characters, such as line breaks, in strings.
_decoder = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=_reject_constant, strict=False
)


def interpret(arrival: Arrival) -> Receipt | Rejection:
    """Parse an arrival. Never raises, whatever the bytes are."""
    try:
        fields = _parse(arrival.body)
    except ValueError as error:
        return Rejection(arrival, 400, f"The body is not JSON: {error}"[:500])
    except RecursionError:
        return Rejection(arrival, 400, _TOO_DEEP)
    try:
        return _interpret_fields(arrival, fields)
    except RecursionError:  # json.dumps allows less depth than the decoder
        return Rejection(arrival, 400, _TOO_DEEP)


def _interpret_fields(arrival: Arrival, fields: object) -> Receipt | Rejection:
    if not isinstance(fields, dict):
        fault = FieldError("body", "must be a JSON object")
        return Rejection(arrival, 422, "The body is JSON, but not an object", (fault,))
    sms_activity_id, status = _text(fields.get("sms_activity_id")), _text(fields.get("status"))
    if sms_activity_id is not None:
        sms_activity_id = one_spelling(sms_activity_id)
    faults = _faults(sms_activity_id, status, fields)
    if faults or sms_activity_id is None or status is None:
        named = "; ".join(f"{f.field} {f.message}" for f in faults)
        return Rejection(arrival, 422, f"The receipt is not valid: {named}", faults)
    return _receipt(arrival, sms_activity_id, status, fields)


def _receipt(
    arrival: Arrival, sms_activity_id: str, status: str, fields: dict[str, object]
) -> Receipt:
    texts = (
        _text(fields.get("delivery_status")),
        _text(fields.get("status_reason")),
        _text(fields.get("receipt_timestamp")),
        status,
    )
    # The content depends on received_at in October's repeated hour, without a valid time, and with
    # one that lies ahead of it.
    content = _cached_content(texts) if len(arrival.body) <= MAX_CACHED_BODY else None
    if content is None or is_ahead(content.at, arrival.received_at):
        content = _content(texts, *to_utc(texts[2], arrival.received_at))
    return Receipt(arrival, sms_activity_id, content)


@lru_cache(maxsize=CACHED_CONTENTS)
def _cached_content(texts: _Texts) -> ReceiptContent | None:
    """The content of these texts for any time of reception that is not before their own; None if
    it depends on that time otherwise.

    Cached: receipts of the same second differ only in their ids (docs/performance.md).
    """
    local_time = parse_local_time(texts[2]) if texts[2] is not None else None
    if local_time is None or local_time.quality is TimeQuality.REPEATED:
        return None
    return _content(texts, local_time.earlier, local_time.quality)


def _content(texts: _Texts, at: datetime, quality: TimeQuality) -> ReceiptContent:
    delivery_status, status_reason, receipt_timestamp, status = texts
    known = status.strip()
    known = known.upper() if known.isascii() else known  # upper() maps the dotless i to I
    weight = weight_of(known)
    return ReceiptContent(
        status=known if weight.rank else _storable(status),
        delivery_status=_storable(delivery_status),
        status_reason=_storable(status_reason),
        receipt_timestamp=_storable(receipt_timestamp),
        at=at,
        time_quality=quality,
        key=status_key(weight, at),
        flag=weight.flag,
        digest=_digest(*texts),
        at_microseconds=microseconds(at),
    )


def _parse(body: bytes) -> object:
    """Decode JSON. Invalid UTF-8 becomes lone surrogates: it spoils one text, not the receipt."""
    try:
        text = body.decode()
        # raw_decode() skips the search for white space around the value (docs/performance.md).
        value, end = _decoder.raw_decode(text)
        if end == len(text):
            return value
    except ValueError:
        pass
    return _decoder.decode(body.decode(json.detect_encoding(body), "surrogateescape"))


def _text(value: object) -> str | None:
    """A field as text: numbers are text already; booleans, lists and objects become their JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _faults(
    sms_activity_id: str | None, status: str | None, fields: dict[str, object]
) -> tuple[FieldError, ...]:
    faults = []
    if not sms_activity_id:
        faults.append(FieldError("sms_activity_id", "is missing"))
    elif not isinstance(fields["sms_activity_id"], str):
        faults.append(FieldError("sms_activity_id", "must be text or a number"))
    elif len(sms_activity_id) > MAX_ID_LENGTH:
        faults.append(FieldError("sms_activity_id", f"is longer than {MAX_ID_LENGTH} characters"))
    elif _storable(sms_activity_id) != sms_activity_id:
        faults.append(FieldError("sms_activity_id", "has characters that no text can hold"))
    if status is None or not status.strip():
        faults.append(FieldError("status", "is missing"))
    return tuple(faults)


def _storable(text: _Text) -> _Text:
    """The text with U+FFFD for NUL and lone surrogates, which PostgreSQL cannot store."""
    if text is None or (text.isprintable() and text.isascii()):
        return text
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\x00", "\ufffd")


def _digest(*texts: str | None) -> bytes:
    """Identifies a receipt among those of its id. ``ascii`` quotes each text: unambiguous."""
    return blake2b(ascii(texts).encode(), digest_size=16).digest()
