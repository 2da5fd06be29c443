"""Takes what was erased, and texts that are no longer kept, out of the records of a journal. Pure.

A record keeps its length, since positions in a journal are offsets: it is padded with spaces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any
from uuid import UUID

from app.errors import FieldError
from app.model.erased_keys import erased_fingerprint, erased_name, is_erased
from app.model.fact import Arrived, Audited, ClaimedKey, Ended, Fact, OnWire, Recorded
from app.model.mentions import Mentions
from app.model.message import Message
from app.model.receipt import Arrival, Receipt, interpret
from app.model.status import Status
from app.record.encoding import decode, encode
from app.record.framing import Damaged, Raw, unframe

KEPT_FIELDS = (
    *("sms_activity_id", "status", "delivery_status", "status_reason", "receipt_timestamp"),
)
"""The fields of a receipt that decide its status and time, and identify it."""

Change = Callable[[Fact], Fact]


def blank(raw: Raw, change: Change) -> bytes | None:
    """The new content of a record; None where it does not change."""
    try:
        fact = decode(raw)
    except Damaged:
        return None
    if fact is None:
        return None
    changed = change(fact)
    if changed is fact or changed == fact:
        return None
    record = encode(changed)
    found = unframe(record, 0)
    content = b"" if found is None else found.content
    if len(content) > len(raw.content):
        raise ValueError("a record grew by being blanked")
    return content + b" " * (len(raw.content) - len(content))


class WithoutErased:
    """A change that erases: messages and audit entries by ``ids``, receipts by their
    ``sms_activity_ids``, and whatever mentions one of the numbers.
    """

    def __init__(
        self,
        ids: Collection[UUID],
        sms_activity_ids: Collection[str],
        mentions: Collection[Mentions],
    ) -> None:
        self._ids = frozenset(ids)
        self._sms_activity_ids = frozenset(sms_activity_ids)
        self._mentions = tuple(mentions)

    def __call__(self, fact: Fact) -> Fact:
        """The fact without what is erased."""
        match fact:
            case Recorded(messages, key):
                return Recorded(tuple(map(self._message, messages)), self._key(key, messages))
            case OnWire(message):
                return OnWire(self._message(message))
            case Ended():
                return self._ended(fact)
            case Arrived(arrivals):
                return Arrived(tuple(map(self._arrival, arrivals)))
            case Audited(entry) if entry.id in self._ids:
                return Audited(replace(entry, destination=None, reference=None, details={}))
        return fact

    def _are_in(self, text: str | None) -> bool:
        return any(one.are_in(text) for one in self._mentions)

    def _message(self, message: Message) -> Message:
        if message.id not in self._ids:
            return message
        request = replace(
            message.request, destination="", text="", reference=None, c2c_failover_link_id=None
        )
        return replace(message, request=request)

    def _key(
        self, key: ClaimedKey | None, messages: Collection[Message | None]
    ) -> ClaimedKey | None:
        """The key that was used for these messages."""
        if key is None:
            return None
        references = {
            one.request.reference for one in messages if one is not None and one.id in self._ids
        }
        if key.key in references or (self._are_in(key.key) and not is_erased(key.key)):
            digest = erased_fingerprint(key.key, key.fingerprint)
            key = replace(key, key=erased_name(digest), fingerprint=digest)
        answer = key.answer
        for one in self._mentions:
            if answer is not None and one.are_in(answer):
                left = one.erased_from_json(answer)
                answer = left if len(left) <= len(answer) else None
        return replace(key, answer=answer)

    def _ended(self, fact: Ended) -> Ended:
        if fact.message_id not in self._ids:
            return fact
        # iovox's words may quote the text or the reference, and the fact no longer tells.
        return replace(
            fact,
            step=replace(fact.step, reasons=()),
            errors=tuple(FieldError(one.field, "") for one in fact.errors),
            message=fact.message and self._message(fact.message),
            frees=self._key(fact.frees, [fact.message]),
        )

    def _arrival(self, arrival: Arrival) -> Arrival:
        call = interpret(arrival)
        is_erased = isinstance(call, Receipt) and call.sms_activity_id in self._sms_activity_ids
        if not is_erased and not any(one.are_in_bytes(arrival.body) for one in self._mentions):
            return arrival
        body = minimal_body(arrival.body, self._mentions) if isinstance(call, Receipt) else b""
        return arrival._replace(body=body.ljust(len(arrival.body)))


class WithoutTexts:
    """A change that drops the texts of these messages, which are no longer kept."""

    def __init__(self, ids: Collection[UUID]) -> None:
        self._ids = frozenset(ids)

    def __call__(self, fact: Fact) -> Fact:
        """The fact without these texts."""
        match fact:
            case Recorded(messages, key):
                return Recorded(tuple(map(self._message, messages)), key)
            case OnWire(message):
                return OnWire(self._message(message))
            case Ended(message=Message() as message):
                return replace(fact, message=self._message(message))
        return fact

    def _message(self, message: Message) -> Message:
        if message.id not in self._ids:
            return message
        return replace(message, request=replace(message.request, text=""))


def messages_with_text(fact: Fact | None) -> set[UUID]:
    """The messages whose texts stand in a fact."""
    found: tuple[Message | None, ...] = ()
    match fact:
        case Recorded(messages):
            found = messages
        case OnWire(message) | Ended(message=message):
            found = (message,)
    return {one.id for one in found if one is not None and one.request.text}


def minimal_body(body: bytes, mentions: Collection[Mentions] = ()) -> bytes:
    """A receipt's body reduced to KEPT_FIELDS, of which those that mention one of the numbers are
    null (a status: UNKNOWN). Empty where the body cannot be reduced.
    """
    try:
        found: dict[str, Any] = json.loads(body)
        kept = {name: found[name] for name in KEPT_FIELDS if name in found}
    except (ValueError, TypeError, AttributeError):
        return b""
    for name in KEPT_FIELDS[1:]:
        if any(one.are_in(str(kept.get(name, ""))) for one in mentions):
            kept[name] = None if name != "status" else Status.UNKNOWN
    shortest = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )
    return shortest if len(shortest) <= len(body) else b""
