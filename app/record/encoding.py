"""Facts as bytes: a header with length, checksum and kind, then JSON, or the packed receipts.

What is read may be damaged: a record counts only if its checksum is right.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.errors import FieldError
from app.model.audit import Actor, Entry
from app.model.erasure import Erasure
from app.model.fact import (
    Accepted,
    Arrived,
    Audited,
    ClaimedKey,
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
from app.model.message import Message, Request, Step
from app.model.receipt import Arrival
from app.model.status import Status, microseconds

_PREFIX = struct.Struct("<IIB")
_CHECK = struct.Struct("<I")
HEADER_SIZE = _PREFIX.size + _CHECK.size
"""Of each record: the length of what follows, the CRC-32 of kind and content, the kind; and the
CRC-32 of these: a wrong length would pass for a record that is cut off by the end."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one record. A batch of 1,000 messages has about a megabyte; a length beyond this is damage."""
_CALL = struct.Struct("<16sd16sI")
"""Of a receipt: its id, the seconds since 1970 (exact to the microsecond), the message it names,
and the length of its body. A float, since it is packed for every receipt: twice as fast."""
_NO_HINT = bytes(16)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Json = dict[str, Any]


class Damaged(Exception):
    """The bytes are no record, or not the one that was written.

    ``end`` is where the next one begins; None where that is not known.
    """

    def __init__(self, why: str, end: int | None = None) -> None:
        super().__init__(why)
        self.end = end


@dataclass(frozen=True, slots=True)
class Raw:
    """One record: where it ends, and its content, which is not decoded yet."""

    end: int
    kind: int
    content: bytes


def frame(kind: int, content: bytes) -> bytes:
    """A record with its header."""
    prefix = _PREFIX.pack(len(content), zlib.crc32(content, kind), kind)
    return prefix + _CHECK.pack(zlib.crc32(prefix)) + content


def unframe(data: bytes | memoryview, start: int) -> Raw | None:
    """The record that begins at ``start``; None where it is cut off there. Raises Damaged."""
    at = start + HEADER_SIZE
    if len(data) < at:
        return None
    length, checksum, kind = _PREFIX.unpack_from(data, start)
    (check,) = _CHECK.unpack_from(data, start + _PREFIX.size)
    if zlib.crc32(data[start : start + _PREFIX.size]) != check or length > MOST_BYTES:
        raise Damaged(f"the header of the record at {start} is wrong")
    end = at + length
    if end > len(data):
        return None
    content = bytes(data[at:end])
    if zlib.crc32(content, kind) != checksum:
        raise Damaged(f"the checksum of the record at {start} is wrong", end)
    return Raw(end, kind, content)


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
            _EPOCH + timedelta(seconds=received),
            body,
            None if hint == _NO_HINT else UUID(bytes=hint),
        )


def _json(fields: Json) -> bytes:
    return json.dumps(_given(fields), separators=(",", ":")).encode()


def _given(fields: Json) -> Json:
    """Without what is None, empty or False: it is the default on reading."""
    return {
        name: value
        for name, value in fields.items()
        if value is not None and value is not False and value not in ((), [])
    }


def _time(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def _moment(stored: int | None) -> datetime | None:
    return None if stored is None else _EPOCH + timedelta(microseconds=stored)


def _known_moment(stored: int) -> datetime:
    return _EPOCH + timedelta(microseconds=stored)


def _hex(id_: UUID | None) -> str | None:
    return None if id_ is None else id_.hex


def _uuid(stored: str | None) -> UUID | None:
    return None if stored is None else UUID(stored)


def _message(message: Message) -> Json:
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
        "send_at": _time(request.send_at),
        "made": _time(message.created_at),
        "state": str(message.state),
        "attempts": message.attempts,
        "leases": message.leases,
        "announced": message.announced,
        "lease": _hex(message.lease),
        "until": _time(message.lease_until),
        "next": _time(message.next_attempt_at),
        "give_up": _time(message.give_up_at),
        "again": _hex(message.resend_of),
    }
    return _given(fields)


def _message_of(fields: Json) -> Message:
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
            send_at=_moment(get("send_at")),
        ),
        created_at=_known_moment(fields["made"]),
        state=Status(fields["state"]),
        attempts=get("attempts", 0),
        leases=get("leases", 0),
        announced=get("announced", False),
        lease=_uuid(get("lease")),
        lease_until=_moment(get("until")),
        next_attempt_at=_moment(get("next")),
        give_up_at=_moment(get("give_up")),
        resend_of=_uuid(get("again")),
    )


def _key(key: ClaimedKey | None) -> Json | None:
    if key is None:
        return None
    return {
        "app": key.app,
        "key": key.key,
        "print": key.fingerprint.hex(),
        "at": _time(key.claimed_at),
        "message": _hex(key.message_id),
        "answer": key.answer,
    }


def _key_of(fields: Json | None) -> ClaimedKey | None:
    if fields is None:
        return None
    return ClaimedKey(
        fields["app"],
        fields["key"],
        bytes.fromhex(fields["print"]),
        _known_moment(fields["at"]),
        _uuid(fields["message"]),
        fields["answer"],
    )


def _recorded(fact: Recorded) -> bytes:
    return _json({"messages": [_message(one) for one in fact.messages], "key": _key(fact.key)})


def _recorded_of(content: bytes) -> Recorded:
    fields = json.loads(content)
    messages = tuple(_message_of(one) for one in fields.get("messages", ()))
    return Recorded(messages, _key_of(fields.get("key")))


def _on_wire(fact: OnWire) -> bytes:
    return _json(_message(fact.message))


def _on_wire_of(content: bytes) -> OnWire:
    return OnWire(_message_of(json.loads(content)))


def _accepted(fact: Accepted) -> bytes:
    return _json({"id": fact.message_id.hex, "sid": fact.sms_activity_id, "at": _time(fact.at)})


def _accepted_of(content: bytes) -> Accepted:
    fields = json.loads(content)
    return Accepted(UUID(fields["id"]), fields["sid"], _known_moment(fields["at"]))


def _ended(fact: Ended) -> bytes:
    return _json(
        {
            "id": fact.message_id.hex,
            "lease": _hex(fact.lease),
            "leases": fact.leases,
            "status": str(fact.step.status),
            "at": _time(fact.step.at),
            "reasons": fact.step.reasons,
            "told": fact.announce,
            "errors": [(error.field, error.message) for error in fact.errors],
            "next": _time(fact.next_attempt_at),
            "unattempted": not fact.attempted,
            "message": fact.message and _message(fact.message),
            "frees": _key(fact.frees),
        }
    )


def _ended_of(content: bytes) -> Ended:
    fields = json.loads(content)
    get = fields.get
    message = get("message")
    return Ended(
        message_id=UUID(fields["id"]),
        lease=_uuid(get("lease")),
        leases=fields.get("leases", 0),
        step=Step(Status(fields["status"]), _known_moment(fields["at"]), tuple(get("reasons", ()))),
        announce=get("told", False),
        errors=tuple(FieldError(field, message) for field, message in get("errors", ())),
        next_attempt_at=_moment(get("next")),
        attempted=not get("unattempted", False),
        message=message and _message_of(message),
        frees=_key_of(get("frees")),
    )


def _arrived(fact: Arrived) -> bytes:
    return _pack(fact.arrivals)


def _arrived_of(content: bytes) -> Arrived:
    return Arrived(tuple(_unpack(content)))


def _mark(fact: Mark) -> bytes:
    return _json(
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
    return _json({"others": fact.others})


def _met_of(content: bytes) -> Met:
    return Met(tuple(json.loads(content).get("others", ())))


def _held(fact: Held) -> bytes:
    return _json({"at": _time(fact.at), "by": fact.by, "reason": fact.reason})


def _held_of(content: bytes) -> Held:
    fields = json.loads(content)
    return Held(_known_moment(fields["at"]), fields["by"], fields.get("reason"))


def _settled(fact: Settled) -> bytes:
    at, before = _time(fact.at), _time(fact.before)
    return _json({"id": fact.id.hex, "before": before, "at": at, "by": fact.by})


def _settled_of(content: bytes) -> Settled:
    fields = json.loads(content)
    before, at = _known_moment(fields["before"]), _known_moment(fields["at"])
    return Settled(UUID(fields["id"]), before, at, fields["by"])


def _gap(_fact: Gap) -> bytes:
    return b""


def _gap_of(_content: bytes) -> Gap:
    return Gap()


def _audited(fact: Audited) -> bytes:
    entry = fact.entry
    return _json(
        {
            "id": entry.id.hex,
            "at": _time(entry.at),
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
            at=_known_moment(fields["at"]),
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
            "asked": _time(one.requested_at),
            "who": one.who,
            "app": one.app,
            "digest": one.digest.hex() if one.digest else None,
            "counts": dict(one.counts),
            "erased": _time(one.erased_at),
            "completed": _time(one.completed_at),
        }
        for one in fact.erasures
    ]
    return _json({"ids": [(id_.hex, sid) for id_, sid in fact.ids], "erasures": erasures})


def _erased_of(content: bytes) -> Erased:
    fields = json.loads(content)
    erasures = tuple(
        Erasure(
            id=UUID(one["id"]),
            requested_at=_known_moment(one["asked"]),
            who=one["who"],
            app=one["app"],
            digest=bytes.fromhex(one["digest"]) if one["digest"] else None,
            number=None,
            counts=one["counts"],
            erased_at=_moment(one["erased"]),
            completed_at=_moment(one["completed"]),
        )
        for one in fields.get("erasures", ())
    )
    return Erased(tuple((UUID(id_), sid) for id_, sid in fields.get("ids", ())), erasures)


_ARRIVED = 1
_WRITERS: dict[type[Fact], tuple[int, Callable[[Any], bytes]]] = {
    Arrived: (_ARRIVED, _arrived),
    Recorded: (2, _recorded),
    OnWire: (3, _on_wire),
    Accepted: (4, _accepted),
    Ended: (5, _ended),
    Mark: (6, _mark),
    Held: (7, _held),
    Gap: (8, _gap),
    Met: (9, _met),
    Settled: (10, _settled),
    Audited: (11, _audited),
    Erased: (12, _erased),
}
MARK, MET = _WRITERS[Mark][0], _WRITERS[Met][0]
"""The kinds that are looked for before a journal is read."""
_READERS: dict[int, Callable[[bytes], Fact]] = {
    _ARRIVED: _arrived_of,
    2: _recorded_of,
    3: _on_wire_of,
    4: _accepted_of,
    5: _ended_of,
    6: _mark_of,
    7: _held_of,
    8: _gap_of,
    9: _met_of,
    10: _settled_of,
    11: _audited_of,
    12: _erased_of,
}
