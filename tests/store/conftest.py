from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from app.store.engine import Database
from app.store.history import HistoryStore
from app.store.messages import MessageStore
from app.store.receipts import ReceiptStore
from tests.store.emptied import empty
from tests.support.fixtures import Server


@pytest.fixture(scope="module")
def shared_postgres_url(postgres_server: Server, postgres_template: str) -> Iterator[str]:
    """A migrated database on PostgreSQL for a whole module."""
    url = postgres_server.create_database(template=postgres_template)
    yield url
    postgres_server.start()
    postgres_server.drop_database(urlsplit(url).path.removeprefix("/"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_database(shared_url: str) -> AsyncIterator[Database]:
    opened = Database(shared_url)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def database(shared_database: Database) -> Database:
    """A migrated, empty database: the test runs once on SQLite and once on PostgreSQL.

    Its module has to say ``pytestmark = pytest.mark.asyncio(loop_scope="module")``.
    """
    await empty(shared_database)
    return shared_database


@pytest.fixture
def receipts(database: Database) -> ReceiptStore:
    return ReceiptStore(database)


@pytest.fixture
def messages(database: Database) -> MessageStore:
    return MessageStore(database)


@pytest.fixture(scope="module")
def shared_history(shared_database: Database) -> HistoryStore:
    """Compiling its statements takes longer than most of its tests."""
    return HistoryStore(shared_database)


@pytest.fixture
def history(database: Database, shared_history: HistoryStore) -> HistoryStore:
    return shared_history
