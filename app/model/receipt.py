"""One delivery receipt, normalised from the JSON that iovox posted. Pure; its text is untrusted.

Whatever is odd about a receipt but its id and status is accepted: a receipt refused is gone for
ever. The bytes as they came are kept beside what we made of them.
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
from app.model.london import TimeQuality, read, to_utc
from app.model.status import microseconds, status_key, weight_of

LONGEST_ID = 255
LONGEST_REMEMBERED = 1_000
"""Bytes of a body whose meaning is remembered for the next one; iovox's have about 200."""
_TOO_DEEP = "The body is not JSON that can be read: it is nested too deeply"
_Text = TypeVar("_Text", str, str | None)
_Texts = tuple[str | None, str | None, str | None, str]
"""delivery_status, status_reason, receipt_timestamp and status, as they came."""


# Named tuples, as several are made for every call: a frozen dataclass costs three times as much.
class Arrival(NamedTuple):
    """One authenticated call to ``/dlr``, exactly as it came. ``id`` is ours and names the call.

    The same arrival may be stored twice (a slow commit that landed after all, a spool replayed):
    its id is what makes the second time a no-op. ``hint`` is the call's X-Message-Id.
    """

    id: UUID
    received_at: datetime
    body: bytes
    hint: UUID | None = None


class Meaning(NamedTuple):
    """What a receipt's texts say, whichever message it is of and whenever it came.

    ``status`` is upper-cased where it is one that we know.
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
    """A receipt that was understood."""

    arrival: Arrival
    sms_activity_id: str
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Rejection:
    """An authenticated call that could not be understood: kept word for word, to be replayed."""

    arrival: Arrival
    http_status: int
    reason: str
    errors: tuple[FieldError, ...] = ()


def _not_json(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


# Numbers stay the text they came as: 8 and "8" are one receipt, and a 30-digit id keeps its digits.
# A line break as it is, inside a text, is odd and no more.
_decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_not_json, strict=False)


def interpret(arrival: Arrival) -> Receipt | Rejection:
    """Make a receipt of the bytes, or say why not. Never raises, whatever the bytes are."""
    try:
        fields = _parse(arrival.body)
    except ValueError as error:
        return Rejection(arrival, 400, f"The body is not JSON: {error}"[:500])
    except RecursionError:
        return Rejection(arrival, 400, _TOO_DEEP)
    try:
        return _understand(arrival, fields)
    except RecursionError:  # what could just be read is too deep to be written again
        return Rejection(arrival, 400, _TOO_DEEP)


def _understand(arrival: Arrival, fields: object) -> Receipt | Rejection:
    if not isinstance(fields, dict):
        fault = FieldError("body", "must be a JSON object")
        return Rejection(arrival, 422, "The body is JSON, but not an object", (fault,))
    sms_activity_id, status = _text(fields.get("sms_activity_id")), _text(fields.get("status"))
    faults = _faults(sms_activity_id, status, fields)
    if faults or sms_activity_id is None or status is None:
        named = "; ".join(f"{f.field} {f.message}" for f in faults)
        return Rejection(arrival, 422, f"The receipt cannot be told apart: {named}", faults)
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
    # Two readings depend on when the receipt came: October's repeated hour, and no time at all.
    meaning = _lasting_meaning(texts) if len(arrival.body) <= LONGEST_REMEMBERED else None
    if meaning is None:
        meaning = _meaning(texts, *to_utc(texts[2], arrival.received_at))
    return Receipt(arrival, sms_activity_id, meaning)


@lru_cache(maxsize=4096)
def _lasting_meaning(texts: _Texts) -> Meaning | None:
    """What the texts mean whenever they come; None where that depends on it.

    Cached, since receipts of the same second say the same but for their ids: see
    docs/performance.md.
    """
    reading = read(texts[2]) if texts[2] is not None else None
    if reading is None or reading.quality is TimeQuality.REPEATED:
        return None
    return _meaning(texts, reading.earlier, reading.quality)


def _meaning(texts: _Texts, at: datetime, quality: TimeQuality) -> Meaning:
    delivery_status, status_reason, receipt_timestamp, status = texts
    known = status.strip()
    known = known.upper() if known.isascii() else known  # not a dotless i for an I
    weight = weight_of(known)
    return Meaning(
        status=known if weight.rank else _showable(status),
        delivery_status=_showable(delivery_status),
        status_reason=_showable(status_reason),
        receipt_timestamp=_showable(receipt_timestamp),
        at=at,
        time_quality=quality,
        key=status_key(weight, at),
        flag=weight.flag,
        digest=_digest(*texts),
        at_microseconds=microseconds(at),
    )


def _parse(body: bytes) -> object:
    """JSON from bytes. A wrong byte in a text spoils that text and not the receipt."""
    try:
        text = body.decode()
        # Not decode(), which looks for white space around the value first (docs/performance.md).
        value, end = _decoder.raw_decode(text)
        if end == len(text):
            return value
    except ValueError:
        pass
    return _decoder.decode(body.decode(json.detect_encoding(body), "surrogateescape"))


def _text(value: object) -> str | None:
    """A field as text: numbers are already text, and anything stranger is shown as its JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _faults(
    sms_activity_id: str | None, status: str | None, fields: dict[str, object]
) -> tuple[FieldError, ...]:
    faults = []
    if sms_activity_id is None or not sms_activity_id.strip():
        faults.append(FieldError("sms_activity_id", "is missing"))
    elif not isinstance(fields["sms_activity_id"], str):
        faults.append(FieldError("sms_activity_id", "must be text or a number"))
    elif len(sms_activity_id) > LONGEST_ID:
        faults.append(FieldError("sms_activity_id", f"is longer than {LONGEST_ID} characters"))
    elif _showable(sms_activity_id) != sms_activity_id:
        faults.append(FieldError("sms_activity_id", "has characters that no text can hold"))
    if status is None or not status.strip():
        faults.append(FieldError("status", "is missing"))
    return tuple(faults)


def _showable(text: _Text) -> _Text:
    """What a text column can hold: NUL and lone surrogates show as U+FFFD."""
    if text is None or (text.isprintable() and text.isascii()):
        return text
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\x00", "\ufffd")


def _digest(*texts: str | None) -> bytes:
    """Tells receipts of one id apart. ``ascii`` of the tuple quotes, so no two look alike."""
    return blake2b(ascii(texts).encode(), digest_size=16).digest()
