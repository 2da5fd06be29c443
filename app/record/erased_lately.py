"""What was erased lately, so that the bodies of receipts that come later are written nowhere.

The database drops them by itself, but the journal and the spool are written before it is asked.
``app.record.disks`` refreshes this every few seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from app.model.receipt import Arrival, Receipt, Rejection
from app.record.blanking import minimal_body

Call = Receipt | Rejection


class ErasedLately:
    """Ids of erased messages, ours and iovox's."""

    def __init__(self) -> None:
        self._known: set[UUID | str] = set()

    def learn(self, erased: Collection[tuple[UUID, str | None]], *, are_all: bool) -> None:
        """Add these; with ``are_all`` they replace what was known."""
        if are_all:
            self._known.clear()
        for id_, name in erased:
            self._known.add(id_)
            if name is not None:
                self._known.add(name)

    def strip(self, calls: Sequence[Call]) -> Sequence[Call]:
        """The calls; the bodies of those of erased messages are reduced to what decides the
        status.
        """
        if not self._known:
            return calls
        return [self._stripped(call) if self._is_erased(call) else call for call in calls]

    def _is_erased(self, call: Call) -> bool:
        is_named = call.arrival.hint in self._known
        return is_named or (isinstance(call, Receipt) and call.sms_activity_id in self._known)

    def _stripped(self, call: Call) -> Call:
        arrival: Arrival = call.arrival
        if isinstance(call, Receipt):
            return call._replace(arrival=arrival._replace(body=minimal_body(arrival.body)))
        return Rejection(arrival._replace(body=b""), call.http_status, call.reason, call.errors)
