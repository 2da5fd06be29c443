"""The log: appends facts, signs and publishes checkpoints, begins and ends origins.

Guarantee: no two checkpoints of one origin contradict each other, whatever process is killed and
whatever the database forgets. So a checkpoint is signed only of a log that was just found
consistent with those on this disk, and published only once every live replica's disk has it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from app.errors import Unavailable
from app.record.evidence.building import build_facts, writer_for
from app.record.evidence.checkpoint import Checkpoint, unverified_checkpoint
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.facts import LOG_SUBJECT, REMOVALS_SUBJECT
from app.record.evidence.form import canonical_text
from app.record.evidence.merkle import EMPTY_ROOT, HASH_SIZE, root_hash
from app.record.evidence.note import SigningKey, VerifierKey, sign
from app.record.evidence.peer_disks import LIVE_FOR, PeerDisks
from app.record.evidence.tiles import Place, Tiles, edge, needed
from app.store.evidence.appending import AppendTransaction, Batch, EvidenceAppender
from app.store.evidence.reading import EvidenceReader
from app.store.evidence.rows import CheckpointRow, LogRow, NewFact

AT_ONCE = 5_000
"""Events, and as many rows of the queue, in one transaction."""
SIGNED_EVERY = timedelta(hours=1)
"""The longest time between checkpoints while anything is appended."""
ROLLED_BACK = "the database was rolled back behind a checkpoint"
DISK_GONE = "the disk with the log's checkpoints is gone"
NEW_DISK = (
    "This disk has no checkpoint of the evidence log, and no other replica's has confirmed the log "
    f"yet: try again in {LIVE_FOR.total_seconds():g} seconds"
)

log = structlog.get_logger(__name__)


class _Inconsistent(Exception):
    """The log in the database does not continue a checkpoint that is on this disk."""


class EvidenceLog:
    """Appends and signs. Every process has one; the append lock lets one at a time work."""

    def __init__(
        self,
        *,
        appender: EvidenceAppender,
        reader: EvidenceReader,
        known: KnownCheckpoints,
        peers: PeerDisks,
        keys: Sequence[SigningKey],
        now: Callable[[], datetime],
    ) -> None:
        """``keys``: all of them sign; the first one's name is that of new origins. There is more
        than one while a key is rotated.
        """
        self._appender = appender
        self._reader = reader
        self._known = known
        self._peers = peers
        self._keys = tuple(keys)
        self._now = now
        # Log, size and root after this process's last append: consistent with its disk.
        self._verified: tuple[int, int, bytes] | None = None
        self._is_opened = False
        self._saved_note = ""  # the last one that was saved on this disk

    @property
    def name(self) -> str:
        """The name of the first key, with which the origins of this log begin."""
        return self._keys[0].name

    @property
    def is_opened(self) -> bool:
        """Whether this process has found the log consistent with its disk, and its own keys named
        there.
        """
        return self._is_opened

    def verifier_keys(self, origin: str) -> list[VerifierKey]:
        """The public keys of those that sign for an origin now."""
        return [key.verifier for key in self._signers(origin)]

    async def append(self) -> bool:
        """Append the next batch. Returns whether nothing else was to be appended.

        Raises StoreUnavailable and StoreRefused, after which the batch was appended or not, and
        Unavailable (this disk is new, and it is not decided whether it may continue the log).
        """
        async with self._appender.transaction() as transaction:
            current = await self._open(transaction)
            origin = canonical_text(current.origin)
            batch = await transaction.take(current, origin=origin, limit=AT_ONCE)
            if not batch.is_empty:
                current = await self._append_batch(transaction, current, batch)
        self._verified = (current.id, current.size, current.root)
        self._is_opened = True
        return batch.is_last

    async def sign(self) -> CheckpointRow:
        """Sign a checkpoint, if facts were appended since the last one, and publish the newest.

        Raises StoreUnavailable, and Unavailable (see ``publish``).
        """
        now = self._now()
        async with self._appender.transaction() as transaction:
            self._verified = None  # so that it is compared with the disk before it is signed
            current = await self._open(transaction)
            last = await transaction.last_checkpoint(current.id)
            if last is None or last.size < current.size:
                text = Checkpoint(current.origin, current.size, current.root).text
                note = sign(text, self._signers(current.origin))
                await transaction.add_checkpoint(current.id, current.size, note, now)
                last = CheckpointRow(current.id, current.size, note, now, None, None)
        return await self.publish(last)

    async def checkpoint(self) -> CheckpointRow:
        """Append everything that waits, and publish a checkpoint of it."""
        while not await self.append():
            pass
        return await self.sign()

    async def is_due(self) -> bool:
        """Whether the next checkpoint is to be signed by now."""
        current, last = await self._reader.newest()
        if current is None or current.ended_at is not None:
            return False
        if last is None:
            return True
        return last.size < current.size and self._now() - last.signed_at >= SIGNED_EVERY

    async def publish(self, checkpoint: CheckpointRow) -> CheckpointRow:
        """Make a checkpoint fit to be shown: save it on this disk, and wait until every live
        replica's disk has it. Raises StoreUnavailable, and Unavailable (a disk does not take it, or
        a replica is late).
        """
        await self._save(checkpoint)
        await self._peers.wait_until_saved(checkpoint)
        return checkpoint

    async def heartbeat(self) -> bool:
        """Report this disk as live, and save the newest checkpoint on it, unless it has a larger
        one or may not adopt the log yet.

        Returns whether ``append`` is to be called even if nothing waits: there is no log yet, or
        the database was rolled back behind this disk. Raises StoreUnavailable and Unavailable.
        """
        current, newest = await self._reader.newest()
        if current is None:
            return True
        known = await asyncio.to_thread(self._known.newest, current.origin)
        if newest is not None and await self._may_save(newest, known):
            await self._save(newest)
        else:
            await self._peers.report(current.id, -1)
        return known is not None and known.size > current.size

    async def _save(self, checkpoint: CheckpointRow) -> None:
        """Save a checkpoint, of whichever process, on this disk, and report that it is there."""
        if checkpoint.note != self._saved_note:
            await self._remember(checkpoint)
            self._saved_note = checkpoint.note
        await self._peers.report(checkpoint.log, checkpoint.size)

    async def _remember(self, checkpoint: CheckpointRow) -> None:
        try:
            await asyncio.to_thread(self._known.remember, checkpoint.note)
        except OSError as error:
            raise Unavailable(
                f"A checkpoint cannot be saved in DLR_SPOOL_DIR: {error.strerror}"
            ) from error

    async def _may_save(self, newest: CheckpointRow, known: Checkpoint | None) -> bool:
        if known is not None:
            return known.size <= newest.size
        return await self._peers.may_adopt(newest, await self._peers.all()) is True

    async def _open(self, transaction: AppendTransaction) -> LogRow:
        """The log to append to, consistent with this disk. A new one is begun where there is none,
        or where the last one cannot be continued.
        """
        current = await transaction.log()
        if current is None:
            return await self._begin(transaction, None, "the first log of this service")
        if current.ended_at is not None:
            return await self._begin(transaction, current, "the log before it was ended")
        if current.origin != self.name and not current.origin.startswith(f"{self.name}/"):
            because = "its key was replaced by one of another name"
            return await self._begin(transaction, current, because)
        known = await asyncio.to_thread(self._known.newest, current.origin)
        is_behind = known is not None and known.size > current.size
        if is_behind or self._verified != (current.id, current.size, current.root):
            try:
                await self._require_consistency(transaction, current)
            except _Inconsistent:
                return await self._begin(transaction, current, ROLLED_BACK)
            if not await self._is_known_to_a_disk(transaction, current):
                return await self._begin(transaction, current, DISK_GONE)
            if not self._is_opened:
                return await self._append_rotation(transaction, current)
        return current

    async def _append_rotation(self, transaction: AppendTransaction, current: LogRow) -> LogRow:
        """Append a fact `rotation` if other keys sign now than the log names."""
        facts = [json.loads(text) for text in await transaction.facts_of(current.id, LOG_SUBJECT)]
        named = next((fact["keys"] for fact in reversed(facts) if "keys" in fact), None)
        keys = [str(key) for key in self.verifier_keys(current.origin)]
        if named == keys:
            return current
        log.warning("evidence_keys_changed", origin=current.origin, keys=keys)
        writer = await writer_for(transaction, current, [LOG_SUBJECT])
        writer.add_log_fact("rotation", {"keys": keys})
        return await self._write(transaction, current, writer.leaves, None)

    async def _require_consistency(self, transaction: AppendTransaction, current: LogRow) -> None:
        """Raises _Inconsistent unless the tree begins with that of the newest checkpoint on this
        disk.
        """
        newest = await asyncio.to_thread(self._known.newest, current.origin)
        if newest is None:
            return
        if newest.size > current.size:
            raise _Inconsistent
        tiles = await transaction.tiles(
            current.id, needed(lambda node: root_hash(newest.size, node))
        )
        try:
            root = root_hash(newest.size, Tiles(tiles).node)
        except KeyError:
            raise _Inconsistent from None
        if root != newest.root:
            raise _Inconsistent

    async def _is_known_to_a_disk(self, transaction: AppendTransaction, current: LogRow) -> bool:
        """Whether this disk has checkpoints of the log, or may adopt its newest one (which is then
        saved). False: no disk has them. Raises Unavailable while that is not decided.
        """
        known = await asyncio.to_thread(self._known.newest, current.origin)
        last = await transaction.last_checkpoint(current.id)
        if known is not None or last is None:
            return True
        may_adopt = await self._peers.may_adopt(last, await transaction.disks())
        if may_adopt is None:
            raise Unavailable(NEW_DISK)
        if may_adopt:
            await self._remember(last)
        return may_adopt

    async def _begin(
        self, transaction: AppendTransaction, last: LogRow | None, because: str
    ) -> LogRow:
        """Begin a new origin. Its first fact names the old one's newest checkpoint; each chain with
        facts that no checkpoint of the old one covers gets a fact `continued`: through its
        predecessor's hash the new log's checkpoints cover them.
        """
        known = await asyncio.to_thread(self._known.origins)
        is_first = last is None and self.name not in known
        origin = self.name if is_first else f"{self.name}/{secrets.token_hex(4)}"
        new = await transaction.begin(origin, root=EMPTY_ROOT, at=self._now())
        last_known: Checkpoint | None = None
        uncovered: list[bytes] = []
        note = None
        if last is not None:
            last_known = await asyncio.to_thread(self._known.newest, last.origin)
            covering = await transaction.last_checkpoint(last.id)
            note = covering.note if covering else None
            uncovered = await transaction.subjects_from(last.id, covering.size if covering else 0)
        log.log(
            logging.INFO if is_first else logging.CRITICAL,
            "evidence_log_begins",
            origin=origin,
            because=because,
            after=last.origin if last else None,
        )
        writer = await writer_for(transaction, new, [*uncovered, LOG_SUBJECT])
        writer.add_log_fact(
            "began",
            {
                "because": because,
                "keys": [str(key) for key in self.verifier_keys(origin)],
                "after": last and last.origin,
                "after_checkpoint": note,
                "after_known": last_known
                and {"size": last_known.size, "root": last_known.root.hex()},
            },
        )
        for subject in uncovered:
            if subject not in (LOG_SUBJECT, REMOVALS_SUBJECT):
                writer.add_fact(subject, "continued", {})
        return await self._write(transaction, new, writer.leaves, None)

    async def _append_batch(
        self, transaction: AppendTransaction, current: LogRow, batch: Batch
    ) -> LogRow:
        behind = replace(current, size=current.size + len(batch.leaves) // HASH_SIZE)
        facts = await build_facts(transaction, behind, batch)
        return await self._write(transaction, current, facts, batch)

    async def _write(
        self,
        transaction: AppendTransaction,
        current: LogRow,
        facts: Sequence[NewFact],
        batch: Batch | None,
    ) -> LogRow:
        """Store facts behind those that the batch has stored already; the log as it is then."""
        leaves = (batch.leaves if batch else b"") + b"".join(fact.hash for fact in facts)
        places: list[Place] = edge(current.size)
        tiles = Tiles(await transaction.tiles(current.id, places))
        changed = tiles.append(current.size, leaves)
        size = current.size + len(leaves) // HASH_SIZE
        longer = replace(
            current,
            size=size,
            root=root_hash(size, tiles.node),
            position=batch.position if batch else current.position,
        )
        await transaction.append(longer, facts, changed, pending=batch.pending if batch else ())
        return longer

    def _signers(self, origin: str) -> list[SigningKey]:
        """The keys, under the origin's name: a log's signatures name the log and not the key."""
        return [SigningKey(origin, key.seed) for key in self._keys]


def checkpoint_of(row: CheckpointRow) -> Checkpoint:
    """What a stored checkpoint says. Its signature is not verified: this service made it."""
    return unverified_checkpoint(row.note)
