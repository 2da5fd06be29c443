"""What the crash tests stand on. CRASH_ROUNDS makes them as long as one likes."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import pytest_asyncio

from tests.crash.service import Service
from tests.support.postgresql import PostgresServer
from tests.support.proxy import TcpProxy

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "1"))
"""How many times over the quick version."""


@pytest.fixture
def database(own_postgres: PostgresServer, postgres_url: str) -> str:
    """A fresh database on a PostgreSQL that the test may kill."""
    return postgres_url


@pytest_asyncio.fixture
async def proxy(own_postgres: PostgresServer) -> AsyncIterator[TcpProxy]:
    """The way to that PostgreSQL, which can be cut."""
    async with TcpProxy("127.0.0.1", own_postgres.port) as proxy:
        yield proxy


@pytest.fixture
def service(tmp_path: Path, database: str, proxy: TcpProxy) -> Iterator[Service]:
    """The service, not started yet; it reaches its database through the proxy."""
    service = Service(tmp_path, through(proxy, database))
    try:
        yield service
    finally:
        sys.stdout.write(service.output()[-6_000:])  # shown where the test has failed
        service.close()


def through(proxy: TcpProxy, url: str) -> str:
    """The same database by way of the proxy."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{proxy.host}:{proxy.port}"))
