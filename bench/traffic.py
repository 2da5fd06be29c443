"""The load, made of numbers: the n-th message and its receipts, the same in Python and in SQL.

So the database and the load process use the same ids without exchanging them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.support.load import get, post

APP = "bench"
ORIGIN = "447923221231"
TEXT = "Hello there, my name is John"
SECRET_HEADER = "X-Custom-Header"
SECRET = "bench-secret"
CALLBACK_HEADERS = f"Content-Type: application/json,{SECRET_HEADER}: {SECRET}"
IOVOX_USERNAME = IOVOX_SECURE_KEY = "bench"

_MONTH_AGO = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=29.5)
# In the environment, so that the load processes use the same: an hour may end before they start.
FIRST_AT = datetime.fromisoformat(os.environ.setdefault("BENCH_FIRST_AT", _MONTH_AGO.isoformat()))
"""When message 0 was made: so that ten million of them are of the last thirty days."""
APART_MS = 250
"""Milliseconds from one message to the next."""
BLOCK = 512
"""Messages whose ACKNOWLEDGED all come before the first of their DELIVERED: more than there are
connections, so that the two of a message seldom share a batch."""
SECONDS = 60
"""Receipt timestamps spread over the last minute, as in a steady stream."""
STRIDE = 7_368_787
"""A prime: steps of it, modulo the number of messages, visit all of them in a scattered order."""

STEPS = (
    ("smsc submit", "8", "ACKNOWLEDGED"),
    ("delivery success", "1", "DELIVERED"),
)

# The same ids in PostgreSQL; {n} is the message's number, {h} its SQL_HASH.
SQL_HASH = "md5('bench:' || {n})"
SQL_SID = "{h}::uuid::text"
SQL_ID = (
    f"(lpad(to_hex({int(FIRST_AT.timestamp() * 1000)} + {{n}}::bigint * {APART_MS}), 12, '0')"
    " || '7' || substr({h}, 1, 3) || '8' || substr({h}, 4, 15))::uuid"
)
SQL_CREATED_KEY = f"({int(FIRST_AT.timestamp()) * 2_000_000} + {{n}} * {APART_MS * 2_000})"
"""Twice the microseconds since 1970, of which a status_key is made."""
SQL_CREATED_AT = f"timestamptz '{FIRST_AT.isoformat()}' + {{n}} * interval '{APART_MS} ms'"


def sms_activity_id(number: int) -> str:
    """iovox's id of a message: scattered, as the worst case for an index."""
    return str(UUID(hex=_scattered(number)))


def message_id(number: int) -> UUID:
    """Our id of a message: a UUID of version 7, so in the order of time."""
    scattered = _scattered(number)
    at = int(FIRST_AT.timestamp() * 1000) + number * APART_MS
    return UUID(hex=f"{at:012x}7{scattered[:3]}8{scattered[3:18]}")


def created_at(number: int) -> datetime:
    """When a message was made."""
    return FIRST_AT + timedelta(milliseconds=number * APART_MS)


def newest(count: int) -> int:
    """The number of the first of so many messages of which the last was made just now."""
    made = (datetime.now(UTC) - FIRST_AT) // timedelta(milliseconds=APART_MS)
    return made - count


def destination(number: int) -> str:
    """Whom a message goes to."""
    return f"4477{number % 100_000_000:08d}"


def receipt_body(number: int, step: int, timestamp: str) -> bytes:
    """What iovox POSTs: the n-th message's receipt of this one of STEPS."""
    return (_receipt_json(*STEPS[step]) % (sms_activity_id(number), timestamp)).encode()


def receipts(first: int, count: int) -> Iterator[bytes]:
    """Both receipts of ``count`` messages from number ``first`` on, as iovox would POST them."""
    times = timestamps()
    templates = [_receipt_template(*step) for step in STEPS]
    for start in range(first, first + count, BLOCK):
        numbers = range(start, min(start + BLOCK, first + count))
        named = [(str(message_id(n)), sms_activity_id(n), times[n % SECONDS]) for n in numbers]
        for template in templates:
            for names in named:
                yield (template % names).encode()


def timestamps() -> list[str]:
    """The seconds of the last minute as iovox writes them."""
    now = datetime.now(ZoneInfo("Europe/London"))
    return [f"{now - timedelta(seconds=age):%Y-%m-%d %H:%M:%S}" for age in range(SECONDS, 0, -1)]


def sends(first: int, count: int, *, key: str = "") -> Iterator[bytes]:
    """Messages to send, each with a reference of its own, which the simulator just accepts."""
    headers = {"Content-Type": "application/json", **_authorized(key)}
    for number in range(first, first + count):
        body = {
            "origin": ORIGIN,
            "destination": f"4477234{number % 1000:03d}00",
            "message": TEXT,
            "reference": f"order-{number}",
        }
        yield post("/v1/messages", headers, json.dumps(body).encode())


def submissions(count: int) -> Iterator[bytes]:
    """The same messages as the service would submit them to iovox, without the service."""
    headers = {
        "Content-Type": "application/xml",
        "username": IOVOX_USERNAME,
        "secureKey": IOVOX_SECURE_KEY,
    }
    for number in range(count):
        body = (
            '<?xml version="1.0" encoding="utf-8"?><request>'
            f"<origin>{ORIGIN}</origin><destination>4477234{number % 1000:03d}00</destination>"
            f"<message>{TEXT}</message><callback_url>http://127.0.0.1:9/dlr</callback_url>"
            f"<callback_url_headers>{CALLBACK_HEADERS},X-Message-Id: {message_id(number)}"
            "</callback_url_headers></request>"
        )
        yield post("/SMS?v=3&method=sendSms", headers, body.encode())


def lookups(first: int, count: int, *, key: str = "") -> Iterator[bytes]:
    """GETs of messages by our id, scattered over the whole range, for ever."""
    number = 0
    while True:
        number = (number + STRIDE) % count
        yield get(f"/v1/messages/{message_id(first + number)}", _authorized(key))


def pages(requests: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    """GETs of paths, each with its key."""
    for path, key in requests:
        yield get(path, _authorized(key))


def _receipt_json(delivery_status: str, reason: str, status: str) -> str:
    """A body with two gaps: iovox's id and the time."""
    return json.dumps(
        {
            "sms_activity_id": "%s",
            "delivery_status": delivery_status,
            "status_reason": reason,
            "receipt_timestamp": "%s",
            "status": status,
        }
    )


def _receipt_template(delivery_status: str, reason: str, status: str) -> str:
    """A request with three gaps: our id, iovox's id and the time. All ids are of one length."""
    body = _receipt_json(delivery_status, reason, status)
    whole = body % (sms_activity_id(0), "2026-01-01 00:00:00")
    headers: Mapping[str, Any] = {
        "Content-Type": "application/json",
        SECRET_HEADER: SECRET,
        "X-Message-Id": "%s",
    }
    request = post("/dlr", headers, whole.encode()).decode()
    return request.replace(whole, body)


def _authorized(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _scattered(number: int) -> str:
    return md5(f"bench:{number}".encode(), usedforsecurity=False).hexdigest()
