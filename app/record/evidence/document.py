"""Makes the evidence document of a message: its facts, the committed values, and inclusion proofs.

It is canonical JSON with a digest of itself, so that any damage is noticed. docs/evidence.md
specifies its bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

import rfc8785

from app.errors import FieldError, Invalid, NotFound
from app.record.evidence.checkpoint import is_signed
from app.record.evidence.facts import LOG_SUBJECT
from app.record.evidence.form import COMMITTED, DELETED_SALT, SALT_SIZE
from app.record.evidence.log import EvidenceLog
from app.record.evidence.merkle import NodeReader, consistency_proof, inclusion_proof
from app.record.evidence.tiles import Place, Tiles, needed
from app.record.evidence.values import Values, key_of, values_of
from app.store.evidence.reading import EvidenceReader
from app.store.evidence.rows import CheckpointRow, FactRow, LogRow, subject_of

VERSION = 1

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Proven:
    """A log with the checkpoint that the proofs lead to, the nodes that they need, and the verifier
    keys as of that checkpoint.
    """

    log: LogRow
    checkpoint: CheckpointRow
    node: NodeReader
    keys: list[str]


class Documents:
    """Makes evidence documents. Raises StoreUnavailable, and Unavailable (no checkpoint could be
    published).
    """

    def __init__(self, *, reader: EvidenceReader, log: EvidenceLog) -> None:
        self._reader = reader
        self._log = log

    async def of_message(self, name: UUID | str, *, since: int | None = None) -> bytes:
        """The document of a message, or of an unmatched sms_activity_id.

        ``since``: the size of an earlier checkpoint of the same log; the document then has a
        consistency proof from there. Raises NotFound (the log has no fact of it) and Invalid (the
        log has no such size).
        """
        await self._log.checkpoint()
        rows = await self._facts(name)
        if not rows:
            raise NotFound("The evidence log has no fact of this message")
        values = await self._values(rows)
        proven = await self._proven(rows, since)
        return encode_document(
            {
                "version": VERSION,
                "facts": [_entry(row, values, proven) for row in rows],
                "logs": [
                    self._log_entry(each, since if each.log.id == rows[-1].log else None)
                    for each in proven.values()
                ],
            }
        )

    async def _facts(self, name: UUID | str) -> list[FactRow]:
        """The facts of a message, behind those of the chain that it joins."""
        own = await self._reader.facts([subject_of(name)])
        joined = {
            fact["sms_activity_id"]
            for fact in map(_parsed, own)
            if fact["type"] == "attached" and fact["joins"]
        }
        before = await self._reader.facts([subject_of(each) for each in joined]) if joined else []
        return [*before, *own]

    async def _values(self, rows: Sequence[FactRow]) -> Values:
        """The values that the facts are committed to, as the database has them now."""
        facts = [_parsed(row) for row in rows]
        ids = {UUID(fact["message"]) for fact in facts if fact.get("message")}
        names = {fact["sms_activity_id"] for fact in facts if fact["type"] == "receipt"}
        values: Values = {}
        for message in (await self._reader.messages(ids)).values():
            values |= values_of(message)
        for receipt in await self._reader.receipts(names):
            values[str(receipt.id), "body"] = receipt.body
        return values

    async def _proven(self, rows: Sequence[FactRow], since: int | None) -> dict[int, Proven]:
        logs = {log.id: log for log in await self._reader.logs()}
        found: dict[int, Proven] = {}
        ids = sorted({row.log for row in rows})
        newest = rows[-1].log  # that of the last fact
        for id_ in ids:
            covering = max(row.index for row in rows if row.log == id_) + 1
            if since is not None and id_ == newest:
                covering = max(covering, since)
            checkpoint = await self._checkpoint(logs[id_], covering)
            if checkpoint is None:
                continue  # it ended unsigned; the next log's `continued` covers its facts
            await self._log.publish(checkpoint)
            size = checkpoint.size
            places: set[Place] = set()
            for row in rows:
                if row.log == id_ and row.index < size:
                    places |= needed(partial(inclusion_proof, row.index, size))
            if since is not None and id_ == newest:
                _require_size(since, size)
                places |= needed(partial(consistency_proof, since, size))
            tiles = Tiles(await self._reader.tiles(id_, places))
            keys = await self._keys(logs[id_], size)
            found[id_] = Proven(logs[id_], checkpoint, tiles.node, keys)
        return found

    async def _checkpoint(self, log: LogRow, covering: int) -> CheckpointRow | None:
        """The first of at least ``covering`` facts that has a time stamp, else a co-signature; else
        the newest. One that no key of today signed is passed over: the reader may have no other.
        """
        found = await self._reader.vouched_for(log.id, covering)
        if found is not None and not is_signed(found.note, self._log.verifier_keys(log.origin)):
            found = None
        return found or await self._reader.newest_checkpoint(log.id)

    async def _keys(self, log: LogRow, size: int) -> list[str]:
        """The verifier keys of a log as of this size: those that its last fact about keys names."""
        keys: list[str] = []
        for row in await self._reader.facts([LOG_SUBJECT]):
            if row.log == log.id and row.index < size:
                keys = _parsed(row).get("keys", keys)
        return keys

    def _log_entry(self, proven: Proven, since: int | None) -> Json:
        checkpoint = proven.checkpoint
        entry: Json = {
            "origin": proven.log.origin,
            "checkpoint": checkpoint.note,
            "keys": proven.keys,
            "stamp": checkpoint.stamp and base64.b64encode(checkpoint.stamp).decode(),
            "consistency": None,
        }
        if since is not None:
            path = consistency_proof(since, checkpoint.size, proven.node)
            entry["consistency"] = {"from": since, "proof": [each.hex() for each in path]}
        return entry


def encode_document(document: Json) -> bytes:
    """Canonical JSON of a document, with its digest added."""
    document = document | {"digest": sha256(rfc8785.dumps(document)).hexdigest()}
    return rfc8785.dumps(document)


def _require_size(since: int, size: int) -> None:
    if not 0 < since <= size:
        fault = FieldError("since", f"must be a size of this log, 1 to {size}")
        raise Invalid("There is no checkpoint of this size", errors=(fault,))


def _entry(row: FactRow, values: Values, proven: Mapping[int, Proven]) -> Json:
    fact = _parsed(row)
    log = proven.get(row.log)
    path = None
    if log is not None and row.index < log.checkpoint.size:
        path = [each.hex() for each in inclusion_proof(row.index, log.checkpoint.size, log.node)]
    return {
        "fact": fact,
        "index": row.index,
        "proof": path,
        "opened": _opened(row, fact, values),
    }


def _opened(row: FactRow, fact: Json, values: Values) -> Json:
    """The value and the salt of each commitment; None where they were deleted."""
    opened: Json = {}
    for place, name in enumerate(COMMITTED.get(fact["type"], ())):
        if fact[name] is None:
            continue
        salt = row.salts[place * SALT_SIZE : (place + 1) * SALT_SIZE]
        value = values.get((key_of(fact), name))
        is_known = bool(value) and salt != DELETED_SALT and len(salt) == SALT_SIZE
        opened[name] = {"salt": salt.hex(), **_encoded(value or b"")} if is_known else None
    return opened


def _encoded(value: bytes) -> Json:
    """A value as text, or in base64 where it is not UTF-8."""
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _parsed(row: FactRow) -> Json:
    fact: Json = json.loads(row.text)
    return fact
