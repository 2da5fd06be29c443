"""Which failures speak against the data, and which only say "later": receipts live by this."""

from __future__ import annotations

import asyncio
import sqlite3
import struct
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import Table, insert, make_url, text

from app.errors import ServiceError, StoreRefused, StoreUnavailable
from app.store.engine import Database
from app.store.failures import TRIES, retry_transient
from app.store.tables import api_keys, deliveries, events, messages, receipts
from tests.support.fixtures import Server
from tests.support.ports import free_port
from tests.support.proxy import Mode, TcpProxy
from tests.support_tests.servers import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRIVATE = "the customer's own words"
NOW = datetime(2020, 5, 6, tzinfo=UTC)
HUGE = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(9_000))  # hard to compress

GOOD_MESSAGE: dict[str, Any] = {
    "app": "billing",
    "origin": "447923221231",
    "destination": "447723443321",
    "message": PRIVATE,
    "created_at": NOW,
    "state": "QUEUED",
    "state_at": NOW,
}
GOOD_DELIVERY: dict[str, Any] = {"sms_activity_id": "it", "status": "SUBMITTED"}
GOOD_KEY: dict[str, Any] = {
    "id": "1", "app": "billing", "hash": b"1", "scopes": "send", "created_at": NOW
}  # fmt: skip

BOTH, POSTGRESQL = {"sqlite", "postgresql"}, {"postgresql"}
# label, table, values, where it is refused (elsewhere it goes in)
POISON: list[tuple[str, Table, dict[str, Any], set[str]]] = [
    ("nothing wrong", deliveries, GOOD_DELIVERY, set()),
    ("NUL", messages, {**GOOD_MESSAGE, "message": PRIVATE + "\x00"}, POSTGRESQL),
    ("half a pair", messages, {**GOOD_MESSAGE, "message": PRIVATE + "\ud800"}, BOTH),
    ("too big for int4", messages, {**GOOD_MESSAGE, "expiry": 2**31}, POSTGRESQL),
    ("too big for int8", deliveries, {**GOOD_DELIVERY, "status_key": 2**63}, BOTH),
    ("too big for anything", messages, {**GOOD_MESSAGE, "expiry": 10**30}, BOTH),
    ("too long for an index", deliveries, {**GOOD_DELIVERY, "sms_activity_id": HUGE}, POSTGRESQL),
    ("nothing where something must be", messages, {**GOOD_MESSAGE, "origin": None}, BOTH),
    ("no such message", messages, {**GOOD_MESSAGE, "resend_of": uuid4()}, BOTH),
    ("the year 1", messages, {**GOOD_MESSAGE, "send_at": datetime(1, 1, 1, tzinfo=UTC)}, set()),
    (
        "the last microsecond",
        messages,
        {**GOOD_MESSAGE, "send_at": datetime.max.replace(tzinfo=UTC)},
        set(),
    ),
    ("no zone", messages, {**GOOD_MESSAGE, "send_at": NOW.replace(tzinfo=None)}, BOTH),
]


@pytest.mark.parametrize(
    ("table", "values", "refusing"), [pytest.param(*row[1:], id=row[0]) for row in POISON]
)
async def test_poison(
    database: Database, table: Table, values: dict[str, Any], refusing: set[str]
) -> None:
    row = {"id": uuid4(), **values} if table is messages else values

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(insert(table).values(**row))

    if ("sqlite" if database.is_sqlite else "postgresql") not in refusing:
        await write()
        return
    with pytest.raises(StoreRefused) as caught:
        await write()
    assert_private(caught.value)
    assert caught.value.detail
    async with database.write() as connection:  # nothing is left of it, and the next one goes in
        assert (await connection.execute(table.select())).all() == []


def assert_private(error: ServiceError) -> None:
    """Neither the words for a caller nor the traceback for a log say what a customer wrote."""
    assert "[SQL" not in error.detail
    told = "".join(traceback.format_exception(error))
    for words in (PRIVATE, "447723443321"):
        assert words not in told, told


TWICE = [
    ("the same key", api_keys, GOOD_KEY, GOOD_KEY),
    ("the same secret", api_keys, GOOD_KEY, {**GOOD_KEY, "id": "2"}),
    ("the same delivery", deliveries, GOOD_DELIVERY, GOOD_DELIVERY),
]


@pytest.mark.parametrize(
    ("table", "first", "second"), [pytest.param(*row[1:], id=row[0]) for row in TWICE]
)
async def test_twice(
    database: Database, table: Table, first: dict[str, Any], second: dict[str, Any]
) -> None:
    async with database.write() as connection:
        await connection.execute(insert(table).values(**first))
    with pytest.raises(StoreRefused):
        async with database.write() as connection:
            await connection.execute(insert(table).values(**second))


async def test_a_mistake_of_ours_is_no_failure_of_the_database(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.write():
            raise KeyError("ours")


async def test_nothing_of_a_transaction_that_fails_is_kept(database: Database) -> None:
    async def fail_half_way() -> None:
        async with database.write() as connection:
            await connection.execute(insert(deliveries).values(**GOOD_DELIVERY))
            await connection.execute(insert(deliveries).values(**GOOD_DELIVERY))

    with pytest.raises(StoreRefused):
        await fail_half_way()
    async with database.read() as connection:
        assert (await connection.execute(deliveries.select())).all() == []


MISSING = [
    ("a table", "select * from gone"),
    ("a column", "select gone from deliveries"),
    ("sense", "selekt 1"),
]


@pytest.mark.parametrize("statement", [pytest.param(row[1], id=row[0]) for row in MISSING])
async def test_what_is_not_migrated_may_go_in_later(database: Database, statement: str) -> None:
    for begin in (database.write, database.read):
        with pytest.raises(StoreUnavailable):
            async with begin() as connection:
                await connection.execute(text(statement))


async def test_receipts_into_a_database_without_tables(empty_database_url: str) -> None:
    opened = Database(empty_database_url)
    for table in (receipts, events):
        with pytest.raises(StoreUnavailable):
            async with opened.write() as connection:
                await connection.execute(table.select())
    await opened.close()


# PostgreSQL's own words for what goes wrong: https://www.postgresql.org/docs/15/errcodes-appendix
STATES = [
    ("22001", "string data right truncation", StoreRefused, False),
    ("22P05", "untranslatable character", StoreRefused, False),
    ("23514", "check violation", StoreRefused, False),
    ("54000", "program limit exceeded", StoreRefused, False),
    ("08006", "connection failure", StoreUnavailable, False),
    ("0A000", "cached plan must not change", StoreUnavailable, True),
    ("25006", "read only transaction", StoreUnavailable, False),
    ("28P01", "invalid password", StoreUnavailable, False),
    ("40001", "serialization failure", StoreUnavailable, True),
    ("40P01", "deadlock detected", StoreUnavailable, True),
    ("42501", "insufficient privilege", StoreUnavailable, False),
    ("53100", "disk full", StoreUnavailable, False),
    ("53200", "out of memory", StoreUnavailable, False),
    ("53300", "too many connections", StoreUnavailable, False),
    ("55P03", "lock not available", StoreUnavailable, False),
    ("57014", "query canceled", StoreUnavailable, False),
    ("57P01", "admin shutdown", StoreUnavailable, False),
    ("57P03", "cannot connect now", StoreUnavailable, False),
    ("58030", "io error", StoreUnavailable, False),
    ("XX001", "data corrupted", StoreUnavailable, False),
]


@pytest_asyncio.fixture(loop_scope="module")
async def on_postgresql(postgres_url: str) -> AsyncIterator[Database]:
    opened = Database(postgres_url)
    yield opened
    await opened.close()


@pytest.mark.postgresql
async def test_arrays_that_cannot_be_encoded(on_postgresql: Database) -> None:
    """As receipts are handed over: the driver itself refuses, and its words quote the value."""
    arrays = (["fine", PRIVATE + "\ud800"],)
    with pytest.raises(StoreRefused) as caught:
        async with on_postgresql.write() as connection:
            await connection.exec_driver_sql("select unnest($1::text[])", arrays)
    assert_private(caught.value)
    with pytest.raises(StoreRefused) as caught:
        async with on_postgresql.direct() as driver:
            await driver.fetch("select unnest($1::text[])", *arrays)
    assert_private(caught.value)


@pytest.mark.postgresql
@pytest.mark.parametrize("through_sqlalchemy", [True, False], ids=["sqlalchemy", "asyncpg"])
async def test_states_of_postgresql(on_postgresql: Database, through_sqlalchemy: bool) -> None:
    runs = 0

    async def run(statement: str) -> None:
        nonlocal runs
        runs += 1
        if through_sqlalchemy:
            async with on_postgresql.write() as connection:
                await connection.exec_driver_sql(statement)
        else:
            async with on_postgresql.direct() as driver:
                await driver.execute(statement)

    for state, meaning, expected, transient in STATES:
        statement = f"do $$ begin raise exception '{meaning}' using errcode='{state}'; end $$"
        runs = 0
        with pytest.raises(ServiceError) as caught:
            await retry_transient(partial(run, statement))
        assert type(caught.value) is expected, meaning
        assert meaning in caught.value.detail
        assert runs == (TRIES if transient else 1), meaning


async def test_nobody_listens() -> None:
    away = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    for begin in (away.write, away.read):
        with pytest.raises(StoreUnavailable):
            async with begin():
                pass
    await away.close()


@pytest.mark.postgresql
async def test_a_host_that_no_name_can_be_is_no_fault_of_the_data() -> None:
    database = Database(f"postgresql://dlr@{'x' * 70}.example.com/dlr")
    with pytest.raises(StoreUnavailable, match="not a valid one"):
        async with database.direct() as connection:
            await connection.fetchval("select 1")
    await database.close()


async def test_it_is_there_but_has_no_such_database(postgres_url: str) -> None:
    away = Database(postgres_url + "_that_is_not_there")
    with pytest.raises(StoreUnavailable):
        async with away.write():
            pass
    await away.close()


@pytest.mark.postgresql
@pytest.mark.parametrize("mode", [Mode.RESET, Mode.REFUSE])
async def test_the_connection_is_cut_and_comes_back(postgres_url: str, mode: Mode) -> None:
    there = make_url(postgres_url)
    assert there.host
    async with TcpProxy(there.host, there.port or 5432) as proxy:
        through = there.set(host=proxy.host, port=proxy.port)
        database = Database(through.render_as_string(hide_password=False))
        async with database.read() as connection:
            await connection.execute(text("select 1"))

        async def cut_half_way() -> None:
            async with database.write() as connection:
                await connection.execute(text("select 1"))
                await proxy.switch(mode)
                await connection.execute(text("select 2"))

        with pytest.raises(StoreUnavailable):
            await cut_half_way()
        with pytest.raises(StoreUnavailable):
            async with database.write() as connection:
                await connection.execute(text("select 3"))
        await proxy.switch(Mode.PASS)
        for _ in range(10):  # as many dead connections as the pool may still hold
            with suppress(StoreUnavailable):
                async with database.write() as connection:
                    await connection.execute(text("select 4"))
                break
        else:
            pytest.fail("it never came back")
        await database.close()


@pytest.mark.postgresql
async def test_every_connection_is_in_use(postgres_server: Server, postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=1)
    async with database.read():
        with pytest.raises(StoreUnavailable):
            async with database.write(patience=0.2):
                pass
    await database.close()


def stays(folder: Path) -> Database:
    return Database(f"sqlite:///{folder / 'odd.db'}")


async def test_a_full_disk_on_sqlite(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    async with database.write() as connection:
        await connection.execute(text("pragma max_page_count = 1"))  # it becomes the present size
    large = {**GOOD_MESSAGE, "id": uuid4(), "message": HUGE * 20}
    with pytest.raises(StoreUnavailable, match="full"):
        async with database.write() as connection:
            await connection.execute(insert(messages).values(**large))
    await database.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "odd.db").write_bytes(b"this is a letter to my mother " * 1000)
    database = stays(tmp_path)
    with pytest.raises(StoreUnavailable):
        async with database.write():
            pass
    await database.close()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    database = stays(tmp_path / "gone")
    with pytest.raises(StoreUnavailable):
        async with database.read():
            pass
    await database.close()


async def test_another_process_holds_the_file(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    async with database.write() as connection:
        await connection.execute(text("pragma busy_timeout = 50"))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    try:
        with pytest.raises(StoreUnavailable, match="locked"):
            async with database.write():
                pass
        async with database.read() as reading:  # readers do not wait for writers
            await reading.execute(deliveries.select())
    finally:
        other.close()
        await database.close()


FATAL = {
    "57P03": "the database system is starting up",
    "57P01": "terminating connection due to administrator command",
    "53300": "sorry, too many clients already",
    "28P01": "password authentication failed",
}


@asynccontextmanager
async def refusing_everyone(state: str) -> AsyncIterator[str]:
    """A PostgreSQL that answers every start with an error, as one does that has just crashed."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # whether it speaks TLS
        writer.write(b"N")
        (size,) = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(size - 4)
        said = f"SFATAL\0VFATAL\0C{state}\0M{FATAL[state]}\0\0".encode()
        writer.write(b"E" + struct.pack("!i", len(said) + 4) + said)
        await writer.drain()
        writer.close()

    async with serving(refuse) as port:
        yield f"postgresql://nobody@127.0.0.1:{port}/nothing"


@pytest.mark.parametrize("state", FATAL)
async def test_who_is_refused_a_connection_is_told_unavailable(state: str) -> None:
    async with refusing_everyone(state) as url:
        database = Database(url)
        for begin in (database.write, database.read, database.direct):
            with pytest.raises(StoreUnavailable, match=FATAL[state][:20]):
                async with begin():
                    pass
        await database.close()
