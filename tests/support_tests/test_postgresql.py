"""The private PostgreSQL keeps what it acknowledged, also after kills."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.support.fixtures import Server
from tests.support.postgresql import PostgresServer, find_binaries, wheel_binaries
from tests.support.process import PROJECT
from tests.support.processes import wait_until

pytestmark = pytest.mark.postgresql


@pytest.fixture
def database(own_postgres: PostgresServer) -> Iterator[str]:
    name = "kept"
    own_postgres.create_database(name)
    own_postgres.execute("CREATE TABLE facts (n int); INSERT INTO facts VALUES (1)", database=name)
    yield name
    own_postgres.start()
    own_postgres.drop_database(name)


def facts(server: PostgresServer, database: str) -> str:
    return server.execute("SELECT count(*) FROM facts", database=database)


def test_data_survive_a_kill_and_the_port_stays(
    own_postgres: PostgresServer, database: str
) -> None:
    port = own_postgres.port
    own_postgres.kill()
    assert not own_postgres.running
    with pytest.raises(RuntimeError, match="psql failed"):
        facts(own_postgres, database)
    own_postgres.start()
    assert own_postgres.port == port
    assert facts(own_postgres, database) == "1"


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_restarts_by_each_of_postgresqls_modes(
    own_postgres: PostgresServer, database: str, mode: str
) -> None:
    own_postgres.restart(mode)
    assert facts(own_postgres, database) == "1"


def test_may_be_killed_while_paused(own_postgres: PostgresServer, database: str) -> None:
    own_postgres.pause()
    own_postgres.kill()
    own_postgres.start()
    assert facts(own_postgres, database) == "1"


def test_answers_again_after_a_pause(own_postgres: PostgresServer, database: str) -> None:
    own_postgres.pause()
    own_postgres.resume()
    assert facts(own_postgres, database) == "1"


def test_a_kill_leaves_no_process_behind(own_postgres: PostgresServer) -> None:
    own_postgres.kill()
    assert not processes_with(str(own_postgres.folder))


def test_cpu_time_counts_finished_sessions_and_earlier_runs(own_postgres: PostgresServer) -> None:
    before = own_postgres.cpu_seconds()
    own_postgres.execute("SELECT count(*) FROM generate_series(1, 2000000)")
    # The session ends a moment after psql, and is counted in hundredths of a second from then on.
    assert wait_until(lambda: own_postgres.cpu_seconds() > before + 0.1, timeout=5)
    worked = own_postgres.cpu_seconds() - 0.02
    own_postgres.kill()
    assert own_postgres.cpu_seconds() >= worked
    own_postgres.start()
    assert own_postgres.cpu_seconds() >= worked


def test_a_copy_of_a_template_has_its_tables(own_postgres: PostgresServer, database: str) -> None:
    url = own_postgres.create_database("copied", template=database)
    assert url == own_postgres.url("copied")
    assert facts(own_postgres, "copied") == "1"
    own_postgres.drop_database("copied")


def test_is_durable_on_loopback_only_and_deletes_itself() -> None:
    with PostgresServer(binaries=find_binaries(), settings={"max_connections": "17"}) as server:
        names = ("fsync", "synchronous_commit", "listen_addresses", "timezone", "max_connections")
        shown = [server.execute(f"SHOW {name}") for name in names]
    assert shown == ["on", "on", "127.0.0.1", "UTC", "17"]
    assert not server.running
    assert not server.folder.exists()


def test_starts_with_the_binaries_of_the_wheel_also_where_its_account_cannot_reach_them(
    tmp_path: Path,
) -> None:
    binaries = wheel_binaries()
    if os.geteuid() == 0:  # the server runs as somebody else
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        (closed / "install").symlink_to(binaries.parent)
        binaries = closed / "install" / "bin"
    with PostgresServer(binaries=binaries) as server:
        assert server.execute("SELECT 1") == "1"
    assert not server.folder.exists()


def test_a_server_that_cannot_start_says_why() -> None:
    server = PostgresServer(settings={"shared_buffers": "nonsense"})
    try:
        with pytest.raises(RuntimeError, match="nonsense"):
            server.start()
    finally:
        server.close()


@pytest.mark.crash
@pytest.mark.parametrize("end", ["SIGKILL", "exit"])
def test_ends_with_the_process_that_started_it(end: str) -> None:
    how = "os.kill(os.getpid(), 9)" if end == "SIGKILL" else "pass"
    script = (
        "import os; from tests.support.postgresql import PostgresServer; s = PostgresServer();"
        f"s.start(); print(s.folder, flush=True); {how}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == (-signal.SIGKILL if end == "SIGKILL" else 0), done.stderr
    folder = done.stdout.strip()
    assert folder
    assert wait_until(lambda: not processes_with(folder), timeout=20)
    assert wait_until(lambda: not Path(folder).exists(), timeout=20)


async def test_each_test_gets_a_database_of_its_own(
    postgres_server: Server, empty_postgres_url: str
) -> None:
    connection = await asyncpg.connect(empty_postgres_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
    finally:
        await connection.close()
    assert empty_postgres_url != postgres_server.url()


def processes_with(word: str) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline", "status"])
    return [
        each
        for each in found
        if each.info["status"] != psutil.STATUS_ZOMBIE
        and word in " ".join(each.info["cmdline"] or [])
    ]
