"""The commands that work on the database itself: migrate, keys, receipts; on both databases."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from app.model.receipt import Arrival, Rejection
from app.store.engine import Database
from app.store.receipts import ReceiptStore
from tests.cli.here import dlr

RECEIPT = b'{"sms_activity_id": "a-1", "status": "DELIVERED"}'
GARBAGE = b"\xff\x00 no JSON"


@pytest.fixture
def env(database_url: str) -> dict[str, str]:
    return {"DLR_DATABASE_URL": database_url}


def test_migrating_twice_is_migrating_once(empty_database_url: str) -> None:
    env = {"DLR_DATABASE_URL": empty_database_url}
    for _ in range(2):
        done = dlr(["migrate"], env)
        assert (done.returncode, done.stdout) == (0, "The schema is up to date.\n")


def test_a_key_is_shown_once_listed_without_its_secret_and_ended(env: dict[str, str]) -> None:
    made = dlr(["keys", "create", "billing", "--scope", "send", "--scope", "read"], env)
    assert made.returncode == 0
    secret = made.stdout.splitlines()[-1]
    assert made.stdout == f"{secret}\n"
    assert secret.startswith("dlr_")
    listed = dlr(["keys", "list", "--json"], env)
    assert secret not in listed.stdout
    (key,) = [json.loads(line) for line in listed.stdout.splitlines()]
    assert (key["app"], key["scopes"], key["revoked_at"]) == ("billing", "read send", None)
    assert dlr(["keys", "revoke", key["id"]], env).returncode == 0
    (key,) = [json.loads(line) for line in dlr(["keys", "list", "--json"], env).stdout.splitlines()]
    assert key["revoked_at"] is not None
    again = dlr(["keys", "revoke", key["id"]], env)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "dlr keys list" in again.stderr


@pytest.mark.parametrize("name", ["", "   ", "two\nlines", "x" * 101])
def test_an_app_has_a_name(name: str, sqlite_url: str) -> None:
    env = {"DLR_DATABASE_URL": sqlite_url}
    done = dlr(["keys", "create", name, "--scope", "send"], env)
    assert (done.returncode, done.stdout) == (2, "")
    assert dlr(["keys", "list"], env).stdout == "Nothing to show.\n"


def test_what_was_not_understood_is_shown_and_put_through_again(env: dict[str, str]) -> None:
    asyncio.run(_reject(env["DLR_DATABASE_URL"], GARBAGE, RECEIPT))
    listed = dlr(["receipts", "rejected", "--json"], env)
    shown = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [one["reason"] for one in shown] == ["the reason", "the reason"]
    assert shown[0]["body"] == "\\xff\x00 no JSON"
    replayed = dlr(["receipts", "replay"], env)
    assert replayed.stdout == "1 of 2 rejected calls were understood and are stored now.\n"
    left = dlr(["receipts", "rejected", "--json"], env).stdout.splitlines()
    assert [json.loads(line)["id"] for line in left] == [shown[0]["id"]]
    for_people = dlr(["receipts", "rejected"], env)
    assert for_people.returncode == 0
    assert "the reason" in for_people.stdout


async def _reject(url: str, *bodies: bytes) -> None:
    database = Database(url)
    try:
        rejections = [
            Rejection(Arrival(UUID(int=n), datetime.now(UTC), body), 400, "the reason")
            for n, body in enumerate(bodies, start=1)
        ]
        await ReceiptStore(database).add([], rejections)
    finally:
        await database.close()


def test_a_database_that_is_away_is_a_failure_in_one_line() -> None:
    done = dlr(["keys", "list"], {"DLR_DATABASE_URL": "postgresql://dlr:hunter2@127.0.0.1:1/dlr"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "PostgreSQL at 127.0.0.1:1, database dlr: " in done.stderr
    assert "hunter2" not in done.stderr


CREATE = ["keys", "create", "billing", "--scope", "read"]


@pytest.mark.parametrize(
    "words", [["keys", "list"], ["keys", "revoke", "x"], ["receipts", "replay"]]
)
@pytest.mark.parametrize("is_set", [True, False])
def test_a_new_sqlite_file_answers_no_question(
    words: list[str], is_set: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the setting was forgotten, it would say that there are no keys at all."""
    monkeypatch.chdir(tmp_path)
    done = dlr(words, {"DLR_DATABASE_URL": "sqlite:///dlr.db"} if is_set else {})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"There is no database {tmp_path / 'dlr.db'}" in done.stderr
    assert ("is not set" in done.stderr) is not is_set
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_made_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the README's first minute, where a key is made before the service runs."""
    monkeypatch.chdir(tmp_path)
    made = dlr(CREATE, {})
    assert (made.returncode, made.stdout.count("\n")) == (0, 1)
    assert f"Made a new SQLite database, {tmp_path / 'dlr.db'}; DLR_DATABASE_URL" in made.stderr
    assert "Made" not in dlr(CREATE, {}).stderr
    assert dlr(["keys", "list"], {}).stdout.count("billing") == 2


@pytest.mark.postgresql
@pytest.mark.parametrize("command", [["keys", "list"], ["receipts", "rejected"]], ids=" ".join)
def test_a_schema_that_is_behind_is_said_so(empty_postgres_url: str, command: list[str]) -> None:
    done = dlr(command, {"DLR_DATABASE_URL": empty_postgres_url})
    assert (done.returncode, done.stdout) == (2, "")
    assert "dlr migrate" in done.stderr


def test_a_database_that_is_none_is_wrong_configuration() -> None:
    done = dlr(["keys", "list"], {"DLR_DATABASE_URL": "mysql://dlr:hunter2@127.0.0.1/dlr"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "DLR_DATABASE_URL: it must start with sqlite:/// or postgresql://" in done.stderr
    assert "hunter2" not in done.stderr
