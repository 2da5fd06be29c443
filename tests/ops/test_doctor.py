"""The doctor finds each planted fault, says it in words with its remedy, and is green where all is
well.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trustme
from sqlalchemy import delete, func, insert, select

from app.cli.examination import examine
from app.model.alarm import AlarmName, Report
from app.ops.doctor.disk import examine_spool, file_system
from app.ops.doctor.findings import Finding
from app.receive.probe import probe_proof
from app.store.clock import utc_now
from app.store.engine import Database
from app.store.operations import OperationsStore
from app.store.tables import (
    metadata,
    process_reports,
    queue_holds,
    schema_releases,
)
from tests.cli.here import dlr
from tests.receive.serving import run
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.process import ServerProcess
from tests.support.processes import wait_until

SECRET = "a-secret-that-is-long-enough"
DISK = "36 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"
Env = dict[str, str]


@dataclass
class Deployment:
    """A service behind nginx, with a simulated iovox, all as it should be."""

    env: Env
    folder: Path
    nginx: Nginx
    port: int

    def copy(self, folder: Path) -> Env:
        """The same settings with a copy of the database, in which something can be planted."""
        shutil.copy(self.folder / "dlr.db", folder / "copy.db")
        for end in ("-wal", "-shm"):
            if (self.folder / f"dlr.db{end}").exists():
                shutil.copy(self.folder / f"dlr.db{end}", folder / f"copy.db{end}")
        return self.env | {"DLR_DATABASE_URL": f"sqlite:///{folder / 'copy.db'}"}


@pytest.fixture(scope="module")
def deployment(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("doctor")
    shutil.copytree(sqlite_template, folder, dirs_exist_ok=True)
    port, iovox = free_port(), free_port()
    with Nginx([port]) as nginx:
        env = {
            "DLR_DATABASE_URL": f"sqlite:///{folder / 'dlr.db'}",
            "DLR_SPOOL_DIR": str(folder / "spool"),
            "DLR_PUBLIC_URL": nginx.url,
            "DLR_CALLBACK_URL_HEADERS": f"Content-Type: application/json,X_Secret: {SECRET}",
            "DLR_IOVOX_URL": f"http://127.0.0.1:{iovox}",
            "DLR_IOVOX_USERNAME": "someone",
            "DLR_IOVOX_SECURE_KEY": "a-key",
        }
        with (
            ServerProcess.fork(
                ["simulator", "--port", str(iovox)],
                ready_url=f"http://127.0.0.1:{iovox}/_simulator/counts",
            ),
            ServerProcess.fork(
                ["serve", "--port", str(port)],
                env | {"DLR_OPS_INTERVAL": "0.5"},
                ready_url=f"http://127.0.0.1:{port}/healthz",
            ),
        ):
            here = Deployment(env, folder, nginx, port)
            assert wait_until(lambda: bool(count(env, "process_reports")), timeout=20, every=0.1)
            yield here


def count(env: Env, table: str) -> int:
    async def ask(database: Database) -> int:
        async with database.read() as connection:
            query = select(func.count()).select_from(metadata.tables[table])
            found: int = (await connection.execute(query)).scalar_one()
            return found

    return int(in_database(env, ask))


def in_database(env: Env, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def do() -> Any:
        database = Database(env["DLR_DATABASE_URL"])
        try:
            return await work(database)
        finally:
            await database.close()

    return run(do())


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """Runs the doctor with these settings; returns what is not right."""

    def examined(env: Env, mounts: str = DISK) -> list[Finding]:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        found = asyncio.run(examine(mounts=mounts))
        assert all(one.words and one.remedy != "" for one in found)
        return [one for one in found if not one.is_good]

    return examined


def test_a_good_deployment_is_green(
    deployment: Deployment, look: Callable[..., list[Finding]]
) -> None:
    assert look(deployment.env) == []


def test_the_probe_stores_nothing(
    deployment: Deployment, look: Callable[..., list[Finding]]
) -> None:
    for _ in range(3):
        assert look(deployment.env) == []
    for table in ("receipts", "rejected_receipts", "deliveries", "messages"):
        assert count(deployment.env, table) == 0


def test_the_command(deployment: Deployment) -> None:
    done = dlr(["doctor", "--json"], deployment.env)
    told = json.loads(done.stdout)
    assert {one["check"] for one in told["findings"]} >= {"settings", "database", "iovox"}
    assert done.returncode == (0 if told["ok"] else 1)
    wrong = dlr(["doctor"], deployment.env | {"DLR_PUBLIC_URL": "http://127.0.0.1:9"})
    assert wrong.returncode == 1
    assert "BAD   public url: http://127.0.0.1:9/dlr cannot be reached" in wrong.stdout
    assert "-> check the name, the port" in wrong.stdout
    assert SECRET not in wrong.stdout + wrong.stderr


# A name; what is set (None: not set); the check that fails; words of the finding.
WRONG_SETTINGS: list[tuple[str, dict[str, str | None], str, str]] = [
    ("a setting is missing", {"DLR_IOVOX_USERNAME": None}, "settings", "DLR_IOVOX_USERNAME"),
    (
        "a setting is misspelt",
        {"DLR_PUBLIC_URL": None, "DLR_PUBLIC_ULR": "https://x.example.com"},
        "settings",
        "a typing error?",
    ),
    ("a setting is not known", {"DLR_NONSENSE_OF_MINE": "1"}, "settings", "has no effect"),
    ("no secret header", {"DLR_CALLBACK_URL_HEADERS": "Content-Type: x"}, "settings", "secret"),
    ("a short secret", {"DLR_CALLBACK_URL_HEADERS": "X_Secret: short"}, "secret", "fewer than 16"),
    ("another secret", {"DLR_CALLBACK_URL_HEADERS": f"X_Secret: {SECRET}2"}, "public url", "401"),
    ("the address ends in /dlr", {"DLR_PUBLIC_URL": "https://a.example/dlr"}, "settings", "/dlr"),
    ("nobody listens", {"DLR_PUBLIC_URL": "http://127.0.0.1:9"}, "public url", "cannot be reached"),
    ("no such name", {"DLR_PUBLIC_URL": "https://no.invalid"}, "public url", "cannot be reached"),
    ("not encrypted", {"DLR_PUBLIC_URL": "http://no.invalid"}, "public url", "not encrypted"),
    ("no database", {"DLR_DATABASE_URL": "sqlite:////nowhere/x.db"}, "database", "There is no"),
    (
        "the database is away",
        {"DLR_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/x"},
        "database",
        "127.0.0.1:9",
    ),
    ("a URL that is none", {"DLR_DATABASE_URL": "mysql://x/y"}, "database", "DLR_DATABASE_URL"),
    ("iovox is away", {"DLR_IOVOX_URL": "http://127.0.0.1:9"}, "iovox", "could not be reached"),
    ("the spool is a file", {"DLR_SPOOL_DIR": "/etc/hostname/spool"}, "spool", "cannot be written"),
]


@pytest.mark.parametrize(
    ("changed", "check", "words"),
    [c[1:] for c in WRONG_SETTINGS],
    ids=[c[0] for c in WRONG_SETTINGS],
)
def test_wrong_settings(
    deployment: Deployment,
    look: Callable[..., list[Finding]],
    changed: dict[str, str | None],
    check: str,
    words: str,
) -> None:
    env = deployment.env | {name: value for name, value in changed.items() if value is not None}
    found = look({name: value for name, value in env.items() if changed.get(name, "") is not None})
    assert any(one.check == check and words in one.words for one in found), found
    assert "hunter2" not in repr(found)


class Handler(BaseHTTPRequestHandler):
    """Answers every POST alike."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body, headers = self.server.answer(dict(self.headers))  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


Answer = Callable[[dict[str, str]], tuple[int, bytes, dict[str, str]]]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer = answer  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def proof_without_message_id(headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
    proof = probe_proof(SECRET.encode(), headers["x-dlr-probe"].encode())
    return 200, json.dumps({"proof": proof, "x_message_id": ""}).encode(), {}


# A name; which setting leads to a server that answers so; the answer; words of the finding.
WRONG_ANSWERS: list[tuple[str, str, Answer, str]] = [
    ("elsewhere", "DLR_PUBLIC_URL", lambda _: (404, b"", {}), "leads elsewhere"),
    ("anything is fine", "DLR_PUBLIC_URL", lambda _: (200, b"ok", {}), "leads elsewhere"),
    (
        "somebody else's service",
        "DLR_PUBLIC_URL",
        lambda _: (200, b'{"proof": "x", "x_message_id": ""}', {}),
        "another secret",
    ),
    (
        "a redirection",
        "DLR_PUBLIC_URL",
        lambda _: (301, b"", {"Location": "https://elsewhere.example/dlr"}),
        "a redirection",
    ),
    ("nobody behind the proxy", "DLR_PUBLIC_URL", lambda _: (502, b"", {}), "answers 502"),
    ("the header is lost", "DLR_PUBLIC_URL", lambda _: (401, b"", {}), "lost on the way"),
    ("X-Message-Id is lost", "DLR_PUBLIC_URL", proof_without_message_id, "X-Message-Id is lost"),
    ("wrong credentials", "DLR_IOVOX_URL", lambda _: (401, b"", {}), "refuses our credentials"),
    ("not iovox", "DLR_IOVOX_URL", lambda _: (200, b"<html>", {}), "does not answer an empty"),
]


@pytest.mark.parametrize(
    ("setting", "answer", "words"),
    [c[1:] for c in WRONG_ANSWERS],
    ids=[c[0] for c in WRONG_ANSWERS],
)
def test_wrong_answers(
    deployment: Deployment,
    look: Callable[..., list[Finding]],
    setting: str,
    answer: Answer,
    words: str,
) -> None:
    with answering(answer) as url:
        (found,) = look(deployment.env | {setting: url})
    assert words in found.words


def test_a_certificate_that_nobody_knows(
    deployment: Deployment, look: Callable[..., list[Finding]], tmp_path: Path
) -> None:
    made = trustme.CA().issue_cert("127.0.0.1")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made.private_key_pem.write_to_path(key)
    made.cert_chain_pems[0].write_to_path(certificate)
    with Nginx([deployment.port], tls=(certificate, key)) as nginx:
        url = f"https://127.0.0.1:{nginx.port}"
        (found,) = look(deployment.env | {"DLR_PUBLIC_URL": url})
    assert "certificate" in found.words


GOOD = Report(host="a", works=True, receives=True)


async def alone(database: Database, report: Report | None) -> None:
    async with database.write() as connection:
        await connection.execute(delete(process_reports))
    if report is not None:
        store = OperationsStore(database)
        await store.report(uuid4(), report, now=utc_now(), every=timedelta(seconds=10))


async def alarmed(database: Database) -> None:
    up = {AlarmName.SILENCE: "no receipt has come for 3 h"}
    later_than_any = 10**9  # a service has had its turns there
    await OperationsStore(database).conclude(later_than_any, {}, up, now=utc_now())


async def held(database: Database) -> None:
    async with database.write() as connection:
        values = {"name": "queue", "held_at": utc_now(), "held_by": "ops", "reason": "restored"}
        await connection.execute(insert(queue_holds).values(**values))


async def newer(database: Database) -> None:
    async with database.write() as connection:
        values = {"revision": "0999_newer", "sequence": 999, "compatible_from": 998}
        await connection.execute(
            insert(schema_releases).values(**values, breaking="a test", applied_at=utc_now())
        )


async def emptied(database: Database) -> None:
    async with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.run_sync(table.drop)
        await connection.exec_driver_sql("drop table alembic_version")


OTHER = replace(GOOD, salt="s", secrets=["000000"])
# A name; what is planted in the database; the check that fails; words of the finding.
PLANTED: list[tuple[str, Callable[[Database], Coroutine[Any, Any, Any]], str, str]] = [
    ("nothing runs", lambda db: alone(db, None), "processes", "No process"),
    (
        "nobody works",
        lambda db: alone(db, replace(GOOD, works=False)),
        "worker",
        "No process sends",
    ),
    (
        "only workers",
        lambda db: alone(db, replace(GOOD, receives=False)),
        "processes",
        "takes receipts",
    ),
    ("a replica with another secret", lambda db: alone(db, OTHER), "secret", "does not know"),
    ("a clock", lambda db: alone(db, replace(GOOD, clock_ahead=7.0)), "clock", "+7.0 s"),
    ("an alarm is up", alarmed, "alarm silence", "no receipt"),
    ("the queue is held", held, "queue", "The queue is held"),
    ("a newer schema", newer, "database", "0999"),
    ("no schema", emptied, "database", "dlr migrate"),
]


@pytest.mark.parametrize(
    ("plant", "check", "words"), [c[1:] for c in PLANTED], ids=[c[0] for c in PLANTED]
)
def test_planted_in_the_database(
    deployment: Deployment,
    look: Callable[..., list[Finding]],
    tmp_path: Path,
    plant: Callable[[Database], Coroutine[Any, Any, Any]],
    check: str,
    words: str,
) -> None:
    env = deployment.copy(tmp_path)
    in_database(env, plant)
    found = look(env)
    assert any(one.check == check and words in f"{one.words} {one.remedy}" for one in found), found


@pytest.mark.parametrize(
    ("kind", "words"), [("tmpfs", "in memory"), ("overlay", "container"), ("nfs4", "network")]
)
def test_a_disk_that_does_not_last(
    deployment: Deployment, look: Callable[..., list[Finding]], kind: str, words: str
) -> None:
    point = deployment.folder / "spool"
    mounts = f"{DISK}\n40 36 0:30 / {point} rw - {kind} none rw"
    (found,) = look(deployment.env, mounts)
    assert words in found.words


def test_little_room(tmp_path: Path) -> None:
    (found,) = examine_spool(tmp_path, mounts=DISK, little=2**60)
    assert "MiB left" in found.words
    assert found.remedy


def test_the_file_system_is_that_of_the_nearest_mount() -> None:
    mounts = f"{DISK}\n40 36 0:30 / /srv rw - tmpfs none rw\n41 40 8:1 / /srv/a rw - xfs /dev/a rw"
    assert file_system(Path("/srv/a/spool"), mounts) == "xfs"
    assert file_system(Path("/srv/b"), mounts) == "tmpfs"
    assert file_system(Path("/home"), mounts) == "ext4"
    assert file_system(Path("/home"), "nonsense\n- \n") == ""


def test_there_are_more_than_twenty_faults() -> None:
    assert len(WRONG_SETTINGS) + len(WRONG_ANSWERS) + len(PLANTED) > 20
