"""Audits the whole log against the database: finds rows that somebody other than the service has
changed, added or deleted.

The log's own rows are not trusted either: facts are checked against their hashes, these against the
tree, the tree against the checkpoints, and those against the keys and the checkpoints on this disk.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from app.record.evidence.audit_report import AuditReport
from app.record.evidence.comparing import Comparison, Removals, compare_delivery, ids_in
from app.record.evidence.disk import KnownCheckpoints
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
"""Facts, or rows, in one query."""
FIRST_MINUTE = timedelta(minutes=1)
"""Receipts of the first log's first minute, and audit entries of the minute after the first one in
the log, may be missing: their transactions may not have seen the log yet."""

NO_ID = UUID(int=0)
_OF_MESSAGES = ("recorded", "step", "attached")
_OF_ROWS = ("recorded", "receipt", AUDITED)
"""Types of facts that stand for a row of their own: there is no row only if it was purged."""


@dataclass(slots=True)
class _Chain:
    """The end of a chain, as far as it was audited."""

    number: int = 0
    hash: bytes | None = None
    steps: int = 0
    attached: bool = False


class LogAuditor:
    """One audit, of the logs as they are when it begins. Raises StoreUnavailable."""

    def __init__(
        self, *, reader: EvidenceReader, log: EvidenceLog, known: KnownCheckpoints
    ) -> None:
        self._reader = reader
        self._report = AuditReport()
        self._tree = TreeAuditor(reader=reader, log=log, known=known, report=self._report)
        self._chains: dict[bytes, _Chain] = {}
        self._logged: set[int] = set()  # ids of receipts and entries, as integers
        self._ends: dict[int, int] = {}  # by log: the index up to which it was read
        self._entries_since: str | None = None  # the time of the first audit entry in the log
        self._suspects: list[FactRow] = []  # facts that differed from their rows, to be rechecked
        self._removals = Removals()
        self._comparison = Comparison(self._removals)

    async def run(self) -> AuditReport:
        """Audit everything."""
        logs = await self._reader.logs()
        for log in logs:
            await self._learn_removals(log)
        for log in logs:
            await self._audit_log(log)
        if logs:
            await self._recheck()
            await self._find_unlogged_receipts(logs[0])
            await self._find_unlogged_entries()
            await self._check_deliveries()
        self._report.erased = self._comparison.removed
        return self._report

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

    async def _audit_log(self, log: LogRow) -> None:
        tree = Tiles({})
        tiles: dict[Place, bytes] = {}
        index = 0
        async for rows in self._pages(log):
            hashes = []
            for row in rows:
                if row.index > index:
                    self._add_gap(log, index, row.index)
                    return  # without them the tree cannot be computed
                hashes.append(leaf_hash(row.text.encode()))
                self._check_row(log, row, hashes[-1])
                self._learn_logged(_parsed(row))
                index += 1
                self._report.facts += 1
            self._suspects += [row for row, _ in await self._compare_rows(rows)]
            if len(self._suspects) >= AT_ONCE:
                await self._recheck()
            tiles |= tree.append(index - len(rows), b"".join(hashes))
        self._ends[log.id] = index
        if index < log.size:
            self._add_gap(log, index, log.size)
            return
        await self._tree.check(log, tiles)
        await self._tree.check_checkpoints(log, tree)

    def _add_gap(self, log: LogRow, start: int, end: int) -> None:
        self._report.add(f"Leaves {start} to {end - 1} of {log.origin} were deleted")

    def _check_row(self, log: LogRow, row: FactRow, hash_: bytes) -> None:
        """Check a fact's hash, its place in its chain, and the columns that repeat its content."""
        where = f"Fact {row.index} of {log.origin}"
        if hash_ != row.hash:
            self._report.add(f"{where} was changed: its text is not what was appended")
        fact = _parsed(row)
        chain = self._chains.setdefault(row.subject, _Chain())
        if fact.get("number") != chain.number + 1 or fact.get("previous") != (
            chain.hash and chain.hash.hex()
        ):
            self._report.add(f"{where} does not follow on fact {chain.number} of its history")
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
            self._report.add(f"{where} was changed: {', '.join(changed)}")

    async def _compare_rows(self, rows: Sequence[FactRow]) -> list[tuple[FactRow, str]]:
        """The facts that differ from the rows that they were made from, each with its finding."""
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
            elif changed is None and kind in _OF_ROWS:
                if self._removals.is_purged(*ids_in(fact)):
                    self._report.purged += 1
                else:
                    found.append((row, f"{where} was deleted"))
        return found

    async def _recheck(self) -> None:
        """Compare the suspects once more. A change during the audit, such as an erasure, enqueues
        its fact in the same transaction: what still differs when that is known is a finding.
        """
        suspects, self._suspects = self._suspects, []
        if suspects:
            await self._catch_up()
            for _, words in await self._compare_rows(suspects):
                self._report.add(words)

    async def _find_unlogged_receipts(self, first: LogRow) -> None:
        """Find receipts that came since the first log began and are neither logged nor pending."""
        last = ("", b"")
        while rows := await self._reader.receipts_after(last, AT_ONCE):
            last = (rows[-1].sms_activity_id, rows[-1].digest)
            missing = [
                row
                for row in rows
                if row.id.int not in self._logged
                and row.received_at >= first.began_at + FIRST_MINUTE
            ]
            self._report.receipts += len(rows)
            if missing:
                # Before catching up: what is appended in between is then found in the log.
                names = [row.sms_activity_id for row in missing]
                pending = await self._reader.with_pending_receipts(names)
                await self._catch_up()
                for row in missing:
                    if row.id.int not in self._logged and row.sms_activity_id not in pending:
                        self._add_unlogged(f"Receipt {row.id} of {row.sms_activity_id}")

    async def _find_unlogged_entries(self) -> None:
        """Find audit entries since the first logged one that are neither logged nor pending."""
        if self._entries_since is None:
            return
        last = UUID(int=0)
        while rows := await self._reader.entries_after(last, AT_ONCE):
            last = rows[-1][0]
            missing = [
                id_
                for id_, at in rows
                if id_.int not in self._logged
                and time_text(at - FIRST_MINUTE) >= self._entries_since
            ]
            if missing:
                facts = await self._reader.pending_facts()
                pending = {fact.fields["entry"] for fact in facts if fact.type == AUDITED}
                await self._catch_up()
                for id_ in missing:
                    if id_.int not in self._logged and str(id_) not in pending:
                        self._add_unlogged(f"Entry {id_} of the audit")

    async def _catch_up(self) -> None:
        """Learn from the facts that were appended since, and from the pending ones."""
        for log in await self._reader.logs():
            async for rows in self._pages(log, self._ends.get(log.id, 0)):
                self._ends[log.id] = rows[-1].index + 1
                for fact in map(_parsed, rows):
                    self._learn_logged(fact)
                    self._removals.learn(fact)
        for one in await self._reader.pending_facts():
            self._removals.learn({"type": one.type, "message": one.message, **one.fields})

    def _learn_logged(self, fact: Json) -> None:
        """Learn which receipt or audit entry a fact is of."""
        for name in ("receipt", "entry"):
            self._logged.add(_uuid(fact, name).int)
        if fact["type"] == AUDITED and self._entries_since is None:
            self._entries_since = str(fact.get("at"))

    def _add_unlogged(self, what: str) -> None:
        self._report.add(f"{what} is not in the log: the service did not write it")

    async def _check_deliveries(self) -> None:
        """Check that the status of each delivery follows from its receipts."""
        last = ""
        while rows := await self._reader.deliveries_after(last, AT_ONCE):
            last = rows[-1][0].sms_activity_id
            for delivery, receipts in rows:
                if changed := compare_delivery(delivery, receipts):
                    where = f"The status of {delivery.sms_activity_id}"
                    self._report.add(f"{where} was changed: {', '.join(changed)}")


def _parsed(row: FactRow) -> Json:
    """A fact as an object that has a type; its stored text is untrusted."""
    try:
        fact = json.loads(row.text)
    except ValueError:
        return {"type": None}
    return {"type": None} | fact if isinstance(fact, dict) else {"type": None}


def _uuid(fact: Json, name: str) -> UUID:
    """An id in a fact; NO_ID, which no row has, where there is none."""
    try:
        return UUID(str(fact.get(name)))
    except ValueError:
        return NO_ID


def _subject(fact: Json) -> bytes | None:
    """The subject that a fact names, if any."""
    if (entry := _uuid(fact, "entry")) != NO_ID:
        return subject_of_entry(entry)
    if (message := _uuid(fact, "message")) != NO_ID:
        return subject_of(message)
    name = fact.get("sms_activity_id")
    return subject_of(name) if isinstance(name, str) else None
