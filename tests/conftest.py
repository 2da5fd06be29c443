"""Shared by every test."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable

import hypothesis
import pytest
from sqlalchemy import update

from app.store.engine import Database
from app.store.rollups import RollupStore
from app.store.schema import migrate as migrate_schema
from app.store.stats import StatsStore
from app.store.tables import rollup_hours
from tests.support.document import compute_documents_once
from tests.support.front import PROXY
from tests.support.memory import use_memory
from tests.support.trust import trust_one_root

# Where tests are started in the background, a shell has them ignore Ctrl-C, and so would every
# process of theirs, and the tests of Ctrl-C itself would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

use_memory()
# To collect the tests took half as long again: most of it was looking for garbage among them.
gc.set_threshold(50_000, 20, 20)

pytest_plugins = ["tests.support.fixtures"]
compute_documents_once()
trust_one_root()

# An example may take as long as a busy machine needs for it.
hypothesis.settings.register_profile("busy", deadline=None)
# `make mutants`: its workers are forks, which would all draw the same examples by chance, each
# time others. That one fails is enough: to shrink it takes longer than a mutant may.
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=30,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile("busy")

SLOWEST = (
    "web", "record", "store", "upgrade", "crash", "send", "postgres", "soak", "cli", "console",
    "care", "receive", "events", "deploy", "ops", "lookup", "server", "client",
)  # fmt: skip
"""Folders whose tests start processes and wait for them. They go first, so that no worker is left
alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first; otherwise as they come. None that a proxy in front makes meaningless."""
    places = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(places)))
    if PROXY:
        for item in items:
            if item.get_closest_marker("direct"):
                item.add_marker(pytest.mark.skip(f"{PROXY} answers itself"))


def pytest_collection_finish() -> None:
    """What is collected stays: no collection of garbage goes through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def migrate() -> Callable[[str], None]:
    """Databases for tests come out of the real migrations, never out of `create_all`."""

    def run(url: str) -> None:
        # In a thread: `asyncio.run` would take the event loop of whoever asks for the fixture.
        failures: list[BaseException] = []

        def work() -> None:
            try:
                asyncio.run(_migrate(url))
            except BaseException as error:  # noqa: BLE001  raised again below
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    return run


async def _migrate(url: str) -> None:
    database = Database(url)
    try:
        await migrate_schema(database)
        await _count_hours(database)
    finally:
        await database.close()


async def _count_hours(database: Database) -> None:
    """As they are in a service that has run for a while: each new one would count two days of them
    for its first seconds, beside whatever is tested.
    """
    await RollupStore(database, StatsStore(database)).notice()
    hour = rollup_hours.c
    counted = {"counted": hour.changes, "counted_at": database.clock.now(), "messages": 0}
    async with database.write() as connection:
        await connection.execute(
            update(rollup_hours).where(hour.counted.is_(None)).values(**counted)
        )
