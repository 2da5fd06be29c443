"""The log as a whole: appends what is new, signs checkpoints, begins and ends origins.

What is promised: no two checkpoints of one origin contradict each other, whatever is killed and
whatever the database forgets. So nothing is signed, or shown, before it was compared with what this
disk knows, and nothing is shown before this disk has it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from app.errors import Unavailable
from app.record.evidence.checkpoint import Checkpoint, parse_checkpoint
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.facts import OF_REMOVALS, OF_THE_LOG
from app.record.evidence.form import canonical_text
from app.record.evidence.gathering import facts_of, writer_of
from app.record.evidence.merkle import EMPTY_ROOT, HASH_SIZE, root_hash
from app.record.evidence.note import SigningKey, VerifierKey, sign
from app.record.evidence.tiles import Place, Tiles, edge, needed
from app.record.evidence.witnesses import Witnesses
from app.store.evidence.appending import EvidenceAppender, Turn, Waiting
from app.store.evidence.reading import EvidenceReader
from app.store.evidence.rows import CheckpointRow, LogRow, NewFact

AT_ONCE = 5_000
"""Receipts, and events, in one transaction."""
SIGNED_EVERY = timedelta(hours=1)
"""While there is anything new."""
ROLLED_BACK = "the database was rolled back behind a checkpoint"
DISK_GONE = "the disk with the log's checkpoints is gone"

log = structlog.get_logger(__name__)


class _Divided(Exception):
    """The log in the database is not the one of a checkpoint that is known."""


class EvidenceLog:
    """Appends and signs; any number of processes may have one, they take turns."""

    def __init__(
        self,
        *,
        appender: EvidenceAppender,
        reader: EvidenceReader,
        known: KnownCheckpoints,
        witnesses: Witnesses,
        keys: Sequence[SigningKey],
        now: Callable[[], datetime],
    ) -> None:
        """``keys``: the first one names new origins; all of them sign, the others that are being
        rotated out or in.
        """
        self._appender = appender
        self._reader = reader
        self._known = known
        self._witnesses = witnesses
        self._keys = tuple(keys)
        self._now = now
        self._agreed: tuple[int, int, bytes] | None = None  # log, size and root, last time
        self._told_keys = False
        self._kept = ""  # the note that this disk got last

    @property
    def name(self) -> str:
        """The name of the key, from which origins have theirs."""
        return self._keys[0].name

    @property
    def is_begun(self) -> bool:
        """Whether this process has seen that the log agrees with its disk."""
        return self._told_keys

    def verifier_keys(self, origin: str) -> list[VerifierKey]:
        """The keys that sign for an origin now."""
        return [key.verifier for key in self._signers(origin)]

    async def append(self) -> bool:
        """Append what waits, at most AT_ONCE of each; whether that was all of it.

        Raises StoreUnavailable and StoreRefused, after which it may have happened or not.
        """
        async with self._appender.turn() as turn:
            current = await self._current(turn)
            origin = canonical_text(current.origin)
            waiting = await turn.take(current, origin=origin, limit=AT_ONCE)
            if waiting.is_any:
                current = await self._append_waiting(turn, current, waiting)
        self._agreed = (current.id, current.size, current.root)
        self._told_keys = True
        return waiting.is_all

    async def sign(self) -> CheckpointRow:
        """A checkpoint of what the log has, new if there is anything new since the last one.

        It is on this disk on return. Raises StoreUnavailable, and Unavailable (the disk).
        """
        now = self._now()
        async with self._appender.turn() as turn:
            self._agreed = None  # nothing is signed that was not compared just now
            current = await self._current(turn)
            last = await turn.last_checkpoint(current.id)
            if last is None or last.size < current.size:
                text = Checkpoint(current.origin, current.size, current.root).text
                note = sign(text, self._signers(current.origin))
                await turn.add_checkpoint(current.id, current.size, note, now)
                last = CheckpointRow(current.id, current.size, note, now, None, None)
        return await self.show(last)

    async def checkpoint(self) -> CheckpointRow:
        """The newest checkpoint, of all that was appended up to a second ago."""
        while not await self.append():
            pass
        return await self.sign()

    async def is_due(self) -> bool:
        """Whether a checkpoint has to be signed by now."""
        current, last = await self._reader.newest()
        if current is None or current.ended_at is not None:
            return False
        if last is None:
            return True
        return last.size < current.size and self._now() - last.signed_at >= SIGNED_EVERY

    async def _remember(self, checkpoint: CheckpointRow) -> None:
        try:
            await asyncio.to_thread(self._known.remember, checkpoint.note)
        except OSError as error:
            raise Unavailable(f"A checkpoint cannot be kept on disk: {error.strerror}") from error

    async def show(self, checkpoint: CheckpointRow) -> CheckpointRow:
        """A checkpoint that another process may have signed, now that every disk has it."""
        await self.keep(checkpoint)
        await self._witnesses.confirm(checkpoint)
        return checkpoint

    async def keep(self, checkpoint: CheckpointRow) -> None:
        """Have a checkpoint that another process has signed on this disk, too."""
        if checkpoint.note != self._kept:
            await self._remember(checkpoint)
            self._kept = checkpoint.note
        await self._witnesses.report(checkpoint.log, checkpoint.size)

    async def heard(self) -> bool:
        """Keep the newest checkpoint of the log, unless this disk knows better, and say that this
        disk is there. Whether the log has to be gone on with, though nothing waits.
        """
        current, newest = await self._reader.newest()
        if current is None:
            return True
        known = await asyncio.to_thread(self._known.newest, current.origin)
        if newest is not None and await self._trusts(newest, known):
            await self.keep(newest)
        else:
            await self._witnesses.report(current.id, -1)
        return known is not None and known.size > current.size

    async def _trusts(self, newest: CheckpointRow, known: Checkpoint | None) -> bool:
        if known is not None:
            return known.size <= newest.size
        return await self._witnesses.may_adopt(newest, await self._witnesses.disks()) is True

    async def _current(self, turn: Turn) -> LogRow:
        """The log to append to, which agrees with what this disk knows; begun if need be."""
        current = await turn.log()
        if current is None:
            return await self._begin(turn, None, "the first log of this service")
        if current.ended_at is not None:
            return await self._begin(turn, current, "the log before it was ended")
        if current.origin != self.name and not current.origin.startswith(f"{self.name}/"):
            return await self._begin(turn, current, "its key was replaced by one of another name")
        known = await asyncio.to_thread(self._known.newest, current.origin)
        is_ahead = known is not None and known.size > current.size
        if is_ahead or self._agreed != (current.id, current.size, current.root):
            try:
                await self._require_agreement(turn, current)
            except _Divided:
                return await self._begin(turn, current, ROLLED_BACK)
            if await self._is_disk_gone(turn, current):
                return await self._begin(turn, current, DISK_GONE)
            if not self._told_keys:
                return await self._tell_rotation(turn, current)
        return current

    async def _tell_rotation(self, turn: Turn, current: LogRow) -> LogRow:
        """Append a fact if other keys sign from now on than the log says so far."""
        facts = [json.loads(text) for text in await turn.facts_of(current.id, OF_THE_LOG)]
        told = next((fact["keys"] for fact in reversed(facts) if "keys" in fact), None)
        keys = [str(key) for key in self.verifier_keys(current.origin)]
        if told == keys:
            return current
        log.warning("evidence_keys_changed", origin=current.origin, keys=keys)
        writer = await writer_of(turn, current, [OF_THE_LOG])
        writer.of_log("rotation", {"keys": keys})
        return await self._write(turn, current, writer.leaves, None)

    async def _require_agreement(self, turn: Turn, current: LogRow) -> None:
        """Raises _Divided unless the tree begins with the one that this disk knows."""
        newest = await asyncio.to_thread(self._known.newest, current.origin)
        if newest is None:
            return
        if newest.size > current.size:
            raise _Divided
        tiles = await turn.tiles(current.id, needed(lambda node: root_hash(newest.size, node)))
        try:
            root = root_hash(newest.size, Tiles(tiles).node)
        except KeyError:
            raise _Divided from None
        if root != newest.root:
            raise _Divided

    async def _is_disk_gone(self, turn: Turn, current: LogRow) -> bool:
        """Whether no disk is left that knows the log's checkpoints. Raises Unavailable while that
        is not decided.
        """
        known = await asyncio.to_thread(self._known.newest, current.origin)
        last = await turn.last_checkpoint(current.id)
        if known is not None or last is None:
            return False
        may_adopt = await self._witnesses.may_adopt(last, await turn.disks())
        if may_adopt is None:
            raise Unavailable("This disk is new: whether another one knows the log is being seen")
        if may_adopt:
            await self._remember(last)
        return not may_adopt

    async def _begin(self, turn: Turn, last: LogRow | None, why: str) -> LogRow:
        """A new origin. Its first fact names the old one's newest checkpoint, and each history of
        which a fact has no checkpoint goes on with one that has.
        """
        known = await asyncio.to_thread(self._known.origins)
        is_first = last is None and self.name not in known
        origin = self.name if is_first else f"{self.name}/{secrets.token_hex(4)}"
        new = await turn.begin(origin, root=EMPTY_ROOT, at=self._now())
        follows: Checkpoint | None = None
        loose: list[bytes] = []
        note = None
        if last is not None:
            follows = await asyncio.to_thread(self._known.newest, last.origin)
            proved = await turn.last_checkpoint(last.id)
            note = proved.note if proved else None
            loose = await turn.subjects_from(last.id, proved.size if proved else 0)
        log.log(
            20 if is_first else 50,  # info, critical
            "evidence_log_begins",
            origin=origin,
            because=why,
            after=last.origin if last else None,
        )
        writer = await writer_of(turn, new, [*loose, OF_THE_LOG])
        writer.of_log(
            "began",
            {
                "because": why,
                "keys": [str(key) for key in self.verifier_keys(origin)],
                "after": last and last.origin,
                "after_checkpoint": note,
                "after_known": follows and {"size": follows.size, "root": follows.root.hex()},
            },
        )
        for subject in loose:
            if subject not in (OF_THE_LOG, OF_REMOVALS):
                writer.of_message(subject, "continued", {})
        return await self._write(turn, new, writer.leaves, None)

    async def _append_waiting(self, turn: Turn, current: LogRow, waiting: Waiting) -> LogRow:
        behind = replace(current, size=current.size + len(waiting.leaves) // HASH_SIZE)
        facts = await facts_of(turn, behind, waiting)
        return await self._write(turn, current, facts, waiting)

    async def _write(
        self, turn: Turn, current: LogRow, facts: Sequence[NewFact], waiting: Waiting | None
    ) -> LogRow:
        leaves = (waiting.leaves if waiting else b"") + b"".join(fact.hash for fact in facts)
        places: list[Place] = edge(current.size)
        tiles = Tiles(await turn.tiles(current.id, places))
        changed = tiles.append(current.size, leaves)
        size = current.size + len(leaves) // HASH_SIZE
        longer = replace(
            current,
            size=size,
            root=root_hash(size, tiles.node),
            position=waiting.position if waiting else current.position,
        )
        await turn.append(longer, facts, changed, told=waiting.told if waiting else ())
        return longer

    def _signers(self, origin: str) -> list[SigningKey]:
        """The keys under the origin's name, which is that of the log and not of a key."""
        return [SigningKey(origin, key.seed) for key in self._keys]


def checkpoint_of(row: CheckpointRow) -> Checkpoint:
    """What a stored checkpoint says. It is ours, so its signature is not looked at."""
    return parse_checkpoint(row.note.partition("\n\n")[0] + "\n")
