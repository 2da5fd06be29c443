"""Idempotency keys that were erased: what is left of one, for the rest of its 24 hours. Pure.

A key can be a phone number or a reference. Deleting it would make a second text of a repeated
request, so a digest takes its place, by which that request is still recognised. It is keyed by the
digest of the request: whoever tries numbers has to know the whole request, with its text.
"""

from __future__ import annotations

from hashlib import blake2b

_MARK = " "
"""Begins every erased key, and none that a caller can send."""


def erased_fingerprint(key: str, fingerprint: bytes) -> bytes:
    """The digest of a key and of the request that it was used for, 16 bytes."""
    return blake2b(key.encode(), key=fingerprint, digest_size=16).digest()


def erased_name(digest: bytes) -> str:
    """What stands in the place of a key, from its ``erased_fingerprint``."""
    return _MARK + digest.hex()


def erased_key(key: str, fingerprint: bytes) -> str:
    """What stands in the place of this key once it is erased."""
    return erased_name(erased_fingerprint(key, fingerprint))


def is_erased(key: str) -> bool:
    """Whether it stands in the place of a key that was erased."""
    return key.startswith(_MARK)
