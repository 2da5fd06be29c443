"""The audit's entries: who did what to what, when and from where. Pure values.

Sends, receipts and an app's own reads leave none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from uuid_utils.compat import uuid7

Details = Mapping[str, str | int | bool | Sequence[str]]

NOBODY = "nobody"
"""Who did it, where no key was valid."""


class Action(StrEnum):
    """What is recorded. The names are stable: they are filters of the API."""

    SEARCH = "messages.search"
    EXPORT = "messages.export"
    LOOK = "message.look"
    REVEAL = "message.reveal"
    RESEND = "message.resend"
    CANCEL = "message.cancel"
    SEE_REJECTED = "rejected.look"
    REPLAY_REJECTED = "rejected.replay"
    CREATE_KEY = "key.create"
    REVOKE_KEY = "key.revoke"
    CREATE_WEBHOOK = "webhook.create"
    CHANGE_WEBHOOK = "webhook.change"
    DELETE_WEBHOOK = "webhook.delete"
    ROTATE_WEBHOOK = "webhook.rotate"
    TEST_WEBHOOK = "webhook.test"
    REPLAY_WEBHOOK = "webhook.replay"
    ERASE = "number.erase"
    STRIKE_DISK = "disk.strike"
    PURGE = "record.purge"
    HOLD_QUEUE = "queue.hold"
    SETTLE_QUEUE = "queue.settle"
    RELEASE_QUEUE = "queue.release"
    SIGN_IN = "console.sign-in"
    SIGN_OUT = "console.sign-out"
    REFUSED = "request.refused"
    FAILED_AUTHENTICATION = "authentication.failed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. ``who`` is ``key:ID``, ``os:user@host`` or ``person:NAME``; ``app`` is the key's.

    ``address`` is where the request came from; None for a command.
    """

    who: str
    app: str | None = None
    address: str | None = None

    def did(
        self,
        action: Action,
        what: object = None,
        *,
        destination: str | None = None,
        reference: str | None = None,
        once: str | None = None,
        details: Mapping[str, str | int | bool | Sequence[str] | None] | None = None,
    ) -> Entry:
        """The entry of what this one does now; details that are None are left out."""
        return Entry(
            actor=self,
            action=action,
            what=None if what is None else str(what),
            destination=destination,
            reference=reference,
            details={name: value for name, value in (details or {}).items() if value is not None},
            once=once,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``destination`` and ``reference`` are what was searched for, so that an erasure
    finds them; ``what`` is the id of what was acted on.

    Of several with one ``once`` the first is kept. ``times`` is how many requests it stands for.
    """

    actor: Actor
    action: str
    what: str | None = None
    destination: str | None = None
    reference: str | None = None
    details: Details = field(default_factory=dict)
    once: str | None = None
    times: int = 1
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: UUID = field(default_factory=uuid7)

    def __repr__(self) -> str:
        return f"Entry({self.id})"


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; None is no filter. ``who`` is an actor or an app. ``since`` is included."""

    who: str | None = None
    action: str | None = None
    what: str | None = None
    since: datetime | None = None
    until: datetime | None = None
