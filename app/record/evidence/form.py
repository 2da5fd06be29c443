"""The form of facts, which their writer and their verifier share. Pure.

docs/evidence.md specifies its bytes.
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
DELETED_SALT = bytes(SALT_SIZE)
"""Stands in the place of a salt that was deleted alone, so that the others keep their places."""
COMMITTED: Mapping[str, tuple[str, ...]] = {
    "recorded": ("destination", "text", "reference", "c2c_failover_link_id"),
    "step": ("reasons",),
    "receipt": ("body",),
    "audited": ("who", "address", "destination", "reference", "details"),
}
"""By type of fact: the fields that are commitments, in the order of their salts."""

Json = dict[str, Any]
_ENCODE = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode
_ORDERS: dict[tuple[str, ...], list[tuple[str, str]]] = {}
"""A cache: a fact's names as they are given, and sorted. It has an entry or two for each type."""


def canonical(fields: Json) -> str:
    """RFC 8785 of a fact, whose names are ASCII and which has no fractions. The library for all of
    JSON (rfc8785) takes ten times as long; a test compares the two.
    """
    names = tuple(fields)
    order = _ORDERS.get(names)
    if order is None:
        order = _ORDERS[names] = [(name, f'"{name}":') for name in sorted(names)]
    return f"{{{','.join([prefix + _literal(fields[name]) for name, prefix in order])}}}"


def canonical_text(text: str) -> str:
    """RFC 8785 of a string."""
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
    """``canonical`` of a receipt's fact, the most frequent one: a template takes half the time.
    ``log`` and ``body`` (a commitment) are JSON.
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
    """A hash commitment, in hexadecimal: SHA-256 of the salt and the value."""
    return sha256(salt + value).hexdigest()


def time_text(moment: datetime) -> str:
    """A time in UTC by RFC 3339 with microseconds. ``moment``: aware, in UTC."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def reasons_bytes(reasons: Sequence[str]) -> bytes | None:
    """The value that the commitment to a step's reasons is of: a JSON list; None without any."""
    return _ENCODE(list(reasons)).encode() if reasons else None
