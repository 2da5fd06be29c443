"""Arrivals for tests: calls to /dlr as they come in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from app.model.receipt import Arrival

START = datetime(2026, 11, 22, 9, 0, 0, 123456, tzinfo=UTC)


def body(sms_activity_id: str, status: str = "DELIVERED", **fields: object) -> bytes:
    """A receipt's JSON."""
    receipt = {
        "sms_activity_id": sms_activity_id,
        "delivery_status": "delivery success",
        "status_reason": "1",
        "receipt_timestamp": "2026-11-22 08:59:58",
        "status": status,
    }
    return json.dumps(receipt | fields).encode()


def arrival(number: int = 0, *, content: bytes | None = None, hint: UUID | None = None) -> Arrival:
    """The call that came ``number`` milliseconds after START."""
    return Arrival(
        id=uuid4(),
        received_at=START + timedelta(milliseconds=number),
        body=body(f"activity-{number}") if content is None else content,
        hint=hint,
    )


def arrivals(numbers: Iterable[int]) -> list[Arrival]:
    """One for each number."""
    return [arrival(number) for number in numbers]
