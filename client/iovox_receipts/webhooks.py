"""Verification of webhooks by the Standard Webhooks specification.

The request comes from the open internet: nothing in it is trusted until its signature is verified.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from iovox_receipts.errors import BadSignature

TOLERANCE = 300.0
"""Seconds that a webhook's timestamp may be away from now: older ones are replays."""
PREFIX = "whsec_"
VERSION = "v1"


def verify_webhook(
    body: bytes | str,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> dict[str, Any]:
    """The webhook's JSON, if it is signed by the service. Raises BadSignature.

    ``body`` are the bytes as they came: JSON that was parsed and serialised again has another
    signature. ``secrets`` is the subscription's secret, or several while it is being rotated;
    raises ValueError if one is not a secret. ``tolerance`` and ``now`` are in seconds. A webhook
    that is delivered twice has the same ``webhook-id``.
    """
    keys = [_key(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    payload = body.encode() if isinstance(body, str) else bytes(body)
    found = {name.lower(): value for name, value in headers.items()}
    webhook_id, timestamp = _header(found, "webhook-id"), _header(found, "webhook-timestamp")
    _check_age(timestamp, time.time() if now is None else now, tolerance)
    signed = f"{webhook_id}.{timestamp}.".encode() + payload
    if not _is_signed(signed, keys, _signatures(_header(found, "webhook-signature"))):
        raise BadSignature("No signature fits: it is not the service's, or it was altered")
    try:
        content = json.loads(payload)
    except ValueError as error:
        raise BadSignature("It is signed, and its body is not JSON") from error
    if not isinstance(content, dict):
        raise BadSignature("It is signed, and its body is not a JSON object")
    return content


def _key(secret: str) -> bytes:
    text = secret.strip().removeprefix(PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError(f"a webhook's secret is {PREFIX} and base64")
    return key


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "").strip()
    if not value or not value.isascii():
        raise BadSignature(f"The header {name} is missing, or it is not ASCII")
    return value


def _check_age(timestamp: str, now: float, tolerance: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 15):
        raise BadSignature("The header webhook-timestamp is no number of seconds")
    if abs(now - int(timestamp)) > tolerance:
        raise BadSignature(f"It was signed more than {tolerance:g} s before or after now")


def _signatures(header: str) -> Iterable[bytes]:
    """The signatures of version v1; those of other versions are ignored."""
    for part in header.split():
        version, _, text = part.partition(",")
        if version == VERSION:
            try:
                yield base64.b64decode(text, validate=True)
            except ValueError:
                continue  # it is no base64, so it is no signature


def _is_signed(signed: bytes, keys: Sequence[bytes], signatures: Iterable[bytes]) -> bool:
    """Whether one of the signatures is valid. Constant time: every pair is compared."""
    expected = [hmac.new(key, signed, sha256).digest() for key in keys]
    is_signed = False
    for signature in signatures:
        for one in expected:
            is_signed |= hmac.compare_digest(signature, one)
    return is_signed
