"""API keys: their scopes, and how one is made and stored. Pure.

A key has 32 random bytes, so its plain SHA-256 is stored: a slow hash protects passwords, and would
add nothing here.
"""

from __future__ import annotations

import secrets
from enum import StrEnum
from hashlib import sha256

KEY_PREFIX = "dlr_"


class Scope(StrEnum):
    """The permissions of a key. ``admin`` includes all others, for the messages of every app."""

    SEND = "send"
    READ = "read"
    WEBHOOKS = "webhooks"
    SUPPORT = "support"
    ADMIN = "admin"


def digest(secret: str) -> bytes:
    """The digest of a key, which is what is stored."""
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def new_secret() -> str:
    """A new key; it cannot be recovered from its digest."""
    return KEY_PREFIX + secrets.token_urlsafe(32)
