"""The service behind routes and console: checkpoints, consistency proofs, keys, documents."""

from __future__ import annotations

from functools import partial

from app.errors import FieldError, Invalid, NotFound
from app.record.evidence.document import Documents
from app.record.evidence.log import EvidenceLog
from app.record.evidence.merkle import consistency_proof
from app.record.evidence.tiles import Tiles, needed
from app.store.evidence.reading import EvidenceReader
from app.store.evidence.rows import CheckpointRow, LogRow
from app.store.history import HistoryStore


class EvidenceService:
    """Answers from the log. Raises StoreUnavailable, and Unavailable where a checkpoint could not
    be published (``EvidenceLog.publish``).
    """

    def __init__(
        self,
        *,
        log: EvidenceLog,
        reader: EvidenceReader,
        documents: Documents,
        history: HistoryStore,
    ) -> None:
        self._log = log
        self._reader = reader
        self._documents = documents
        self._history = history

    async def checkpoint(self) -> CheckpointRow:
        """Publish a checkpoint of everything that was to be appended by now."""
        return await self._log.checkpoint()

    async def checkpoints(self, after: str | None, limit: int) -> list[CheckpointRow]:
        """A page of published checkpoints, behind a cursor: `log.size`, None for the first page."""
        log, _, size = (after or "0.0").partition(".")
        place = (int(log), int(size)) if after else (0, -1)
        rows = await self._reader.checkpoints(after=place, limit=limit)
        return [await self._log.publish(row) for row in rows]

    async def consistency(
        self, first: int, second: int, origin: str | None
    ) -> tuple[str, list[bytes]]:
        """The origin (None: the newest) and a consistency proof between two of its sizes.

        Raises NotFound (no such origin) and Invalid (no such sizes).
        """
        log = await self._find(origin)
        if not 0 < first <= second <= log.size:
            fault = FieldError("from", f"1 <= from <= to <= {log.size} must hold")
            raise Invalid("The log has no such sizes", errors=(fault,))
        places = needed(partial(consistency_proof, first, second))
        tiles = Tiles(await self._reader.tiles(log.id, places))
        return log.origin, consistency_proof(first, second, tiles.node)

    async def keys(self) -> list[tuple[LogRow, list[str]]]:
        """Every log with today's verifier keys under its origin."""
        return [
            (log, [str(key) for key in self._log.verifier_keys(log.origin)])
            for log in await self._reader.logs()
        ]

    async def of_message(self, name: str, *, app: str | None, since: int | None) -> bytes:
        """The document of a message by either id. ``app``: whose message it must be; None: any.
        ``since``: see ``Documents.of_message``. Raises NotFound, also for another app's message.
        """
        record = await self._history.find(name)
        owner = record.message.app if record and record.message else None
        if record is None or (app is not None and owner != app):
            raise NotFound("There is no such message")
        subject = record.message.id if record.message else record.sms_activity_id or ""
        return await self._documents.of_message(subject, since=since)

    async def _find(self, origin: str | None) -> LogRow:
        logs = await self._reader.logs()
        found = [log for log in logs if origin is None or log.origin == origin]
        if not found:
            raise NotFound("There is no log of this origin")
        return found[-1]
