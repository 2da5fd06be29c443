"""The words for people: every status has some, and the document is what the table says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.model.alarm import AlarmName
from app.model.london import TimeQuality
from app.model.status import Status
from app.model.verdict import Facts, duration, verdict
from app.model.words import ALARMS, SITUATIONS, STATUSES, TIMES, document

DOCUMENT = Path(__file__).parents[2] / "docs" / "statuses.md"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MADE = datetime(2020, 5, 6, 17, 37, 35, tzinfo=UTC)
LATE = datetime(2020, 5, 6, 23, 30, tzinfo=UTC)


def test_everything_has_words() -> None:
    assert set(STATUSES) == set(Status)
    assert set(TIMES) == set(TimeQuality)
    assert set(ALARMS) == set(AlarmName)
    for words in (*STATUSES.values(), *SITUATIONS.values()):
        for text in (words.means, words.to_do):
            assert text.endswith("."), text
    for alarm in ALARMS.values():
        assert alarm.means.endswith(".")
        assert alarm.to_do.endswith(".")


def test_the_document_is_up_to_date() -> None:
    """Made by ``python -c 'from app.model.words import document; print(document(), end="")'``."""
    assert DOCUMENT.read_text() == document()


CASES = [
    (
        "delivered",
        Facts("DELIVERED", MADE + timedelta(seconds=11), MADE + timedelta(seconds=1), MADE),
        "Delivered to the handset at 18:37:46, 10 seconds after it was sent",
    ),
    (
        "delivered at once",
        Facts("DELIVERED", MADE + timedelta(seconds=1), MADE + timedelta(seconds=1), MADE),
        "Delivered to the handset at 18:37:36, within a second of being sent",
    ),
    (
        "delivered on another day",
        Facts("DELIVERED", MADE + timedelta(days=1), MADE, MADE),
        "Delivered to the handset at 18:37:35 on 7 May, 1 day after it was sent",
    ),
    (
        "scheduled",
        Facts("QUEUED", NOW, send_at=NOW + timedelta(days=1)),
        "Will be sent on 29 November at 12:00",
    ),
    (
        "held back",
        Facts("QUEUED", NOW - timedelta(minutes=5), attempts=2),
        "Waiting to be sent: iovox can’t be reached since 11:55",
    ),
    (
        "failed",
        Facts("FAILED", NOW, reason="delivery failure"),
        "Not delivered: the network gave up (“delivery failure”)",
    ),
    (
        "rejected",
        Facts("REJECTED", NOW, errors=["Destination Invalid"]),
        "Refused by iovox: “Destination Invalid”",
    ),
    (
        "overdue",
        Facts("SUBMITTED", NOW, created_at=NOW - timedelta(days=3), overdue=True),
        "No final word for 3 days",
    ),
    (
        "unconfirmed says more than overdue",
        Facts("UNCONFIRMED", NOW, created_at=NOW, overdue=True),
        "It may have been sent: iovox’s answer was lost",
    ),
    (
        "contradictory",
        Facts("DELIVERED", NOW, contradictory=True),
        "Delivered, though another receipt says that it was not",
    ),
    (
        "scheduled for another year, in London's day",
        Facts("QUEUED", NOW, send_at=datetime(2027, 6, 30, 23, 30, tzinfo=UTC)),
        "Will be sent on 1 July 2027 at 00:30",
    ),
    (
        "held back since another day",
        Facts("QUEUED", datetime(2026, 6, 30, 23, 30, tzinfo=UTC), attempts=1),
        "Waiting to be sent: iovox can’t be reached since 00:30 on 1 July",
    ),
    (
        "held back since nobody knows when",
        Facts("QUEUED", None, attempts=1),
        "Waiting to be sent: iovox can’t be reached",
    ),
    (
        "delivered within London's day, over midnight of others",
        Facts("DELIVERED", LATE + timedelta(hours=20), LATE, LATE, reason="ok", errors=["e"]),
        "Delivered to the handset at 20:30:00, 20 hours after it was sent",
    ),
    (
        "delivered after a second",
        Facts("DELIVERED", MADE + timedelta(seconds=1), MADE, MADE, send_at=MADE),
        "Delivered to the handset at 18:37:36, 1 second after it was sent",
    ),
    (
        "delivered, and sent nobody knows when",
        Facts("DELIVERED", MADE, None, None),
        "Delivered to the handset at 18:37:35",
    ),
    (
        "failed for no reason",
        Facts("FAILED", NOW, errors=["an error of ours"]),
        "Not delivered: the network gave up",
    ),
    (
        "rejected for two",
        Facts("REJECTED", NOW, reason="8", errors=["Origin Invalid", "Destination Invalid"]),
        "Refused by iovox: “Origin Invalid”, “Destination Invalid”",
    ),
]


@pytest.mark.parametrize(
    ("facts", "heading"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
@pytest.mark.usefixtures("host_in_new_york")
def test_headings(facts: Facts, heading: str) -> None:
    assert verdict(facts, now=NOW).heading == heading


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (120, "2 minutes"),
     (3_600, "1 hour"), (86_400 * 3, "3 days"), (-5, "0 seconds")],
)  # fmt: skip
def test_durations(seconds: int, words: str) -> None:
    assert duration(timedelta(seconds=seconds)) == words
