"""Audits a log's tree against its checkpoints, and these against the keys and this disk."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from app.record.evidence.audit_report import AuditReport
from app.record.evidence.checkpoint import Checkpoint, open_checkpoint
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.form import Json
from app.record.evidence.log import EvidenceLog
from app.record.evidence.merkle import EMPTY_ROOT, root_hash
from app.record.evidence.note import VerifierKey
from app.record.evidence.stamps import check_stamp
from app.record.evidence.tiles import Place, Tiles
from app.store.any_of import chunks
from app.store.evidence.reading import EvidenceReader
from app.store.evidence.rows import CheckpointRow, LogRow

AT_ONCE = 1_000
"""Tiles, or checkpoints, in one query."""


class TreeAuditor:
    """Adds what is wrong to ``report``. Raises StoreUnavailable."""

    def __init__(
        self,
        *,
        reader: EvidenceReader,
        log: EvidenceLog,
        known: KnownCheckpoints,
        report: AuditReport,
    ) -> None:
        self._reader = reader
        self._log = log
        self._known = known
        self._report = report
        self._announced: dict[str, list[VerifierKey]] = {}

    def learn(self, fact: Json) -> None:
        """Learn the keys that a log's facts name: older checkpoints are signed by rotated keys."""
        if fact.get("type") in ("began", "rotation"):
            keys = self._announced.setdefault(str(fact.get("log")), [])
            for text in map(str, fact.get("keys") or ()):
                with suppress(ValueError):
                    keys.append(VerifierKey.parse(text))

    async def check(self, log: LogRow, tiles: Mapping[Place, bytes]) -> None:
        """Compare the stored tiles, size and root with ``tiles``, which the facts yield."""
        for some in chunks(sorted(tiles), AT_ONCE):
            stored = await self._reader.tiles(log.id, some)
            for place in some:
                if not stored.get(place, b"").startswith(tiles[place]):
                    self._report.add(
                        f"Tile {place[1]} of level {place[0]} of {log.origin} was changed"
                    )
        beyond = await self._reader.facts_from(log.id, log.size, 1)
        newer = next(one for one in await self._reader.logs() if one.id == log.id)
        if beyond and beyond[0].index >= newer.size:
            self._report.add(f"The size of {log.origin} was changed: it has facts beyond its end")
        root = root_hash(log.size, Tiles(tiles).node) if log.size else EMPTY_ROOT
        if newer.size == log.size and root != log.root:
            self._report.add(f"The root of {log.origin} is not that of its facts")

    async def check_checkpoints(self, log: LogRow, tree: Tiles) -> None:
        """Check the checkpoints of the database and of this disk: their signatures and roots."""
        # Read before the database's: a checkpoint is committed there before it is on the disk.
        known = self._known.all(log.origin)
        keys = self._log.verifier_keys(log.origin) + self._announced.get(log.origin, [])
        after = (log.id, -1)
        seen: set[int] = set()
        while rows := await self._reader.checkpoints(log=log.id, after=after, limit=AT_ONCE):
            after = (log.id, rows[-1].size)
            for row in rows:
                seen.add(row.size)
                if row.size > log.size:
                    continue
                self._report.checkpoints += 1
                where = f"The checkpoint of {log.origin} at {row.size}"
                try:
                    checkpoint = open_checkpoint(row.note, keys)
                    if checkpoint.size != row.size:
                        raise ValueError(f"it is one of {checkpoint.size} facts")
                except ValueError as error:
                    self._report.add(f"{where} does not hold: {error}")
                    continue
                self._compare(log, checkpoint, tree)
                self._check_stamp(where, row, checkpoint)
        for checkpoint in known if log.ended_at is None else ():
            if checkpoint.size not in seen:
                self._report.add(
                    f"This disk knows a checkpoint of {log.origin} at {checkpoint.size}, and the "
                    "database does not: it was deleted, or the database was rolled back"
                )
            self._compare(log, checkpoint, tree)

    def _check_stamp(self, where: str, row: CheckpointRow, checkpoint: Checkpoint) -> None:
        if row.stamp is None:
            return
        try:
            check_stamp(row.stamp, checkpoint.text.encode())
        except ValueError as error:
            self._report.add(f"{where} has a time stamp that does not hold: {error}")

    def _compare(self, log: LogRow, checkpoint: Checkpoint, tree: Tiles) -> None:
        if checkpoint.origin != log.origin or checkpoint.size > log.size:
            return
        root = root_hash(checkpoint.size, tree.node)
        if root != checkpoint.root:
            self._report.add(
                f"The log {log.origin} is not the one of its checkpoint at {checkpoint.size}"
            )
