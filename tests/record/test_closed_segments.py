"""What is done to journals that nobody writes: rewritten, measured, deleted, told of a gap."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app.model.fact import Accepted, Arrived, Fact, Gap, Mark, Recorded
from app.model.message import Message, Request
from app.model.receipt import Arrival
from app.model.status import Status
from app.record import beats
from app.record.closed_segments import delete, delete_file, is_given_up, rewrite, size
from app.record.encoding import decode, encode
from app.record.folders import Folders
from app.record.framing import Raw, frame
from app.record.reading import batches, find_start
from app.record.segments import ASIDE, LOCK, Lock, Writer, database_of, make_folder, read, segments

DATABASE = UUID(int=7)
AT = datetime(2026, 5, 6, tzinfo=UTC)
ONE, TWO, BLANK = (Accepted(UUID(int=9), sid, AT) for sid in ("one", "two", "xxx"))

MESSAGE = Message(UUID(int=9), "billing", Request("44", "45", "text"), AT, Status.QUEUED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "journal" / ("a" * 32)
    make_folder(made.parent)
    make_folder(made)
    return made


def write(folder: Path, *facts: Fact) -> Path:
    with closing(Writer(folder, DATABASE)) as writer:
        for fact in facts:
            writer.append(encode(fact))
        return folder / f"{writer.end[0]:010d}.journal"


def facts_in(folder: Path) -> list[Fact | None]:
    return [located and decode(located.raw) for located in read(folder, (0, 0))]


def blanked(raw: Raw) -> bytes | None:
    """One fact's content is replaced by another of its length."""
    return encode(BLANK)[-len(raw.content) :] if decode(raw) == ONE else None


def test_a_rewritten_segment_keeps_its_places_and_its_age(folder: Path) -> None:
    path = write(folder, ONE, TWO)
    os.utime(path, (1_000, 2_000))
    before = [located and located.position for located in read(folder, (0, 0))]
    assert rewrite(folder, 1, blanked)
    assert facts_in(folder) == [BLANK, TWO]
    assert [located and located.position for located in read(folder, (0, 0))] == before
    assert path.stat().st_mtime == 2_000
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(folder.glob("*.new"))


def test_what_needs_no_change_is_left_as_it_is(folder: Path) -> None:
    path = write(folder, TWO)
    inode = path.stat().st_ino
    assert not rewrite(folder, 1, blanked)
    assert path.stat().st_ino == inode


def test_what_is_torn_at_the_end_goes(folder: Path) -> None:
    path = write(folder, TWO, ONE)
    os.truncate(path, path.stat().st_size - 1)
    assert rewrite(folder, 1, lambda _raw: None)
    assert facts_in(folder) == [TWO]
    assert path.stat().st_size == size(folder, 1)


def test_a_record_that_would_move_the_others_is_refused(folder: Path) -> None:
    write(folder, ONE)
    with pytest.raises(ValueError, match=r"^a record must keep its length$"):
        rewrite(folder, 1, lambda raw: raw.content + b" ")
    assert facts_in(folder) == [ONE]


def test_a_damaged_one_is_set_aside_instead(folder: Path) -> None:
    path = write(folder, ONE, TWO)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with capture_logs() as logs:
        assert not rewrite(folder, 1, blanked)
    assert [line["event"] for line in logs] == ["journal_segment_set_aside"]
    assert "the checksum of the record at" in logs[0]["why"]
    assert path.with_name(path.name + ASIDE).exists()


def test_what_is_gone_already_may_be_deleted_again(folder: Path) -> None:
    path = write(folder, ONE)
    with capture_logs() as logs:
        delete(folder, 1)
        delete(folder, 1)
    assert (path.exists(), logs) == (False, [])
    assert is_given_up(folder)
    for name in (LOCK, beats.FILE):
        (folder / name).touch()
    assert is_given_up(folder)


def test_what_was_set_aside_goes_when_it_is_old(folder: Path) -> None:
    aside = folder / f"0000000001.journal{ASIDE}"
    aside.touch()
    folders = Folders(folder.parent)
    folders.delete_old(folder, 60, 9)
    assert aside.exists()
    os.utime(aside, (0, 0))
    folders.delete_old(folder, 60, 9)
    assert not aside.exists()


def test_what_cannot_be_deleted_is_said(folder: Path) -> None:
    (folder / "a-folder").mkdir()
    with capture_logs() as logs:
        delete_file(folder / "a-folder")
    (line,) = logs
    assert (line["event"], line["path"]) == ("journal_file_stays", str(folder / "a-folder"))
    assert "directory" in line["reason"].lower() or "permitted" in line["reason"].lower()
    assert not is_given_up(folder)


def test_folders_that_nobody_writes(folder: Path) -> None:
    """One is written, one is of another database, and one is nobody's."""
    write(folder, ONE)
    others = [folder.with_name(letter * 32) for letter in "bc"]
    for other, database in zip(others, (UUID(int=8), DATABASE), strict=True):
        make_folder(other)
        Writer(other, database).close()
    folders = Folders(folder.parent)
    with closing(Lock(folder)):
        found = list(folders.orphans(DATABASE))
        assert [path for path, _ in found] == [others[1]]
        for _, lock in found:
            lock.release()
        done: list[Path] = []
        assert folders.rewrite_abandoned(done.append) == done == others
        folders.leave_gaps()
    assert facts_in(folder) == [ONE]
    for other in others:
        assert facts_in(other) == [Gap()]
    assert [database_of(other) for other in others] == [UUID(int=8), DATABASE]
    assert folders.size() == sum(path.stat().st_size for path in folder.parent.glob("*/*.journal"))
    for path in (folder, *others):
        Lock(path).release()  # they are let go again


def test_a_journal_under_another_name_is_nobodys(folder: Path) -> None:
    write(folder, ONE)
    folders = Folders(folder.parent)
    aside = folders.set_aside(folder)
    assert aside.name.startswith(f"{folder.name}.copy-")
    assert (folders.names(), aside.exists(), folder.exists()) == ([], True, False)


def test_whose_a_journal_is_says_any_segment_that_can_be_read(folder: Path) -> None:
    write(folder, ONE)
    write(folder, ONE).write_bytes(b"damaged")
    (folder / "0000000003.journal").symlink_to(folder / "0000000001.journal")
    assert database_of(folder) == DATABASE


def test_facts_come_in_batches_up_to_a_place(folder: Path) -> None:
    """Marks are no facts; a gap is told of the batch in which it is."""
    mark = Mark(UUID(int=3), (1, 50), UUID(int=4), ("other",))
    with closing(Writer(folder, DATABASE)) as writer:
        facts: list[Fact] = [ONE, mark, Gap(), *[TWO] * 1100]
        for fact in facts:
            writer.append(encode(fact))
        until = writer.end
        writer.append(encode(ONE))
    first, second, third = batches(folder, (0, 0), until)
    assert first.facts == [ONE, *[TWO] * 499]
    assert (second.facts, third.facts) == ([TWO] * 500, [TWO] * 101)
    assert (first.is_whole, second.is_whole, third.is_whole) == (False, True, True)
    assert find_start(folder, mark.nonce).incarnation == mark.incarnation
    assert find_start(folder, None).incarnation is None
    assert segments(folder) == [1]


def test_what_is_missing_or_damaged_is_told_of_its_batch(folder: Path) -> None:
    """A kind of a later release is no damage."""

    def is_whole(*records: bytes) -> bool:
        with closing(Writer(folder, DATABASE)) as writer:
            start = writer.end
            for record in records:
                writer.append(record)
            until = writer.end
        (batch,) = batches(folder, start, until)
        return batch.is_whole

    assert is_whole(encode(ONE), frame(200, b"of a later release"), encode(TWO))
    with capture_logs() as logs:
        assert not is_whole(frame(4, b"no acceptance"), encode(TWO))
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("journal_record_damaged", "error")
    assert line["position"] == (
        2,
        size(folder, 2) - len(encode(TWO)) - len(frame(4, b"no acceptance")),
    )
    assert line["why"] == "its content cannot be read: JSONDecodeError"
    Writer(folder, DATABASE).close()
    (folder / "0000000002.journal").unlink()
    (batch,) = batches(folder, (0, 0), None)
    assert (batch.facts, batch.is_whole) == ([ONE, TWO], False)


def test_what_is_brought_back_at_once_is_bounded(folder: Path) -> None:
    """By what a fact holds: messages, and receipts, of which two count as one message."""
    recorded, arrived = (
        Recorded((MESSAGE,) * 250),
        Arrived((Arrival(UUID(int=1), AT, b"{}"),) * 500),
    )
    with closing(Writer(folder, DATABASE)) as writer:
        for _ in range(3):
            writer.append(encode(recorded) + encode(arrived))
    found = [batch.facts for batch in batches(folder, (0, 0), None)]
    assert found == [[recorded, arrived]] * 3 + [[]]


def test_what_is_read_between_two_places(folder: Path) -> None:
    for facts in ((ONE,), (TWO, ONE), (ONE, TWO, ONE)):
        write(folder, *facts)
    places = [located.position for located in read(folder, (0, 0)) if located]
    assert [place[0] for place in places] == [1, 2, 2, 3, 3, 3]

    def between(start: tuple[int, int], until: tuple[int, int]) -> list[Fact | None]:
        return [located and decode(located.raw) for located in read(folder, start, until)]

    assert between(places[1], places[4]) == [TWO, ONE, ONE]
    assert between(places[2], places[3]) == [ONE]
    assert between(places[2], places[5]) == [ONE, ONE, TWO]
    assert between((2, 0), (3, 0)) == [TWO, ONE]
    assert between((0, 0), places[1]) == [ONE]
    assert between(places[5], (5, 0)) == [ONE, None]
    (folder / "0000000002.journal").unlink()
    assert between(places[0], places[4]) == [ONE, None, ONE]
    assert between((2, 0), (2, 99)) == [None]


def test_what_is_set_aside_is_said_with_what_it_means(folder: Path) -> None:
    path = write(folder, ONE)
    path.write_bytes(b"damaged")
    with capture_logs() as logs:
        assert facts_in(folder) == [None]
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("journal_segment_set_aside", "error")
    assert (line["path"], line["now"]) == (str(path), path.name + ASIDE)
    assert line["why"] == "it is no segment of a journal"
    assert "not brought back" in line["consequence"]


def test_a_journal_that_may_not_be_read_is_said_once(folder: Path) -> None:
    (folder / "lock").mkdir()
    folders = Folders(folder.parent)
    with capture_logs() as logs:
        assert list(folders.orphans(DATABASE)) == []
        assert folders.rewrite_abandoned(lambda _folder: None) == []
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("journal_cannot_be_read", "error")
    assert line["folder"] == str(folder)
    assert str(folder / "lock") in line["reason"]
    assert "not brought back" in line["consequence"]
    assert "read and write" in line["todo"]
