"""Puts calls into the database, setting apart the ones that it will not have."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.metrics import Metrics
from app.model.receipt import Receipt, Rejection
from app.store.engine import is_transient
from app.store.receipts import ReceiptStore

Call = Receipt | Rejection
TRIES = 3
"""For a transaction that PostgreSQL broke off through no fault of the data, such as a deadlock."""

log = structlog.get_logger(__name__)


class Recorder:
    """One way into the database, for receipts that just came and for those out of the spool."""

    def __init__(self, *, store: ReceiptStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def record(self, calls: Sequence[Call]) -> None:
        """Commit calls. Raises StoreUnavailable, and then nothing is known of any of them.

        A call that the database refuses is found by halving, and kept as a rejection with the
        reason; the others are committed as if it had not been there.
        """
        try:
            await self._add(calls)
        except StoreRefused as error:
            if len(calls) == 1:
                await self._set_apart(calls[0], error)
                return
            middle = len(calls) // 2
            await self.record(calls[:middle])
            await self.record(calls[middle:])

    async def _add(self, calls: Sequence[Call]) -> None:
        receipts = [call for call in calls if isinstance(call, Receipt)]
        rejections = [call for call in calls if isinstance(call, Rejection)]
        for attempt in range(1, TRIES + 1):
            try:
                stored = await self._store.add(receipts, rejections)
                break
            except StoreUnavailable as error:
                if attempt == TRIES or not is_transient(error):
                    raise
        self._metrics.receipts_stored.inc(len(receipts))
        self._metrics.receipts_rejected.inc(len(rejections))
        for message_id, sms_activity_id in stored.ignored_hints:
            log.warning(
                "message_id_header_ignored",
                message_id=str(message_id),
                sms_activity_id=sms_activity_id,
                why="no such message, it is cancelled, or it has another sms_activity_id",
            )

    async def _set_apart(self, call: Call, error: StoreRefused) -> None:
        log.error("receipt_set_apart", arrival=str(call.arrival.id), reason=error.detail)
        reason = f"The database refused it: {error.detail}"
        await self._store.add([], [Rejection(call.arrival, 500, reason)])
        self._metrics.receipts_rejected.inc()
