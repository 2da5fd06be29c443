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
_SECONDS = len("2026-11-22T09:00:00.000000")
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


def _literal(value: object) -> str:
    if value is None:
        return "null"
    if type(value) is str:
        return encode_basestring(value)
    return _ENCODE(value)


def commitment(salt: bytes, value: bytes) -> str:
    """What stands in a fact for a value that is not shown."""
    return sha256(salt + value).hexdigest()


def time_text(moment: datetime) -> str:
    """An aware UTC time: RFC 3339 with microseconds."""
    return f"{moment.isoformat(timespec='microseconds')[:_SECONDS]}Z"


def reasons_bytes(reasons: Sequence[str]) -> bytes | None:
    """The reasons of a step as the value of a commitment; None without any."""
    return _ENCODE(list(reasons)).encode() if reasons else None
