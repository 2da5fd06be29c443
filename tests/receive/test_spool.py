"""The spool on a real disk: what it keeps, and what it does when the disk or the file is bad."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from app.errors import ConfigurationError, Unavailable
from app.model.receipt import Arrival
from app.receive.spool import Spool
from tests.receive.arrivals import arrival, arrivals
from tests.support.process import PROJECT
from tests.support.small_disk import CannotMount, fill, small_disk

EVERYTHING = 1_000_000
MIB = 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    spool = Spool(folder)
    spool.open()
    yield spool
    spool.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", size=2 * MIB) as mounted:
            yield mounted
    except CannotMount as reason:
        pytest.skip(str(reason))


def content(spool: Spool) -> list[Arrival]:
    return [found for _, found in spool.oldest(EVERYTHING)]


def read_anew(folder: Path) -> list[Arrival]:
    """What another process would find."""
    other = Spool(folder)
    other.open()
    found = content(other)
    other.close()
    return found


def set_aside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if "damaged" in path.name)


def test_what_is_appended_comes_back_as_it_was_oldest_first(spool: Spool, folder: Path) -> None:
    first = arrival(2, content=b"\x00\xff not JSON \xf0\x9f", hint=uuid4())
    then = [arrival(1), arrival(0, content=b"")]
    spool.append([first])
    spool.append(then)
    assert content(spool) == [first, *then], "in the order of appending, not of time"
    assert spool.depth() == 3
    assert read_anew(folder) == [first, *then]


def test_forget_deletes_up_to_a_number_and_nothing_else(spool: Spool) -> None:
    kept = arrivals(range(5))
    spool.append(kept)
    rows = spool.oldest(3)
    assert [found for _, found in rows] == kept[:3]
    spool.forget(rows[1][0])
    assert content(spool) == kept[2:]
    assert spool.depth() == 3
    spool.append([late := arrival(9)])
    assert content(spool)[-1] == late


def test_an_arrival_that_came_after_reading_is_not_forgotten(spool: Spool, folder: Path) -> None:
    spool.append(arrivals(range(3)))
    rows = spool.oldest(10)
    other = Spool(folder)
    other.open()
    other.append([late := arrival(7)])
    other.close()
    spool.forget(rows[-1][0])
    assert content(spool) == [late]


def test_it_outlives_a_process_that_closes_nothing(folder: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from app.receive.spool import Spool; from tests.receive.arrivals import arrivals\n"
        "spool = Spool(Path(sys.argv[1])); spool.open(); spool.append(arrivals(range(20)))\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=PROJECT, check=False, timeout=60
    )
    assert done.returncode == -9
    assert [a.body for a in read_anew(folder)] == [a.body for a in arrivals(range(20))]


def test_several_processes_append_at_once_and_nothing_is_lost(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from app.receive.spool import Spool; from tests.receive.arrivals import arrivals\n"
        "spool = Spool(Path(sys.argv[1])); spool.open()\n"
        "for batch in range(60): spool.append(arrivals(range(batch, batch + 3)))"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(folder)], cwd=PROJECT) for _ in range(3)
    ]
    drained: set[object] = set()
    reader = Spool(folder)
    reader.open()
    while rows := reader.oldest(50) or any(w.poll() is None for w in writers):
        if isinstance(rows, list):
            drained |= {found.id for _, found in rows}
            reader.forget(rows[-1][0])
    reader.close()
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert len(drained) == 3 * 60 * 3


# --- a spool that cannot be written: no start ----------------------------------------------------


def a_file_in_its_place(folder: Path) -> None:
    folder.write_text("here I am")


def below_a_file(folder: Path) -> None:
    folder.parent.joinpath("file").write_text("")
    folder.symlink_to(folder.parent / "file" / "below")


def a_dangling_link(folder: Path) -> None:
    folder.symlink_to("/proc/nothing/here")


def a_folder_in_the_files_place(folder: Path) -> None:
    (folder / "receipts.db").mkdir(parents=True)


@pytest.mark.parametrize(
    "spoil",
    [a_file_in_its_place, below_a_file, a_dangling_link, a_folder_in_the_files_place],
)
def test_what_cannot_be_written_is_one_clear_message(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(folder)
    with pytest.raises(ConfigurationError) as refused:
        Spool(folder).open()
    assert "DLR_SPOOL_DIR" in refused.value.detail
    assert str(folder) in refused.value.detail


# --- damage --------------------------------------------------------------------------------------


def overwritten(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def without_its_head(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\x00" * 4096)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def a_text(path: Path) -> None:
    path.write_text("notes of somebody who did not know what this file was\n" * 100)


def another_database(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("create table arrivals (name text)")
        other.commit()


DAMAGE = [overwritten, without_its_head, cut_short, a_text, another_database]


def checkpointed(spool: Spool) -> None:
    """Everything in the one file, so that damage to it cannot be read around."""
    spool.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{spool.path}{suffix}").unlink(missing_ok=True)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_set_aside_at_the_start(
    spool: Spool, folder: Path, damage: Callable[[Path], None]
) -> None:
    spool.append(arrivals(range(300)))
    checkpointed(spool)
    damage(spool.path)
    damaged = spool.path.read_bytes()
    with capture_logs() as logs:
        spool.open()
    said = [line for line in logs if line["event"] == "spool_damaged"]
    assert [line["log_level"] for line in said] == ["critical"]
    aside = set_aside(folder)
    assert [str(aside[0])] == [line["set_aside_as"] for line in said]
    assert damage is another_database or aside[0].read_bytes() == damaged, "kept as it was found"
    spool.append([new := arrival(1_000)])
    assert content(spool)[-1] == new


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_damaged_while_it_is_in_use_does_not_stop_the_service(
    spool: Spool, folder: Path, damage: Callable[[Path], None]
) -> None:
    spool.append(arrivals(range(300)))
    checkpointed(spool)
    spool.open()
    assert spool.depth() == 300
    damage(spool.path)
    spool.append([new := arrival(1_000)])
    spool.append([newer := arrival(1_001)])
    found = content(spool) or content(spool)
    assert found[-2:] == [new, newer]
    assert read_anew(folder)[-2:] == [new, newer]


def test_what_can_be_read_of_a_damaged_file_is_carried_over(spool: Spool, folder: Path) -> None:
    kept = arrivals(range(2_000))
    spool.append(kept)
    checkpointed(spool)
    with spool.path.open("r+b") as file:
        file.seek(spool.path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)
    with capture_logs() as logs:
        spool.open()
    (said,) = [line for line in logs if line["event"] == "spool_damaged"]
    found = content(spool)
    assert said["carried_over"] == len(found)
    assert len(kept) - 60 < len(found) < len(kept), "all but what one page of 4 KiB held"
    assert [a for a in kept if a in set(found)] == found, "in order, and as they were"
    assert len(set_aside(folder)) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [("id", b"short"), ("received_at", "yesterday"), ("received_at", "2026-11-22T09:00:00")],
    ids=["an id that is none", "a time that is none", "a time without a zone"],
)
def test_a_row_that_we_never_wrote_costs_no_other_row(
    spool: Spool, folder: Path, column: str, value: object
) -> None:
    kept = arrivals(range(10))
    spool.append(kept)
    with closing(sqlite3.connect(spool.path)) as file:
        file.execute(f"update arrivals set {column} = ? where seq = 4", (value,))
        file.commit()
    assert content(spool) == []  # set aside, and a new one begun
    assert content(spool) == kept[:3] + kept[4:]
    assert len(set_aside(folder)) == 1


def test_two_processes_that_find_the_same_damage_set_aside_one_file(folder: Path) -> None:
    first, second = Spool(folder), Spool(folder)
    first.open()
    first.append(arrivals(range(300)))
    checkpointed(first)
    first.open()
    second.open()
    overwritten(first.path)
    # Both have the file open and both find out; the second must not take the first's new one away.
    first.append([one := arrival(1_000)])
    second.append([two := arrival(1_001)])
    first.append([three := arrival(1_002)])
    assert content(first) == content(second) == [one, two, three]
    assert (
        len([path for path in set_aside(folder) if not path.name.endswith(("-wal", "-shm"))]) == 1
    )
    second.close()
    first.close()
    assert read_anew(folder) == [one, two, three]


def test_forgetting_touches_no_arrivals_of_a_file_begun_meanwhile(
    spool: Spool, folder: Path
) -> None:
    spool.append(arrivals(range(10)))
    rows = spool.oldest(10)
    other = Spool(folder)
    other.open()
    other._set_aside(sqlite3.DatabaseError("malformed"))
    other.append([new := arrival(99)])
    spool.forget(rows[-1][0])
    assert new in content(other), "its number is one of those that were forgotten"
    other.close()


# --- gone ----------------------------------------------------------------------------------------


def the_folder_is_removed(folder: Path) -> None:
    shutil.rmtree(folder)


def the_file_is_removed(folder: Path) -> None:
    for path in folder.glob("receipts.db*"):
        path.unlink()


def the_folder_is_moved(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize(
    "remove", [the_folder_is_removed, the_file_is_removed, the_folder_is_moved]
)
def test_a_spool_that_is_taken_away_is_begun_anew_with_what_it_held(
    spool: Spool, folder: Path, remove: Callable[[Path], None]
) -> None:
    kept = arrivals(range(3))
    spool.append(kept)
    remove(folder)
    spool.append([new := arrival(9)])
    assert content(spool) == [*kept, new]
    assert read_anew(folder) == [*kept, new]
    remove_again = [path for path in folder.parent.iterdir() if path.name == "elsewhere"]
    for path in remove_again:
        shutil.rmtree(path)
    remove(folder)
    assert spool.depth() == 4, "also where somebody only looks"


# --- full ----------------------------------------------------------------------------------------


def test_a_full_disk_refuses_and_takes_again_when_there_is_room(disk: Path) -> None:
    spool = Spool(disk / "spool")
    spool.open()
    spool.append(kept := arrivals(range(10)))
    ballast = fill(disk)
    with pytest.raises(Unavailable, match="full"):
        spool.append(arrivals(range(100, 1_000)))
    ballast.unlink()
    spool.append([new := arrival(2_000)])
    assert content(spool) == [*kept, new], "nothing of what was refused"
    spool.close()


def test_a_spool_that_filled_its_disk_is_drained_all_the_same(disk: Path) -> None:
    spool = Spool(disk / "spool")
    spool.open()
    kept: list[Arrival] = []
    number = 0
    for size in (100, 1):
        while True:
            batch = arrivals(range(number, number + size))
            try:
                spool.append(batch)
            except Unavailable:
                break
            kept += batch
            number += size
    assert len(kept) > 1_000
    assert spool.depth() == len(kept)
    drained: list[Arrival] = []
    while rows := spool.oldest(500):
        drained += [found for _, found in rows]
        spool.forget(rows[-1][0])
        assert spool.depth() == len(kept) - len(drained)
    assert drained == kept, "each once"
    spool.tidy()
    assert spool.depth() == 0
    spool.append([new := arrival(9_999)])
    assert content(spool) == [new]
    spool.close()
    assert read_anew(disk / "spool") == [new]


def test_a_file_begun_anew_loses_nothing_that_another_process_appends(disk: Path) -> None:
    spool, other = Spool(disk / "spool"), Spool(disk / "spool")
    spool.open()
    other.open()
    spool.append(arrivals(range(10)))
    rows = spool.oldest(10)
    spool._committed_up_to = rows[-1][0]  # as where the disk had no room to delete them
    other.append([late := arrival(99)])
    spool.tidy()
    assert content(spool) == [late], "it came after what was drained: the file stays"
    rows = spool.oldest(10)
    spool._committed_up_to = rows[-1][0]
    spool.tidy()
    other.append([later := arrival(100)])
    assert content(spool) == content(other) == [later]
    spool.close()
    other.close()


def test_it_does_not_start_on_a_full_disk_unless_it_has_something_to_drain(disk: Path) -> None:
    fill(disk, but=40 * 1024)
    with pytest.raises(ConfigurationError, match="disk with room"):
        Spool(disk / "spool").open()
    (disk / "ballast").unlink()
    shutil.rmtree(disk / "spool")
    spool = Spool(disk / "spool")
    spool.open()
    spool.append(kept := arrivals(range(3)))
    spool.close()
    fill(disk, but=40 * 1024)
    spool.open()
    assert content(spool) == kept
    spool.close()


def test_an_emptied_file_gives_its_disk_back(spool: Spool) -> None:
    large = [arrival(number, content=b"x" * 60_000) for number in range(700)]
    spool.append(large)
    rows = spool.oldest(EVERYTHING)
    spool.forget(rows[-1][0])
    spool.tidy()
    assert sum(path.stat().st_size for path in spool.path.parent.iterdir()) < MIB
    spool.append([new := arrival(1)])
    assert content(spool) == [new]
    assert spool.depth() == 1
