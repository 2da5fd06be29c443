"""Goes over the whole log against the database: what was changed or deleted behind our back.

The log's rows are no more trusted than any other: they are held to their own hashes, these to the
tree, the tree to the checkpoints, and those to the keys and to what this disk knows.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from app.record.evidence.comparing import Comparison, Removals, names_of, of_delivery
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.findings import Audit
from app.record.evidence.form import Json, time_text
from app.record.evidence.log import EvidenceLog
from app.record.evidence.merkle import leaf_hash
from app.record.evidence.tiles import Place, Tiles
from app.record.evidence.tree_auditing import TreeAuditor
from app.store.evidence.reading import EvidenceReader
from app.store.evidence.rows import (
    AUDITED,
    FactRow,
    LogRow,
    subject_of,
    subject_of_entry,
)

AT_ONCE = 1_000
"""Facts, or receipts, that are read at a time."""
BEGINNING = timedelta(minutes=1)
"""What came then may have been committed before the first log was."""

NOBODY = UUID(int=0)
_OF_MESSAGES = ("recorded", "step", "attached")
_STAND_FOR_A_ROW = ("recorded", "receipt", AUDITED)


@dataclass(slots=True)
class _Chain:
    """The facts of one history so far."""

    number: int = 0
    hash: bytes | None = None
    steps: int = 0
    attached: bool = False


class Auditor:
    """One pass. What is appended meanwhile is not looked at. Raises StoreUnavailable."""

    def __init__(
        self, *, reader: EvidenceReader, log: EvidenceLog, known: KnownCheckpoints
    ) -> None:
        self._reader = reader
        self._audit = Audit()
        self._tree = TreeAuditor(reader=reader, log=log, known=known, audit=self._audit)
        self._chains: dict[bytes, _Chain] = {}
        self._logged: set[int] = set()  # ids of receipts and entries, as integers
        self._ends: dict[int, int] = {}  # of each log, how far it was read
        self._entries_since: str | None = None
        self._doubtful: list[FactRow] = []
        self._removals = Removals()
        self._comparison = Comparison(self._removals)

    async def run(self) -> Audit:
        """Go over everything."""
        logs = await self._reader.logs()
        for log in logs:
            await self._learn_removals(log)
        for log in logs:
            await self._go_over(log)
        if logs:
            await self._look_again()
            await self._look_for_unlogged_receipts(logs[0])
            await self._look_for_unlogged_entries()
            await self._check_deliveries()
        self._audit.erased = self._comparison.removed
        return self._audit

    async def _learn_removals(self, log: LogRow) -> None:
        async for rows in self._pages(log):
            for row in rows:
                fact = _parsed(row)
                self._removals.learn(fact)
                self._tree.learn(fact)

    async def _pages(self, log: LogRow, index: int = 0) -> AsyncIterator[Sequence[FactRow]]:
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
            hashes = []
            for row in rows:
                if row.index > index:
                    self._find_gap(log, index, row.index)
                    return  # the tree cannot be made without them
                hashes.append(leaf_hash(row.text.encode()))
                self._check_row(log, row, hashes[-1])
                self._note(_parsed(row))
                index += 1
                self._audit.facts += 1
            self._doubtful += [row for row, _ in await self._compare_rows(rows)]
            if len(self._doubtful) >= AT_ONCE:
                await self._look_again()
            tiles |= tree.append(index - len(rows), b"".join(hashes))
        self._ends[log.id] = index
        if index < log.size:
            self._find_gap(log, index, log.size)
            return
        await self._tree.check(log, tiles)
        await self._tree.check_checkpoints(log, tree)

    def _find_gap(self, log: LogRow, start: int, end: int) -> None:
        self._audit.find(f"Leaves {start} to {end - 1} of {log.origin} were deleted")

    def _check_row(self, log: LogRow, row: FactRow, hash_: bytes) -> None:
        """That the columns beside a fact are its own, and that it goes on its history."""
        where = f"Fact {row.index} of {log.origin}"
        if hash_ != row.hash:
            self._audit.find(f"{where} was changed: its text is not what was appended")
        fact = _parsed(row)
        chain = self._chains.setdefault(row.subject, _Chain())
        if fact.get("number") != chain.number + 1 or fact.get("previous") != (
            chain.hash and chain.hash.hex()
        ):
            self._audit.find(f"{where} does not follow on fact {chain.number} of its history")
        chain.number, chain.hash = row.number, hash_
        chain.steps += fact.get("type") == "step"
        chain.attached |= fact.get("type") == "attached"
        changed = [
            name
            for name, is_right in (
                ("log", fact.get("log") == log.origin),
                ("number", fact.get("number") == row.number),
                ("subject", _subject(fact) in (row.subject, None)),
                ("steps", row.steps == chain.steps),
                ("attached", row.attached == chain.attached),
            )
            if not is_right
        ]
        if changed:
            self._audit.find(f"{where} was changed: {', '.join(changed)}")

    async def _compare_rows(self, rows: Sequence[FactRow]) -> list[tuple[FactRow, str]]:
        """Facts that are not what the rows say that they stand for, each with words for it."""
        read = [(row, _parsed(row)) for row in rows]
        of_messages = {_uuid(fact, "message") for _, fact in read if fact["type"] in _OF_MESSAGES}
        of_audit = {_uuid(fact, "entry") for _, fact in read if fact["type"] == AUDITED}
        names = {str(fact.get("sms_activity_id")) for _, fact in read if fact["type"] == "receipt"}
        messages = await self._reader.messages(of_messages)
        entries = await self._reader.entries(of_audit)
        receipts = {one.id: one for one in await self._reader.receipts(names)}
        compare, found = self._comparison, []
        for row, fact in read:
            kind = fact["type"]
            if kind == "receipt":
                where = f"Receipt {fact.get('receipt')} of {fact.get('sms_activity_id')}"
                receipt = receipts.get(_uuid(fact, "receipt"))
                changed = None if receipt is None else compare.with_receipt(row, fact, receipt)
            elif kind in _OF_MESSAGES:
                where = f"Message {fact.get('message')}"
                message = messages.get(_uuid(fact, "message"))
                changed = None if message is None else compare.with_message(row, fact, message)
            elif kind == AUDITED:
                where = f"Entry {fact.get('entry')} of the audit"
                entry = entries.get(_uuid(fact, "entry"))
                changed = None if entry is None else compare.with_entry(row, fact, entry)
            else:
                continue
            if changed:
                found.append((row, f"{where} was changed: {', '.join(changed)}"))
            elif changed is None and kind in _STAND_FOR_A_ROW:
                if self._removals.is_purged(*names_of(fact)):
                    self._audit.purged += 1
                else:
                    found.append((row, f"{where} was deleted"))
        return found

    async def _look_again(self) -> None:
        """What is changed while it is gone over, by an erasure for example, is told to the log in
        the same transaction: so what differs counts if it still does when that is known.
        """
        doubtful, self._doubtful = self._doubtful, []
        if doubtful:
            await self._catch_up()
            for _, words in await self._compare_rows(doubtful):
                self._audit.find(words)

    async def _look_for_unlogged_receipts(self, first: LogRow) -> None:
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
                await self._catch_up()
                for row in missing:
                    if row.id.int not in self._logged and row.sms_activity_id not in waiting:
                        self._find_unlogged(f"Receipt {row.id} of {row.sms_activity_id}")

    async def _look_for_unlogged_entries(self) -> None:
        """Entries of the audit from after the first one that is in the log."""
        if self._entries_since is None:
            return
        last = UUID(int=0)
        while rows := await self._reader.entries_after(last, AT_ONCE):
            last = rows[-1][0]
            missing = [
                id_
                for id_, at in rows
                if id_.int not in self._logged and time_text(at - BEGINNING) >= self._entries_since
            ]
            if missing:
                told = await self._reader.told()
                waiting = {one.fields["entry"] for one in told if one.type == AUDITED}
                await self._catch_up()
                for id_ in missing:
                    if id_.int not in self._logged and str(id_) not in waiting:
                        self._find_unlogged(f"Entry {id_} of the audit")

    async def _catch_up(self) -> None:
        """Learn what the log has got since it was gone over, and what it is about to get."""
        for log in await self._reader.logs():
            async for rows in self._pages(log, self._ends.get(log.id, 0)):
                self._ends[log.id] = rows[-1].index + 1
                for fact in map(_parsed, rows):
                    self._note(fact)
                    self._removals.learn(fact)
        for told in await self._reader.told():
            self._removals.learn({"type": told.type, "message": told.message, **told.fields})

    def _note(self, fact: Json) -> None:
        """That the log has a receipt, or an entry of the audit."""
        for name in ("receipt", "entry"):
            self._logged.add(_uuid(fact, name).int)
        if fact["type"] == AUDITED and self._entries_since is None:
            self._entries_since = str(fact.get("at"))

    def _find_unlogged(self, what: str) -> None:
        self._audit.find(f"{what} is not in the log: it was written behind the service's back")

    async def _check_deliveries(self) -> None:
        """That what is told of messages follows from their receipts, which the log has."""
        last = ""
        while rows := await self._reader.deliveries_after(last, AT_ONCE):
            last = rows[-1][0].sms_activity_id
            for delivery, receipts in rows:
                if changed := of_delivery(delivery, receipts):
                    where = f"The status of {delivery.sms_activity_id}"
                    self._audit.find(f"{where} was changed: {', '.join(changed)}")


def _parsed(row: FactRow) -> Json:
    """A fact whose text may be anything by now."""
    try:
        fact = json.loads(row.text)
    except ValueError:
        return {"type": None}
    return {"type": None} | fact if isinstance(fact, dict) else {"type": None}


def _uuid(fact: Json, name: str) -> UUID:
    """NOBODY, which no row has, where there is none."""
    try:
        return UUID(str(fact.get(name)))
    except ValueError:
        return NOBODY


def _subject(fact: Json) -> bytes | None:
    """The one whose chain a fact is of; None where it names nobody."""
    if (entry := _uuid(fact, "entry")) != NOBODY:
        return subject_of_entry(entry)
    if (message := _uuid(fact, "message")) != NOBODY:
        return subject_of(message)
    name = fact.get("sms_activity_id")
    return subject_of(name) if isinstance(name, str) else None
