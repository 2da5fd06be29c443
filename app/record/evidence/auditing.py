"""Goes over the whole log against the database: what was changed or deleted behind our back.

The log's rows are no more trusted than any other: they are held to their own hashes, these to the
tree, the tree to the checkpoints, and those to the keys and to what this disk knows.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from app.model.receipt import Arrival, Receipt, interpret
from app.record.evidence.checkpoint import Checkpoint, open_checkpoint
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.form import COMMITTED, GONE, SALT_SIZE, commitment, time_text
from app.record.evidence.log import EvidenceLog
from app.record.evidence.merkle import EMPTY_ROOT, leaf_hash, root_hash
from app.record.evidence.tiles import Place, Tiles
from app.record.evidence.values import key_of, values_of
from app.store.evidence.reading import EvidenceReader
from app.store.evidence.rows import FactRow, LogRow, MessageRow, ReceiptRow

AT_ONCE = 1_000
"""Facts, or receipts, that are read at a time."""
MOST_FINDINGS = 1_000
BEGINNING = timedelta(minutes=1)
"""What was received then may have been committed before the first log was."""

Json = dict[str, Any]

_OF_RECEIPT = ("sms_activity_id", "status", "time_quality")
_OF_BODY = ("delivery_status", "status_reason", "receipt_timestamp")
_OF_MESSAGE = ("app", "origin", "expiry")


@dataclass(slots=True)
class Audit:
    """What was gone over, and what is wrong. ``findings`` are sentences, MOST_FINDINGS at most."""

    facts: int = 0
    receipts: int = 0
    checkpoints: int = 0
    purged: int = 0
    erased: int = 0
    findings: list[str] = field(default_factory=list)
    left_out: int = 0

    def find(self, words: str) -> None:
        """Note what is wrong."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(words)
        else:
            self.left_out += 1


class Auditor:
    """One pass. What is appended meanwhile is not looked at. Raises StoreUnavailable."""

    def __init__(
        self, *, reader: EvidenceReader, log: EvidenceLog, known: KnownCheckpoints
    ) -> None:
        self._reader = reader
        self._log = log
        self._known = known
        self._audit = Audit()
        self._chains: dict[bytes, tuple[int, bytes]] = {}
        self._logged: set[int] = set()  # ids of receipts, as integers
        self._purged_before = ""
        self._texts_purged_before = ""
        self._erased: set[str] = set()

    async def run(self) -> Audit:
        """Go over everything."""
        logs = await self._reader.logs()
        for log in logs:
            await self._learn_removals(log)
        for log in logs:
            await self._go_over(log)
        if logs:
            await self._look_for_unlogged(logs[0])
        return self._audit

    async def _learn_removals(self, log: LogRow) -> None:
        """What was purged and erased, which its facts say."""
        async for rows in self._pages(log):
            for row in rows:
                fact = _parsed(row)
                before = str(fact.get("before"))
                if fact.get("type") == "purged":
                    self._purged_before = max(self._purged_before, before)
                elif fact.get("type") == "texts_purged":
                    self._texts_purged_before = max(self._texts_purged_before, before)
                elif fact.get("type") == "erased":
                    self._erased.add(str(fact.get("message") or fact.get("sms_activity_id")))

    async def _pages(self, log: LogRow) -> AsyncIterator[Sequence[FactRow]]:
        index = 0
        while index < log.size:
            rows = await self._reader.facts_from(log.id, index, min(AT_ONCE, log.size - index))
            if not rows:
                return
            yield rows
            index = rows[-1].index + 1

    async def _go_over(self, log: LogRow) -> None:
        tree = Tiles({})
        tiles: dict[Place, bytes] = {}
        index = 0
        async for rows in self._pages(log):
            messages, receipts = await self._rows_of(rows)
            hashes = []
            for row in rows:
                if row.index > index:
                    self._audit.find(
                        f"Leaves {index} to {row.index - 1} of {log.origin} were deleted"
                    )
                    return  # the tree cannot be made without them
                hashes.append(leaf_hash(row.text.encode()))
                self._check_row(log, row, hashes[-1])
                self._check_against(row, messages, receipts)
                index += 1
                self._audit.facts += 1
            tiles |= tree.append(index - len(rows), hashes)
        if index < log.size:
            self._audit.find(f"Leaves {index} to {log.size - 1} of {log.origin} were deleted")
            return
        await self._check_tree(log, tiles)
        await self._check_checkpoints(log, tree)

    def _check_row(self, log: LogRow, row: FactRow, hash_: bytes) -> None:
        where = f"Fact {row.index} of {log.origin}"
        if hash_ != row.hash:
            self._audit.find(f"{where} was changed: its text is not what was appended")
        fact = _parsed(row)
        number, previous = self._chains.get(row.subject, (0, None))
        if fact.get("number") != number + 1 or fact.get("previous") != (
            previous and previous.hex()
        ):
            self._audit.find(f"{where} does not follow on fact {number} of its history")
        self._chains[row.subject] = (row.number, hash_)

    async def _rows_of(
        self, rows: Sequence[FactRow]
    ) -> tuple[dict[UUID, MessageRow], dict[str, ReceiptRow]]:
        facts = [_parsed(row) for row in rows]
        of_messages = {
            id_
            for fact in facts
            if fact.get("type") in ("recorded", "step", "attached") and (id_ := _uuid(fact))
        }
        names = {
            fact["sms_activity_id"]
            for fact in facts
            if fact.get("type") == "receipt" and isinstance(fact.get("sms_activity_id"), str)
        }
        receipts = await self._reader.receipts(names)
        return await self._reader.messages(of_messages), {str(one.id): one for one in receipts}

    def _check_against(
        self,
        row: FactRow,
        messages: dict[UUID, MessageRow],
        receipts: dict[str, ReceiptRow],
    ) -> None:
        fact = _parsed(row)
        kind = fact.get("type")
        if kind == "receipt":
            self._check_receipt(row, fact, receipts.get(str(fact.get("receipt"))))
        elif kind in ("recorded", "step", "attached"):
            id_ = _uuid(fact)
            self._check_message(row, fact, messages.get(id_) if id_ else None)

    def _check_receipt(self, row: FactRow, fact: Json, receipt: ReceiptRow | None) -> None:
        where = f"Receipt {fact.get('receipt')} of {fact.get('sms_activity_id')}"
        if receipt is None:
            self._miss(where, str(fact.get("received_at")))
            return
        self._logged.add(receipt.id.int)
        changed = [name for name in _OF_RECEIPT if getattr(receipt, name) != fact.get(name)]
        read = interpret(Arrival(receipt.id, receipt.received_at, receipt.body or b""))
        if isinstance(read, Receipt):
            said = read.content
            changed += [n for n in _OF_BODY if getattr(receipt, n) != getattr(said, n)]
        if time_text(receipt.at) != fact.get("at"):
            changed.append("at")
        # One that waited in a spool may have come before the arrival that was logged.
        if time_text(receipt.received_at) > str(fact.get("received_at")):
            changed.append("received_at")
        changed += self._changed_values(row, fact, {(str(receipt.id), "body"): receipt.body})
        if changed:
            self._audit.find(f"{where} was changed: {', '.join(changed)}")

    def _check_message(self, row: FactRow, fact: Json, message: MessageRow | None) -> None:
        where = f"Message {fact.get('message')}"
        kind = fact["type"]
        if message is None:
            if kind == "recorded":
                self._miss(where, str(fact.get("at")))
            return
        changed = self._changed_values(row, fact, values_of(message))
        if kind == "recorded":
            changed += [name for name in _OF_MESSAGE if getattr(message, name) != fact.get(name)]
            if time_text(message.created_at) != fact.get("at"):
                changed.append("created_at")
        elif kind == "step":
            steps = [(status, time_text(at)) for status, at, _ in message.steps]
            if (fact.get("status"), fact.get("at")) not in steps:
                changed.append(f"its step {fact.get('status')} is gone")
        elif message.sms_activity_id != fact.get("sms_activity_id"):
            changed.append("sms_activity_id")
        if changed:
            self._audit.find(f"{where} was changed: {', '.join(changed)}")

    def _changed_values(
        self, row: FactRow, fact: Json, values: dict[tuple[str, str], bytes | None]
    ) -> list[str]:
        """The names of the values that are not those of their commitments."""
        changed = []
        for place, name in enumerate(COMMITTED.get(fact["type"], ())):
            committed = fact.get(name)
            value = values.get((key_of(fact), name))
            salt = row.salts[place * SALT_SIZE : (place + 1) * SALT_SIZE]
            if committed is None:
                if value:
                    changed.append(name)
            elif (not value or salt in (b"", GONE)) and self._was_removed(fact, name):
                self._audit.erased += 1
            elif salt in (b"", GONE) or value is None or commitment(salt, value) != committed:
                changed.append(name)
        return changed

    def _was_removed(self, fact: Json, name: str) -> bool:
        """Whether a fact of the log says that this value was erased or purged."""
        if str(fact.get("message") or fact.get("sms_activity_id")) in self._erased:
            return True
        at = str(fact.get("received_at") or fact.get("at"))
        return name in ("text", "body") and at < self._texts_purged_before

    def _miss(self, where: str, at: str) -> None:
        """A row is gone: a purge is a fact and no tampering."""
        if at < self._purged_before:
            self._audit.purged += 1
        else:
            self._audit.find(f"{where} was deleted")

    async def _check_tree(self, log: LogRow, tiles: dict[Place, bytes]) -> None:
        for some in _chunks(sorted(tiles), AT_ONCE):
            stored = await self._reader.tiles(log.id, some)
            for place in some:
                if not stored.get(place, b"").startswith(tiles[place]):
                    self._audit.find(
                        f"Tile {place[1]} of level {place[0]} of {log.origin} was changed"
                    )
        root = root_hash(log.size, Tiles(tiles).node) if log.size else EMPTY_ROOT
        newer = (await self._reader.logs())[log.id - 1]
        if newer.size == log.size and root != log.root:
            self._audit.find(f"The root of {log.origin} is not that of its facts")

    async def _check_checkpoints(self, log: LogRow, tree: Tiles) -> None:
        keys = self._log.verifier_keys(log.origin)
        known = self._known.newest(log.origin)
        after = (log.id, -1)
        seen = 0
        while rows := await self._reader.checkpoints(log=log.id, after=after, limit=AT_ONCE):
            after = (log.id, rows[-1].size)
            for row in rows:
                seen = row.size
                if row.size > log.size:
                    continue
                self._audit.checkpoints += 1
                try:
                    checkpoint = open_checkpoint(row.note, keys)
                except ValueError as error:
                    self._audit.find(
                        f"The checkpoint of {log.origin} at {row.size} does not hold: {error}"
                    )
                    continue
                self._compare(log, checkpoint, tree)
        if known is not None and log.ended_at is None:
            if known.size > max(seen, log.size):
                self._audit.find(
                    f"This disk knows a checkpoint of {log.origin} at {known.size}, and the "
                    "database does not: it was rolled back"
                )
            else:
                self._compare(log, known, tree)

    def _compare(self, log: LogRow, checkpoint: Checkpoint, tree: Tiles) -> None:
        if checkpoint.origin != log.origin or checkpoint.size > log.size:
            return
        root = root_hash(checkpoint.size, tree.node)
        if root != checkpoint.root:
            self._audit.find(
                f"The log {log.origin} is not the one of its checkpoint at {checkpoint.size}"
            )

    async def _look_for_unlogged(self, first: LogRow) -> None:
        """Receipts that came since there is a log, and are not in it."""
        last = ("", b"")
        while rows := await self._reader.receipts_after(last, AT_ONCE):
            last = (rows[-1].sms_activity_id, rows[-1].digest)
            missing = [
                row
                for row in rows
                if row.id.int not in self._logged and row.received_at >= first.began_at + BEGINNING
            ]
            self._audit.receipts += len(rows)
            if missing:
                waiting = await self._reader.waiting([row.sms_activity_id for row in missing])
                for row in missing:
                    if row.sms_activity_id not in waiting:
                        self._audit.find(
                            f"Receipt {row.id} of {row.sms_activity_id} is not in the log: it was "
                            "written behind the service's back"
                        )


def _parsed(row: FactRow) -> Json:
    """A fact whose text may be anything by now."""
    try:
        fact = json.loads(row.text)
    except ValueError:
        return {"type": None}
    return fact if isinstance(fact, dict) else {"type": None}


def _uuid(fact: Json) -> UUID | None:
    try:
        return UUID(str(fact.get("message")))
    except ValueError:
        return None


def _chunks(places: Sequence[Place], size: int) -> list[Sequence[Place]]:
    return [places[at : at + size] for at in range(0, len(places), size)]
