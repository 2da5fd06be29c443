"""The form of facts: what writes them and what verifies them agree on this. Pure.

docs/evidence.md specifies it to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any
from uuid import UUID

VERSION = 1
SALT_SIZE = 32
GONE = bytes(SALT_SIZE)
"""In the place of a salt that was deleted with its value."""
COMMITTED: Mapping[str, tuple[str, ...]] = {
    "recorded": ("destination", "text", "reference", "c2c_failover_link_id"),
    "step": ("reasons",),
    "receipt": ("body",),
    "audited": ("who", "address", "destination", "reference", "details"),
}
"""The fields of each type that stand in a fact as commitments, in the order of their salts."""

Json = dict[str, Any]
_ENCODE = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode
_ORDERS: dict[tuple[str, ...], list[tuple[str, str]]] = {}
"""The order of names in each form of a fact. There are as many as there are types."""


def canonical(fields: Json) -> str:
    """RFC 8785 of a fact: names in ASCII, no fractions. The library for all of JSON takes ten times
    as long; a test compares the two.
    """
    names = tuple(fields)
    order = _ORDERS.get(names)
    if order is None:
        order = _ORDERS[names] = [(name, f'"{name}":') for name in sorted(names)]
    return f"{{{','.join([prefix + _literal(fields[name]) for name, prefix in order])}}}"


def canonical_text(text: str) -> str:
    """RFC 8785 of a text alone."""
    return encode_basestring(text)


def _literal(value: object) -> str:
    if value is None:
        return "null"
    if type(value) is str:
        return encode_basestring(value)
    return _ENCODE(value)


def receipt_text(
    *,
    log: str,
    nonce: bytes,
    number: int,
    previous: bytes | None,
    message: UUID | None,
    sms_activity_id: str,
    receipt: UUID,
    received_at: datetime,
    status: str,
    at: datetime,
    time_quality: str,
    body: str | None,
) -> str:
    """``canonical`` of a receipt's fact, of which there are the most: in half the time, since its
    names stand in their order already. ``log`` and ``body`` (a commitment) are JSON.
    """
    of = "null" if message is None else f'"{message}"'
    after = "null" if previous is None else f'"{previous.hex()}"'
    return (
        f'{{"at":"{time_text(at)}","body":{body or "null"},"log":{log},"message":{of},'
        f'"nonce":"{nonce.hex()}","number":{number},"previous":{after},"receipt":"{receipt}",'
        f'"received_at":"{time_text(received_at)}","sms_activity_id":'
        f'{encode_basestring(sms_activity_id)},"status":{encode_basestring(status)},'
        f'"time_quality":"{time_quality}","type":"receipt","v":{VERSION}}}'
    )


def commitment(salt: bytes, value: bytes) -> str:
    """What stands in a fact for a value that is not shown."""
    return sha256(salt + value).hexdigest()


def time_text(moment: datetime) -> str:
    """An aware UTC time: RFC 3339 with microseconds."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def reasons_bytes(reasons: Sequence[str]) -> bytes | None:
    """The reasons of a step as the value of a commitment; None without any."""
    return _ENCODE(list(reasons)).encode() if reasons else None
