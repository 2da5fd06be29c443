"""The journal of a process: what is written, when that is refused, and what no mark may claim."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from app.errors import StoreUnavailable
from app.model.fact import Accepted, Arrived, Ended, Gap, Met, OnWire
from app.model.message import Message, Request, Step
from app.model.receipt import Arrival
from app.model.status import Status
from app.record.encoding import decode
from app.record.journal import Forgotten, Journal
from app.record.reading import leases_given_back
from app.record.segments import Writer, make_folder, read

DATABASE, NOW, LATER = UUID(int=7), UUID(int=1), UUID(int=2)
AT = datetime(2026, 5, 6, tzinfo=UTC)
ACCEPTED = Accepted(UUID(int=9), "sid", AT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / ("a" * 32)
    make_folder(made)
    return made


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    journal = Journal(is_on=True)
    journal.open(Writer(folder, DATABASE))
    journal.adopt(NOW)
    yield journal
    journal.close()


def facts_in(folder: Path) -> list[object]:
    return [located and decode(located.raw) for located in read(folder, (0, 0))]


def test_what_is_true_anyhow_is_written_first_and_stays_open(
    journal: Journal, folder: Path
) -> None:
    began = journal.end
    operation = journal.write_ahead([ACCEPTED, ACCEPTED])
    assert facts_in(folder) == [ACCEPTED, ACCEPTED]
    assert (journal.has_open, journal.settled_up_to) == (True, began)
    journal.note(Met(("other",)))
    assert journal.settled_up_to == began
    operation.close()
    assert (journal.has_open, journal.settled_up_to) == (False, journal.end)


def test_the_oldest_that_is_open_counts(journal: Journal) -> None:
    first = journal.write_ahead([ACCEPTED])
    second = journal.write_ahead([ACCEPTED])
    assert journal.settled_up_to == first.start < second.start
    first.close()
    assert journal.settled_up_to == second.start


def test_a_batch_of_receipts_is_one_record(journal: Journal, folder: Path) -> None:
    arrivals = [Arrival(uuid4(), AT, b"{}"), Arrival(uuid4(), AT, b"[]", uuid4())]
    journal.write_arrivals_ahead(arrivals).close()
    assert facts_in(folder) == [Arrived(tuple(arrivals))]


def test_what_a_transaction_made_true_is_written_unless_it_may_be_forgotten(
    journal: Journal, folder: Path
) -> None:
    journal.confirm([ACCEPTED, ACCEPTED], NOW)
    assert facts_in(folder) == [ACCEPTED, ACCEPTED]
    journal.adopt(LATER)
    with pytest.raises(Forgotten, match="was restored or failed over"):
        journal.confirm([ACCEPTED], NOW)
    assert facts_in(folder) == [ACCEPTED, ACCEPTED]
    assert (journal.holds(NOW), journal.holds(LATER)) == (False, True)


def test_before_it_is_open_nothing_is_acknowledged() -> None:
    journal = Journal(is_on=True)
    with pytest.raises(StoreUnavailable, match="not open yet"):
        journal.write_ahead([ACCEPTED])
    with pytest.raises(Forgotten):
        journal.confirm([ACCEPTED], None)
    assert (journal.folder, journal.end, journal.begin_segment()) == (None, (0, 0), None)


def test_switched_off_it_does_nothing(tmp_path: Path) -> None:
    journal = Journal()
    operation = journal.write_ahead([ACCEPTED])
    journal.confirm([ACCEPTED], LATER)
    assert (journal.is_checked, journal.has_open, journal.holds(LATER)) == (True, False, True)
    assert journal.incarnation is None
    operation.close()
    assert not list(tmp_path.iterdir())


def test_switched_off_it_costs_nothing() -> None:
    """Not even the encoding of what cannot be encoded."""
    unknown: Any = object()
    Journal().write_ahead([unknown]).close()
    Journal().write_arrivals_ahead([unknown]).close()


def test_closed_it_writes_nothing_more(journal: Journal, folder: Path) -> None:
    journal.close()
    journal.close()
    with pytest.raises(StoreUnavailable):
        journal.write_ahead([ACCEPTED])
    assert (journal.folder, facts_in(folder)) == (None, [])


def test_what_is_left_to_bring_back(journal: Journal) -> None:
    states = [journal.is_checked]
    journal.checked.set()
    states.append(journal.is_checked)
    journal.adopt(LATER)
    states.append(journal.is_checked)
    assert states == [False, True, False]


def test_a_disk_that_takes_none_is_said_once_and_stops_nothing() -> None:
    journal = Journal(is_on=True)
    with capture_logs() as logs:
        journal.suspend("no room")
        (line,) = logs
        journal.suspend("no room")
    assert logs == [line]
    assert (line["event"], line["log_level"]) == ("journal_cannot_be_opened", "error")
    assert line["reason"] == "no room"
    assert "database alone" in line["consequence"]
    assert "DLR_SPOOL_DIR" in line["todo"]
    journal.write_ahead([ACCEPTED]).close()
    journal.confirm([ACCEPTED], LATER)
    assert (journal.is_checked, journal.holds(LATER)) == (True, True)


def test_a_disk_that_fails_and_works_again(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with capture_logs() as logs:
        assert journal.note(ACCEPTED)
        monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:5]))
        assert not journal.note(ACCEPTED)
        assert not journal.note(ACCEPTED)
        assert journal.written == 1
        monkeypatch.setattr(os, "write", real)
        assert journal.note(ACCEPTED)
    assert (journal.failure, journal.written) == (None, 2)
    fails, works = logs
    assert (fails["event"], works["event"]) == ("journal_fails", "journal_works")
    assert (fails["log_level"], works["log_level"]) == ("error", "warning")
    assert fails["reason"].startswith("5 of ")
    assert "no room" in works["reason"]
    assert "database alone" in fails["consequence"]
    assert "DLR_SPOOL_DIR" in fails["todo"]
    assert facts_in(folder) == [ACCEPTED, Gap(), ACCEPTED]


def test_a_new_segment_has_the_next_number(journal: Journal, folder: Path) -> None:
    assert journal.folder == folder
    assert journal.begin_segment() == 2
    assert journal.end[0] == 2


def ended(status: Status, lease: UUID | None, *, of: UUID = ACCEPTED.message_id) -> Ended:
    return Ended(of, lease, 1, Step(status, AT), announce=True)


def test_only_what_was_surely_not_sent_is_given_back(journal: Journal, folder: Path) -> None:
    request = Request("44", "45", "text")
    message = Message(ACCEPTED.message_id, "billing", request, AT, Status.SENDING, lease=LATER)
    for fact in (
        OnWire(message),
        ended(Status.UNCONFIRMED, UUID(int=11)),
        ended(Status.QUEUED, None),
        ended(Status.QUEUED, UUID(int=12)),
    ):
        journal.note(fact)
    journal.begin_segment()
    end = journal.end
    journal.note(ended(Status.QUEUED, UUID(int=13)))
    both = {(ACCEPTED.message_id, UUID(int=12)), (ACCEPTED.message_id, UUID(int=13))}
    assert leases_given_back(folder, (0, 0)) == both
    assert leases_given_back(folder, end) == {(ACCEPTED.message_id, UUID(int=13))}
