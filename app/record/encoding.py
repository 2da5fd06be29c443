"""Facts as bytes, within records: JSON, or the packed receipts."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.errors import FieldError
from app.model.audit import Actor, Entry
from app.model.erasure import Erasure
from app.model.fact import (
    Accepted,
    Arrived,
    Audited,
    Ended,
    Erased,
    Fact,
    Gap,
    Held,
    Mark,
    Met,
    OnWire,
    Recorded,
    Settled,
)
from app.model.message import Step
from app.model.receipt import Arrival
from app.model.status import Status
from app.record.fields import (
    EPOCH,
    hex_of,
    key_fields,
    key_from,
    known_moment_of,
    message_fields,
    message_from,
    moment_of,
    time_of,
    to_json,
    uuid_of,
)
from app.record.framing import Damaged, Raw, frame

_CALL = struct.Struct("<16sd16sI")
"""The head of a call: its id, its time of reception in seconds since 1970, the message that it
names, and the length of its body. The time is a float, exact to the microsecond, as that is packed
twice as fast, for every receipt."""
_NO_HINT = bytes(16)


def encode(fact: Fact) -> bytes:
    """A fact as a record."""
    kind, write = _WRITERS[type(fact)]
    return frame(kind, write(fact))


def encode_arrivals(arrivals: Sequence[Arrival]) -> bytes:
    """``encode(Arrived(arrivals))``: what is written for every batch of receipts."""
    return frame(_ARRIVED, _pack(arrivals))


def decode(raw: Raw) -> Fact | None:
    """The fact; None for a kind that is not known, as after a downgrade. Raises Damaged."""
    read = _READERS.get(raw.kind)
    if read is None:
        return None
    try:
        return read(raw.content)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise Damaged(f"its content cannot be read: {type(error).__name__}") from None


def _pack(arrivals: Sequence[Arrival]) -> bytes:
    parts: list[bytes] = []
    pack, add = _CALL.pack, parts.append
    for id_, received_at, body, hint in arrivals:
        hint_bytes = _NO_HINT if hint is None else hint.bytes
        add(pack(id_.bytes, received_at.timestamp(), hint_bytes, len(body)))
        add(body)
    return b"".join(parts)


def _unpack(content: bytes) -> Iterator[Arrival]:
    at = 0
    while at < len(content):
        id_, received, hint, size = _CALL.unpack_from(content, at)
        at += _CALL.size
        body = content[at : at + size]
        if len(body) < size:
            raise ValueError("a body is cut off")
        at += size
        yield Arrival(
            UUID(bytes=id_),
            EPOCH + timedelta(seconds=received),
            body,
            None if hint == _NO_HINT else UUID(bytes=hint),
        )


def _recorded(fact: Recorded) -> bytes:
    return to_json(
        {"messages": [message_fields(one) for one in fact.messages], "key": key_fields(fact.key)}
    )


def _recorded_of(content: bytes) -> Recorded:
    fields = json.loads(content)
    messages = tuple(message_from(one) for one in fields.get("messages", ()))
    return Recorded(messages, key_from(fields.get("key")))


def _on_wire(fact: OnWire) -> bytes:
    return to_json(message_fields(fact.message))


def _on_wire_of(content: bytes) -> OnWire:
    return OnWire(message_from(json.loads(content)))


def _accepted(fact: Accepted) -> bytes:
    return to_json({"id": fact.message_id.hex, "sid": fact.sms_activity_id, "at": time_of(fact.at)})


def _accepted_of(content: bytes) -> Accepted:
    fields = json.loads(content)
    return Accepted(UUID(fields["id"]), fields["sid"], known_moment_of(fields["at"]))


def _ended(fact: Ended) -> bytes:
    return to_json(
        {
            "id": fact.message_id.hex,
            "lease": hex_of(fact.lease),
            "leases": fact.leases,
            "status": str(fact.step.status),
            "at": time_of(fact.step.at),
            "reasons": fact.step.reasons,
            "told": fact.announce,
            "errors": [(error.field, error.message) for error in fact.errors],
            "next": time_of(fact.next_attempt_at),
            "unattempted": not fact.attempted,
            "message": fact.message and message_fields(fact.message),
            "frees": key_fields(fact.frees),
        }
    )


def _ended_of(content: bytes) -> Ended:
    fields = json.loads(content)
    get = fields.get
    message = get("message")
    return Ended(
        message_id=UUID(fields["id"]),
        lease=uuid_of(get("lease")),
        leases=fields.get("leases", 0),
        step=Step(
            Status(fields["status"]), known_moment_of(fields["at"]), tuple(get("reasons", ()))
        ),
        announce=get("told", False),
        errors=tuple(FieldError(field, message) for field, message in get("errors", ())),
        next_attempt_at=moment_of(get("next")),
        attempted=not get("unattempted", False),
        message=message and message_from(message),
        frees=key_from(get("frees")),
    )


def _arrived(fact: Arrived) -> bytes:
    return _pack(fact.arrivals)


def _arrived_of(content: bytes) -> Arrived:
    return Arrived(tuple(_unpack(content)))


def _mark(fact: Mark) -> bytes:
    return to_json(
        {
            "nonce": fact.nonce.hex,
            "start": fact.start,
            "incarnation": fact.incarnation.hex,
            "others": fact.others,
        }
    )


def _mark_of(content: bytes) -> Mark:
    fields = json.loads(content)
    segment, offset = fields["start"]
    others = tuple(fields.get("others", ()))
    return Mark(UUID(fields["nonce"]), (segment, offset), UUID(fields["incarnation"]), others)


def _met(fact: Met) -> bytes:
    return to_json({"others": fact.others})


def _met_of(content: bytes) -> Met:
    return Met(tuple(json.loads(content).get("others", ())))


def _held(fact: Held) -> bytes:
    return to_json({"at": time_of(fact.at), "by": fact.by, "reason": fact.reason})


def _held_of(content: bytes) -> Held:
    fields = json.loads(content)
    return Held(known_moment_of(fields["at"]), fields["by"], fields.get("reason"))


def _settled(fact: Settled) -> bytes:
    at, before = time_of(fact.at), time_of(fact.before)
    return to_json({"id": fact.id.hex, "before": before, "at": at, "by": fact.by})


def _settled_of(content: bytes) -> Settled:
    fields = json.loads(content)
    before, at = known_moment_of(fields["before"]), known_moment_of(fields["at"])
    return Settled(UUID(fields["id"]), before, at, fields["by"])


def _gap(_fact: Gap) -> bytes:
    return b""


def _gap_of(_content: bytes) -> Gap:
    return Gap()


def _audited(fact: Audited) -> bytes:
    entry = fact.entry
    return to_json(
        {
            "id": entry.id.hex,
            "at": time_of(entry.at),
            "who": entry.actor.who,
            "app": entry.actor.app,
            "address": entry.actor.address,
            "action": entry.action,
            "what": entry.what,
            "to": entry.destination,
            "ref": entry.reference,
            "details": dict(entry.details),
            "times": entry.times,
        }
    )


def _audited_of(content: bytes) -> Audited:
    fields = json.loads(content)
    get = fields.get
    return Audited(
        Entry(
            id=UUID(fields["id"]),
            at=known_moment_of(fields["at"]),
            actor=Actor(fields["who"], get("app"), get("address")),
            action=fields["action"],
            what=get("what"),
            destination=get("to"),
            reference=get("ref"),
            details=get("details", {}),
            times=get("times", 1),
        )
    )


def _erased(fact: Erased) -> bytes:
    erasures = [
        {
            "id": one.id.hex,
            "asked": time_of(one.requested_at),
            "who": one.who,
            "app": one.app,
            "digest": one.digest.hex() if one.digest else None,
            "counts": dict(one.counts),
            "erased": time_of(one.erased_at),
            "completed": time_of(one.completed_at),
        }
        for one in fact.erasures
    ]
    return to_json({"ids": [(id_.hex, sid) for id_, sid in fact.ids], "erasures": erasures})


def _erased_of(content: bytes) -> Erased:
    fields = json.loads(content)
    erasures = tuple(
        Erasure(
            id=UUID(one["id"]),
            requested_at=known_moment_of(one["asked"]),
            who=one["who"],
            app=one["app"],
            digest=bytes.fromhex(one["digest"]) if one["digest"] else None,
            number=None,
            counts=one["counts"],
            erased_at=moment_of(one["erased"]),
            completed_at=moment_of(one["completed"]),
        )
        for one in fields.get("erasures", ())
    )
    return Erased(tuple((UUID(id_), sid) for id_, sid in fields.get("ids", ())), erasures)


_ARRIVED = 1
_MARK, _MET = 6, 9
ENDED = 5
"""The kind of ``Ended``, which gives a lease back."""
_KINDS: dict[int, tuple[type[Fact], Callable[[Any], bytes], Callable[[bytes], Fact]]] = {
    _ARRIVED: (Arrived, _arrived, _arrived_of),
    2: (Recorded, _recorded, _recorded_of),
    3: (OnWire, _on_wire, _on_wire_of),
    4: (Accepted, _accepted, _accepted_of),
    ENDED: (Ended, _ended, _ended_of),
    _MARK: (Mark, _mark, _mark_of),
    7: (Held, _held, _held_of),
    8: (Gap, _gap, _gap_of),
    _MET: (Met, _met, _met_of),
    10: (Settled, _settled, _settled_of),
    11: (Audited, _audited, _audited_of),
    12: (Erased, _erased, _erased_of),
}
"""What each kind of record is, how it is written, and how it is read."""
_WRITERS = {fact: (kind, write) for kind, (fact, write, _) in _KINDS.items()}
_READERS = {kind: read for kind, (_, _, read) in _KINDS.items()}
MARKS = (_MARK, _MET)
"""The kinds of ``Mark`` and ``Met``, from which the start of reading is found."""
