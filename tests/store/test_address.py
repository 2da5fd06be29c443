"""DLR_DATABASE_URL in PostgreSQL's own words, and what is wrong with one, in words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from app.errors import StoreUnavailable
from app.store.connections.address import PostgresAddress, SqliteAddress, read_address
from app.store.engine import Database
from tests.support.ports import free_port
from tests.support.proxy import Mode, TcpProxy

SECRET = "hunter2"
HEAD = f"postgresql://dlr:{SECRET}@db1.example.com"


def test_sqlite() -> None:
    for url in ("sqlite:///dlr.db", "sqlite+pysqlite:///dlr.db"):
        found = read_address(url)
        assert isinstance(found, SqliteAddress)
        assert found.url.drivername == "sqlite+aiosqlite"
        assert (found.file, found.name) == (Path("dlr.db"), "SQLite file dlr.db")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"{HEAD}/dlr", "PostgreSQL at db1.example.com:5432, database dlr"),
        ("postgres://a@[::1]:6432/name", "PostgreSQL at [::1]:6432, database name"),
        ("postgresql+psycopg://a:b@host:1/name", "PostgreSQL at host:1, database name"),
        ("postgresql://a@h1:1,h2:2/x", "PostgreSQL at h1:1,h2:2, database x"),
        ("postgresql://a@/x?host=h1,h2&port=1,2", "PostgreSQL at h1:1,h2:2, database x"),
        ("postgresql:///x?host=/tmp&user=a", "PostgreSQL at /tmp/.s.PGSQL.5432, database x"),
    ],
)
def test_postgresql_is_named_by_its_hosts_and_database(url: str, name: str) -> None:
    found = read_address(url)
    assert found.name == name
    assert SECRET not in repr(found)


def postgres(words: str, hosts: str = "") -> PostgresAddress:
    found = read_address(f"{HEAD}{hosts}/dlr?{words}")
    assert isinstance(found, PostgresAddress)
    return found


def test_psqls_words_are_taken(tmp_path: Path) -> None:
    passfile = tmp_path / "pass"
    passfile.write_text("*:*:*:*:x")
    passfile.chmod(0o600)
    for words in (
        "sslmode=require",
        "sslmode=disable&application_name=billing",
        f"passfile={passfile}",
        "options=-c%20search_path%3Ddlr",
        "target_session_attrs=primary",
        "channel_binding=prefer&gssencmode=disable&keepalives=1&sslcompression=0&sslsni=1",
        "connect_timeout=7",
    ):
        postgres(words)
    assert postgres("connect_timeout=7").timeout == 7
    assert "channel_binding" not in postgres("channel_binding=prefer").dsn


SERVICES = """\
# of this machine
[dlr]
host=db1.example.com,db2.example.com
port=5433
dbname=receipts
user=dlr
password=100%%hunter2
connect_timeout=7
sslmode=disable
channel_binding=prefer

[odd]
host=db1.example.com
colour=hunter2
[nested]
service=dlr
"""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """psql's service file, which only it knows where to find."""
    file = tmp_path / "services"
    file.write_text(SERVICES.replace("%%", "%"))
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    return file


@pytest.mark.usefixtures("services")
def test_a_service_has_words_by_name_and_the_urls_own_win() -> None:
    found = read_address("postgresql:///?service=dlr")
    assert isinstance(found, PostgresAddress)
    assert found.hosts == (("db1.example.com", 5433), ("db2.example.com", 5433))
    assert found.timeout == 7
    assert found.name.endswith("database receipts")
    assert "channel_binding" not in found.dsn
    assert SECRET not in repr(found)
    over = read_address("postgresql://u@h:1/x?service=dlr&connect_timeout=5&sslmode=prefer")
    assert isinstance(over, PostgresAddress)
    assert (over.name, over.timeout) == ("PostgreSQL at h:1, database x", 5)
    assert "sslmode=prefer" in over.dsn
    assert "u@h:1/x" in over.dsn


def test_a_service_is_looked_for_where_psql_does(
    services: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSERVICEFILE")
    everyones = tmp_path / "everyones"
    everyones.mkdir()
    services.rename(everyones / "pg_service.conf")
    monkeypatch.setenv("PGSYSCONFDIR", str(everyones))
    assert read_address("postgresql:///?service=dlr").name.endswith("database receipts")
    (tmp_path / ".pg_service.conf").write_text("[dlr]\nhost=mine\ndbname=mine\n")
    assert read_address("postgresql:///?service=dlr").name.endswith("database mine")


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql:///?service=absent", "service: absent is not in .*/services"),
        ("postgresql:///?service=odd", "colour is not a connection parameter"),
        ("postgresql:///?service=nested", "nested in .* names a service itself"),
        ("postgresql://h/x?service=dlr", "port: write it behind the host"),
        (f"{HEAD}/dlr?port=5433", "port: write it behind the host"),
        (f"{HEAD}/dlr?host=db2", "host is given twice"),
        (f"{HEAD}/dlr?password=other", "password is given twice"),
    ],
)
def test_a_service_that_cannot_be_used_is_said(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        read_address(url)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("text", ["host=hunter2", "[dlr]\nhunter2", "[dlr]\nhost=\xff"])
def test_a_file_of_services_that_cannot_be_read_is_said(services: Path, text: str) -> None:
    services.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="is not a file of") as refused:
        read_address("postgresql:///?service=dlr")
    assert SECRET not in str(refused.value)


def test_of_several_hosts_one_that_takes_writes_is_wanted() -> None:
    several = postgres("sslmode=disable", ":5432,db2.example.com:5433")
    assert several.hosts == (("db1.example.com", 5432), ("db2.example.com", 5433))
    assert several.dsn.endswith("&target_session_attrs=read-write")
    assert several.timeout < 2
    said = postgres("target_session_attrs=any", ",db2.example.com")
    assert "read-write" not in said.dsn


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not a database URL"),
        ("dlr.db", "not a database URL"),
        ("postgresql", "not a database URL"),
        ("mysql://host/name", "must start with"),
        (f"{HEAD}/dlr?ssl=require", "ssl is not a connection parameter"),
        (f"{HEAD}/dlr?prepared_statement_cache_size=0", "prepared_statement_cache_size is not"),
        (f"{HEAD}/dlr?sslmod=require", "sslmod is not a connection parameter"),
        (f"{HEAD}/dlr?search_path=x", "search_path is not a connection parameter"),
        (f"{HEAD}/dlr?channel_binding=require", "channel_binding must be disable or prefer"),
        (f"{HEAD}/dlr?sslmode=strict", "sslmode"),
        (f"{HEAD}/dlr?sslmode=", "sslmode is empty"),
        (f"{HEAD}/dlr?sslmode=require&sslmode=disable", "sslmode is given twice"),
        (f"{HEAD}/dlr?sslmode", "parameter=value"),
        (f"{HEAD}/dlr?sslmode=verify-full&sslrootcert=/no/ca.pem", "no file /no/ca.pem"),
        (f"{HEAD}/dlr?sslmode=verify-full&sslrootcert={__file__}", "certificates"),
        (f"{HEAD}/dlr?sslrootcert=system", "the system's authorities, such as /etc/ssl"),
        (f"{HEAD}/dlr?passfile=/no/pass", "no file /no/pass"),
        (f"{HEAD}/dlr?connect_timeout=soon", "connect_timeout must be whole seconds"),
        (f"{HEAD}/dlr?connect_timeout=0", "connect_timeout must be whole seconds"),
        (f"{HEAD}/dlr?target_session_attrs=standby", "target_session_attrs must be any"),
        (f"{HEAD}/dlr?keepalives=0", "keepalives must be 1"),
        (f"{HEAD}:port/dlr", "ports"),
        (f"{HEAD}:99999/dlr", "port 99999 is not one from 1 to 65535"),
        (f"{HEAD}:0/dlr", "port 0 is not"),
        (f"{HEAD}:5432,db2:70000/dlr", "port 70000 is not"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:dlr.db", "names no file"),
        ("sqlite:///dlr.db?mode=ro", "SQLite takes a file alone"),
        ("postgresql:///dlr?host=db1,db2&port=1,2,3", "could not match 3 port"),
        ("postgresql://dlr:hunter2/x@db1/dlr", "percent-encoded"),
        ("postgresql://dlr:1/hunter2@db1/dlr", "percent-encoded"),
        ("postgresql://dlr:x?hunter2=1@db1/dlr", "percent-encoded"),
        ("postgresql://dlr:hunter2#x@db1/dlr", "percent-encoded"),
        ("postgresql://dlr:hunter2@x@db1/dlr", "percent-encoded"),
        ("postgresql://dlr:hunter2@[::1/dlr", "hosts cannot be read"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        read_address(url)
    assert SECRET not in str(refused.value)


@pytest_asyncio.fixture
async def first(postgres_url: str) -> AsyncIterator[TcpProxy]:
    parts = urlsplit(postgres_url)
    async with TcpProxy(parts.hostname or "", parts.port or 5432) as proxy:
        yield proxy


def two_hosts(postgres_url: str, first: str, words: str = "") -> str:
    parts = urlsplit(postgres_url)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}@{first},{host}", query=words).geturl()


async def both_pools(database: Database) -> list[Any]:
    async with database.write() as session, database.direct() as connection:
        name = "show application_name"
        return [(await session.exec_driver_sql(name)).scalar(), await connection.fetchval(name)]


@pytest.mark.postgresql
@pytest.mark.parametrize("mode", [Mode.PASS, Mode.REFUSE, Mode.RESET, Mode.BLACKHOLE])
async def test_a_host_that_is_gone_gives_way_to_the_next(
    postgres_url: str, first: TcpProxy, mode: Mode
) -> None:
    """In both pools, in time for a check, and for a receipt not much later than ever."""
    await first.switch(mode)
    database = Database(
        two_hosts(postgres_url, f"{first.host}:{first.port}", "application_name=me")
    )
    began = time.monotonic()
    async with database.read() as session:
        assert (await session.exec_driver_sql("select 1")).scalar() == 1
    assert time.monotonic() - began < 1.0 + database.failover_time
    assert await both_pools(database) == ["me", "me"]
    assert bool(first.accepted) is (mode is not Mode.REFUSE)
    await database.close()


@pytest.mark.postgresql
async def test_a_connection_that_is_cut_is_made_to_the_other_host(
    postgres_url: str, first: TcpProxy
) -> None:
    database = Database(two_hosts(postgres_url, f"{first.host}:{first.port}"))
    assert await both_pools(database) == ["iovox-receipts"] * 2
    await first.switch(Mode.REFUSE)
    await asyncio.sleep(0.1)
    assert await both_pools(database) == ["iovox-receipts"] * 2
    await database.close()


@pytest.mark.postgresql
async def test_a_standby_gives_way_to_the_host_that_takes_writes(
    postgres_url: str, first: TcpProxy
) -> None:
    """The first host is made read-only for the session, as a standby is for all."""
    database = Database(postgres_url)
    async with database.direct() as connection:
        name = await connection.fetchval("select current_database()")
        await connection.execute(f'alter database "{name}" set default_transaction_read_only = on')
    await database.close()
    away = Database(two_hosts(postgres_url, f"{first.host}:{first.port}"))
    with pytest.raises(StoreUnavailable, match="None of the hosts match"):
        await both_pools(away)
    await away.close()
    anyone = two_hosts(postgres_url, f"{first.host}:{first.port}", "target_session_attrs=any")
    database = Database(anyone)
    assert await both_pools(database) == ["iovox-receipts"] * 2
    await database.close()


async def test_errors_name_the_hosts_and_the_database() -> None:
    ports = free_port(), free_port()
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    database = Database(f"postgresql://dlr:{SECRET}@{hosts}/receipts")
    for attempt in (database.read, database.write, database.direct):
        with pytest.raises(StoreUnavailable) as failed:
            async with attempt():
                pass
        assert failed.value.detail.startswith(f"PostgreSQL at {hosts}, database receipts: ")
        assert SECRET not in failed.value.detail
        assert hosts not in str(failed.value.problem())
    await database.close()


async def test_errors_name_the_sqlite_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nowhere/dlr.db")
    with pytest.raises(StoreUnavailable, match=r"SQLite file .*/nowhere/dlr\.db: unable to open"):
        async with database.read():
            pass
    await database.close()
    await asyncio.sleep(0.1)  # the driver's thread still tells the loop that it has ended
