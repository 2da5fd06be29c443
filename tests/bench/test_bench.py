"""The benchmarks themselves: what they load is what the service would have left, and they run."""

from __future__ import annotations

import subprocess
import sys
from array import array
from dataclasses import replace

import pytest

from app.model.message import Record
from app.store.engine import Database
from app.store.history import HistoryStore
from bench import data, plain, servers, traffic
from bench.ablation import DEVICES
from bench.bulk import Filling, fill
from bench.client import percentile
from bench.lists import FILTERS, filter_names
from bench.measure import Figures
from bench.population import Population, populate
from bench.receive import Source, window
from bench.report import Mark, Section, markdown
from bench.stage import name_of
from bench.turns import Contest
from tests.support.postgresql import PostgresServer
from tests.support.process import PROJECT
from tests.support.statuses import status_of

pytestmark = pytest.mark.slow

KNOWN = 50
RECEIPTS = 2_000


@pytest.fixture
def server(own_postgres: PostgresServer) -> PostgresServer:
    return own_postgres


@pytest.fixture
def population(server: PostgresServer, postgres_url: str) -> Population:
    return populate(server, name_of(postgres_url), RECEIPTS, KNOWN, lambda _: None)


async def records(url: str, numbers: list[int]) -> list[Record | None]:
    database = Database(url)
    try:
        store = HistoryStore(database)
        return await store.find_all([str(traffic.message_id(number)) for number in numbers])
    finally:
        await database.close()


@pytest.mark.postgresql
async def test_a_population_is_what_the_service_would_have_left(
    population: Population, postgres_url: str
) -> None:
    numbers = list(range(KNOWN + population.messages))
    found = await records(postgres_url, numbers)
    assert population.receipts >= RECEIPTS
    assert sum(len(record.receipts) for record in found if record) == population.receipts
    statuses = set()
    for number, record in zip(numbers, found, strict=True):
        assert record is not None, number
        assert record.message is not None
        assert record.message.created_at == traffic.created_at(number)
        assert record.sms_activity_id in (None, traffic.sms_activity_id(number))
        told = status_of((receipt.status, receipt.at) for receipt in record.receipts)
        assert told in (None, record.status), number
        assert bool(record.receipts) == (told is not None)
        statuses.add(record.status)
    assert statuses >= {"DELIVERED", "FAILED", "EXPIRED", "BUFFERED", "SUBMITTED", "REJECTED"}
    assert any(record.contradictory for record in found if record)


@pytest.mark.postgresql
async def test_known_messages_take_their_receipts(
    server: PostgresServer, postgres_url: str
) -> None:
    data.submit_all(server, name_of(postgres_url), 0, 5)
    found = await records(postgres_url, [0, 4])
    assert [record.status for record in found if record] == ["SUBMITTED", "SUBMITTED"]
    agree = server.execute(
        "select bool_and(created_key = (extract(epoch from created_at) * 2000000)::bigint) "
        "from deliveries join messages on messages.id = message_id",
        database=name_of(postgres_url),
    )
    assert agree == "t"


SCHEMA = """
select indexdef from pg_indexes where tablename = 'messages'
union all
select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'messages'::regclass
order by 1
"""


@pytest.mark.postgresql
def test_a_bulk_load_puts_back_what_it_took_away(server: PostgresServer, postgres_url: str) -> None:
    database = name_of(postgres_url)
    before = server.execute(SCHEMA, database=database)
    row = (
        "insert into messages (id, app, origin, destination, message, created_at, state, state_at)"
    )
    values = "select gen_random_uuid(), 'a', 'o', 'd', 'm', now(), 'SUBMITTED', now()"
    fill(server, database, [Filling("messages", [f"{row} {values}"])], lambda _: None)
    assert server.execute("select count(*) from messages", database=database) == "1"
    assert server.execute(SCHEMA, database=database) == before
    assert server.execute("show wal_level") == "replica"


def test_ratios_are_of_turns_that_came_together() -> None:
    """A machine that turns slow half-way makes neither of two contenders look better."""
    fast_and_slow = [
        Figures(rate=rate, p50=0, p99=0, service_cpu=0, postgres_cpu=0, memory=0)
        for rate in (100, 100, 60, 50, 50)
    ]
    twice = [replace(figures, rate=figures.rate * 2) for figures in fast_and_slow]
    contest = Contest({"ours": twice, "theirs": fast_and_slow})
    assert contest.of_pairs("ours", "theirs", lambda a, b: a.rate / b.rate) == 2
    assert contest.medians()["ours"].rate == 120


def test_a_window_measures_a_rival() -> None:
    figures = window(servers.rival("bare"), Source(), 0.3, None)
    assert figures.rate > 0
    assert 0 < figures.p50 <= figures.p99
    assert figures.service_cpu > 0
    assert figures.memory > 1_000_000


def test_every_device_can_be_switched_off() -> None:
    assert {device.name for device in DEVICES} | {"nothing"} == set(plain.DEVICES)
    switch_off = "from bench import plain\nfor each in plain.DEVICES.values(): each()"
    subprocess.run([sys.executable, "-c", switch_off], check=True, cwd=PROJECT)


def test_every_filter_that_a_list_offers_is_measured() -> None:
    measured = {name for each in FILTERS for name in each.query(1)} | {"limit"}
    assert measured == filter_names()


@pytest.mark.parametrize(
    ("mark", "verdict"),
    [
        pytest.param(Mark("rate", 12.0, 12, at_least=True), "pass", id="just enough"),
        pytest.param(Mark("rate", 11.9, 12, at_least=True), "MISS", id="too slow"),
        pytest.param(Mark("cost", 2.2, 2.2), "pass", id="just little enough"),
        pytest.param(Mark("cost", 2.3, 2.2), "MISS", id="too dear"),
    ],
)
def test_marks(mark: Mark, verdict: str) -> None:
    assert mark.cells()[-1] == verdict


def test_a_failed_scenario_shows_in_the_document() -> None:
    section = Section(title="receive", note="What it does.", columns=(), failures=["no disk left"])
    text = markdown([section], {"date": "today"}, "make bench")
    assert "Failed: no disk left" in text


def test_percentiles_are_times_that_were_measured() -> None:
    hundred = array("d", range(1, 101))
    assert percentile(hundred, 50) == 50
    assert percentile(hundred, 99) == 99
    assert percentile(array("d", [3.0]), 99) == 3
