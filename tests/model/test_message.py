"""What a message says of itself: its expiry, why it has its status, whether it is overdue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.model.message import Message, Record, Request, Step, Submission, expiry_time
from app.model.status import Status, weight_of

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
REQUEST = Request("447923221231", "447723443321", "Hello")
MESSAGE = Message(UUID(int=1), "billing", REQUEST, NOW, Status.QUEUED)
RECORD = Record(MESSAGE, None, Status.QUEUED, NOW)


def test_a_repr_shows_no_content() -> None:
    submission = Submission(UUID(int=1), "447923221231", "447723443321", "Hello")
    assert repr(submission) == "Submission(00000000-0000-0000-0000-000000000001)"
    assert repr(REQUEST) == "Request(...)"
    assert "Hello" not in repr(MESSAGE)
    assert "447723443321" not in repr(RECORD)


def test_an_expiry_counts_from_the_request_or_from_send_at() -> None:
    assert MESSAGE.starts_at == NOW
    assert MESSAGE.expires_at is None
    expiring = replace(MESSAGE, request=replace(REQUEST, expiry=3))
    assert expiring.expires_at == NOW + 3 * MINUTE == expiry_time(NOW, 3)
    later = replace(MESSAGE, request=replace(REQUEST, expiry=3, send_at=NOW + DAY))
    assert later.starts_at == NOW + DAY
    assert later.expires_at == NOW + DAY + 3 * MINUTE


@pytest.mark.parametrize(("expiry", "after"), [(3, 3 * MINUTE), (None, 72 * 60 * MINUTE)])
def test_a_message_is_overdue_after_its_expiry_or_else_the_default(
    expiry: int | None, after: timedelta
) -> None:
    record = replace(RECORD, message=replace(MESSAGE, request=replace(REQUEST, expiry=expiry)))
    assert not record.overdue(NOW + after, timedelta(hours=72))
    assert record.overdue(NOW + after + timedelta(microseconds=1), timedelta(hours=72))


def test_what_is_final_or_nobodys_is_never_overdue() -> None:
    late = NOW + 1_000 * DAY
    assert RECORD.overdue(late, DAY)
    assert not replace(RECORD, status=Status.DELIVERED).overdue(late, DAY)
    assert not replace(RECORD, message=None).overdue(late, DAY)
    assert not RECORD.final
    assert replace(RECORD, status=Status.DELIVERED).final


def test_receipts_for_success_and_for_failure_contradict_each_other() -> None:
    delivered, failed = weight_of("DELIVERED").flag, weight_of("FAILED").flag
    assert replace(RECORD, seen=delivered | failed).contradictory
    assert not replace(RECORD, seen=delivered).contradictory
    assert not replace(RECORD, seen=failed).contradictory


def test_why_it_has_its_status() -> None:
    steps = (
        Step(Status.QUEUED, NOW, ("busy",)),
        Step(Status.REJECTED, NOW, ("no route", "no credit")),
        Step(Status.QUEUED, NOW, ("still", "busy")),
        Step(Status.SUBMITTED, NOW),
    )
    assert RECORD.why is None
    assert replace(RECORD, steps=steps).why == "still; busy"
    assert replace(RECORD, steps=steps, status=Status.REJECTED).why == "no route; no credit"
    assert replace(RECORD, steps=steps, status=Status.SUBMITTED).why is None
    assert replace(RECORD, steps=steps, reason_text="smsc submit").why == "smsc submit"
    assert replace(RECORD, steps=steps, reason_text="").why == ""
