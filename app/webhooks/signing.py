"""Signatures by the Standard Webhooks specification (standardwebhooks.com), version v1.

They prove to a receiver that a call is ours and recent; it must check signature and timestamp.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256

SECRET_PREFIX = "whsec_"  # noqa: S105  the format's prefix, not a secret
SECRET_BYTES = 32
"""The specification asks for 24 to 64."""


def new_secret() -> str:
    """A new secret, in the specification's form."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(
    *, delivery_id: str, timestamp: int, body: bytes, secrets: Iterable[str]
) -> dict[str, str]:
    """The three headers. ``timestamp`` is in seconds since 1970; one signature for each secret."""
    content = f"{delivery_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(content, secret) for secret in secrets),
    }


def _signature(content: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, content, sha256).digest()).decode()
