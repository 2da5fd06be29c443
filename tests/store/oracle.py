"""What the stores should answer, as a plain reading of docs and design: lists, sets and loops.

It keeps every receipt and works everything out anew from them; no keys, no SQL, nothing clever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.model.message import Acceptance, Message, Outcome
from app.model.receipt import Receipt
from tests.store.samples import Event

# rank, and who wins at the same instant
RANKS = {
    "ACKNOWLEDGED": (1, 0),
    "BUFFERED": (1, 1),
    "EXPIRED": (2, 0),
    "FAILED": (2, 1),
    "DELIVERED": (3, 0),
}
Weight = tuple[int, datetime, int]


@dataclass
class Delivery:
    submitted: bool = False  # iovox's answer made it, or a message is tied to it
    message: UUID | None = None
    receipts: list[Receipt] = field(default_factory=list)
    arrivals: dict[bytes, set[UUID]] = field(default_factory=dict)

    @property
    def best(self) -> Receipt | None:
        known = [receipt for receipt in self.receipts if receipt.content.status in RANKS]
        return max(known, key=weight, default=None)

    @property
    def status(self) -> str:
        if self.best is not None:
            return self.best.content.status
        return "SUBMITTED" if self.submitted else "UNKNOWN"

    @property
    def contradictory(self) -> bool:
        statuses = {receipt.content.status for receipt in self.receipts}
        return "DELIVERED" in statuses and bool(statuses & {"FAILED", "EXPIRED"})


def weight(receipt: Receipt) -> Weight:
    rank, tie = RANKS[receipt.content.status]
    return rank, receipt.content.at, tie


class Oracle:
    """The whole database, one call after the other."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self.states = {one.id: str(one.state) for one in messages}
        self.leases = {one.id: one.lease for one in messages}
        self.ids: dict[UUID, str] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.events = [Event(one.id, None, "QUEUED") for one in messages if one.announced]

    def add(self, batch: Sequence[Receipt]) -> None:
        touched = {receipt.sms_activity_id for receipt in batch}
        before = {sid for sid in touched & set(self.deliveries) if self._contradictory(sid)}
        so_far = len(self.events)
        for receipt in batch:
            self._take(receipt)
        raised = self.events[so_far:]
        self.events[so_far:] = [self._as_it_then_was(event) for event in raised]
        for sid in touched - before - {event.sms_activity_id for event in raised}:
            message = self.deliveries[sid].message
            if message is not None and self._contradictory(sid):
                self.events.append(Event(message, sid, self.deliveries[sid].status, True, True))
        for receipt in batch:
            if receipt.arrival.hint is not None:
                self._bind(receipt.arrival.hint, receipt.sms_activity_id)

    def accepted(self, batch: Sequence[Acceptance]) -> dict[UUID, str | None]:
        for pair in batch:
            self.deliveries.setdefault(pair.sms_activity_id, Delivery(submitted=True))
        for pair in batch:
            self._bind(pair.message_id, pair.sms_activity_id)
        return {pair.message_id: self.ids.get(pair.message_id) for pair in batch}

    def settle(self, outcome: Outcome) -> set[UUID]:
        message = outcome.message_id
        expected = "QUEUED" if outcome.lease is None else "SENDING"
        if self.states[message] != expected or self.leases[message] != outcome.lease:
            return set()
        self.states[message] = str(outcome.step.status)
        self.leases[message] = None
        self.events.append(Event(message, None, str(outcome.step.status)))
        return {message}

    def status(self, message: UUID) -> str:
        if message in self.ids:
            return self.deliveries[self.ids[message]].status
        return self.states[message]

    def _contradictory(self, sms_activity_id: str | None) -> bool:
        return sms_activity_id is not None and self.deliveries[sms_activity_id].contradictory

    def _as_it_then_was(self, event: Event) -> Event:
        contradictory = event.status == "DELIVERED" and self._contradictory(event.sms_activity_id)
        return event._replace(contradictory=contradictory)

    def _take(self, receipt: Receipt) -> None:
        delivery = self.deliveries.setdefault(receipt.sms_activity_id, Delivery())
        seen = delivery.arrivals.setdefault(receipt.content.digest, set())
        is_new = not seen
        seen.add(receipt.arrival.id)
        if not is_new:
            return
        before = delivery.best
        delivery.receipts.append(receipt)
        raised = delivery.best is receipt and (before is None or weight(receipt) > weight(before))
        if raised and delivery.message is not None:
            self.events.append(
                Event(delivery.message, receipt.sms_activity_id, receipt.content.status)
            )

    def _bind(self, message: UUID, sms_activity_id: str) -> None:
        delivery = self.deliveries[sms_activity_id]
        state = self.states.get(message)
        if delivery.message is not None or state in (None, "CANCELLED") or message in self.ids:
            return
        delivery.message, delivery.submitted = message, True
        self.ids[message] = sms_activity_id
        self.states[message], self.leases[message] = "SUBMITTED", None
        steps = {
            weight(receipt): receipt.content.status
            for receipt in delivery.receipts
            if receipt.content.status in RANKS
        }
        statuses = ["SUBMITTED", *(steps[key] for key in sorted(steps))]
        self.events += [
            self._as_it_then_was(Event(message, sms_activity_id, status)) for status in statuses
        ]
