"""A journal's files: what is written is read again; what is damaged or not ours stops nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from app.model.fact import Arrived, Fact, Gap, Mark, Met
from app.model.receipt import Arrival
from app.record import beats
from app.record.encoding import decode, encode
from app.record.folders import Folders
from app.record.framing import frame
from app.record.reading import batches, find_start
from app.record.segments import ASIDE, MAGIC, Lock, Writer, make_folder, read, segments

DATABASE = UUID(int=7)
NAME, OTHER = "a" * 32, "b" * 32


def arrived(body: bytes = b"{}") -> Arrived:
    return Arrived((Arrival(uuid4(), datetime.now(UTC), body),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "journal" / NAME
    make_folder(made.parent)
    make_folder(made)
    return made


def written(folder: Path, *facts: Fact) -> Writer:
    writer = Writer(folder, DATABASE)
    for fact in facts:
        writer.append(encode(fact))
    return writer


def facts_in(folder: Path) -> list[Fact | None]:
    return [located and decode(located.raw) for located in read(folder, (0, 0))]


def test_what_was_written_is_read_in_order(folder: Path) -> None:
    first, second = arrived(b"one"), arrived(b"two")
    written(folder, first).close()
    written(folder, second).close()
    assert segments(folder) == [1, 2]
    assert facts_in(folder) == [first, second]


def test_only_the_owner_can_read_it(folder: Path) -> None:
    written(folder, arrived()).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o600}


def test_no_link_is_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "link"
    link.symlink_to(elsewhere)
    with pytest.raises(OSError, match="is a link, which is not followed"):
        make_folder(link)
    (folder / "0000000001.journal").symlink_to(tmp_path / "somewhere")
    with capture_logs() as logs:
        assert facts_in(folder) == [None]
    assert logs[0]["event"] == "journal_segment_set_aside"


def test_a_torn_record_at_the_end_is_passed_over(folder: Path) -> None:
    whole = arrived(b"whole")
    written(folder, whole, arrived(b"torn")).close()
    path = folder / "0000000001.journal"
    os.truncate(path, path.stat().st_size - 3)
    written(folder, arrived(b"later")).close()
    with capture_logs() as logs:
        found = facts_in(folder)
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("journal_torn", "warning")
    assert (line["segment"], line["bytes"]) == (1, len(encode(arrived(b"torn"))) - 3)
    assert found[0] == whole
    assert len(found) == 2
    assert None not in found


def damaged(folder: Path, at: int) -> Path:
    """One bit of the first segment is wrong, counted from the end where ``at`` is negative."""
    path = folder / "0000000001.journal"
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)
    return path


BEFORE, WRONG, SAME_FILE = arrived(b"before"), arrived(b"wrong" * 20), arrived(b"behind it")
BEHIND = len(encode(SAME_FILE))


@pytest.mark.parametrize(
    ("at", "is_left"),
    [
        pytest.param(3, (), id="the file's name"),
        pytest.param(len(MAGIC) + 2, (), id="the file's header"),
        pytest.param(-len(encode(WRONG)) - BEHIND, (BEFORE,), id="a length"),
        pytest.param(-len(encode(WRONG)) - BEHIND + 2, (BEFORE,), id="a length, by much"),
        pytest.param(-len(encode(WRONG)) - BEHIND + 5, (BEFORE,), id="a checksum"),
        pytest.param(-len(encode(WRONG)) - BEHIND + 8, (BEFORE,), id="a kind"),
        pytest.param(-BEHIND - 5, (BEFORE, SAME_FILE), id="a record"),
    ],
)
def test_a_damaged_segment_is_set_aside_and_said_so(
    folder: Path, at: int, is_left: tuple[Fact, ...]
) -> None:
    """What can be read of it is, also when the database forgets once more."""
    after = arrived(b"after")
    written(folder, BEFORE, WRONG, SAME_FILE).close()
    written(folder, after).close()
    path = damaged(folder, at)
    for _ in range(2):
        with capture_logs() as logs:
            found = facts_in(folder)
        assert None in found
        assert [fact for fact in found if fact is not None] == [*is_left, after]
    assert not logs  # it was said the first time
    assert (folder / (path.name + ASIDE)).exists()
    assert not path.exists()
    written(folder).close()
    assert segments(folder)[-1] == 3


def test_damage_is_an_error_in_the_log(folder: Path) -> None:
    written(folder, BEFORE).close()
    damaged(folder, -1)
    with capture_logs() as logs:
        facts_in(folder)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("journal_segment_set_aside", "error")
    ]
    assert logs[0]["why"].startswith("the checksum of the record at")


def test_damage_is_set_aside_also_where_only_a_part_is_read(folder: Path) -> None:
    with closing(written(folder, WRONG, BEFORE)) as writer:
        until = writer.end
        writer.append(encode(SAME_FILE))
    path = damaged(folder, -BEHIND - len(encode(BEFORE)) - 1)
    found = [located and decode(located.raw) for located in read(folder, (0, 0), until)]
    assert found == [None, BEFORE]
    assert not path.exists()


def test_a_damaged_segment_that_cannot_be_renamed_is_said_so(folder: Path) -> None:
    written(folder, BEFORE).close()
    damaged(folder, -1)
    aside = folder / f"0000000001.journal{ASIDE}"
    aside.mkdir()
    with capture_logs() as logs:
        list(read(folder, (0, 0)))
    assert [line["event"] for line in logs] == [
        "journal_segment_set_aside",
        "journal_segment_not_set_aside",
    ]
    assert logs[1]["path"] == str(folder / "0000000001.journal")
    assert str(aside) in logs[1]["reason"]


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [a_folder, a_link, os.mkfifo])
def test_what_is_no_file_is_set_aside(folder: Path, make: Callable[[Path], None]) -> None:
    """Nothing waits for a pipe; and nothing is deleted that was somebody's."""
    make(folder / "0000000001.journal")
    mine = arrived()
    written(folder, mine).close()
    assert find_start(folder, uuid4()).position == (0, 0)
    assert facts_in(folder) == [None, mine]
    assert facts_in(folder) == [None, mine]
    Folders(folder.parent).delete_old(folder, 60, 9)
    assert segments(folder) == [2]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [a_folder, a_link, os.mkfifo])
def test_beats_that_are_no_file_are_none(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder / beats.FILE)
    beats.write(folder, beats.Beats(1, uuid4(), uuid4(), uuid4(), at=datetime.now(UTC)))
    assert beats.read(folder) is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no segment of a journal"),
        (b"not a journal", "it is no segment of a journal"),
        (MAGIC, "it has no header"),
        (MAGIC + frame(1, b"{}"), "it has no header"),
        (MAGIC + b"\xff" * 40, f"the header of the record at {len(MAGIC)} is wrong"),
        (MAGIC + frame(0, b"{}"), "its header cannot be read"),
    ],
)
def test_a_foreign_file_is_set_aside(folder: Path, content: bytes, why: str) -> None:
    (folder / "0000000001.journal").write_bytes(content)
    mine = arrived()
    written(folder, mine).close()
    with capture_logs() as logs:
        assert facts_in(folder) == [None, mine]
    assert (logs[0]["event"], logs[0]["why"]) == ("journal_segment_set_aside", why)


def test_another_journals_segment_is_foreign(folder: Path) -> None:
    other = folder.parent / OTHER
    make_folder(other)
    written(other, arrived()).close()
    (other / "0000000001.journal").rename(folder / "0000000001.journal")
    with capture_logs() as logs:
        assert facts_in(folder) == [None]
    assert f"belongs to the journal '{OTHER}'" in logs[0]["why"]


def test_a_missing_segment_is_noticed(folder: Path) -> None:
    for _ in range(3):
        written(folder, arrived()).close()
    (folder / "0000000002.journal").unlink()
    assert [found is None for found in facts_in(folder)] == [False, True, False]


def test_a_disk_that_takes_nothing_leaves_a_gap_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = written(folder, arrived(b"before"))
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:5]))
    with pytest.raises(OSError, match="5 of"):
        writer.append(encode(arrived(b"lost")))
    monkeypatch.setattr(os, "write", real)
    after = arrived(b"after")
    writer.append(encode(after))
    writer.close()
    assert facts_in(folder)[1:] == [Gap(), after]
    (batch,) = batches(folder, (0, 0), None)
    assert not batch.is_whole


def test_a_disk_that_refuses_to_be_written_leaves_a_gap_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = written(folder)

    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for _ in range(2):  # the second time no new segment can be begun
            with pytest.raises(OSError, match="No space left"):
                writer.append(encode(BEFORE))
    writer.append(encode(BEFORE))
    writer.close()
    writer.close()
    assert facts_in(folder) == [Gap(), BEFORE]
    assert segments(folder) == [1, 2]


@pytest.mark.parametrize(("name", "value"), [("LARGEST", 100), ("OLDEST", -1.0)])
def test_a_new_segment_begins_where_one_is_large_or_old(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    monkeypatch.setattr(f"app.record.segments.{name}", value)
    written(folder, BEFORE, WRONG, SAME_FILE).close()
    assert segments(folder) == [1, 2, 3, 4]
    assert facts_in(folder) == [BEFORE, WRONG, SAME_FILE]


def test_folders_above_are_made_as_well(tmp_path: Path) -> None:
    make_folder(tmp_path / "spool" / "journal")
    assert (tmp_path / "spool" / "journal").is_dir()


def test_where_to_begin(folder: Path) -> None:
    """The newest mark that the database has; whoever was seen since then is waited for."""
    inc, old, new = uuid4(), uuid4(), uuid4()
    written(
        folder,
        Met(("zero",)),
        Mark(old, (1, 100), inc, ("one",)),
        Mark(new, (1, 200), inc, ("one", "two")),
        Met(("three",)),
    ).close()
    start = find_start(folder, new)
    assert (start.position, start.is_whole) == ((1, 200), True)
    assert start.others == {"one", "two", "three"}
    assert find_start(folder, old).position == (1, 100)
    assert find_start(folder, None).others == {"zero", "one", "two", "three"}
    unknown = find_start(folder, uuid4())
    assert (unknown.position, unknown.is_whole) == ((0, 0), False)


def test_a_journal_has_one_process_and_is_adopted_when_that_is_gone(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "journal")
    first, lock, _ = folders.take(DATABASE)
    Writer(first, DATABASE).close()
    second, other_lock, _ = folders.take(DATABASE)
    assert second != first
    with pytest.raises(OSError, match=r"."):
        Lock(first)
    lock.release()
    again, lock, has_foreign = folders.take(DATABASE)
    assert (again, has_foreign) == (first, False)
    lock.release()
    other_lock.release()


def test_a_journal_of_another_database_is_left_alone(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "journal")
    first, lock, _ = folders.take(DATABASE)
    Writer(first, DATABASE).close()
    lock.release()
    make_folder(folders.root / ("f" * 32))  # nobody's yet
    second, lock, has_foreign = folders.take(UUID(int=8))
    assert second != first
    assert has_foreign
    lock.release()


def test_what_is_old_is_deleted_by_whole_segments(folder: Path) -> None:
    folders = Folders(folder.parent)
    writer = written(folder, arrived(b"old"))
    writer._begin()
    writer.append(encode(arrived(b"new")))
    os.utime(folder / "0000000001.journal", (0, 0))
    folders.delete_old(folder, 60, 1)
    assert segments(folder) == [1, 2]  # not before the mark that was confirmed
    folders.delete_old(folder, 60, 2)
    assert segments(folder) == [2]
    writer.close()


def test_a_journal_that_nobody_writes_goes_when_it_is_old(folder: Path) -> None:
    folders = Folders(folder.parent)
    written(folder, arrived()).close()
    in_use = folder.with_name("0" * 32)
    make_folder(in_use)
    lock = Lock(in_use)
    folders.tidy(60)
    assert segments(folder) == [1]
    os.utime(folder / "0000000001.journal", (0, 0))
    folders.tidy(60)
    assert (folder.exists(), in_use.exists()) == (False, True)
    lock.release()


def test_a_journal_under_a_lock_is_left_alone(folder: Path) -> None:
    lock = Lock(folder)
    written(folder, arrived()).close()
    os.utime(folder / "0000000001.journal", (0, 0))
    Folders(folder.parent).tidy(60)
    assert segments(folder) == [1]
    lock.release()


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "journal"
    kept = root / "copies of last week" / "0000000001.journal"
    kept.parent.mkdir(parents=True)
    kept.write_text("precious")
    os.utime(kept, (0, 0))
    (root / NAME).mkdir()
    (root / NAME / "notes").write_text("of an operator")
    folders = Folders(root)
    folders.tidy(60)
    assert kept.read_text() == "precious"
    assert (root / NAME / "notes").exists()
    taken, lock, has_foreign = folders.take(DATABASE)
    assert taken not in {kept.parent, root / NAME}
    assert not has_foreign
    lock.release()


def test_a_journal_that_may_not_be_read_is_said_once(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "journal")
    (folders.root / NAME / "lock").mkdir(parents=True)
    with capture_logs() as logs:
        for _ in range(2):
            folders.tidy(60)
            folders.take(DATABASE)[1].release()
    assert [line["event"] for line in logs] == ["journal_cannot_be_read"]


def test_beats_are_read_as_they_were_kept(folder: Path) -> None:
    kept = beats.Beats(3, uuid4(), uuid4(), uuid4(), at=datetime.now(UTC))
    beats.write(folder, kept)
    assert beats.read(folder) == kept
    (folder / beats.FILE).write_bytes(b"\xff" * 80)
    assert beats.read(folder) is None
