"""Commits calls to the database, and keeps those that it refuses as rejections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.receipt import Receipt, Rejection
from app.ops.metrics import Metrics
from app.record.erased_lately import ErasedLately
from app.record.journal import Journal
from app.store.failures import retry_transient
from app.store.receipts import ReceiptStore

Call = Receipt | Rejection
LONGEST_REASON = 500

_REFUSED = "The database refused it: {}"
_FAILED = "It could not be stored: {!r}"

log = structlog.get_logger(__name__)


class Recorder:
    """Commits receipts that just arrived, and those from the spool."""

    def __init__(
        self,
        *,
        store: ReceiptStore,
        metrics: Metrics,
        announce: Callable[[], None],
        journal: Journal | None = None,
        erased: ErasedLately | None = None,
    ) -> None:
        """``announce`` is called after every commit that may have written events. The ``journal``
        has every call before the database does. Bodies of what is ``erased`` are not kept.
        """
        self._store = store
        self._erased = erased or ErasedLately()
        self._journal = journal or Journal()
        self._metrics = metrics
        self._announce = announce

    async def record(self, calls: Sequence[Call]) -> None:
        """Commit calls. Raises StoreUnavailable, and then nothing is known of any of them.

        A call that the database refuses, or that a bug of ours cannot store, is found by bisection
        and kept as a rejection with the reason; the others are committed without it. Otherwise it
        would block everything behind it in the spool.
        """
        calls = self._erased.strip(calls)
        operation = self._journal.write_arrivals_ahead([call.arrival for call in calls])
        try:
            await self._record(calls)
        finally:
            operation.close()  # where it failed, the caller has spooled them or does not answer 200

    async def _record(self, calls: Sequence[Call]) -> None:
        try:
            await self._add(calls)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it is kept with the receipt
            if len(calls) == 1:
                await self._retry_or_reject(calls[0], error)
                return
            log.warning("batch_halved", receipts=len(calls), reason=type(error).__name__)
            middle = len(calls) // 2
            await self._record(calls[:middle])
            await self._record(calls[middle:])

    async def _add(self, calls: Sequence[Call]) -> None:
        receipts = [call for call in calls if isinstance(call, Receipt)]
        rejections = [call for call in calls if isinstance(call, Rejection)]
        stored = await retry_transient(partial(self._store.add, receipts, rejections))
        if receipts:
            self._announce()
        self._metrics.receipts_stored.inc(len(receipts))
        self._metrics.receipts_rejected.inc(len(rejections))
        for message_id, sms_activity_id in stored.ignored_hints:
            log.warning(
                "message_id_header_ignored",
                message_id=str(message_id),
                sms_activity_id=sms_activity_id,
                why="no such message, it is cancelled, or it has another sms_activity_id",
            )

    async def _retry_or_reject(self, call: Call, error: Exception) -> None:
        """Retry once, unless the database refused it: a driver's error may be transient."""
        if not isinstance(error, StoreRefused):
            try:
                await self._add([call])
            except StoreUnavailable:
                raise
            except Exception as again:  # noqa: BLE001  as above
                error = again
            else:
                return
        await self._reject(call, error)

    async def _reject(self, call: Call, error: Exception) -> None:
        is_refusal = isinstance(error, StoreRefused)
        reason = _REFUSED.format(error) if is_refusal else _FAILED.format(error)
        log.error(
            "receipt_set_apart",
            arrival=str(call.arrival.id),
            reason=_plain(reason)[:LONGEST_REASON],
            todo="mend the cause, then `dlr receipts replay`",
            exc_info=None if is_refusal else error,
        )
        await self._store.add([], [Rejection(call.arrival, 500, _plain(reason)[:LONGEST_REASON])])
        self._metrics.receipts_rejected.inc()


def _plain(text: str) -> str:
    """ASCII without NUL, which every database can store, whatever an error quotes."""
    return text.encode("ascii", "backslashreplace").decode("ascii").replace("\x00", "\\x00")
