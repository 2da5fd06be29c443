"""Entries of the audit as whoever acts makes them, and the digest of a number that was erased."""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

from app.model.audit import Action, Actor
from app.model.erasure import digest_of

SOMEBODY = Actor("key:k1", "billing", "192.0.2.1")


def test_an_entry_says_what_was_done_to_what() -> None:
    details: dict[str, str | int | bool | None] = {
        "why": "asked",
        "count": 0,
        "is_dry": False,
        "nothing": None,
    }
    entry = SOMEBODY.did(
        Action.LOOK,
        UUID(int=1),
        destination="447700900123",
        reference="order-42",
        once="now",
        details=details,
    )
    assert (entry.actor, entry.action, entry.what) == (SOMEBODY, "message.look", str(UUID(int=1)))
    assert (entry.destination, entry.reference, entry.once) == ("447700900123", "order-42", "now")
    assert entry.details == {"why": "asked", "count": 0, "is_dry": False}
    assert entry.times == 1


def test_an_entry_may_be_about_nothing() -> None:
    entry = SOMEBODY.did(Action.SIGN_IN)
    assert (entry.what, entry.destination, entry.reference, entry.once) == (None, None, None, None)
    assert entry.details == {}


def test_whoever_has_the_key_can_show_that_a_number_was_erased() -> None:
    digest = digest_of("447700900123", b"a key")
    assert digest == hmac.new(b"a key", b"447700900123", hashlib.sha256).digest()
