"""`dlr erase`: by number, shown later by its digest; nothing of it is in any file afterwards."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.model.status import Status
from app.store.engine import Database
from app.store.erasing.disks import DiskStore
from tests.cli.here import dlr
from tests.lookup.world import living
from tests.support.external import ExternalPostgres
from tests.support.postgresql import PostgresServer, find_binaries

NUMBER = "447700900123"
WORDS = (NUMBER, "Dear Ms Confidential", "case-of-ms-confidential")
KEY = "a-key-of-the-tests-for-digests"


async def sent_to_her(database_url: str) -> None:
    async with living(database_url) as world:
        about: dict[str, Any] = {"destination": NUMBER, "text": WORDS[1], "reference": WORDS[2]}
        await world.message(Status.DELIVERED, **about)
        await world.message(Status.FAILED, **about)
        await world.admin.get("/v1/messages", params={"destination": NUMBER})


@pytest.fixture
def env(database_url: str) -> dict[str, str]:
    return {"DLR_DATABASE_URL": database_url, "DLR_ERASURE_KEY": KEY}


def erase(*words: str, env: dict[str, str]) -> dict[str, object]:
    done = dlr(["erase", *words, "--json"], env)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_erased_and_shown_later(env: dict[str, str], tmp_path: Path) -> None:
    asyncio.run(sent_to_her(env["DLR_DATABASE_URL"]))
    unknown = dlr(["erase", "--was", NUMBER], env)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    found = erase("--destination", "+44 7700 900 123", env=env)
    counts = found["counts"]
    assert isinstance(counts, dict)
    assert (counts["messages"], counts["receipts"], counts["audit_entries"]) == (2, 2, 1)
    assert found["erased_at"] is not None
    assert str(found["who"]).startswith("os:")
    again = erase("--was", "0044 7700 900123", env=env)
    assert (again["id"], again["digest"]) == (found["id"], found["digest"])
    in_file = tmp_path / "key"
    in_file.write_text(f"{KEY}\n")
    with_file = {"DLR_DATABASE_URL": env["DLR_DATABASE_URL"], "DLR_ERASURE_KEY_FILE": str(in_file)}
    assert erase("--was", NUMBER, env=with_file)["id"] == found["id"]
    another_key = env | {"DLR_ERASURE_KEY": "another-key-of-the-tests"}
    assert dlr(["erase", "--was", NUMBER], another_key).returncode == 1


def test_the_disk_of_a_service_that_ran_is_waited_for_or_struck(env: dict[str, str]) -> None:
    gone = uuid4()
    asyncio.run(_see(env["DLR_DATABASE_URL"], str(gone)))
    done = dlr(["erase", "--destination", NUMBER], env)
    assert "there was nothing to erase" in done.stdout
    assert f"Waits for disk {gone} at gone-host" in done.stderr
    assert dlr(["erase", "--strike", str(gone)], env).returncode == 0
    assert dlr(["erase", "--strike", str(gone)], env).returncode == 1
    (told,) = dlr(["audit", "--action", "disk.strike", "--json"], env).stdout.splitlines()
    assert json.loads(told)["what"] == str(gone)
    assert erase("--destination", NUMBER, env=env)["completed_at"] is not None


async def _see(url: str, disk: str) -> None:
    database = Database(url)
    await DiskStore(database).see_disk(UUID(disk), "gone-host")
    await database.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name one of"),
        (["--destination", NUMBER, "--was", NUMBER], "name one of"),
        (["--destination", "hello"], "no phone number"),
        (["--was", "hello"], "no phone number"),
        (["--strike", "hello"], "a disk's id"),
    ],
)
def test_wrong_words(words: list[str], says: str, sqlite_url: str) -> None:
    done = dlr(["erase", *words], {"DLR_DATABASE_URL": sqlite_url, "DLR_ERASURE_KEY": KEY})
    assert done.returncode == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())


def test_a_key_is_needed_to_show_it_and_is_no_short_one(database_url: str) -> None:
    env = {"DLR_DATABASE_URL": database_url}
    assert erase("--destination", NUMBER, env=env)["digest"] is None
    without = dlr(["erase", "--was", NUMBER], env)
    assert (without.returncode, without.stdout) == (2, "")
    assert "DLR_ERASURE_KEY" in without.stderr
    for wrong in ({"DLR_ERASURE_KEY": "short"}, {"DLR_ERASURE_KEY_FILE": "/no/such/file"}):
        done = dlr(["erase", "--destination", NUMBER], env | wrong)
        assert done.returncode == 2
        assert next(iter(wrong)) in done.stderr


def test_nothing_is_left_in_the_files_of_sqlite(sqlite_url: str) -> None:
    asyncio.run(sent_to_her(sqlite_url))
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    assert_found(in_files(folder), True)
    erase_all_of_her({"DLR_DATABASE_URL": sqlite_url})
    with closing(sqlite3.connect(folder / "dlr.db")) as file:
        file.execute("vacuum")
        file.execute("pragma wal_checkpoint(truncate)")
    assert_found(in_files(folder), False)


@pytest.mark.postgresql
def test_nothing_is_left_in_the_files_of_postgresql(
    postgres_url: str, postgres_server: PostgresServer | ExternalPostgres
) -> None:
    if not isinstance(postgres_server, PostgresServer):
        pytest.skip("its files are elsewhere")
    asyncio.run(sent_to_her(postgres_url))
    asyncio.run(_execute(postgres_url, "checkpoint"))
    files = asyncio.run(_files_of(postgres_url))
    assert_found(_read(files), True)
    assert_found(dumped(postgres_url), True)
    erase_all_of_her({"DLR_DATABASE_URL": postgres_url})
    assert_found(dumped(postgres_url), False)
    asyncio.run(_execute(postgres_url, "vacuum (full, analyze)"))
    asyncio.run(_execute(postgres_url, "checkpoint"))
    files = asyncio.run(_files_of(postgres_url))
    assert_found(_read(files), False)


def dumped(postgres_url: str) -> bytes:
    """What `pg_dump` writes: all of the database as text."""
    command = [str(find_binaries() / "pg_dump"), "--inserts", postgres_url]
    return subprocess.run(command, check=True, capture_output=True).stdout


def erase_all_of_her(env: dict[str, str]) -> None:
    """Also from the disk of the service that ran: it is gone."""
    found = erase("--destination", NUMBER, env=env)
    waiting = found["waiting_for"]
    assert isinstance(waiting, list)
    for disk in waiting:
        assert dlr(["erase", "--strike", disk["id"]], env).returncode == 0


def assert_found(content: bytes, expected: bool) -> None:
    for word in WORDS:
        assert (word.encode() in content) is expected, word


def in_files(folder: Path) -> bytes:
    return _read(sorted(path for path in folder.rglob("*") if path.is_file()))


def _read(files: list[Path]) -> bytes:
    return b"\n".join(path.read_bytes() for path in files)


async def _execute(url: str, statement: str) -> None:
    database = Database(url)
    async with database.direct() as connection:
        await connection.execute(statement)
    await database.close()


async def _files_of(url: str) -> list[Path]:
    """The files of the database's relations; its log is the operator's to remove."""
    database = Database(url)
    async with database.read() as connection:
        found = await connection.execute(
            text(
                "select oid, current_setting('data_directory') from pg_database"
                " where datname = current_database()"
            )
        )
        oid, folder = found.one()
    await database.close()
    return sorted(path for path in (Path(folder) / "base" / str(oid)).iterdir() if path.is_file())
