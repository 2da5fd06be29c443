"""The JSON of what facts have in common: times, ids, messages and idempotency keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.model.erased_keys import erased_name, is_erased
from app.model.fact import ClaimedKey
from app.model.message import Message, Request
from app.model.status import Status, microseconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Json = dict[str, Any]


def to_json(fields: Json) -> bytes:
    """Compact JSON of the fields that are ``given``."""
    return json.dumps(given(fields), separators=(",", ":")).encode()


def given(fields: Json) -> Json:
    """The fields without those that are None, empty or False: these are the defaults on reading."""
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value is not False and value not in ((), [])
    }


def time_of(moment: datetime | None) -> int | None:
    """Microseconds since 1970."""
    return None if moment is None else microseconds(moment)


def moment_of(stored: int | None) -> datetime | None:
    """The moment of what ``time_of`` wrote."""
    return None if stored is None else EPOCH + timedelta(microseconds=stored)


def known_moment_of(stored: int) -> datetime:
    """``moment_of`` a field that is always there."""
    return EPOCH + timedelta(microseconds=stored)


def hex_of(id_: UUID | None) -> str | None:
    """The digits of an id."""
    return None if id_ is None else id_.hex


def uuid_of(stored: str | None) -> UUID | None:
    """The id of what ``hex_of`` wrote."""
    return None if stored is None else UUID(stored)


def message_fields(message: Message) -> Json:
    """A message."""
    request = message.request
    fields = {
        "id": message.id.hex,
        "app": message.app,
        "from": request.origin,
        "to": request.destination,
        "text": request.text,
        "expiry": request.expiry,
        "c2c": request.c2c_failover_link_id,
        "ref": request.reference,
        "send_at": time_of(request.send_at),
        "made": time_of(message.created_at),
        "state": str(message.state),
        "attempts": message.attempts,
        "leases": message.leases,
        "announced": message.announced,
        "lease": hex_of(message.lease),
        "until": time_of(message.lease_until),
        "next": time_of(message.next_attempt_at),
        "give_up": time_of(message.give_up_at),
        "again": hex_of(message.resend_of),
    }
    return given(fields)


def message_from(fields: Json) -> Message:
    """The message of what ``message_fields`` wrote."""
    get = fields.get
    return Message(
        id=UUID(fields["id"]),
        app=fields["app"],
        request=Request(
            origin=fields["from"],
            destination=fields["to"],
            text=fields["text"],
            expiry=get("expiry"),
            c2c_failover_link_id=get("c2c"),
            reference=get("ref"),
            send_at=moment_of(get("send_at")),
        ),
        created_at=known_moment_of(fields["made"]),
        state=Status(fields["state"]),
        attempts=get("attempts", 0),
        leases=get("leases", 0),
        announced=get("announced", False),
        lease=uuid_of(get("lease")),
        lease_until=moment_of(get("until")),
        next_attempt_at=moment_of(get("next")),
        give_up_at=moment_of(get("give_up")),
        resend_of=uuid_of(get("again")),
    )


def key_fields(key: ClaimedKey | None) -> Json | None:
    """An idempotency key, with what it was used for."""
    if key is None:
        return None
    return {
        "app": key.app,
        "key": "" if is_erased(key.key) else key.key,  # then it follows from "print"
        "print": key.fingerprint.hex(),
        "at": time_of(key.claimed_at),
        "message": hex_of(key.message_id),
        "answer": key.answer,
    }


def key_from(fields: Json | None) -> ClaimedKey | None:
    """The key of what ``key_fields`` wrote."""
    if fields is None:
        return None
    fingerprint = bytes.fromhex(fields["print"])
    return ClaimedKey(
        fields["app"],
        fields["key"] or erased_name(fingerprint),
        fingerprint,
        known_moment_of(fields["at"]),
        uuid_of(fields["message"]),
        fields["answer"],
    )
